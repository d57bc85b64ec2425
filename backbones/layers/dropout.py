"""DropConnect, which torch lacks. Whole maps are dropped by its `nn.Dropout2d` (Tompson et al., 2015), units by
`nn.Dropout` (Hinton et al., 2012), residual branches by torchvision's `StochasticDepth` (Huang et al., 2016).
"""

import torch
from torch import nn
from torch.nn import functional as F


class DropConnectLinear(nn.Linear):
    """A fully connected layer that in training reads through a random part of its weights.

    Each weight is 0 with probability `p`, drawn anew in every pass, and the others are divided by 1 - p, so that the
    expected output is that of evaluation, which uses all weights as they are. The paper draws a mask for each image and
    drops biases too; one mask a batch needs no copies of the weights.

    Wan, Zeiler, Zhang, LeCun, Fergus, Regularization of neural networks using DropConnect, 2013, section 3.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, p: float = 0.5) -> None:
        super().__init__(in_features, out_features, bias)
        self.p = p

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(..., in_features) to (..., out_features)."""
        return F.linear(input, F.dropout(self.weight, self.p, self.training), self.bias)


class DropConnectConv2d(nn.Conv2d):
    """A convolution whose kernels lose each weight with probability `p` in training: see `DropConnectLinear`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        *,
        p: float = 0.5,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        self.p = p

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As `nn.Conv2d`: (N, in_channels, H, W) to (N, out_channels, h, w)."""
        return self._conv_forward(input, F.dropout(self.weight, self.p, self.training), self.bias)
