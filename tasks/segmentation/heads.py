"""The segmentation heads by the names that a recipe uses, each with the function that builds it and its backbone."""

from collections.abc import Callable

from torch import nn

from ...backbones import Backbone
from .deeplab import build_deeplabv1, build_deeplabv2, build_deeplabv3, build_deeplabv3plus
from .fcn import AuxiliaryHead, build_fcn, build_fcn8s, build_fcn16s, build_fcn32s
from .head import SegmentationHead
from .options import SegmentationOptions
from .pspnet import build_pspnet

# From (a function that makes the recipe's backbone, the recipe's options, num_classes=) to backbone and head.
Builder = Callable[..., tuple[Backbone | nn.Module, SegmentationHead]]

HEADS: dict[str, Builder] = {
    "fcn32s": build_fcn32s,
    "fcn16s": build_fcn16s,
    "fcn8s": build_fcn8s,
    "fcn": build_fcn,
    "deeplabv1": build_deeplabv1,
    "deeplabv2": build_deeplabv2,
    "deeplabv3": build_deeplabv3,
    "deeplabv3plus": build_deeplabv3plus,
    "pspnet": build_pspnet,
}


def build_auxiliary(backbone: Backbone, options: SegmentationOptions, *, num_classes: int) -> AuxiliaryHead | None:
    """The second head that training may have, on the same maps; None where the options give its loss no weight."""
    if not options.auxiliary:
        return None
    return AuxiliaryHead(backbone.channels, backbone.strides, num_classes)
