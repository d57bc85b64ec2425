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


class AuxiliaryHead(nn.Module):
    """A second classifier on a map in the middle of a network, in training alone: the lower layers get a gradient that
    is not yet faint (Szegedy et al., Going deeper with convolutions, 2015, section 5).

    GoogLeNet reads 14 x 14 cells, which its pool of 5 x 5 every 3 turns into 4 x 4; maps of other sizes are averaged
    to 4 x 4 after it, so that any image will do.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, stride=3)
        self.fit = nn.AdaptiveAvgPool2d(4)
        self.conv = nn.Conv2d(channels, 128, 1)
        self.hidden = nn.Linear(128 * 4 * 4, 1024)
        self.dropout = nn.Dropout(0.7)
        self.linear = nn.Linear(1024, num_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """One map (N, C, H, W) to logits (N, num_classes)."""
        small = self.fit(self.pool(features) if min(features.shape[2:]) >= 5 else features)
        hidden = self.hidden(self.conv(small).relu().flatten(1)).relu()
        return self.linear(self.dropout(hidden))


HEADS = {"linear": LinearHead}
