"""AlexNet, in two forms.

- `alexnet_grouped` is the network that won ILSVRC 2012: Krizhevsky, Sutskever, Hinton, ImageNet classification with
  deep convolutional neural networks, 2012. Half of it ran on each of two GPUs, so three convolutions read only the half
  of the maps on their own: two groups. Reads 227 x 227 without padding (the paper says 224, which doesn't add up).
- `alexnet` is the form whose weights are published: Krizhevsky, One weird trick for parallelizing CNNs, 2014. It has
  one column and no local response normalisation, and reads 224 x 224 with padding 2.

The maps of both are those before each max pool (strides 4, 8, 16) and the last pool (32).
"""

from collections import OrderedDict

import torch
import torchvision
from torch import nn

from .backbone import Network
from .layers import LocalResponseNorm, set_in_channels


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights. The three fully connected layers are left out."""
    return _grouped(in_channels) if name == "alexnet_grouped" else _single_column(name, in_channels)


def _grouped(in_channels: int) -> Network:
    layers = {
        "conv1": nn.Conv2d(in_channels, 96, 11, stride=4),
        "relu1": nn.ReLU(),
        "norm1": LocalResponseNorm(),
        "pool1": _pool(),
        "conv2": nn.Conv2d(96, 256, 5, padding=2, groups=2),
        "relu2": nn.ReLU(),
        "norm2": LocalResponseNorm(),
        "pool2": _pool(),
        "conv3": nn.Conv2d(256, 384, 3, padding=1),
        "relu3": nn.ReLU(),
        "conv4": nn.Conv2d(384, 384, 3, padding=1, groups=2),
        "relu4": nn.ReLU(),
        "conv5": nn.Conv2d(384, 256, 3, padding=1, groups=2),
        "relu5": nn.ReLU(),
        "pool5": _pool(),
    }
    for path, layer in layers.items():
        if isinstance(layer, nn.Conv2d):
            _initialise(layer, path)
    return Network(nn.Sequential(OrderedDict(layers)), list(layers))


def _initialise(conv: nn.Conv2d, path: str) -> None:
    """Section 5: N(0, 0.01), and biases of 1 where they give ReLUs positive inputs from the start.

    But conv1 begins after He et al., 2015, because the paper's pixels go up to 255 and here images have variance 1:
    with 0.01 the network would begin as a constant, from which stochastic gradient descent hardly moves.
    """
    assert conv.bias is not None
    nn.init.constant_(conv.bias, 1 if path in ("conv2", "conv4", "conv5") else 0)
    if path == "conv1":
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    else:
        nn.init.normal_(conv.weight, std=0.01)


def _pool() -> nn.MaxPool2d:
    """Overlapping (section 3.4). With 227 pixels nothing is left over at the edge; with others it isn't cut off."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _single_column(name: str, in_channels: int) -> Network:
    # On "meta", because the classifier that is dropped has 96 % of the parameters.
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    features = network.get_submodule("features").to_empty(device=torch.get_default_device())
    for layer in features.children():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    set_in_channels(network, in_channels)
    return Network(network, [f"features.{index}" for index, _ in features.named_children()])
