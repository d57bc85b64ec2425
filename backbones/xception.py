"""Xception: Chollet, Xception: deep learning with depthwise separable convolutions, 2017; timm's network and weights.

Its blocks end before their activation, which the next one begins with: the maps of the levels between the first and the
last have negative values.
"""

from .backbone import Network
from .layers import Renormalise
from .timm_package import require_timm


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights; a layer is a whole block, or one layer of the two ends. Needs timm."""
    network = require_timm(name).create_model("legacy_xception", num_classes=0, in_chans=in_channels)
    network.renormalise = Renormalise(in_channels, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    stem = ("conv1", "bn1", "act1", "conv2", "bn2", "act2")
    blocks = [f"block{number}" for number in range(1, 13)]
    return Network(network, ["renormalise", *stem, *blocks, "conv3", "bn3", "act3", "conv4", "bn4", "act4"])
