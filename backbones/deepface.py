"""DeepFace: Taigman, Yang, Ranzato, Wolf, DeepFace: closing the gap to human-level performance in face verification,
2014, section 3; its layers C1 to L6.

Not in the catalogue, whose networks take images of any size: the last three layers share no weights between positions,
because eyes and mouth of an aligned face need different filters, so each size is a network of its own.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from .backbone import Backbone, Network
from .layers import LocallyConnected2d, initialise_for_relu

SIZE = 152  # pixels, of the paper
_SMALLEST = 72  # of which L6 has a single cell
_LOCAL = {"l4": (9, 1), "l5": (7, 2), "l6": (5, 1)}  # kernel and stride of the locally connected layers
_WIDTH = 16  # their channels, and C3's


class DeepFace(Backbone):
    """The network for aligned faces of one size: 152 pixels become maps of 142 (C1), 55 (L4) and 21 (L6) cells.

    `channels` (32, 16, 16), `strides` (1, 2, 4). The 4096 units of F7 and the classes of F8 are heads'. At 152 pixels
    it has 73.5 million parameters, 62.8 of them in L4. `levels` and `frozen_stages` as in `create_backbone`.

    Weights begin after He et al., 2015, and biases at 0: the paper's N(0, 0.01) and 0.5 lose the image on the way.
    Raises ValueError for a size (side, or height and width) below 72 pixels, and in `forward` for images of another.
    """

    def __init__(
        self,
        in_channels: int = 3,
        size: int | tuple[int, int] = SIZE,
        *,
        levels: Sequence[int] | None = None,
        frozen_stages: int = 0,
    ) -> None:
        sides = (size, size) if isinstance(size, int) else size
        if min(sides) < _SMALLEST:
            raise ValueError(
                f"The size is {_pixels(sides)} pixels, but DeepFace needs {_SMALLEST} x {_SMALLEST} or more: "
                f"enlarge the images, best to {SIZE} x {SIZE}."
            )
        network = _build(in_channels)
        super().__init__(Network(network, [path for path, _ in network.named_children()]), levels=levels)
        self.size = sides
        self._disconnect()
        initialise_for_relu(self)
        self._frozen = self._freeze(frozen_stages)

    def run(self, images: torch.Tensor, layers: Sequence[str]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """As in `Backbone`."""
        if tuple(images.shape[2:]) != self.size:
            raise ValueError(
                f"The images are {_pixels(images.shape[2:])} pixels, but this DeepFace reads {_pixels(self.size)} "
                "alone, because it has weights for each place: resize them, or build it for their size."
            )
        return super().run(images, layers)

    def _disconnect(self) -> None:
        """Put the locally connected layers in the place of the convolutions."""
        height, width = (_side_of_c3(pixels) for pixels in self.size)
        for path, (kernel, stride) in _LOCAL.items():
            if path in self.layers:
                self.set_submodule(path, LocallyConnected2d(_WIDTH, _WIDTH, (height, width), kernel, stride))
            height, width = ((side - kernel) // stride + 1 for side in (height, width))


def _build(in_channels: int) -> nn.Sequential:
    """With convolutions for locally connected layers, whose strides are measured on an image that these don't take."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        c1=nn.Conv2d(in_channels, 32, 11),
        relu1=nn.ReLU(),
        m2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        c3=nn.Conv2d(32, _WIDTH, 9),
        relu3=nn.ReLU(),
    )
    for path, (kernel, stride) in _LOCAL.items():
        layers |= {path: nn.Conv2d(_WIDTH, _WIDTH, kernel, stride), path.replace("l", "relu"): nn.ReLU()}
    return nn.Sequential(layers)


def _side_of_c3(pixels: int) -> int:
    """152 pixels become 142 behind C1, 71 behind M2, 63 behind C3."""
    return (pixels - 10) // 2 - 8


def _pixels(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
