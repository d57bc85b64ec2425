"""The segmentation heads by the names that a recipe uses, each with the function that builds it and its backbone."""

from collections.abc import Callable

from torch import nn

from ...backbones import Backbone
from ...core.errors import UsageError
from .deeplab import build_deeplabv1, build_deeplabv2, build_deeplabv3, build_deeplabv3plus
from .fcn import AuxiliaryHead, build_fcn, build_fcn8s, build_fcn16s, build_fcn32s
from .head import SegmentationHead
from .options import SegmentationOptions
from .pspnet import build_pspnet
from .segnet import build_deconvnet, build_segnet
from .unet import build_unet, build_unet_padded, build_unet_valid
from .unetpp import build_unetpp

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
    "unet": build_unet,
    "unet_padded": build_unet_padded,
    "unet_valid": build_unet_valid,
    "unetpp": build_unetpp,
    "segnet": build_segnet,
    "deconvnet": build_deconvnet,
}


def build_auxiliary(
    backbone: Backbone | nn.Module, options: SegmentationOptions, *, num_classes: int
) -> AuxiliaryHead | None:
    """The second head that training may have, on the same maps; None where the options give its loss no weight, and for
    unetpp, which has further logits of its own. Raises UsageError for a backbone with a single map.
    """
    if not options.auxiliary or options.head == "unetpp":
        return None
    assert isinstance(backbone, Backbone)
    if len(backbone.channels) < 2:
        raise UsageError(
            f"model.auxiliary is {options.auxiliary}, but {options.head} on {options.backbone} reads a single map, and "
            "the second head reads the one before it: set it to 0."
        )
    return AuxiliaryHead(backbone.channels, backbone.strides, num_classes)
