"""Images normalised in one way, read by a network that was trained on those normalised in another."""

from collections.abc import Sequence

import torch
from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Renormalise(nn.Module):
    """Images normalised by ImageNet's mean and standard deviation to those normalised by `mean` and `std`.

    So every backbone reads the same images, whatever its published weights expect: Google's networks want mean 0.5 and
    deviation 0.5. `mean` and `std` have 3 values, of images from 0 to 1. Of other numbers of channels than 3, channel i
    is changed as channel i % 3 is, a single one by the averages of the three factors and shifts.

    Nothing is learnt and nothing is in `state_dict()`, which stays that of the published network.
    """

    def __init__(self, in_channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        factors = [imagenet / own for imagenet, own in zip(IMAGENET_STD, std, strict=True)]
        shifts = [(imagenet - own) / s for imagenet, own, s in zip(IMAGENET_MEAN, mean, std, strict=True)]
        if in_channels == 1:
            factors, shifts = [sum(factors) / 3], [sum(shifts) / 3]
        self.factors = [factors[channel % len(factors)] for channel in range(in_channels)]
        self.shifts = [shifts[channel % len(shifts)] for channel in range(in_channels)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) to the same shape. Raises RuntimeError for other shapes, as a convolution does."""
        if images.ndim != 4 or images.shape[1] != len(self.factors):
            raise RuntimeError(f"expected (N, {len(self.factors)}, H, W), got {tuple(images.shape)}")
        if set(self.factors) == {1.0} and set(self.shifts) == {0.0}:
            return images
        # Numbers, not a buffer: they need no device, no type, and no place in checkpoints.
        channels = zip(images.unbind(1), self.factors, self.shifts, strict=True)
        return torch.stack([channel * factor + shift for channel, factor, shift in channels], dim=1)

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        return f"factors={self.factors}, shifts={self.shifts}"
