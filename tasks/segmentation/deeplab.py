"""The four DeepLabs, all on a backbone whose last stages are dilated: see `backbones/dilate.py`.

Chen, Papandreou, Kokkinos, Murphy, Yuille, Semantic image segmentation with deep convolutional nets and fully connected
CRFs, 2015 (v1), and DeepLab: semantic image segmentation with deep convolutional nets, atrous convolution, and fully
connected CRFs, 2016 (v2); Chen, Papandreou, Schroff, Adam, Rethinking atrous convolution for semantic image
segmentation, 2017 (v3); Chen, Zhu, Papandreou, Schroff, Adam, Encoder-decoder with atrous separable convolution for
semantic image segmentation, 2018 (v3+). Their CRF is not in the head, which gives logits.

Rates stand here in pixels of the image, so that they cover the same of it at every output stride.
"""

from collections.abc import Sequence
from itertools import takewhile

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from ...backbones import Backbone
from ...backbones.layers import DepthwiseSeparableConv2d, SteadyBatchNorm2d
from ...core.errors import UsageError
from .fully_connected import fill_from_vgg, fully_connected
from .head import MakeBackbone, SegmentationHead, make_dilated_backbone, refuse
from .options import SegmentationOptions

_LARGE_FIELD = (96,)  # a rate of 12 at stride 8: v1, section 5, DeepLab-CRF-LargeFOV
_PYRAMID_V2 = (48, 96, 144, 192)  # 6, 12, 18, 24 at stride 8: v2, section 4.1.2, ASPP-L
_PYRAMID_V3 = (96, 192, 288)  # 6, 12, 18 at stride 16: v3, section 3.3
_FC_CHANNELS = 1024  # of fc6 and fc7: v1, section 5
_LOW_LEVEL = 48  # channels of the decoder's finer map: v3+, section 4.1


class DeepLabV1Head(SegmentationHead):
    """LargeFOV: fc6 as a 3 x 3 convolution of rate 12 (at stride 8), fc7 and the scores, `width` channels between."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], num_classes: int, *, width: int = _FC_CHANNELS
    ) -> None:
        super().__init__(strides)
        (rate,) = _rates(_LARGE_FIELD, strides)
        self.fully_connected = fully_connected(channels[-1], width, kernel=3, rate=rate)
        self.score = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, H, W), finest first, to logits (N, num_classes, h, w) of the size of the last."""
        return self.score(self.fully_connected(features[-1]))


class DeepLabV2Head(SegmentationHead):
    """Atrous spatial pyramid pooling: the sum of the scores of four branches of rates 6, 12, 18 and 24 (at stride 8).

    A branch is fc6, fc7 and scores, with `width` channels between, as for the paper's VGG; with None a single 3 x 3
    convolution, as for its ResNet.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], num_classes: int, *, width: int | None = None
    ) -> None:
        super().__init__(strides)
        self.branches = nn.ModuleList(
            _branch(channels[-1], width, num_classes, rate) for rate in _rates(_PYRAMID_V2, strides)
        )

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, H, W), finest first, to logits (N, num_classes, h, w) of the size of the last."""
        logits = self.branches[0](features[-1])
        for branch in list(self.branches)[1:]:
            logits = logits + branch(features[-1])
        return logits


class DeepLabV3Head(SegmentationHead):
    """1 x 1, three rates and the mean of the whole map side by side, brought together by 1 x 1, as torchvision has it:
    a 3 x 3 convolution follows, and the scores. The rates are 6, 12, 18 at stride 16 and twice that at 8.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int, *, width: int = 256) -> None:
        super().__init__(strides)
        self.layers = nn.Sequential(
            _pyramid(channels[-1], width, _rates(_PYRAMID_V3, strides), separable=False),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, num_classes, 1),
        )

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, H, W), finest first, to logits (N, num_classes, h, w) of the size of the last."""
        return self.layers(features[-1])


class DeepLabV3PlusHead(SegmentationHead):
    """The pyramid of v3, upsampled to the first map and joined with 48 channels that are made of it; two 3 x 3
    convolutions and the scores follow. All 3 x 3 convolutions are separable.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int, *, width: int = 256) -> None:
        super().__init__(strides)
        self.pyramid = _pyramid(channels[-1], width, _rates(_PYRAMID_V3, strides), separable=True)
        self.low_level = nn.Sequential(
            nn.Conv2d(channels[0], _LOW_LEVEL, 1, bias=False), nn.BatchNorm2d(_LOW_LEVEL), nn.ReLU(inplace=True)
        )
        self.decoder = nn.Sequential(
            _separable(width + _LOW_LEVEL, width), _separable(width, width), nn.Conv2d(width, num_classes, 1)
        )

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, H, W), finest first, to logits (N, num_classes, h, w) of the size of the first."""
        low_level = self.low_level(features[0])
        context = F.interpolate(self.pyramid(features[-1]), low_level.shape[2:], mode="bilinear", align_corners=False)
        return self.decoder(torch.cat([context, low_level], dim=1))


