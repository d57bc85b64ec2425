"""Pools that torch lacks."""

import torch
from torch import nn


class Subsampling(nn.AvgPool2d):
    """LeNet's trainable pool: the sum of each 2 x 2 tile, times a coefficient, plus a bias, both one per map.

    A small coefficient makes the squashing that follows nearly linear (a blur), a large one a noisy "or" or "and".
    Coefficient 1/4 and bias 0 are average pooling. LeCun, Bottou, Bengio, Haffner, 1998, section II.B.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(kernel_size=2, divisor_override=1)
        self.weight = nn.Parameter(torch.full((channels,), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) to (N, channels, H // 2, W // 2)."""
        return super().forward(input) * self.weight[:, None, None] + self.bias[:, None, None]
