"""What the task asks of every detection head.

torchvision's detectors hold head, anchors, losses and suppression in one; so do these: a head is an adapter that joins
torchvision's parts to the maps of a backbone.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypedDict

import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from .suppression import Candidates, Suppression


class Target(TypedDict):
    """The objects of one image, as a head learns them."""

    boxes: torch.Tensor  # float32 (K, 4), xyxy, in pixels of the network's input; each has an area
    labels: torch.Tensor  # int64 (K,), class numbers from 0, without background, as in the data


class DetectionHead(nn.Module, ABC):
    """From a backbone's maps to boxes.

    `suppression` is what `detect` keeps of the candidates; a task may put another in its place. The sides of a batch's
    images are padded to multiples of `divisor`. `from_backbone`: parts of the head that the network's weights fill.
    """

    divisor: int = 1
    suppression: Suppression
    from_backbone: Sequence[nn.Module] = ()

    def forward(self, features: list[torch.Tensor], images: ImageList) -> Any:
        """Raw outputs, which the last two methods take, of `features`, N maps (N, C, H, W), finest first.

        `images` has the normalised images, (N, C, H, W), padded to one size, and the (h, w) of each without padding.
        """
        return self.outputs(self.layers(features), images)

    @abstractmethod
    def layers(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """The part of `forward` that is layers and nothing else, which an engine may compute with the backbone's."""

    @abstractmethod
    def outputs(self, answers: list[torch.Tensor], images: ImageList) -> Any:
        """The rest: raw outputs, from what `layers` gave."""

    @abstractmethod
    def losses(self, outputs: Any, targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        """The paper's losses by name, each a scalar. Changes no state, and does not look at `self.training`."""

    @abstractmethod
    def candidates(self, outputs: Any) -> list[Candidates]:
        """For each image the boxes that its suppression is to choose from, cut at the image's border."""

    def detect(self, outputs: Any) -> list[Candidates]:
        """For each image the boxes that stay, by falling score."""
        return [self.suppression(candidates) for candidates in self.candidates(outputs)]
