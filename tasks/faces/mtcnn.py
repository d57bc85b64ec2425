"""MTCNN: Zhang, Zhang, Li, Qiao, Joint face detection and alignment using multitask cascaded convolutional networks,
2016. Three networks, each of which throws away most of what the one before it left.

The proposal network looks at every place of an image in many sizes, the refinement network at its candidates in 24 x 24
pixels, the output network at what remains in 48 x 48. All move the boxes; the last one finds the landmarks.
"""

from collections import OrderedDict
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import nn
from torchvision.ops import nms, roi_align

from .detector import Face

CELL = 12  # pixels that the proposal network sees at once
STRIDE = 2  # from one place to the next
REFINE_SIZE, OUTPUT_SIZE = 24, 48  # of the crops of the other two
PYRAMID_FACTOR = 0.709  # from one size of the image to the next: about half of the area, as in the authors' code
THRESHOLDS = (0.6, 0.7, 0.7)  # of the three networks' scores, as in the authors' code
_NMS_IN_LEVEL, _NMS = 0.5, 0.7
_MOST_CANDIDATES = 2000  # of the first network, in each size and in all: bounds memory and time for images of noise
_CROPS_AT_ONCE = 256


class Outputs(NamedTuple):
    """What one of the networks says of N crops, or (with two more dimensions) of the cells of a map."""

    logits: torch.Tensor  # (N, 2): no face, face
    offsets: torch.Tensor  # (N, 4): from the crop's left, top, right, bottom to the box's, in crops
    landmarks: torch.Tensor | None  # (N, 10): x then y of each of five points from the crop's left and top, in crops


class CascadeNetwork(nn.Module):
    """What the three have in common: features of a crop, and two or three layers that read them."""

    features: nn.Sequential
    face: nn.Module
    box: nn.Module
    landmarks: nn.Module | None

    def forward(self, images: torch.Tensor) -> Outputs:
        """Normalised crops (N, 3, side, side), or an image of any size for the first of the three."""
        features = self.features(images)
        landmarks = None if self.landmarks is None else self.landmarks(features)
        return Outputs(self.face(features), self.box(features), landmarks)


class ProposalNetwork(CascadeNetwork):
    """P-Net (figure 2): images (N, 3, H, W), normalised, to maps (N, ., h, w) with a cell of 12 x 12 each 2 pixels.

    `landmarks`: with the third output, which helps a training and is used by nothing.
    """

    def __init__(self, *, landmarks: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, 10, 3),
                prelu1=nn.PReLU(10),
                pool1=nn.MaxPool2d(2, 2, ceil_mode=True),
                conv2=nn.Conv2d(10, 16, 3),
                prelu2=nn.PReLU(16),
                conv3=nn.Conv2d(16, 32, 3),
                prelu3=nn.PReLU(32),
            )
        )
        self.face, self.box = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)
        self.landmarks = nn.Conv2d(32, 10, 1) if landmarks else None


class RefinementNetwork(CascadeNetwork):
    """R-Net (figure 2): crops (N, 3, 24, 24) to `Outputs`. `landmarks` as for `ProposalNetwork`."""

    def __init__(self, *, landmarks: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, 28, 3),
                prelu1=nn.PReLU(28),
                pool1=nn.MaxPool2d(3, 2, ceil_mode=True),
                conv2=nn.Conv2d(28, 48, 3),
                prelu2=nn.PReLU(48),
                pool2=nn.MaxPool2d(3, 2, ceil_mode=True),
                conv3=nn.Conv2d(48, 64, 2),
                prelu3=nn.PReLU(64),
                flat=nn.Flatten(),
                dense=nn.Linear(64 * 3 * 3, 128),
                prelu4=nn.PReLU(128),
            )
        )
        self.face, self.box = nn.Linear(128, 2), nn.Linear(128, 4)
        self.landmarks = nn.Linear(128, 10) if landmarks else None


