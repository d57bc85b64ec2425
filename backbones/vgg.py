"""VGG: Simonyan, Zisserman, Very deep convolutional networks for large-scale image recognition, 2015.

The maps are those before each max pool (strides 1 to 16: conv1_2, conv2_2, conv3_3, conv4_3, conv5_3 in VGG-16) and
pool5 (32).
"""

import torch
import torchvision
from torch import nn

from .layers import set_in_channels


def build(name: str, in_channels: int) -> tuple[nn.Module, list[str]]:
    """The network with fresh weights, and the paths of its layers before the classifier."""
    # On "meta", because to initialise the 120 million parameters of a classifier that is then dropped takes seconds.
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    features = network.get_submodule("features").to_empty(device=torch.get_default_device()).apply(_initialise)
    set_in_channels(network, in_channels)
    return network, [f"features.{index}" for index, _ in features.named_children()]


def _initialise(module: nn.Module) -> None:
    """As torchvision does: He et al., 2015."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()
