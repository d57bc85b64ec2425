"""EfficientNet (Tan, Le, 2019) and EfficientNetV2 (Tan, Le, 2021), torchvision's networks.

Their last convolution comes before the global pooling, so it belongs to the coarsest level. B1 to B7 were trained on
images of 240 to 600 pixels; any size from 32 on gives maps. V2-L was trained on images of mean 0.5 and deviation 0.5.
"""

import torchvision

from .backbone import Network
from .layers import Renormalise, set_in_channels


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights."""
    network = torchvision.models.get_model(name)
    set_in_channels(network, in_channels)
    features = network.get_submodule("features")
    layers = [f"features.{index}" for index, _ in features.named_children()]
    if name != "efficientnet_v2_l":
        return Network(network, layers)
    network.renormalise = Renormalise(in_channels, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return Network(network, ["renormalise", *layers])
