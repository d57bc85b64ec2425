"""UNet (Ronneberger, Fischer, Brox, U-Net: convolutional networks for biomedical image segmentation, 2015).

`UNet` is the network of the paper's figure 1, with convolutions without padding, or with; its encoder is the backbone
`unet`. `UNetHead` takes from it what lasted, the way up with the encoder's maps beside, and puts it on any backbone.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops.misc import Conv2dNormActivation

from ...backbones import Backbone
from ...backbones.layers import initialise_for_relu
from ...backbones.unet import UNetEncoder, convolution_pair
from ...core.errors import UsageError
from .head import MakeBackbone, SegmentationHead, refuse
from .options import SegmentationOptions

Upsampling = Literal["bilinear", "nearest", "transposed"]

# Pixels that the convolutions without padding take from each side of the image: 572 pixels become 388.
MARGIN = 92

_WIDTHS = (256, 128, 64, 32, 16)
_TRIM = 2  # pixels by which the outputs of sides of multiples of 16 are larger, at each side
_LEAST_OUTPUT = 4  # pixels, of the convolutions without padding; the next are 20, 36, ...


class UNet(nn.Module):
    """The network of figure 1, from images to logits: 31,030,658 parameters with one channel and two classes.

    `padded=False` is the paper's: `forward` gives logits of the middle of its images, `forward_whole` of all of them.
    `padded=True` pads each convolution with zeros: the logits have the size of the images. `width`: channels at full
    resolution, twice as many after each pooling.
    """

    def __init__(self, in_channels: int, num_classes: int, *, padded: bool = False, width: int = 64) -> None:
        super().__init__()
        self.encoder = UNetEncoder(in_channels, padded=padded, width=width)
        self.decoder = UNetDecoder(self.encoder.channels, self.encoder.strides, num_classes, padded=padded)
        self.padded = padded

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, `num_classes`, h, w) of images, float (N, C, H, W).

        Padded, h and w are H and W. Without padding they are H - 184 and W - 184, and H and W have to be 188 or a
        multiple of 16 more, so that each pooling meets an even size (section 2): UsageError otherwise.
        """
        if not self.padded:
            _check_valid(*images.shape[2:])
        return self.decoder(self.encoder(images))

    def forward_whole(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, `num_classes`, H, W) of images of any size.

        Without padding the images are continued by mirroring (figure 2, the overlap-tile strategy with a single tile).
        """
        if self.padded:
            return self.forward(images)
        height, width = images.shape[2:]
        return _centre(self.forward(_surrounded(images)), height, width)


class Mirrored(nn.Module):
    """A backbone without padding, for images of sides of multiples of 16, which it continues by mirroring so that the
    decoder's logits cover them all the same: they end 2 pixels beyond each side, which the decoder's `trim` takes off.
    """

    def __init__(self, backbone: nn.Module, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.channels, self.strides = tuple(channels), tuple(strides)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images, float (N, C, H, W), to the backbone's maps, finest first."""
        return self.backbone(_surrounded(images))


