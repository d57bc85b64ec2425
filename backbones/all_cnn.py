"""The all-convolutional net: Springenberg, Dosovitskiy, Brox, Riedmiller, Striving for simplicity, 2015.

`all_cnn_c` is All-CNN-C (tables 1 and 2) for CIFAR: no pools, convolutions with stride 2 in their place, and no fully
connected layers. Reads 32 x 32. The last 3 x 3 convolution isn't padded, because the paper's last map has 6 x 6
pixels. The 1 x 1 convolution with a map for each class, whose mean is the score, is the classifier and left out.
Levels: strides 1, 2, 4.

Dropout is the paper's too: 0.2 of the image's values, half of the outputs of the convolutions with stride.
"""

from collections import OrderedDict

from torch import nn

from .backbone import Network
from .layers import initialise_for_relu

# Maps, kernel, stride, padding.
_CONVOLUTIONS = (
    *((96, 3, 1, 1), (96, 3, 1, 1), (96, 3, 2, 1)),
    *((192, 3, 1, 1), (192, 3, 1, 1), (192, 3, 2, 1)),
    *((192, 3, 1, 0), (192, 1, 1, 0)),
)


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights (He et al., 2015; the paper doesn't say)."""
    layers: dict[str, nn.Module] = {"drop0": nn.Dropout(0.2)}
    for index, (channels, kernel, stride, padding) in enumerate(_CONVOLUTIONS, start=1):
        layers[f"conv{index}"] = nn.Conv2d(in_channels, channels, kernel, stride, padding)
        layers[f"relu{index}"] = nn.ReLU()
        if stride > 1:
            layers[f"drop{index}"] = nn.Dropout(0.5)
        in_channels = channels
    network = nn.Sequential(OrderedDict(layers))
    initialise_for_relu(network)
    return Network(network, list(layers))
