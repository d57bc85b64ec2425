"""EfficientNet (Tan, Le, 2019) and EfficientNetV2 (Tan, Le, 2021), torchvision's networks.

Their last convolution comes before the global pooling, so it belongs to the coarsest level. B1 to B7 were trained on
images of 240 to 600 pixels; any size from 32 on gives maps.
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
