"""The detection heads by the names that a recipe uses, each with the function that builds it and its backbone."""

from collections.abc import Callable

from torch import nn

from ...backbones import Backbone
from .faster_rcnn import build_c4, build_dc5, build_fpn, build_fpn_v2
from .fcos import build_fcos
from .head import DetectionHead
from .retinanet import build_retinanet
from .ssd import build_ssd, build_ssdlite

# From (a function that makes the recipe's backbone, the recipe's options, num_classes=, size=) to backbone and head.
Builder = Callable[..., tuple[Backbone | nn.Module, DetectionHead]]

HEADS: dict[str, Builder] = {
    "fasterrcnn_fpn": build_fpn,
    "fasterrcnn_fpn_v2": build_fpn_v2,
    "fasterrcnn_c4": build_c4,
    "fasterrcnn_dc5": build_dc5,
    "ssd": build_ssd,
    "ssdlite": build_ssdlite,
    "retinanet": build_retinanet,
    "fcos": build_fcos,
}
