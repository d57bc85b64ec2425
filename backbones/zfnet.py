"""ZFNet: Zeiler, Fergus, Visualizing and understanding convolutional networks, 2014.

AlexNet after a look at its filters: the first ones are smaller (7 x 7) and closer together (stride 2), the second
convolution takes the other stride, and nothing is split in two. Response normalisation follows the pools. Reads
224 x 224 (figure 3 of the paper, whose sizes need padding 1 and pools that round up). Levels: the first convolution
(stride 2), its pool (4), the second convolution (8), the fifth (16), the last pool (32).

The paper sets all weights to 0.01 at first, for pixels of about ±128, which can't be meant literally: equal weights
stay equal. He et al. (2015) take their place.
"""

from collections import OrderedDict

from torch import nn

from .backbone import Network
from .layers import LocalResponseNorm, initialise_for_relu


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights. The three fully connected layers are left out."""
    layers = {
        "conv1": nn.Conv2d(in_channels, 96, 7, stride=2, padding=1),
        "relu1": nn.ReLU(),
        "pool1": _pool(),
        "norm1": LocalResponseNorm(),
        "conv2": nn.Conv2d(96, 256, 5, stride=2),
        "relu2": nn.ReLU(),
        "pool2": _pool(),
        "norm2": LocalResponseNorm(),
        "conv3": nn.Conv2d(256, 384, 3, padding=1),
        "relu3": nn.ReLU(),
        "conv4": nn.Conv2d(384, 384, 3, padding=1),
        "relu4": nn.ReLU(),
        "conv5": nn.Conv2d(384, 256, 3, padding=1),
        "relu5": nn.ReLU(),
        "pool5": _pool(),
    }
    network = nn.Sequential(OrderedDict(layers))
    initialise_for_relu(network)
    return Network(network, list(layers))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