class UNetDecoder(SegmentationHead):
    """The expansive path: a 2 x 2 transposed convolution, the encoder's map beside, and two 3 x 3 convolutions a step.

    `channels` and `strides` are the encoder's; each stride is twice the one before it: UsageError otherwise. Without
    padding the middle of the encoder's map is taken.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        padded: bool = False,
        trim: int = 0,
    ) -> None:
        """`trim`: pixels to take from each side of the logits, 2 behind `Mirrored`."""
        super().__init__(strides)
        if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
            raise UsageError(
                f"The maps have the strides {tuple(strides)}, but UNet's own decoder doubles the size in each step: "
                "use UNetHead on this backbone."
            )
        self.padded = padded
        self.trim = trim
        steps = [(channels[level + 1], channels[level]) for level in reversed(range(len(channels) - 1))]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in steps)
        self.pairs = nn.ModuleList(nn.Sequential(*convolution_pair(2 * fine, fine, padded=padded)) for _, fine in steps)
        self.classifier = nn.Conv2d(channels[0], num_classes, 1)
        initialise_for_relu(self)
        for up in self.ups:
            _initialise_up(up)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """The encoder's maps, finest first, to logits (N, `num_classes`, h, w) at the finest map's stride."""
        *skips, x = features
        for up, pair in zip(self.ups, self.pairs, strict=True):
            x, skip = up(x), skips.pop()
            if self.padded:
                x = _extended(x, *skip.shape[2:])
            else:
                skip = _centre(skip, *x.shape[2:])
            x = pair(torch.cat([skip, x], dim=1))
        logits = self.classifier(x)
        return _centre(logits, *(side - 2 * self.trim for side in logits.shape[2:]))


class UNetHead(SegmentationHead):
    """UNet's way up on any backbone: enlarge, put the next finer map beside, two 3 x 3 convolutions with batch norm.

    `channels`, `strides`: the backbone's, finest first, of any steps. `widths`: channels after each step up, from the
    coarsest on; the last counts for all further ones. `upsampling`: how a map is enlarged; "transposed" learns it, with
    a kernel as large as its stride. With `full_resolution` further steps without a map lead to the image's resolution,
    else the logits have the stride of the finest map.

    On ResNet-34, "nearest" and one class it has the 24,436,369 parameters of segmentation_models.pytorch's Unet.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        widths: Sequence[int] = _WIDTHS,
        upsampling: Upsampling = "bilinear",
        full_resolution: bool = True,
    ) -> None:
        super().__init__(strides)
        self.steps = nn.ModuleList()
        width = channels[-1]
        for index, (skip, factor) in enumerate(_steps(channels, strides, full_resolution)):
            out = widths[min(index, len(widths) - 1)]
            self.steps.append(_Step(width, skip, out, factor, upsampling))
            width = out
        self.classifier = nn.Conv2d(width, num_classes, 3, padding=1)
        initialise_for_relu(self)
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                _initialise_up(module)
        nn.init.xavier_uniform_(self.classifier.weight)  # no ReLU follows

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps, finest first, to logits (N, `num_classes`, h, w).

        h and w are those of the finest map, times its stride with `full_resolution`.
        """
        *skips, x = features
        for step in self.steps:
            x = step(x, skips.pop() if skips else None)
        return self.classifier(x)


class _Step(nn.Module):
    """Enlarge to the size of a finer map, or by a factor where there is none, put it beside and convolve."""

    def __init__(
        self, in_channels: int, skip_channels: int, out_channels: int, factor: int, upsampling: Upsampling
    ) -> None:
        super().__init__()
        self.factor = factor
        self.mode = "nearest" if upsampling == "nearest" else "bilinear"
        learns = upsampling == "transposed" and factor > 1
        self.up = nn.ConvTranspose2d(in_channels, out_channels, factor, stride=factor) if learns else nn.Identity()
        joined = (out_channels if learns else in_channels) + skip_channels
        self.convolutions = two_convolutions(joined, out_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        size = tuple(side * self.factor for side in x.shape[2:]) if skip is None else tuple(skip.shape[2:])
        x = self.up(x)
        if tuple(x.shape[2:]) != size:
            x = F.interpolate(x, size=size, mode=self.mode, align_corners=None if self.mode == "nearest" else False)
        return self.convolutions(x if skip is None else torch.cat([x, skip], dim=1))


def build_unet(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, UNetHead]:
    """On all maps of the backbone; `options.channels` is the width at full resolution, 16 without."""
    refuse(options, "multi_grid")
    backbone = make_backbone(output_stride=options.output_stride or 32)
    width = options.channels or _WIDTHS[-1]
    widths = [width * 2**step for step in reversed(range(len(_WIDTHS)))]
    return backbone, UNetHead(backbone.channels, backbone.strides, num_classes, widths=widths)


def build_unet_padded(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, UNetDecoder]:
    """The paper's decoder, padded, on all maps of a backbone that halves the size from map to map, from stride 1 on."""
    refuse(options, "multi_grid", "output_stride", "channels")
    backbone = make_backbone()
    if backbone.strides[0] != 1:
        raise UsageError(
            f"{options.head} ends at the finest map, but that of {options.backbone} has stride {backbone.strides[0]}: "
            "take the backbone unet or a VGG network, or the head unet."
        )
    return backbone, UNetDecoder(backbone.channels, backbone.strides, num_classes, padded=True)


