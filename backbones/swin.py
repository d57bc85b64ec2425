"""Swin Transformer: Liu et al., Hierarchical vision transformer using shifted windows, 2021.

torchvision's networks, which take images of any size: windows are padded. Between the layers the channels come last;
the maps that the backbone returns are (N, C, H, W) as everywhere. The layer norm before the global pooling belongs to
the coarsest level.
"""

import torchvision

from .backbone import Network
from .layers import set_in_channels


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights."""
    network = torchvision.models.get_model(name)
    set_in_channels(network, in_channels)
    features = network.get_submodule("features")
    layers = [f"features.{index}" for index, _ in features.named_children()]
    return Network(network, [*layers, "norm"], layout="NHWC")