class OutputNetwork(CascadeNetwork):
    """O-Net (figure 2): crops (N, 3, 48, 48) to `Outputs`, always with landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, 32, 3),
                prelu1=nn.PReLU(32),
                pool1=nn.MaxPool2d(3, 2, ceil_mode=True),
                conv2=nn.Conv2d(32, 64, 3),
                prelu2=nn.PReLU(64),
                pool2=nn.MaxPool2d(3, 2, ceil_mode=True),
                conv3=nn.Conv2d(64, 64, 3),
                prelu3=nn.PReLU(64),
                pool3=nn.MaxPool2d(2, 2, ceil_mode=True),
                conv4=nn.Conv2d(64, 128, 2),
                prelu4=nn.PReLU(128),
                flat=nn.Flatten(),
                dense=nn.Linear(128 * 3 * 3, 256),
                prelu5=nn.PReLU(256),
            )
        )
        self.face, self.box, self.landmarks = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)


class MtcnnNetworks(nn.Module):
    """The three together, as they are stored."""

    def __init__(self) -> None:
        super().__init__()
        self.proposal, self.refinement, self.output = ProposalNetwork(), RefinementNetwork(), OutputNetwork()


class Candidates(NamedTuple):
    """Boxes that may hold a face."""

    boxes: torch.Tensor  # float32 (K, 4), xyxy, pixels of the image, which they may leave
    scores: torch.Tensor  # float32 (K,)


class Mtcnn:
    """The detector of three networks (section II.A).

    `min_face`: pixels along the side of the smallest face that is looked for. `thresholds`: least scores of the three
    networks. The networks go into evaluation mode and run on the device that they are on.
    """

    def __init__(
        self,
        networks: MtcnnNetworks,
        *,
        min_face: int = 20,
        thresholds: tuple[float, float, float] = THRESHOLDS,
    ) -> None:
        self.networks = networks.eval().to(memory_format=torch.channels_last)  # a third faster on a CPU
        self.min_face, self.thresholds = min_face, thresholds

    @torch.inference_mode()
    def detect(self, image: np.ndarray) -> list[Face]:
        """See `FaceDetector`."""
        pixels = self.pixels(image)
        return self._decide(pixels, self.refine(pixels, self.propose(image)))

    def pixels(self, image: np.ndarray) -> torch.Tensor:
        """An image, uint8 (H, W, 3), as the other steps want it: float32 (1, 3, H, W), 0 to 255, on the device."""
        device = next(self.networks.parameters()).device
        return torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float()

    @torch.inference_mode()
    def propose(self, image: np.ndarray) -> Candidates:
        """The candidates of the first network, from all sizes of the image."""
        levels = [self._propose_at(image, size) for size in pyramid(image.shape[:2], self.min_face)]
        if not levels:
            return Candidates(torch.zeros(0, 4), torch.zeros(0))
        boxes, scores, offsets = (torch.cat(parts) for parts in zip(*levels, strict=True))
        kept = nms(boxes, scores, _NMS)[:_MOST_CANDIDATES]
        return Candidates(squared(moved(boxes[kept], offsets[kept])), scores[kept])

    @torch.inference_mode()
    def refine(self, pixels: torch.Tensor, candidates: Candidates) -> Candidates:
        """What the second network leaves of them."""
        boxes = candidates.boxes
        scores, offsets, _ = self._look(self.networks.refinement, pixels, boxes, REFINE_SIZE)
        sure = scores >= self.thresholds[1]
        boxes, scores, offsets = boxes[sure], scores[sure], offsets[sure]
        kept = nms(boxes, scores, _NMS)
        return Candidates(squared(moved(boxes[kept], offsets[kept])), scores[kept])

    def _propose_at(self, image: np.ndarray, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Boxes (K, 4) in the image's pixels, scores (K,) and offsets (K, 4) of one size (H, W) of the image."""
        smaller = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
        logits, offsets, _ = self.networks.proposal(normalised(self.pixels(smaller)))
        scores = logits[0].softmax(dim=0)[1]
        width = scores.shape[1]
        scores, cells = scores.flatten().topk(min(_MOST_CANDIDATES, scores.numel()))
        sure = scores >= self.thresholds[0]
        scores, cells = scores[sure], cells[sure]
        rows, columns, offsets = cells // width, cells % width, offsets[0].flatten(1)[:, cells].T
        corners = STRIDE * torch.stack([columns, rows, columns, rows], dim=1).float()
        corners[:, 2:] += CELL
        across, down = image.shape[1] / size[1], image.shape[0] / size[0]
        boxes = corners * torch.tensor([across, down, across, down], device=corners.device)
        kept = nms(boxes, scores, _NMS_IN_LEVEL)
        return boxes[kept], scores[kept], offsets[kept]

    def _decide(self, pixels: torch.Tensor, candidates: Candidates) -> list[Face]:
        squares = candidates.boxes
        scores, offsets, landmarks = self._look(self.networks.output, pixels, squares, OUTPUT_SIZE)
        sure = scores >= self.thresholds[2]
        squares, scores, offsets, landmarks = squares[sure], scores[sure], offsets[sure], landmarks[sure]
        corner, side = squares[:, None, :2], (squares[:, 2:] - squares[:, :2])[:, None]
        points = corner + side * landmarks.unflatten(1, (5, 2))
        boxes = moved(squares, offsets)
        kept = nms_by_smaller(boxes, scores, _NMS)
        limits = torch.tensor(pixels.shape[:1:-1] * 2, device=boxes.device)
        boxes = torch.minimum(boxes.clamp(min=0), limits)
        kept = kept[(boxes[kept, 2:] > boxes[kept, :2]).all(dim=1)]
        chosen = (boxes[kept].cpu().numpy(), scores[kept].tolist(), points[kept].cpu().numpy())
        return [Face(box, score, five) for box, score, five in zip(*chosen, strict=True)]

    def _look(
        self, network: CascadeNetwork, pixels: torch.Tensor, boxes: torch.Tensor, side: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scores (K,), offsets (K, 4) and landmarks (K, 10), or (K, 0) of a network without, of all boxes (K, 4)."""
        parts = [(boxes.new_zeros(0), boxes.new_zeros(0, 4), boxes.new_zeros(0, 10))]
        for some in boxes.split(_CROPS_AT_ONCE) if len(boxes) else ():
            logits, offsets, landmarks = network(normalised(crops(pixels, some, side)))
            parts.append(
                (logits.softmax(dim=1)[:, 1], offsets, logits.new_zeros(0, 10) if landmarks is None else landmarks)
            )
        scores, offsets, landmarks = (torch.cat(each) for each in zip(*parts, strict=True))
        return scores, offsets, landmarks


def pyramid(size: tuple[int, int], min_face: int) -> list[tuple[int, int]]:
    """The sizes (H, W) of an image of `size` in which a cell of the proposal network sees faces of `min_face` pixels,
    and then larger and larger ones, until the image is smaller than a cell.
    """
    sizes, factor = [], CELL / min_face
    while min(size) * factor >= CELL:
        sizes.append((max(CELL, round(size[0] * factor)), max(CELL, round(size[1] * factor))))
        factor *= PYRAMID_FACTOR
    return sizes


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels, 0 to 255, as all three networks were trained with them: (x - 127.5) / 128."""
    return ((pixels - 127.5) / 128).contiguous(memory_format=torch.channels_last)


def crops(pixels: torch.Tensor, boxes: torch.Tensor, side: int) -> torch.Tensor:
    """Boxes (K, 4) cut out of an image (1, 3, H, W): float32 (K, 3, side, side).

    Means over as many samples as a pixel of the crop has pixels of the image; from one pixel outside of the image on,
    black.
    """
    numbers = boxes.new_zeros(len(boxes), 1)
    return roi_align(pixels, torch.cat([numbers, boxes], dim=1), side, sampling_ratio=-1, aligned=True)


def moved(boxes: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Boxes (K, 4) whose four edges are moved by `offsets` (K, 4) widths (left, right) and heights (top, bottom)."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * torch.cat([sides, sides], dim=1)


def squared(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes (K, 4) as squares with the same middle and the longer of both sides."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / 2
    return torch.cat([middle - half, middle + half], dim=1)


def nms_by_smaller(boxes: torch.Tensor, scores: torch.Tensor, most: float) -> torch.Tensor:
    """Indices, by falling score, of boxes (K, 4) of which none shares more than `most` of the smaller of two with one
    of a higher score; so that of two boxes of a face, one in the other, one stays.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes = boxes[order]
    corner, opposite = torch.maximum(boxes[:, None, :2], boxes[:, :2]), torch.minimum(boxes[:, None, 2:], boxes[:, 2:])
    shared = (opposite - corner).clamp(min=0).prod(dim=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
    covers = (shared > most * torch.minimum(areas[:, None], areas)).cpu()
    stays = torch.ones(len(boxes), dtype=torch.bool)
    for first in range(len(boxes)):
        if stays[first]:
            stays[first + 1 :] &= ~covers[first, first + 1 :]
    return order[stays.to(order.device)]
