"""ResNet: He, Zhang, Ren, Sun, Deep residual learning for image recognition, 2016.

torchvision's ResNets of 50 layers and more have the stride on the 3 x 3 convolution of a bottleneck, not on its
first 1 x 1.
"""

import torchvision
from torch import nn

from .layers import set_in_channels


def build(name: str, in_channels: int) -> tuple[nn.Module, list[str]]:
    """The network with fresh weights, and the paths of its layers before the classifier."""
    network = torchvision.models.get_model(name)
    set_in_channels(network, in_channels)
    return network, ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
