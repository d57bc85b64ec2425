"""MobileNetV2 (Sandler et al., 2018) and MobileNetV3 (Howard et al., 2019).

Their last convolution (1280, 960 and 576 channels) comes before the global pooling, so it belongs to the coarsest
level.
"""

import torchvision
from torch import nn

from .layers import set_in_channels


def build(name: str, in_channels: int) -> tuple[nn.Module, list[str]]:
    """The network with fresh weights, and the paths of its layers before the classifier."""
    network = torchvision.models.get_model(name)
    set_in_channels(network, in_channels)
    features = network.get_submodule("features")
    return network, [f"features.{index}" for index, _ in features.named_children()]
