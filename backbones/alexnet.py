"""AlexNet in the form whose weights are published: Krizhevsky, One weird trick for parallelizing CNNs, 2014.

It has one column and no local response normalisation, so it is not quite the network of Krizhevsky, Sutskever,
Hinton, 2012. Its maps are those before each max pool (strides 4, 8, 16) and the last pool (32).
"""

import torch
import torchvision
from torch import nn

from .layers import set_in_channels


def build(name: str, in_channels: int) -> tuple[nn.Module, list[str]]:
    """The network with fresh weights, and the paths of its layers before the classifier."""
    # On "meta", because the classifier that is dropped has 96 % of the parameters.
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    features = network.get_submodule("features").to_empty(device=torch.get_default_device())
    for layer in features.children():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    set_in_channels(network, in_channels)
    return network, [f"features.{index}" for index, _ in features.named_children()]
