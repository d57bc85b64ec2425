"""VGG: Simonyan, Zisserman, Very deep convolutional networks for large-scale image recognition, 2015.

`vgg11`, `vgg13`, `vgg16` and `vgg19` are the configurations A, B, D and E of the paper's table 1, `vgg11_lrn` is A-LRN
and `vgg16_c` is C, whose last convolution in each of the stages 3 to 5 is 1 x 1. Those with `_bn` came later: a batch
norm follows each convolution. The paper's initial weights, for configuration A alone, have a variance of 0.01; here all
begin after He et al., 2015, as torchvision's do.

The maps are those before each max pool (strides 1 to 16: conv1_2, conv2_2, conv3_3, conv4_3, conv5_3 in VGG-16) and
pool5 (32).
"""

from collections.abc import Iterator

import torch
import torchvision
from torch import nn

from .backbone import Network
from .layers import LocalResponseNorm, set_in_channels

# Of the configurations that torchvision lacks: the kernels of each stage. Widths are 64, 128, 256, 512, 512.
_KERNELS = {
    "vgg11_lrn": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "vgg16_c": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
}


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights. The three fully connected layers are left out."""
    if name in _KERNELS:
        network = nn.Sequential()
        network.features = nn.Sequential(*_layers(name, in_channels))
    else:
        # On "meta": to initialise the 120 million parameters of a classifier that is then dropped takes seconds.
        with torch.device("meta"):
            network = torchvision.models.get_model(name)
        network.get_submodule("features").to_empty(device=torch.get_default_device())
        set_in_channels(network, in_channels)
    features = network.get_submodule("features").apply(_initialise)
    return Network(network, [f"features.{index}" for index, _ in features.named_children()])


def _layers(name: str, in_channels: int) -> Iterator[nn.Module]:
    for stage, kernels in enumerate(_KERNELS[name]):
        channels = min(64 * 2**stage, 512)
        for kernel in kernels:
            yield nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2)
            yield nn.ReLU(inplace=True)
            in_channels = channels
        if name == "vgg11_lrn" and stage == 0:
            yield LocalResponseNorm()
        yield nn.MaxPool2d(2)


def _initialise(module: nn.Module) -> None:
    """As torchvision does: He et al., 2015."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()
