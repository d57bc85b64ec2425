"""SiamRPN: Li, Yan, Wu, Zhu, Hu, High performance visual tracking with Siamese region proposal network, 2018."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ...core.errors import UsageError
from .anchors import RATIOS, anchor_grid, choose, decode, encode
from .correlate import cross_correlation, depthwise_correlation
from .embedding import cut
from .head import Found, TrackingHead
from .options import TrackerSettings
from .region import Region, context_square

Correlation = Literal["depthwise", "up_channel"]

_KERNEL = 3  # cells, of the convolutions before the correlation
_ANCHOR_SIDE = 64 / 127  # of the exemplar's: eight cells of eight pixels, as large as a square target in its exemplar
_BETA = 1 / 9  # of the smooth L1 loss: sigma 3, as of the RPN of Ren et al. 2015


class SiamRPNHead(TrackingHead):
    """Two correlations of exemplar and search crop: which of five anchors a cell shows the target, and how far it is
    from them.

    `up_channel` is the paper's correlation (section 3.1): the exemplar makes a kernel for each output. `depthwise`
    (Li et al. 2019 (SiamRPN++), section 3.4) correlates channel by channel and mixes these afterwards, with a seventh
    of the weights. A template is the kernels of both branches, (N, D, h, w). The outputs (N, 5, R, R, 6) are, for each
    anchor of `anchors.anchor_grid`, the logits of something else and of the target, and the offsets of
    `anchors.encode`.
    """

    name = "siamrpn"
    follows: ClassVar[bool] = False

    def __init__(
        self,
        channels: Sequence[int],
        *,
        stride: int = 8,
        margin: int = 0,
        exemplar_size: int = 127,
        search_size: int = 255,
        width: int = 256,
        correlation: Correlation = "depthwise",
    ) -> None:
        """`channels` of the backbone's maps, the last of which is looked at; `margin` cells of it are cut off all
        around; `width` is the number of channels that are correlated.

        Raises UsageError for an exemplar of too few cells, or larger than the search crop.
        """
        super().__init__()
        _check_sizes(exemplar_size, search_size, stride, margin)
        self.exemplar_size, self.search_size = exemplar_size, search_size
        self.stride, self.margin = stride, margin
        branch = _BRANCHES[correlation]
        self.classify = branch(channels[-1], width, 2 * len(RATIOS))
        self.regress = branch(channels[-1], width, 4 * len(RATIOS))

    def exemplar_region(self, box: np.ndarray) -> Region:
        """See `TrackingHead`."""
        return context_square(box)

    def search_region(self, box: np.ndarray) -> Region:
        """See `TrackingHead`."""
        return context_square(box).times(self.search_size / self.exemplar_size)

    def remember(self, features: torch.Tensor) -> torch.Tensor:
        """(N, D, h, w)."""
        features = cut(features, self.margin)
        return torch.cat((self.classify.kernels(features), self.regress.kernels(features)), dim=1)

    def forward(self, templates: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """(N, 5, R, R, 6)."""
        features = cut(features, self.margin)
        ours, others = templates.split((self.classify.size, self.regress.size), dim=1)
        logits = self.classify(ours, features).unflatten(1, (len(RATIOS), 2))
        offsets = self.regress(others, features).unflatten(1, (len(RATIOS), 4))
        return torch.cat((logits, offsets), dim=2).permute(0, 1, 3, 4, 2)

    def losses(self, outputs: torch.Tensor, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
        """Of the anchors that `anchors.choose` picks: `cross_entropy`, their mean, and `smooth_l1`, the sum over the
        four offsets, and the mean over anchors with the target (section 3.2); 0 where a batch has none.
        """
        boxes = boxes.to(outputs.device, torch.float32)
        anchors = self._anchors(outputs).flatten(end_dim=2)
        outputs = outputs.float().flatten(1, 3)
        logits, offsets = outputs.split((2, 4), dim=2)
        chosen = choose(anchors, boxes, (logits[..., 1] - logits[..., 0]).detach())
        taken = chosen.target | chosen.other
        pairs, places = chosen.target.nonzero(as_tuple=True)
        distance = F.smooth_l1_loss(
            offsets[pairs, places], encode(boxes[pairs], anchors[places]), reduction="sum", beta=_BETA
        )
        return {
            "cross_entropy": F.cross_entropy(logits[taken], chosen.target[taken].long()),
            "smooth_l1": distance / max(1, len(pairs)),
        }

    def locate(self, outputs: torch.Tensor, boxes: np.ndarray, settings: TrackerSettings) -> Found:
        """The likeliest box, at the size that the settings let it take (section 4.2).

        A score is lowered for a change of size and proportions since the frame before, by `settings.shape_penalty`, and
        joined with a cosine window. The box has the middle found, and the size moves to the one found by
        `settings.scale_rate`, times the score so lowered. The score that is returned is the network's.
        """
        anchors = self._anchors(outputs[:, 0]).flatten(end_dim=2).cpu().double()
        flat = outputs[:, 0].detach().flatten(1, 3).cpu().double()
        found = decode(flat[..., 2:], anchors).numpy()
        scores = flat[..., :2].softmax(dim=2)[..., 1].numpy()
        lowered = scores * np.exp(-settings.shape_penalty * (_change(found, boxes[:, None]) - 1))
        window = np.tile(_cosine(outputs.shape[3]).ravel(), len(RATIOS))
        best = ((1 - settings.window) * lowered + settings.window * window).argmax(axis=1)
        rows = np.arange(len(best))
        rate = settings.scale_rate * lowered[rows, best][:, None]
        return Found(_resize(found[rows, best], boxes, rate), scores[rows, best])

    def _anchors(self, outputs: torch.Tensor) -> torch.Tensor:
        """(K, R, R, 4) for outputs (N, K, R, R, 6)."""
        side = _ANCHOR_SIDE * self.exemplar_size
        grid = anchor_grid(outputs.shape[2], stride=self.stride, search_size=self.search_size, side=side)
        return grid.to(outputs.device)


def _check_sizes(exemplar_size: int, search_size: int, stride: int, margin: int) -> None:
    cells = -(-exemplar_size // stride)
    if cells - 2 * margin < _KERNEL:
        raise UsageError(
            f"model.exemplar_size is {exemplar_size}, of which the network makes {cells} cells in a row and "
            f"model.margin leaves {max(0, cells - 2 * margin)}; siamrpn takes {_KERNEL} or more: make the exemplar "
            "larger or the margin smaller."
        )
    if search_size < exemplar_size:
        raise UsageError(
            f"model.search_size is {search_size}, and model.exemplar_size {exemplar_size}; give a search crop that is "
            "as large as the exemplar or larger."
        )


class _Depthwise(nn.Module):
    """Correlates channel by channel, and mixes the channels afterwards."""

    def __init__(self, channels: int, width: int, outputs: int) -> None:
        super().__init__()
        self.size = width  # channels of the kernels
        self.kernels = _convolve(channels, width)
        self.search = _convolve(channels, width)
        self.mix = nn.Sequential(
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1),
        )

    def forward(self, kernels: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self.mix(depthwise_correlation(kernels, self.search(features)))


class _UpChannel(nn.Module):
    """Correlates all channels with a kernel for each output."""

    def __init__(self, channels: int, width: int, outputs: int) -> None:
        super().__init__()
        self.outputs, self.size = outputs, width * outputs
        self.kernels = nn.Conv2d(channels, self.size, _KERNEL)
        self.search = nn.Conv2d(channels, width, _KERNEL)
        self.adjust = nn.Conv2d(outputs, outputs, 1)

    def forward(self, kernels: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        each = kernels.unflatten(1, (self.outputs, -1)).flatten(end_dim=1)
        searched = self.search(features).repeat_interleave(self.outputs, dim=0)
        # A sum of so many products: without the root, logits start in the tens.
        response = cross_correlation(each, searched) / each[0].numel() ** 0.5
        return self.adjust(response.view(len(kernels), self.outputs, *response.shape[-2:]))


_BRANCHES: dict[Correlation, type[_Depthwise] | type[_UpChannel]] = {
    "depthwise": _Depthwise,
    "up_channel": _UpChannel,
}


def _convolve(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, _KERNEL, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _change(boxes: np.ndarray, before: np.ndarray) -> np.ndarray:
    """By which factor boxes (..., 4) are of other proportions than those before, times that of their size, the side of
    their square with context (equations 12 and 13); 1 where both stay.
    """
    sides, was = _sides(boxes), _sides(before)
    shape = (sides[..., 1] / sides[..., 0]) / (was[..., 1] / was[..., 0])
    size = _with_context(sides) / _with_context(was)
    return np.maximum(shape, 1 / shape) * np.maximum(size, 1 / size)


def _sides(boxes: np.ndarray) -> np.ndarray:
    return boxes[..., 2:] - boxes[..., :2]


def _with_context(sides: np.ndarray) -> np.ndarray:
    return np.sqrt((sides + sides.mean(axis=-1, keepdims=True)).prod(axis=-1))


def _cosine(cells: int) -> np.ndarray:
    """1 in the middle of a response (cells, cells), falling to all sides."""
    line = np.hanning(cells + 2)[1:-1]
    return np.outer(line, line)


def _resize(found: np.ndarray, before: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) where they were found, their sides moved by `rate` (N, 1) from those before to those found."""
    middles = (found[:, :2] + found[:, 2:]) / 2
    sides = (1 - rate) * _sides(before) + rate * _sides(found)
    return np.concatenate((middles - sides / 2, middles + sides / 2), axis=1)
