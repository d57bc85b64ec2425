"""ConvNeXt: Liu et al., A ConvNet for the 2020s, 2022.

torchvision's network, whose stem lowers the resolution by 4 at once, so there are four levels (strides 4 to 32). The
layer norm between pooling and classifier is part of the classifier.
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
