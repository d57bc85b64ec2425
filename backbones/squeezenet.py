"""SqueezeNet: Iandola et al., AlexNet-level accuracy with 50x fewer parameters, 2016.

torchvision's networks, up to the last fire module (stride 16): the classifier is a convolution with one map per class.
Nothing is padded before the first pools, so maps are a pixel or two smaller than the stride says.
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
