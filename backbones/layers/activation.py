"""Activations that torch lacks."""

import torch
from torch import nn


class ScaledTanh(nn.Module):
    """LeNet's squashing function 1.7159 tanh(2x / 3): it passes through (1, 1) and (-1, -1), where it bends most.

    Any shape. LeCun, Bottou, Bengio, Haffner, 1998, equation 6 and appendix A.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape, values within ±1.7159."""
        return 1.7159 * torch.tanh(x * (2 / 3))
