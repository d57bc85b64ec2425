"""Inception modules, from the first to Inception-ResNet's: branches side by side, their outputs stacked as channels.

A branch is written as its steps: `(64, 1), (96, 3)` is a 1 x 1 convolution to 64 channels and then a 3 x 3 to 96. All
modules take maps of any size, odd or not. What lowers the resolution does so in every branch alike: without padding to
floor((H - 3) / 2) + 1 (from Inception-v3 on), with padding 1 to ceil(H / 2) (BN-Inception).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import nn
from torchvision.ops import Conv2dNormActivation, StochasticDepth

Step = tuple[int, int | tuple[int, int]]  # output channels, kernel size
Norm = Callable[[int], nn.Module]
Pooling = Literal["average", "max"]

BATCH_NORM = partial(nn.BatchNorm2d, eps=0.001)  # Google's, in all published Inception networks


class Branches(nn.ModuleList):
    """Modules that read the same map; their outputs, of one height and width, stand side by side as channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, sum of the branches' channels, h, w)."""
        return torch.cat([branch(x) for branch in self], dim=1)


class InceptionResidual(nn.Module):
    """An Inception-ResNet block: x + scale * (branches, then a 1 x 1 convolution without activation), rectified.

    `scale` between 0.1 and 0.3 keeps wide networks from dying early in training. `activation=False` leaves the last
    ReLU out. Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, Inception-ResNet and the impact of residual connections on
    learning, 2017, figures 10, 11, 13 and section 3.3.
    """

    def __init__(self, channels: int, *branches: Sequence[Step], scale: float, activation: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.branches = Branches(chain(channels, *steps) for steps in branches)
        self.projection = nn.Conv2d(sum(steps[-1][0] for steps in branches), channels, 1)
        self.stochastic_depth = StochasticDepth(0.0, "row")
        self.activation = nn.ReLU() if activation else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) to the same shape."""
        residual = self.projection(self.branches(x)) * self.scale
        return self.activation(x + self.stochastic_depth(residual))


def chain(
    in_channels: int,
    *steps: Step,
    stride: int = 1,
    padding: int | None = None,
    norm_layer: Norm | None = BATCH_NORM,
) -> nn.Sequential:
    """Convolutions one after another, each with norm and ReLU; the last one has `stride` and `padding`.

    Padding None keeps height and width at stride 1. Without `norm_layer` the convolutions have biases.
    """
    layers = nn.Sequential()
    for number, (out_channels, kernel_size) in enumerate(steps, start=1):
        last = {"stride": stride, "padding": padding} if number == len(steps) else {}
        layers.append(Conv2dNormActivation(in_channels, out_channels, kernel_size, norm_layer=norm_layer, **last))
        in_channels = out_channels
    return layers


def naive_inception(in_channels: int, ones: int, threes: int, fives: int, norm_layer: Norm | None = None) -> Branches:
    """Convolutions of 1 x 1, 3 x 3 and 5 x 5 beside a max pool, which passes all channels on: maps only grow.

    Szegedy et al., Going deeper with convolutions, 2015, figure 2 (a).
    """
    kernels = ((ones, 1), (threes, 3), (fives, 5))
    return Branches([*(chain(in_channels, step, norm_layer=norm_layer) for step in kernels), nn.MaxPool2d(3, 1, 1)])


def inception_v1(
    in_channels: int,
    ones: int,
    threes: tuple[int, int],
    fives: tuple[int, int],
    pooled: int,
    norm_layer: Norm | None = None,
) -> Branches:
    """GoogLeNet's module: 1 x 1 convolutions make the map thin before it meets large kernels, and after the pool.

    `threes` and `fives` are the channels of a 1 x 1 convolution and of the 3 x 3 or 5 x 5 behind it. Szegedy et al.,
    Going deeper with convolutions, 2015, figure 2 (b).
    """
    branches = (((ones, 1),), ((threes[0], 1), (threes[1], 3)), ((fives[0], 1), (fives[1], 5)))
    return _beside_pool(in_channels, *branches, pooling="max", pooled=pooled, norm_layer=norm_layer)


def inception_v2(
    in_channels: int, ones: int, threes: tuple[int, int], double: tuple[int, int], pooling: Pooling, pooled: int
) -> Branches:
    """BN-Inception's module, which is v4's A too: two 3 x 3 in place of a 5 x 5 see as far with 28 % fewer weights.

    `threes` and `double` are the channels of a 1 x 1 convolution and of the one or two 3 x 3 behind it. Ioffe, Szegedy,
    Batch normalization, 2015, figure 5; Szegedy et al., Rethinking the Inception architecture, 2016, figure 5.
    """
    twice = ((double[0], 1), (double[1], 3), (double[1], 3))
    branches = (((ones, 1),), ((threes[0], 1), (threes[1], 3)), twice)
    return _beside_pool(in_channels, *branches, pooling=pooling, pooled=pooled)


def asymmetric_inception(in_channels: int, width: int, out_channels: int = 192, n: int = 7) -> Branches:
    """Inception-v3's module for maps of 12 to 20 pixels: 1 x n and n x 1 have 2 / n of the weights of n x n.

    `width` channels inside, 4 * `out_channels` in the end. Szegedy et al., Rethinking the Inception architecture, 2016,
    figure 6.
    """
    row, column = (1, n), (n, 1)
    once = ((width, 1), (width, row), (out_channels, column))
    twice = ((width, 1), (width, column), (width, row), (width, column), (out_channels, row))
    return _beside_pool(in_channels, ((out_channels, 1),), once, twice, pooled=out_channels)


def expanded_inception(in_channels: int) -> Branches:
    """Inception-v3's module for its coarsest maps: 1 x 3 and 3 x 1 side by side make many channels, 2048 in the end.

    Szegedy et al., Rethinking the Inception architecture, 2016, figure 7.
    """
    double = _forked(in_channels, (448, 1), (384, 3), width=384)
    pool = _pool(in_channels, 192)
    return Branches([chain(in_channels, (320, 1)), _forked(in_channels, (384, 1), width=384), double, pool])


def grid_reduction(in_channels: int, *branches: Sequence[Step], padding: int = 0) -> Branches:
    """Halves a map without a bottleneck: the last convolution of each branch has stride 2, a max pool stands beside.

    The channels behind are those of the branches and, from the pool, `in_channels`. Szegedy et al., Rethinking the
    Inception architecture, 2016, figure 10. `padding` 1 is BN-Inception's, which the last convolutions and the pool
    have.
    """
    chains = [chain(in_channels, *steps, stride=2, padding=padding) for steps in branches]
    return Branches([*chains, nn.MaxPool2d(3, 2, padding)])


def inception_v4_a() -> Branches:
    """384 to 384 channels. Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, 2017, figure 4."""
    return inception_v2(384, 96, (64, 96), (64, 96), "average", 96)


def inception_v4_b() -> Branches:
    """1024 to 1024 channels. Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, 2017, figure 5."""
    row, column = (1, 7), (7, 1)
    once = ((192, 1), (224, row), (256, column))
    twice = ((192, 1), (192, column), (224, row), (224, column), (256, row))
    return _beside_pool(1024, ((384, 1),), once, twice, pooled=128)


def inception_v4_c() -> Branches:
    """1536 to 1536 channels. Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, 2017, figure 6."""
    double = _forked(1536, (384, 1), (448, (3, 1)), (512, (1, 3)), width=256)
    return Branches([chain(1536, (256, 1)), _forked(1536, (384, 1), width=256), double, _pool(1536, 256)])


def reduction_a(in_channels: int, k: int, l: int, m: int, n: int) -> Branches:  # noqa: E741 # the paper's letters
    """35 x 35 to 17 x 17, in_channels + n + m channels: k, l, m, n are 192, 224, 256, 384 in Inception-v4.

    Inception-ResNet-v1 has 192, 192, 256, 384. Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, 2017, figure 7, table 1.
    """
    return grid_reduction(in_channels, ((n, 3),), ((k, 1), (l, 3), (m, 3)))


def inception_v4_reduction_b() -> Branches:
    """17 x 17 to 8 x 8, 1024 to 1536 channels. Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, 2017, figure 8."""
    return grid_reduction(1024, ((192, 1), (192, 3)), ((256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3)))


def inception_resnet_a(channels: int = 256, scale: float = 0.17) -> InceptionResidual:
    """Inception-ResNet-v1's block for 35 x 35. Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, 2017, figure 10."""
    return InceptionResidual(channels, ((32, 1),), ((32, 1), (32, 3)), ((32, 1), (32, 3), (32, 3)), scale=scale)


