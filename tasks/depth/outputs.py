"""From the raw maps of a head to metres, by the names that a recipe uses.

However far a raw value lies outside, depths stay in `min_depth` to `max_depth`, and have a gradient where it leads
back: a pixel that said more than the most can be told that it was less.
"""

import math
from typing import Any, Literal

import torch
from torch import nn

from ...core.errors import UsageError
from .head import at_least_float32

OutputName = Literal["linear", "log", "bins"]

_FEWEST, _MOST = 2, 1000  # bins


class Output(nn.Module):
    """From raw maps (N, `channels`, h, w) to depths (N, h, w) in metres, `min_depth` to `max_depth`, float32, or
    float64 of such maps.

    Raises UsageError unless 0 < `min_depth` < `max_depth`, both finite.
    """

    channels = 1

    def __init__(self, min_depth: float, max_depth: float) -> None:
        super().__init__()
        if not 0 < min_depth < max_depth < math.inf:
            raise UsageError(
                f"Depths from {min_depth} to {max_depth} metres are no range; set model.min_depth above 0 and "
                "model.max_depth above it, as 0.5 and 80."
            )
        self.min_depth = float(min_depth)  # of one type: ONNX's converter takes no others
        self.max_depth = float(max_depth)

    def extra_repr(self) -> str:
        """For print."""
        return f"{self.min_depth} to {self.max_depth} m"

    def _within(self, depth: torch.Tensor) -> torch.Tensor:
        return _bounded(depth, self.min_depth, self.max_depth)


class Linear(Output):
    """Raw values are metres, as Laina et al. 2016 have it, but counted in geometric means of `min_depth` and
    `max_depth`, and from there on: 0 is the mean, 1 is twice the mean.

    A network begins with 0, and most of what cameras see is nearer than the arithmetic mean.
    """

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """See `Output`."""
        mean = math.sqrt(self.min_depth * self.max_depth)
        return self._within(mean * (1 + at_least_float32(raw[:, 0])))


class Log(Output):
    """Raw values are natural logarithms of metres, as Eigen et al. 2014 have it, but counted from the middle of the
    range: 0 is the geometric mean of `min_depth` and `max_depth`.
    """

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """See `Output`."""
        least, most = math.log(self.min_depth), math.log(self.max_depth)
        logarithms = _bounded((least + most) / 2 + at_least_float32(raw[:, 0]), least, most)
        return self._within(logarithms.exp())  # rounding may have left the range


class Bins(Output):
    """Raw values are scores of `bins` ranges of depth, which get wider with distance by one factor (Fu et al., Deep
    ordinal regression network for monocular depth estimation, 2018, equation 1); the depth is the mean of their middles
    weighted by probability (Bhat et al., AdaBins, 2021, equation 3), which needs no steps.

    `edges` (bins + 1,) and `centres` (bins,), in metres. Raises UsageError for fewer than 2 bins or more than 1000, and
    as `Output` does.
    """

    edges: torch.Tensor
    centres: torch.Tensor

    def __init__(self, min_depth: float, max_depth: float, bins: int = 80) -> None:
        super().__init__(min_depth, max_depth)
        if not _FEWEST <= bins <= _MOST:
            raise UsageError(f"model.bins is {bins}; set a number from {_FEWEST} to {_MOST}, as 80.")
        self.channels = bins
        edges = torch.linspace(math.log(min_depth), math.log(max_depth), bins + 1, dtype=torch.float64).exp()
        self.register_buffer("edges", edges.float(), persistent=False)
        self.register_buffer("centres", ((edges[1:] + edges[:-1]) / 2).float(), persistent=False)

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """See `Output`."""
        shares = at_least_float32(raw).softmax(dim=1)
        return self._within((shares * self.centres[:, None, None].to(shares.dtype)).sum(dim=1))


OUTPUTS: dict[str, type[Output]] = {"linear": Linear, "log": Log, "bins": Bins}


def make_output(name: str, *, min_depth: float, max_depth: float, bins: int = 80) -> Output:
    """The output of a recipe; `bins` counts for the one of that name alone. Raises UsageError as the outputs do."""
    if name == "bins":
        return Bins(min_depth, max_depth, bins)
    return OUTPUTS[name](min_depth, max_depth)


class _Bounded(torch.autograd.Function):
    """A cut to `least`..`most` that passes the gradient of what lies outside where following it leads back in, and none
    that would lead further out: a loss that couples pixels, as the scale-invariant one, would drive those at an end of
    the range ever further, and with them the weights.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, least: float, most: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.range = (least, most)
        return x.clamp(least, most)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (x,), (least, most), (gradient,) = ctx.saved_tensors, ctx.range, gradients
        outwards = ((x < least) & (gradient > 0)) | ((x > most) & (gradient < 0))
        return gradient.masked_fill(outwards, 0), None, None


def _bounded(x: torch.Tensor, least: float, most: float) -> torch.Tensor:
    """`x` cut to `least`..`most`; without gradients a plain cut, which every exporter knows."""
    return _Bounded.apply(x, least, most) if x.requires_grad and torch.is_grad_enabled() else x.clamp(least, most)
