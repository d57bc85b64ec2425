"""What the task asks of every segmentation head, and what builders of heads share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ...backbones import Backbone
from ...core.errors import UsageError
from ..levels import levels_of_strides
from .options import SegmentationOptions

MakeBackbone = Callable[..., Backbone]


class SegmentationHead(nn.Module, ABC):
    """From a backbone's maps to logits. It reads the last of them, however many there are.

    `divisor`: where the sides of the images are multiples of it, the cells of the logits cover them evenly and to their
    ends; else they may end up to `divisor` - 1 pixels before or behind. `segment` pads images so.
    """

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        self.divisor = max(strides)

    @abstractmethod
    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, H, W), finest first, to logits (N, num_classes, h, w), no probabilities, at the head's own
        resolution.
        """

    def supervised(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """All logits that a training may have a loss on: those of `forward` first, and no others by default."""
        return [self(features)]


def segment(backbone: nn.Module, heads: Sequence[SegmentationHead], images: torch.Tensor) -> list[torch.Tensor]:
    """Logits (N, num_classes, H, W) of each of `heads`, of the same maps, for normalised images, float (N, C, H, W); of
    a head in training mode all that may have a loss, one behind another.

    The images are padded with 0, their mean colour, to multiples of the divisors; what was padded is cut off.
    """
    height, width = images.shape[2:]
    padded = pad(images, max(head.divisor for head in heads))  # powers of two
    return [logits[:, :, :height, :width] for logits in segment_padded(backbone, heads, padded)]


def segment_padded(backbone: nn.Module, heads: Sequence[SegmentationHead], images: torch.Tensor) -> list[torch.Tensor]:
    """The same for images whose sides are multiples of the divisors. Logits are upsampled bilinear to these."""
    features = backbone(images)
    found = [logits for head in heads for logits in (head.supervised(features) if head.training else [head(features)])]
    return [_upsample(logits, images.shape[2:]) for logits in found]


def pad(images: torch.Tensor, divisor: int) -> torch.Tensor:
    """Normalised images with 0 below and on the right, so that their sides are multiples of `divisor`."""
    height, width = images.shape[2:]
    missing = (0, -width % divisor, 0, -height % divisor)
    return F.pad(images, missing) if any(missing) else images


def _upsample(logits: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if logits.shape[2:] == size:
        return logits
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)


def make_dilated_backbone(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, output_stride: int, finer: Sequence[int] = ()
) -> Backbone:
    """A backbone whose stages of strides 16 and 32 are dilated to the stride of `options`, else to `output_stride`; its
    maps are those of the strides `finer` and of these two stages.

    Raises UsageError where the network has no such stages, or can't be dilated.
    """
    levels = levels_of_strides(options.backbone, (*finer, 16, 32))
    return make_backbone(output_stride=options.output_stride or output_stride, levels=levels)


def refuse(options: SegmentationOptions, *entries: str) -> None:
    """Raise UsageError if any of `entries`, which the head does not read, is set."""
    for entry in entries:
        if getattr(options, entry) is not None:
            raise UsageError(
                f"model.{entry} is {getattr(options, entry)}, but the head {options.head} on {options.backbone} has "
                "nothing that it could change; leave it out."
            )
