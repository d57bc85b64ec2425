"""Inception-ResNet-v1: Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, Inception-ResNet and the impact of residual
connections on learning, 2017; as FaceNet's successors use it for faces, which adds one block to the paper's.

Five blocks of 35 x 35, ten of 17 x 17, five of 8 x 8 for an image of 299 (figures 10 to 15), then the one that is not
in the paper but in the authors' code of v2 and in the networks for faces: a last block C at full scale, without ReLU,
so that what is averaged to an embedding has both signs. Faces are 160 x 160 there: 3 x 3 cells in the end.
"""

from torch import nn

from .backbone import Network
from .layers import (
    inception_resnet_a,
    inception_resnet_b,
    inception_resnet_c,
    inception_resnet_reduction_b,
    initialise_for_relu,
    reduction_a,
)
from .layers.inception import chain


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights; a layer is a whole block, a reduction, or one layer of the stem.

    The auxiliary classifier reads the last map of 17 x 17, as the authors' does in v2.
    """
    network = _stem(in_channels)
    for block in range(5):
        network.add_module(f"block35_{block}", inception_resnet_a(scale=0.17))
    network.add_module("reduction_a", reduction_a(256, 192, 192, 256, 384))
    for block in range(10):
        network.add_module(f"block17_{block}", inception_resnet_b(scale=0.10))
    network.add_module("reduction_b", inception_resnet_reduction_b())
    for block in range(5):
        network.add_module(f"block8_{block}", inception_resnet_c(scale=0.20))
    network.add_module("block8_5", inception_resnet_c(scale=1.0, activation=False))
    layers = [path for path, _ in network.named_children()]
    initialise_for_relu(network, "fan_out")
    return Network(network, layers, auxiliary=("block17_9",))


def _stem(in_channels: int) -> nn.Sequential:
    """Figure 14: 299 pixels to 35."""
    stem = nn.Sequential()
    stem.add_module("conv1a", chain(in_channels, (32, 3), stride=2, padding=0))
    stem.add_module("conv2a", chain(32, (32, 3), padding=0))
    stem.add_module("conv2b", chain(32, (64, 3)))
    stem.add_module("maxpool3a", nn.MaxPool2d(3, stride=2))
    stem.add_module("conv3b", chain(64, (80, 1)))
    stem.add_module("conv4a", chain(80, (192, 3), padding=0))
    stem.add_module("conv4b", chain(192, (256, 3), stride=2, padding=0))
    return stem