def build_deeplabv1(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, DeepLabV1Head]:
    """At stride 8; on a VGG with weights fc6 and fc7 start from some of its own."""
    refuse(options, "multi_grid")
    backbone = make_dilated_backbone(make_backbone, options, output_stride=8)
    width = options.channels or _FC_CHANNELS
    head = DeepLabV1Head(backbone.channels, backbone.strides, num_classes, width=width)
    if options.backbone.startswith("vgg"):
        fill_from_vgg([head.fully_connected], options)
    return backbone, head


def build_deeplabv2(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, DeepLabV2Head]:
    """At stride 8; on a VGG with fc6 and fc7 in each branch, on other networks where the options give a width."""
    refuse(options, "multi_grid")
    backbone = make_dilated_backbone(make_backbone, options, output_stride=8)
    is_vgg = options.backbone.startswith("vgg")
    width = options.channels or (_FC_CHANNELS if is_vgg else None)
    head = DeepLabV2Head(backbone.channels, backbone.strides, num_classes, width=width)
    if is_vgg:
        fill_from_vgg([branch.get_submodule("0") for branch in head.branches], options)
    return backbone, head


def build_deeplabv3(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, DeepLabV3Head]:
    """At stride 8, as torchvision's."""
    backbone = make_dilated_backbone(make_backbone, options, output_stride=8)
    _set_multi_grid(backbone, options)
    return backbone, DeepLabV3Head(backbone.channels, backbone.strides, num_classes, width=options.channels or 256)


def build_deeplabv3plus(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, DeepLabV3PlusHead]:
    """At stride 16, with the map of stride 4 for the decoder."""
    backbone = make_dilated_backbone(make_backbone, options, output_stride=16, finer=(4,))
    _set_multi_grid(backbone, options)
    return backbone, DeepLabV3PlusHead(backbone.channels, backbone.strides, num_classes, width=options.channels or 256)


def _rates(pixels: Sequence[int], strides: Sequence[int]) -> list[int]:
    return [max(1, round(each / strides[-1])) for each in pixels]


def _branch(channels: int, width: int | None, num_classes: int, rate: int) -> nn.Module:
    if width is None:
        return nn.Conv2d(channels, num_classes, 3, padding=rate, dilation=rate)
    return nn.Sequential(fully_connected(channels, width, kernel=3, rate=rate), nn.Conv2d(width, num_classes, 1))


def _pyramid(channels: int, width: int, rates: Sequence[int], *, separable: bool) -> ASPP:
    pyramid = ASPP(channels, rates, width)
    mean = pyramid.convs[-1]
    assert isinstance(mean, nn.Sequential)
    mean[2] = SteadyBatchNorm2d(width)  # a single value a channel, where the batch has a single image
    if separable:
        for branch, rate in enumerate(rates, start=1):
            pyramid.convs[branch] = _separable(channels, width, rate)
    return pyramid


def _separable(channels: int, width: int, rate: int = 1) -> nn.Sequential:
    """v3+, section 3.2: batch norm and ReLU behind the depthwise convolution too."""
    between = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    convolution = DepthwiseSeparableConv2d(channels, width, dilation=rate, between=between)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _set_multi_grid(backbone: Backbone, options: SegmentationOptions) -> None:
    """Dilate the blocks of the last stage by the rates of `options`, times its own (v3, section 3.2.1)."""
    rates = options.multi_grid
    if rates is None:
        return
    last = backbone.channels[-1]
    stage = list(takewhile(lambda path: backbone.layers[path].channels == last, reversed(backbone.layers)))[::-1]
    blocks = [_spatial_convolutions(backbone.get_submodule(path)) for path in stage]
    if len(blocks) != len(rates) or not all(blocks) or min(rates) < 1:
        raise UsageError(
            f"model.multi_grid is {rates}, but it takes a rate of 1 or more for each block of the last stage, and "
            f"{options.backbone} has {len(blocks) if all(blocks) else 'none'}; give as many, or leave it out."
        )
    for convolutions, rate in zip(blocks, rates, strict=True):
        for convolution in convolutions:
            dilation = rate * 32 // backbone.strides[-1]
            convolution.dilation = (dilation, dilation)
            convolution.padding = tuple(dilation * (side // 2) for side in convolution.kernel_size)


def _spatial_convolutions(block: nn.Module) -> list[nn.Conv2d]:
    return [each for each in block.modules() if isinstance(each, nn.Conv2d) and max(each.kernel_size) > 1]
