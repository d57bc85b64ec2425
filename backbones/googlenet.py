"""GoogLeNet: Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich, Going deeper with convolutions,
2015.

`googlenet` is the paper's network (table 1): nine Inception modules behind a stem with local response norm, no batch
norm, 22 layers with weights. `googlenet_bn` is the one that torchvision has weights for: with batch norm, without
response norm, a 3 x 3 where the paper has a 5 x 5, and a last pool of 2 x 2. Both feed auxiliary classifiers from 4a
and 4d.
"""

from torch import nn
from torchvision.models import GoogLeNet
from torchvision.ops import Conv2dNormActivation

from .backbone import Network
from .layers import Renormalise, inception_v1, initialise_for_relu, set_in_channels

AUXILIARY = ("inception4a", "inception4d")

# Table 1: channels of the input, 1 x 1, (3 x 3 reduction, 3 x 3), (5 x 5 reduction, 5 x 5), pool projection.
MODULES = {
    "inception3a": (192, 64, (96, 128), (16, 32), 32),
    "inception3b": (256, 128, (128, 192), (32, 96), 64),
    "inception4a": (480, 192, (96, 208), (16, 48), 64),
    "inception4b": (512, 160, (112, 224), (24, 64), 64),
    "inception4c": (512, 128, (128, 256), (24, 64), 64),
    "inception4d": (512, 112, (144, 288), (32, 64), 64),
    "inception4e": (528, 256, (160, 320), (32, 128), 128),
    "inception5a": (832, 256, (160, 320), (32, 128), 128),
    "inception5b": (832, 384, (192, 384), (48, 128), 128),
}


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights; a layer is a whole Inception module, or one layer of the stem."""
    return _paper(in_channels) if name == "googlenet" else _torchvision(in_channels)


def _paper(in_channels: int) -> Network:
    layers: dict[str, nn.Module] = {
        "conv1": Conv2dNormActivation(in_channels, 64, 7, stride=2, norm_layer=None),
        "maxpool1": _pool(),
        "norm1": _norm(),
        "conv2": Conv2dNormActivation(64, 64, 1, norm_layer=None),
        "conv3": Conv2dNormActivation(64, 192, 3, norm_layer=None),
        "norm2": _norm(),
        "maxpool2": _pool(),
    }
    for name, widths in MODULES.items():
        if name in ("inception4a", "inception5a"):
            layers["maxpool3" if name == "inception4a" else "maxpool4"] = _pool()
        layers[name] = inception_v1(*widths)
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    initialise_for_relu(network)  # without batch norm, torch's own start lets the signal fade in 22 layers
    return Network(network, list(layers), AUXILIARY)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _norm() -> nn.LocalResponseNorm:
    # The paper leaves its constants open; these are AlexNet's but for k, as in the published Caffe network.
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


def _torchvision(in_channels: int) -> Network:
    # With its auxiliary classifiers, so that their keys in the published file are known, though no layer of ours.
    network = GoogLeNet(init_weights=False)
    initialise_for_relu(network, "fan_out")
    set_in_channels(network, in_channels)
    network.renormalise = Renormalise(in_channels, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    layers = [name for name, _ in network.named_children() if name.startswith(("conv", "maxpool", "inception"))]
    return Network(network, ["renormalise", *layers], AUXILIARY)
