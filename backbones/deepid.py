"""DeepID: Sun, Wang, Tang, Deep learning face representation from predicting 10,000 classes, 2014, section 3.

Small networks, each of which sees one patch of an aligned face, their features side by side. Not in the catalogue,
whose networks give maps: a patch has a fixed size, and in the end the face is a single cell.

Simpler than the paper in three ways. Its third convolution shares weights within regions of 2 x 2 only, here it is an
ordinary one. It has 60 patches, ten regions in three scales, in colour and in grey; here there are at most the ten
regions, of our own choice. And it joins the features of the mirrored face, which is a head's or a task's to do.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from .backbone import Backbone, Network
from .layers import LocallyConnected2d, initialise_for_relu
from .probe import PROBE

FEATURES = 160  # of a patch
TEMPLATE = 112  # pixels, side of the aligned face that the regions are given in
REGIONS = (  # left, top, right, bottom
    *((12, 0, 100, 112), (22, 4, 89, 88), (22, 28, 89, 112), (4, 14, 71, 98), (41, 14, 108, 98)),  # the face, parts
    *((18, 32, 58, 72), (54, 32, 94, 72), (36, 52, 76, 92), (22, 72, 62, 112), (51, 72, 91, 112)),  # eyes, nose, mouth
)
_UPRIGHT, _SQUARE = (39, 31), (31, 31)  # height and width of patches, those of figures 2 and 3


class DeepID(Backbone):
    """Aligned faces (N, in_channels, H, W) to one map (N, 160 * patches, 1, 1), not negative.

    `patches`: how many of `REGIONS` are looked at, from 1, the whole face, to 10; then come four parts of it, the eyes
    from left to right, the nose and the corners of the mouth. Faces of other sizes than 112 x 112 are thought to be
    enlarged templates. The stride is 512 for all of them: images of so many pixels, at which strides are measured, have
    one cell. `frozen_stages`, 0 or 1, as in `create_backbone`. Raises ValueError for other numbers.
    """

    def __init__(self, in_channels: int = 3, patches: int = 1, *, frozen_stages: int = 0) -> None:
        if not 1 <= patches <= len(REGIONS):
            raise ValueError(f"patches is {patches}, but DeepID knows {len(REGIONS)}: choose from 1 to {len(REGIONS)}.")
        network = nn.Sequential(OrderedDict(patches=_Patches(in_channels, REGIONS[:patches])))
        initialise_for_relu(network)
        super().__init__(Network(network, ["patches"]), output_stride=PROBE, frozen_stages=frozen_stages)


class PatchNetwork(nn.Module):
    """Four convolutions, the last without shared weights, and 160 units that read the third's map and the fourth's.

    So they see parts and their arrangement, and little is lost in the narrow fourth (equation 4). `size` is the
    patch's height and width: 39 x 31 become 3 x 2 cells in the third and 2 x 1 in the fourth.
    """

    def __init__(self, in_channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        layers = (_halving(in_channels, 20, 4), _halving(20, 40, 3), _halving(40, 60, 3))
        self.thirds = nn.Sequential(*(part for layer in layers for part in layer))
        height, width = (_side_of_third(side) for side in size)
        self.fourth = nn.Sequential(LocallyConnected2d(60, 80, (height, width), 2), nn.ReLU())
        joined = 60 * height * width + 80 * (height - 1) * (width - 1)
        self.features = nn.Sequential(nn.Linear(joined, FEATURES), nn.ReLU())

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, *size) to (N, 160)."""
        third = self.thirds(patches)
        return self.features(torch.cat([third.flatten(1), self.fourth(third).flatten(1)], dim=1))


class _Patches(nn.ModuleList):
    """A network for each region of a face."""

    def __init__(self, in_channels: int, regions: Sequence[tuple[int, int, int, int]]) -> None:
        super().__init__(PatchNetwork(in_channels, _size_of(region)) for region in regions)
        self.regions = regions

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        found = [network(_cut(faces, region)) for network, region in zip(self, self.regions, strict=True)]
        return torch.cat(found, dim=1)[:, :, None, None]


def _cut(faces: torch.Tensor, region: tuple[int, int, int, int]) -> torch.Tensor:
    """The part of each face, at the size of its network."""
    height, width = faces.shape[2:]
    left, right = (round(x * width / TEMPLATE) for x in region[0::2])
    top, bottom = (round(y * height / TEMPLATE) for y in region[1::2])
    part = faces[:, :, top:bottom, left:right]
    return F.interpolate(part, size=_size_of(region), mode="bilinear", antialias=True)


def _size_of(region: tuple[int, int, int, int]) -> tuple[int, int]:
    left, top, right, bottom = region
    return _SQUARE if right - left == bottom - top else _UPRIGHT


def _halving(in_channels: int, out_channels: int, kernel: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(in_channels, out_channels, kernel), nn.ReLU(), nn.MaxPool2d(2)


def _side_of_third(side: int) -> int:
    """39 cells become 36, 18, 16, 8, 6 and 3."""
    for kernel in (4, 3, 3):
        side = (side - kernel + 1) // 2
    return side
