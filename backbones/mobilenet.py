"""MobileNetV2 (Sandler et al., 2018) and MobileNetV3 (Howard et al., 2019), torchvision's networks.

Their last convolution (1280, 960 and 576 channels) comes before the global pooling, so it belongs to the coarsest
level.
"""

import torchvision

from .backbone import Network
from .layers import set_in_channels


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights."""
    network = torchvision.models.get_model(name)
    set_in_channels(network, in_channels)
    features = network.get_submodule("features")
    return Network(network, [f"features.{index}" for index, _ in features.named_children()])
