"""The edge heads by the names that a recipe uses, each with the function that builds it and its backbone."""

from collections.abc import Callable

from ...backbones import Backbone
from .head import EdgeHead
from .hed import build_hed
from .rcf import build_rcf

# From (a function that makes the backbone with the options of `create_backbone`, the backbone's name, margin=,
# output_stride=) to backbone and head.
Builder = Callable[..., tuple[Backbone, EdgeHead]]

HEADS: dict[str, Builder] = {"hed": build_hed, "rcf": build_rcf}
