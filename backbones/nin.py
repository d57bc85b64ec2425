"""Network in Network: Lin, Chen, Yan, 2014.

Each filter is a small multilayer perceptron that slides over the map ("mlpconv"): a convolution and two 1 x 1
convolutions, all followed by ReLU. There is no fully connected layer: the last 1 x 1 convolution has a map for each
class, whose mean is the score. That convolution is the classifier, so it is left out here.

- `nin` is the ImageNet network that the authors published for Caffe; reads 224 x 224. Levels: strides 4, 8, 16, 32.
- `nin_cifar` is the paper's for CIFAR-10, also as published for Caffe; reads 32 x 32. Levels: strides 1, 2, 4.

The published definitions begin with weights of a fixed deviation, 0.05 mostly, in which signals fade from layer to
layer; here it is He et al., 2015.
"""

from collections import OrderedDict
from itertools import pairwise

from torch import nn

from .backbone import Network
from .layers import initialise_for_relu


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights."""
    layers = _imagenet(in_channels) if name == "nin" else _cifar(in_channels)
    network = nn.Sequential(OrderedDict(layers))
    initialise_for_relu(network)
    return Network(network, list(layers))


def _imagenet(in_channels: int) -> dict[str, nn.Module]:
    return {
        **_mlpconv(1, nn.Conv2d(in_channels, 96, 11, stride=4), 96, 96),
        "pool1": _max_pool(),
        **_mlpconv(2, nn.Conv2d(96, 256, 5, padding=2), 256, 256),
        "pool2": _max_pool(),
        **_mlpconv(3, nn.Conv2d(256, 384, 3, padding=1), 384, 384),
        "pool3": _max_pool(),
        "drop3": nn.Dropout(),
        **_mlpconv(4, nn.Conv2d(384, 1024, 3, padding=1), 1024),
    }


def _cifar(in_channels: int) -> dict[str, nn.Module]:
    return {
        **_mlpconv(1, nn.Conv2d(in_channels, 192, 5, padding=2), 160, 96),
        "pool1": _max_pool(),
        "drop1": nn.Dropout(),
        **_mlpconv(2, nn.Conv2d(96, 192, 5, padding=2), 192, 192),
        "pool2": nn.AvgPool2d(3, stride=2, ceil_mode=True),
        "drop2": nn.Dropout(),
        **_mlpconv(3, nn.Conv2d(192, 192, 3, padding=1), 192),
    }


def _mlpconv(index: int, conv: nn.Conv2d, *widths: int) -> dict[str, nn.Module]:
    """One perceptron: `conv` reads a patch of the map, the layers of `widths` one pixel of what comes before."""
    layers = {f"conv{index}": conv, f"relu{index}": nn.ReLU()}
    for depth, (before, width) in enumerate(pairwise((conv.out_channels, *widths)), start=1):
        layers[f"conv{index}_mlp{depth}"] = nn.Conv2d(before, width, 1)
        layers[f"relu{index}_mlp{depth}"] = nn.ReLU()
    return layers


def _max_pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