def inception_resnet_b(channels: int = 896, scale: float = 0.10) -> InceptionResidual:
    """Inception-ResNet-v1's block for 17 x 17. Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, 2017, figure 11."""
    return InceptionResidual(channels, ((128, 1),), ((128, 1), (128, (1, 7)), (128, (7, 1))), scale=scale)


def inception_resnet_c(channels: int = 1792, scale: float = 0.20, *, activation: bool = True) -> InceptionResidual:
    """Inception-ResNet-v1's block for 8 x 8. Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, 2017, figure 13."""
    branches = (((192, 1),), ((192, 1), (192, (1, 3)), (192, (3, 1))))
    return InceptionResidual(channels, *branches, scale=scale, activation=activation)


def inception_resnet_reduction_b(in_channels: int = 896) -> Branches:
    """17 x 17 to 8 x 8, 896 more channels. Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, 2017, figure 12."""
    return grid_reduction(in_channels, ((256, 1), (384, 3)), ((256, 1), (256, 3)), ((256, 1), (256, 3), (256, 3)))


def _beside_pool(
    in_channels: int,
    *branches: Sequence[Step],
    pooled: int,
    pooling: Pooling = "average",
    norm_layer: Norm | None = BATCH_NORM,
) -> Branches:
    """The branches, and beside them a 3 x 3 pool with a 1 x 1 convolution to `pooled` channels behind it."""
    chains = [chain(in_channels, *steps, norm_layer=norm_layer) for steps in branches]
    return Branches([*chains, _pool(in_channels, pooled, pooling, norm_layer)])


def _pool(
    in_channels: int, pooled: int, pooling: Pooling = "average", norm_layer: Norm | None = BATCH_NORM
) -> nn.Sequential:
    # The average is over the pixels that exist, as in TensorFlow, where these networks come from.
    pool = nn.MaxPool2d(3, 1, 1) if pooling == "max" else nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return nn.Sequential(pool, *chain(in_channels, (pooled, 1), norm_layer=norm_layer))


def _forked(in_channels: int, *steps: Step, width: int) -> nn.Sequential:
    """A chain with two ends side by side, 1 x 3 and 3 x 1 convolutions, each to `width` channels."""
    ends = Branches(chain(steps[-1][0], (width, kernel)) for kernel in ((1, 3), (3, 1)))
    return nn.Sequential(*chain(in_channels, *steps), ends)
