"""The networks that a tracker sees its crops with: one map of stride 8, not deformed by padding.

A padded network tells where in the image a cell lies, by the zeros that reach it: a target would look another way at
another place, and a tracker learn to favour the middle. SiamFC's network has no padding. Of all others the outer cells
are cut off (Zhang and Peng, Deeper and wider siamese networks for real-time visual tracking, 2019, section 4.1, which
cuts inside the units; Li et al., SiamRPN++, 2019, section 3.3, which keeps the middle 7 x 7 of a template): `MARGIN`
cells on every side of a map, by the head.
"""

from collections import OrderedDict
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from ...backbones import Backbone, Network, WeightsError, vary_layers
from ...backbones.catalogue import find_family
from ...backbones.weights import load_weights
from ...core.errors import UsageError
from ...core.types import Preprocessing
from ..build import BackboneOptions, backbone_maker, weights_error
from ..levels import strides_of

SIAMFC_ALEXNET = "siamfc_alexnet"
STRIDE = 8  # pixels of a crop from one cell to the next
MARGIN = 4  # cells: 127 pixels are 16 cells and then 8, 255 are 32 and then 24, so that a response has 17 as SiamFC's


class EmbeddingOptions(BackboneOptions, Protocol):
    """What the recipe's `model` section says of the network; see `TrackingOptions`."""

    weights: str | None
    stage: Any  # int or None
    margin: int | None


class Embedding(NamedTuple):
    """A network, and how many cells a head is to cut off on every side of its map."""

    backbone: Backbone
    margin: int


class UnpaddedAlexNet(Backbone):
    """SiamFC's network (Bertinetto, Valmadre, Henriques, Vedaldi, Torr, Fully-convolutional siamese networks for object
    tracking, 2016, table 1): 127 pixels become 6 cells and 255 become 22, of `channels` channels and stride 8.

    Convolutions of 11 x 11, 5 x 5 and three of 3 x 3, no padding, two groups in the second, fourth and fifth, batch
    norm and ReLU behind all but the last; max pools of 3 x 3 behind the first two.
    """

    def __init__(self, in_channels: int = 3, channels: int = 128, *, frozen_stages: int = 0) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=_unit(in_channels, 96, kernel=11, stride=2),
            pool1=nn.MaxPool2d(3, stride=2),
            conv2=_unit(96, 256, kernel=5, groups=2),
            pool2=nn.MaxPool2d(3, stride=2),
            conv3=_unit(256, 384, kernel=3),
            conv4=_unit(384, 384, kernel=3, groups=2),
            conv5=nn.Conv2d(384, channels, 3, groups=2),
        )
        for conv in (each for layer in layers.values() for each in layer.modules() if isinstance(each, nn.Conv2d)):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        super().__init__(Network(nn.Sequential(layers), list(layers)), levels=(-1,), frozen_stages=frozen_stages)


def build_embedding(options: EmbeddingOptions, preprocessing: Preprocessing, *, dilated: bool = True) -> Embedding:
    """The network of a recipe: `siamfc_alexnet` or any backbone, one of whose maps has the stride 8.

    `options.stage` is the stride that the map has in the network as published; 16 and 32 are dilated to 8. By default
    16 (of ResNet-50's maps the one that tracks best: Li et al., SiamRPN++, 2019, table 2, conv4), and 8 in a network
    that can't be dilated; later stages are left out. Where not `dilated`, the map keeps its own stride. Raises
    UsageError for a network without such a map, and what `build_backbone` raises.
    """
    if options.backbone == SIAMFC_ALEXNET:
        backbone, margin = _build_alexnet(options, 1 if preprocessing["grey"] else 3), 0
    else:
        stage, level = _choose_stage(options, dilated)
        make = backbone_maker(options, preprocessing, weights=options.weights)
        backbone, margin = make(levels=(level,), output_stride=STRIDE if dilated and stage > STRIDE else 32), MARGIN
    return Embedding(backbone, margin if options.margin is None else options.margin)


def cut(features: torch.Tensor, margin: int) -> torch.Tensor:
    """A map (..., H, W) without `margin` cells on every side."""
    height, width = features.shape[-2:]
    return features[..., margin : height - margin, margin : width - margin]


def _build_alexnet(options: EmbeddingOptions, in_channels: int) -> Backbone:
    if options.stage not in (None, STRIDE):
        raise UsageError(
            f"model.stage is {options.stage}, but {SIAMFC_ALEXNET} has a single map, of stride {STRIDE}; leave it out."
        )
    if options.weights == "imagenet":
        raise UsageError(
            f"model.weights is imagenet, but no such weights of {SIAMFC_ALEXNET} are published; leave it out, or take "
            "another backbone, such as resnet50."
        )
    try:
        backbone = UnpaddedAlexNet(in_channels, frozen_stages=options.frozen_stages)
        layers = {"activation": options.activation, "norm": options.norm, "pooling": options.pooling}
        if any(layers.values()):
            vary_layers(backbone, **layers)
        if options.weights is not None:
            load_weights(backbone, options.weights, SIAMFC_ALEXNET)
        return backbone
    except WeightsError as error:
        raise weights_error(error) from error
    except ValueError as error:
        raise UsageError(str(error)) from error


def _choose_stage(options: EmbeddingOptions, dilated: bool) -> tuple[int, int]:
    """The stage whose map is compared, by its stride, and the level of that map."""
    last = {stride: level for level, stride in enumerate(strides_of(options.backbone))}
    deep = not dilated or _dilates(options.backbone)
    possible = [stride for stride in last if stride == STRIDE or (stride > STRIDE and deep)]
    wanted = (2 * STRIDE, STRIDE) if options.stage is None else (options.stage,)
    for stage in wanted:
        if stage in possible:
            return stage, last[stage]
    if options.stage is not None and possible:
        raise UsageError(
            f"model.stage is {options.stage}, but {options.backbone} has stages of the strides "
            f"{', '.join(map(str, possible))} for a tracker; take one of them, or leave it out."
        )
    raise UsageError(
        f"A tracker compares maps of stride {STRIDE}, but the backbone {options.backbone} has those of the strides "
        f"{', '.join(map(str, last))} and can't be dilated; take {SIAMFC_ALEXNET}, or a ResNet, VGG or MobileNet."
    )


def _dilates(name: str) -> bool:
    return find_family(name).dilates


def _unit(in_channels: int, channels: int, *, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride=stride, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
