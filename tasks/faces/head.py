"""From feature maps to one embedding a face."""

from collections.abc import Sequence

import torch
from torch import nn

_FEW = 1e-3  # what batch norms of an embedding add to the variance, in FaceNet's code and in ArcFace's


class EmbeddingHead(nn.Module):
    """The coarsest map made a vector in one of three ways, dropout, a linear layer to `width` numbers, batch norm.

    - `average`: the mean over all cells, as FaceNet has it (Schroff et al. 2015, in the networks of Szegedy et al.
      2016): nothing is known any more of where something was.
    - `depthwise`: a weight of its own for each channel and cell (MobileFaceNets' global depthwise convolution, Chen et
      al. 2018, section 3.2): a face lies always alike, and its middle says more than a corner.
    - `flat`: all cells one behind another (ArcFace's option E, Deng et al. 2019, section 3.1.1; SphereFace, Liu et al.
      2017): nothing is lost, and there are C x h x w x `width` weights.

    `channels` are those of the backbone; `cells` (h, w) of its coarsest map, which only the mean does not need to know.
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        *,
        kind: str = "average",
        cells: tuple[int, int] = (1, 1),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = width
        self.gather = _GATHERS[kind](channels[-1], cells)
        wide = channels[-1] * cells[0] * cells[1] if kind == "flat" else channels[-1]
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(wide, width, bias=False)
        self.norm = nn.BatchNorm1d(width, eps=_FEW)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, h, w), finest first, to embeddings (N, `width`), of any length."""
        return self.norm(self.linear(self.dropout(self.gather(features[-1]).flatten(1))))


def _average(_channels: int, _cells: tuple[int, int]) -> nn.Module:
    return nn.AdaptiveAvgPool2d(1)


def _depthwise(channels: int, cells: tuple[int, int]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, channels, cells, groups=channels, bias=False), nn.BatchNorm2d(channels))


def _flat(channels: int, _cells: tuple[int, int]) -> nn.Module:
    return nn.BatchNorm2d(channels)


_GATHERS = {"average": _average, "depthwise": _depthwise, "flat": _flat}


def cells_of(backbone: nn.Module, channels: int, size: int) -> tuple[int, int]:
    """Height and width of the coarsest map that `backbone` gives for images of `size` x `size`, by asking it once."""
    was = backbone.training
    weights = next(backbone.parameters())
    with torch.no_grad():
        features = backbone.eval()(torch.zeros(1, channels, size, size, device=weights.device))[-1]
    backbone.train(was)
    return int(features.shape[2]), int(features.shape[3])
