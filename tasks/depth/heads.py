"""The depth heads by the names that a recipe uses, each with the function that builds it and its backbone."""

from collections.abc import Callable

from ...backbones import Backbone
from .eigen2014 import build_eigen2014
from .eigen2015 import build_eigen2015
from .fcrn import build_fcrn
from .head import DepthHead
from .unet import build_unet

# From (a function that makes the backbone with the options of `create_backbone`, the backbone's name, channels= of the
# output, size= of the images, normals= whether to give them, labels= how many, output_stride=) to backbone and head.
Builder = Callable[..., tuple[Backbone, DepthHead]]

HEADS: dict[str, Builder] = {
    "unet": build_unet,
    "fcrn": build_fcrn,
    "eigen2014": build_eigen2014,
    "eigen2015": build_eigen2015,
}
