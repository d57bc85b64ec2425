"""Training images that are put together from several of a batch, on the batch's device.

Both draw from torch's global generator, so that a run's seed gives the same images.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torchvision.ops import clip_boxes_to_image
from torchvision.transforms.v2 import functional as F

from ...core.data import IMAGENET_MEAN
from ...core.types import Batch

_LEAST_VISIBLE = 0.1  # of a box's area, as in core/transforms.py
_LEAST_SIDE = 1.0  # pixels


def mosaic(batch: Batch, share: float) -> Batch:
    """Put `share` (0 to 1) of the images together from four of the batch (Bochkovskiy et al. 2020, section 3.3).

    The four meet in a random point of the middle, 0.3 to 0.7 of height and width; one of them is the image itself. Each
    is scaled by a random factor, 1 to 2 times what covers its quarter, and cut to it at a random place, so that no
    ground is left. Boxes are moved and cut; those that are left with less than a tenth of their area, or a side of less
    than a pixel, go. Such an image fills the whole (H, W) of the batch. `image`: uint8 (N, 3, H, W), padded; a batch of
    one stays as it is.
    """
    number = len(batch["image"])
    chosen = torch.nonzero(torch.rand(number) < share).flatten().tolist()
    if number == 1 or not chosen:
        return batch
    images, shapes, objects = batch["image"].clone(), list(batch["shape"]), _objects(batch)
    for index in chosen:
        images[index], rows = _four_in_one(batch, index)
        shapes[index] = (images.shape[2], images.shape[3])
        for key, values in rows.items():
            objects[key][index] = values
    return _changed(batch, images, shapes, objects)


def mixup(batch: Batch, alpha: float) -> Batch:
    """Lay a second image of the batch over each (Zhang et al. 2019, Bag of freebies for training object detection
    networks, section 3.1), by shares lambda and 1 - lambda with lambda from Beta(`alpha`, `alpha`).

    Their left upper corners meet, neither is scaled, and beside each is the mean colour. The boxes of both stay, and
    count alike. `image`: uint8 (N, 3, H, W), and uint8 again; a batch of one stays as it is.
    """
    images, number = batch["image"], len(batch["image"])
    if number == 1:
        return batch
    partner = _partners(number)
    share = torch.distributions.Beta(alpha, alpha).sample((number, 1, 1, 1)).to(images.device)
    whole = _on_mean_colour(images, batch["shape"])
    mixed = share * whole + (1 - share) * whole[partner]
    shapes = [_larger(batch["shape"][index], batch["shape"][other]) for index, other in enumerate(partner)]
    objects = {
        key: [torch.cat([rows[index], rows[other]]) for index, other in enumerate(partner)]
        for key, rows in _objects(batch).items()
    }
    return _changed(batch, mixed.round_().to(torch.uint8), shapes, objects)


def _objects(batch: Batch) -> dict[str, list[torch.Tensor]]:
    """For each key N tensors, with one row an object."""
    values: dict[str, Any] = {**batch}
    return {key: list(values[key]) for key in ("boxes", "labels", "crowd", "difficult") if key in values}


def _changed(
    batch: Batch, images: torch.Tensor, shapes: list[tuple[int, int]], objects: dict[str, list[torch.Tensor]]
) -> Batch:
    values: dict[str, Any] = {**batch, "image": images, "shape": shapes, **objects}
    return Batch(**values)


def _partners(number: int) -> list[int]:
    # Never oneself: all are moved on by the same number of places.
    by = int(torch.randint(1, number, ()))
    return [(index + by) % number for index in range(number)]


def _on_mean_colour(images: torch.Tensor, shapes: Sequence[tuple[int, int]]) -> torch.Tensor:
    mean = images.new_tensor(IMAGENET_MEAN, dtype=torch.float32) * 255
    whole = images.float()
    for image, (height, width) in zip(whole, shapes, strict=True):
        image[:, height:] = mean[:, None, None]
        image[:, :, width:] = mean[:, None, None]
    return whole


def _larger(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    return max(first[0], second[0]), max(first[1], second[1])


def _four_in_one(batch: Batch, index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The image uint8 (3, H, W) and the rows of its objects, by their keys."""
    image = torch.empty_like(batch["image"][index])
    height, width = image.shape[1:]
    middle_y, middle_x = (round(side * _uniform(0.3, 0.7)) for side in (height, width))
    others = [(index + by) % len(batch["image"]) for by in (1 + torch.randperm(len(batch["image"]) - 1)).tolist()]
    sources = [index, *(3 * others)[:3]]  # four images, where the batch has so many
    order = torch.randperm(4).tolist()
    quarters = [(*down, *across) for down in _halves(middle_y, height) for across in _halves(middle_x, width)]
    parts = []
    for (top, below, left, right), number in zip(quarters, order, strict=False):
        image[:, top:below, left:right], rows = _part(batch, sources[number], below - top, right - left)
        parts.append({**rows, "boxes": rows["boxes"] + rows["boxes"].new_tensor([left, top, left, top])})
    return image, {key: torch.cat([rows[key] for rows in parts]) for key in parts[0]}


def _halves(middle: int, side: int) -> list[tuple[int, int]]:
    # One, where a side of a pixel has no middle.
    return [(start, end) for start, end in ((0, middle), (middle, side)) if start < end]


def _part(batch: Batch, source: int, height: int, width: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """What fills a quarter: of image `source` a random part, scaled to uint8 (3, height, width), and its objects."""
    sides = batch["shape"][source]
    scale = max(height / sides[0], width / sides[1]) * _uniform(1, 2)
    cut = [min(side, max(1, round(wanted / scale))) for side, wanted in zip(sides, (height, width), strict=True)]
    top, left = (int(_uniform(0, side - own + 1)) for side, own in zip(sides, cut, strict=True))
    part = batch["image"][source][:, top : top + cut[0], left : left + cut[1]]
    rows = {key: values[source] for key, values in _objects(batch).items()}
    moved = rows["boxes"] - rows["boxes"].new_tensor([left, top, left, top])
    moved = moved * moved.new_tensor([width / cut[1], height / cut[0]] * 2)
    boxes = clip_boxes_to_image(moved, (height, width))
    seen, whole = boxes[:, 2:] - boxes[:, :2], moved[:, 2:] - moved[:, :2]
    kept = (seen.prod(dim=1) >= _LEAST_VISIBLE * whole.prod(dim=1)) & (seen >= _LEAST_SIDE).all(dim=1)
    rows = {key: values[kept] for key, values in {**rows, "boxes": boxes}.items()}
    return F.resize_image(part, [height, width], antialias=True), rows


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))