def build_unet_valid(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Mirrored, UNetDecoder]:
    """The paper's network: the backbone unet with the padding taken off, and the decoder without any."""
    refuse(options, "multi_grid", "output_stride", "channels")
    if options.backbone != "unet":
        raise UsageError(
            f"unet_valid is the network of the paper on the backbone unet, not on {options.backbone}: take that "
            "backbone, or the head unet, which stands on any."
        )
    if options.auxiliary:
        raise UsageError(
            "model.auxiliary: maps of unet_valid don't have the place of the images; leave it out, or take unet_padded."
        )
    backbone = make_backbone()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.padding = (0, 0)
    decoder = UNetDecoder(backbone.channels, backbone.strides, num_classes, trim=_TRIM)
    return Mirrored(backbone, backbone.channels, backbone.strides), decoder


def two_convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    """3 x 3, batch norm and ReLU, twice: (N, `in_channels`, H, W) to (N, `out_channels`, H, W)."""
    return nn.Sequential(*(Conv2dNormActivation(width, out_channels) for width in (in_channels, out_channels)))


def valid_output(side: int) -> int:
    """The smallest output of the convolutions without padding, in pixels, that covers `side`; 184 more go in."""
    return _LEAST_OUTPUT + 16 * max(0, math.ceil((side - _LEAST_OUTPUT) / 16))


def _steps(channels: Sequence[int], strides: Sequence[int], full_resolution: bool) -> list[tuple[int, int]]:
    """For each step up the channels of the map that is put beside, 0 where there is none, and the factor."""
    steps = [
        (channels[level], max(1, round(strides[level + 1] / strides[level])))
        for level in reversed(range(len(channels) - 1))
    ]
    stride = strides[0] if full_resolution else 1
    while stride > 1:
        factor = 2 if stride % 2 == 0 else stride
        steps.append((0, factor))
        stride //= factor
    return steps


def _initialise_up(up: nn.Module) -> None:
    """As the convolutions: with the stride as large as the kernel a unit has one input a channel."""
    assert isinstance(up, nn.ConvTranspose2d) and up.bias is not None
    nn.init.normal_(up.weight, std=math.sqrt(2 / up.in_channels))
    nn.init.zeros_(up.bias)


def _centre(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width]


def _extended(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Repeat the last row and column where a pooling left out an odd one."""
    return F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]), mode="replicate")


def _surrounded(images: torch.Tensor) -> torch.Tensor:
    """Images continued on all sides, so that the output covers them."""
    height, width = images.shape[2:]
    return _mirrored(_mirrored(images, 2, valid_output(height)), 3, valid_output(width))


def _mirrored(x: torch.Tensor, dim: int, output: int) -> torch.Tensor:
    """Continue `x` by mirroring at its border pixels, as often as it takes, so that `output` pixels come out."""
    side = x.shape[dim]
    before = MARGIN + (output - side) // 2
    period = max(1, 2 * (side - 1))
    places = torch.arange(-before, output + 2 * MARGIN - before, device=x.device) % period
    return x.index_select(dim, torch.where(places < side, places, period - places))


def _check_valid(height: int, width: int) -> None:
    sizes = [valid_output(side - 2 * MARGIN) + 2 * MARGIN for side in (height, width)]
    if sizes != [height, width]:
        raise UsageError(
            f"The images are {height} x {width} pixels, but UNet without padding takes sides of 188, 204, 220, ... "
            f"pixels (572 in the paper): use forward_whole, which mirrors them, or {sizes[0]} x {sizes[1]}."
        )
