"""Normalisation by name, and the layers that torch lacks."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F


class SteadyBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that uses its statistics in training too where a channel has a single value: a map of one cell, as
    SSDLite's last or the mean of an image, and an epoch's last batch may have one image.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As torch's, but where torch's raises."""
        if self.training and input.shape[1] == input.numel():
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class LocalResponseNorm(nn.LocalResponseNorm):
    """AlexNet's competition between neighbouring channels: a / (k + alpha * sum(a^2))^beta, summed over `size` of them.

    torch's, as Caffe's, divides alpha by `size`. Here alpha is the paper's, and the defaults are its constants.
    Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional neural networks, 2012, section 3.3.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__(size, alpha, beta, k)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        return F.local_response_norm(input, self.size, self.alpha * self.size, self.beta, self.k)


class LocalContrastNorm(nn.Module):
    """Takes from each pixel its neighbourhood's mean, over all channels, and divides by the neighbourhood's deviation.

    A neighbourhood is a Gaussian window of `kernel_size` (odd). The divisor is at least its mean over the map, so that
    noise in flat regions isn't blown up, and at least 1e-4. At the border the map goes on with copies of its edge.

    Jarrett, Kavukcuoglu, Ranzato, LeCun, What is the best multi-stage architecture for object recognition?, 2009,
    section 2.
    """

    def __init__(self, kernel_size: int = 9) -> None:
        super().__init__()
        offsets = torch.arange(kernel_size) - kernel_size // 2
        profile = torch.exp(-(offsets**2) / (2 * (kernel_size / 4) ** 2))
        window = torch.outer(profile, profile)
        self.window: torch.Tensor
        self.register_buffer("window", (window / window.sum())[None, None], persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        centred = x - self._blur(x)
        deviation = self._blur(centred.square()).clamp_min(1e-8).sqrt()
        return centred / torch.maximum(deviation, deviation.mean((1, 2, 3), keepdim=True))

    def _blur(self, x: torch.Tensor) -> torch.Tensor:
        """The weighted mean over window and channels, (N, 1, H, W)."""
        reach = self.window.shape[-1] // 2
        return F.conv2d(F.pad(x.mean(1, keepdim=True), [reach] * 4, mode="replicate"), self.window.to(x.dtype))


class ConditionalInstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm with a scale and a shift for each of several styles, so that one network paints in all of them.

    `weight` and `bias` are (num_styles, channels): 2 * channels * num_styles parameters.
    Dumoulin, Shlens, Kudlur, A learned representation for artistic style, 2017, section 2.2.
    """

    def __init__(self, channels: int, num_styles: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps)
        self.weight = nn.Parameter(torch.ones(num_styles, channels))
        self.bias = nn.Parameter(torch.zeros(num_styles, channels))

    def forward(self, input: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) to the same shape, each image in its own style.

        `style`: int64 (N,), ids from 0 on; or float (N, num_styles), weights that add up to 1, for a mix of styles.
        """
        if style.is_floating_point():
            scale, shift = style @ self.weight, style @ self.bias
        else:
            scale, shift = self.weight[style], self.bias[style]
        return F.instance_norm(input, eps=self.eps) * scale[:, :, None, None] + shift[:, :, None, None]


def _group_norm(channels: int) -> nn.GroupNorm:
    """32 groups, or as many as divide the channels and leave at least two to each (with one it were instance norm)."""
    groups = next(g for g in range(min(32, max(1, channels // 2)), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


def _no_norm(_channels: int) -> nn.Identity:
    return nn.Identity()


# Each is built with the number of channels.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,  # Ioffe, Szegedy, 2015
    "instance": partial(nn.InstanceNorm2d, affine=True),  # Ulyanov, Vedaldi, Lempitsky, 2016
    "group": _group_norm,  # Wu, He, 2018
    "none": _no_norm,
}
