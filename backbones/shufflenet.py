"""ShuffleNet V2: Ma, Zhang, Zheng, Sun, Practical guidelines for efficient CNN architecture design, 2018.

torchvision's networks. Their last 1 x 1 convolution comes before the global pooling, so it belongs to the coarsest
level.
"""

import torchvision

from .backbone import Network
from .layers import set_in_channels


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights."""
    network = torchvision.models.get_model(name)
    set_in_channels(network, in_channels)
    return Network(network, ["conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"])
