"""Inception-v4 and Inception-ResNet-v2: Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, Inception-ResNet and the impact
of residual connections on learning, 2017; timm's networks and weights.

Inception-v4 has no residual connections: it is deeper than v3 and more regular. Inception-ResNet-v2 has them in all
blocks but the reductions. The authors' auxiliary classifiers read the last map of 17 x 17 for an image of 299.
"""

from .backbone import Network
from .layers import Renormalise
from .timm_package import require_timm

_RESNET_V2_LAYERS = (
    *("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "maxpool_5a", "mixed_5b"),
    *(f"repeat.{block}" for block in range(10)),
    "mixed_6a",
    *(f"repeat_1.{block}" for block in range(20)),
    "mixed_7a",
    *(f"repeat_2.{block}" for block in range(9)),
    *("block8", "conv2d_7b"),
)
_LAYERS = {
    "inception_v4": tuple(f"features.{module}" for module in range(22)),
    "inception_resnet_v2": _RESNET_V2_LAYERS,
}
_AUXILIARY = {"inception_v4": "features.17", "inception_resnet_v2": "repeat_1.19"}


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights; a layer is a whole module or block, or one layer of the stem. Needs timm."""
    network = require_timm(name).create_model(name, num_classes=0, in_chans=in_channels)
    network.renormalise = Renormalise(in_channels, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return Network(network, ["renormalise", *_LAYERS[name]], auxiliary=(_AUXILIARY[name],))
