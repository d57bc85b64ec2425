"""From feature maps to class scores."""

from collections.abc import Sequence

import torch
from torch import nn


class LinearHead(nn.Module):
    """Global average pooling of the coarsest map, dropout, one linear layer (Lin et al. 2013, section 3.2; He et al.
    2015).
    """

    def __init__(self, channels: Sequence[int], num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels[-1], num_classes)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, H, W), finest first, to logits (N, num_classes)."""
        return self.linear(self.dropout(features[-1].mean(dim=(2, 3))))


HEADS = {"linear": LinearHead}
