"""Pools by name, and those that torch lacks.

The pools in `POOLINGS` can stand for one another: they are built as `(kernel_size, stride, padding, ceil_mode=...)`,
and cells of the padding never count. For unpooling with switches (Zeiler, Fergus, 2014; SegNet) torch has
`nn.MaxPool2d(return_indices=True)` and `nn.MaxUnpool2d`; give the latter `output_size`, or a map whose sides the
stride doesn't divide is an error, or comes back with values in the wrong places.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

_Size = int | tuple[int, int]


class Subsampling(nn.AvgPool2d):
    """LeNet's trainable pool: the sum of each 2 x 2 tile, times a coefficient, plus a bias, both one per map.

    A small coefficient makes the squashing that follows nearly linear (a blur), a large one a noisy "or" or "and".
    Coefficient 1/4 and bias 0 are average pooling. LeCun, Bottou, Bengio, Haffner, 1998, section II.B.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(kernel_size=2)  # torch.onnx would pass over divisor_override
        self.weight = nn.Parameter(torch.full((channels,), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) to (N, channels, H // 2, W // 2)."""
        return 4 * super().forward(input) * self.weight[:, None, None] + self.bias[:, None, None]


class LpPool2d(nn.AvgPool2d):
    """The p-norm of a window with the mean inside, (mean |x|^p)^(1/p).

    At p = 1 it is average pooling of the absolute values, and as p grows it tends to max. torch's `nn.LPPool2d` sums,
    so that its p = 1 gives 4 for four ones. In float32 values to the power p must stay within 1e-38 and 1e38.

    Sermanet, Chintala, LeCun, Convolutional neural networks applied to house numbers digit classification, 2012.
    """

    def __init__(
        self, kernel_size: _Size, stride: _Size | None = None, padding: _Size = 0, ceil_mode: bool = False, p: float = 2
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad=False)
        if p < 1:
            raise ValueError(f"p is {p}, but a norm has a p of at least 1.")
        self.p = p

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, h, w) as max pooling does, values at least 0."""
        full = _full_precision(input)
        mean = super().forward(full.abs().pow(self.p))
        return mean.clamp_min(torch.finfo(mean.dtype).tiny).pow(1 / self.p).to(input.dtype)


class MixedPool2d(nn.AvgPool2d):
    """Max and average pooling in one: `max_share` * max + (1 - `max_share`) * average, so always between the two.

    `mixing`: "fixed" keeps the share; "learned" trains it, one for the layer, from there on (Lee, Gallagher, Tu, 2016);
    "random" takes in training either max or average for each map of each image, max with probability `max_share`, and
    in evaluation the mean of the two (Yu, Wang, Chen, Wei, Mixed pooling for convolutional neural networks, 2014, who
    evaluate with the kind drawn more often).
    """

    def __init__(
        self,
        kernel_size: _Size,
        stride: _Size | None = None,
        padding: _Size = 0,
        ceil_mode: bool = False,
        max_share: float = 0.5,
        mixing: Literal["fixed", "learned", "random"] = "fixed",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad=False)
        if not 0 <= max_share <= 1:
            raise ValueError(f"max_share is {max_share}, but a share lies between 0 and 1.")
        self.max_share, self.mixing = max_share, mixing
        # Behind a sigmoid, so that no step of the optimizer takes the share out of 0 to 1.
        self.logit = nn.Parameter(torch.logit(torch.tensor(max_share), eps=1e-3)) if mixing == "learned" else None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, h, w) as max pooling does."""
        highest = F.max_pool2d(input, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)
        return torch.lerp(super().forward(input), highest, self._share(input))

    def _share(self, input: torch.Tensor) -> torch.Tensor:
        if self.logit is not None:
            return self.logit.sigmoid().to(input.dtype)
        share = input.new_tensor(self.max_share)
        if self.mixing == "random" and self.training:
            return torch.bernoulli(share.expand(*input.shape[:2], 1, 1))
        return share


class StochasticPool2d(nn.AvgPool2d):
    """One value of each window, drawn in training with a probability proportional to it; in evaluation their mean.

    For activations of at least 0: negative ones are never drawn, and count as 0, which is also what a window without a
    positive one gives. The mean weighs each value with its probability, sum(x^2) / sum(x). Where windows overlap their
    draws are not independent: a pixel that wins one is likelier to win the next.

    Zeiler, Fergus, Stochastic pooling for regularization of deep convolutional neural networks, 2013.
    """

    def __init__(
        self, kernel_size: _Size, stride: _Size | None = None, padding: _Size = 0, ceil_mode: bool = False
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, h, w) as max pooling does, values at least 0."""
        positive = input.relu()
        return self._draw(positive) if self.training else self._expect(_full_precision(positive)).to(input.dtype)

    def _draw(self, positive: torch.Tensor) -> torch.Tensor:
        """A race: with each e_i drawn from the exponential distribution, x_i / e_i wins in x_i / sum(x) of cases."""
        full = _full_precision(positive.detach())
        race = full / torch.empty_like(full).exponential_().clamp_min(1e-30)
        _, winners = F.max_pool2d(
            race, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode, return_indices=True
        )
        return positive.flatten(2).gather(2, winners.flatten(2)).view(winners.shape)

    def _expect(self, positive: torch.Tensor) -> torch.Tensor:
        mean = super().forward(positive)
        return super().forward(positive.square()) / mean.clamp_min(torch.finfo(mean.dtype).tiny)


class SpectralPool2d(nn.Module):
    """Shrinks a map to any size by keeping its lowest frequencies, which lose less than a max of windows does.

    Fourier transform, crop of the middle `size` of the spectrum, and back, scaled so that a constant map keeps its
    value. Near edges, values may overshoot those of the input. Rippel, Snoek, Adams, Spectral representations for
    convolutional neural networks, 2015, section 4.
    """

    def __init__(self, size: _Size) -> None:
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, *size). Raises `ValueError` for a map that is smaller than `size`."""
        (height, width), (rows, columns) = x.shape[-2:], self.size
        if rows > height or columns > width:
            raise ValueError(f"A map of {height} x {width} can't be pooled to {rows} x {columns}: it has fewer pixels.")
        spectrum = torch.fft.fftshift(torch.fft.fft2(_full_precision(x), norm="forward"), dim=(-2, -1))
        top, left = height // 2 - rows // 2, width // 2 - columns // 2
        low = spectrum[..., top : top + rows, left : left + columns]
        return torch.fft.ifft2(torch.fft.ifftshift(low, dim=(-2, -1)), norm="forward").real.to(x.dtype)

    def extra_repr(self) -> str:
        """What `print` shows in the parentheses."""
        return f"size={self.size}"


class SpatialPyramidPool2d(nn.Module):
    """A vector of one length for maps of any size: max pools over grids of l x l bins, for each l of `levels`.

    It lets fully connected layers follow convolutions that read images of any size. Bins are proportional to the map.
    He, Zhang, Ren, Sun, Spatial pyramid pooling in deep convolutional networks, 2014; 1, 2, 3, 6 is its 50-bin pyramid.
    """

    def __init__(self, levels: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.levels = tuple(levels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C * sum of l * l): level by level, in each the bins of one channel after another."""
        return torch.cat([F.adaptive_max_pool2d(x, level).flatten(1) for level in self.levels], dim=1)

    def extra_repr(self) -> str:
        """What `print` shows in the parentheses."""
        return f"levels={self.levels}"


POOLINGS: dict[str, Callable[..., nn.Module]] = {
    "max": nn.MaxPool2d,
    "average": partial(nn.AvgPool2d, count_include_pad=False),
    "lp": LpPool2d,
    "mixed": MixedPool2d,
    "stochastic": StochasticPool2d,
}


def _full_precision(x: torch.Tensor) -> torch.Tensor:
    """At least float32: powers and sums of squares of bfloat16 are too coarse, and it has no Fourier transform."""
    return x if x.dtype == torch.float64 else x.float()
