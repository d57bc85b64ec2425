"""Inception-ResNet-v1: Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, Inception-ResNet and the impact of residual
connections on learning, 2017; as FaceNet's successors use it for faces, which adds one block to the paper's.

Five blocks of 35 x 35, ten of 17 x 17, five of 8 x 8 for an image of 299 (figures 10 to 15), then the one that is not
in the paper but in the authors' code of v2 and in the networks for faces: a last block C at full scale, without ReLU,
so that what is averaged to an embedding has both signs. Faces are 160 x 160 there: 3 x 3 cells in the end.

Files of facenet-pytorch's release (trained on VGGFace2 or CASIA-WebFace) are read as they are: `weights=PATH`. They
expect (pixel - 127.5) / 128, which the network makes of ImageNet's normalisation. Their layers behind the average,
which are a head's here, are had by `facenet_embedding`.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from .backbone import Network
from .layers import (
    Renormalise,
    inception_resnet_a,
    inception_resnet_b,
    inception_resnet_c,
    inception_resnet_reduction_b,
    initialise_for_relu,
    reduction_a,
)
from .layers.inception import chain

MEAN, STD = (127.5 / 255,) * 3, (128 / 255,) * 3

# The release's paths, each with the one here; a block's number stays or is the last one's.
_PATHS = (
    (r"conv2d_(\d[ab])\.", r"conv\1."),
    (r"repeat_1\.(\d+)\.", r"block35_\1."),
    (r"repeat_2\.(\d+)\.", r"block17_\1."),
    (r"repeat_3\.(\d+)\.", r"block8_\1."),
    (r"block8\.", r"block8_5."),
    (r"mixed_6a\.", r"reduction_a."),
    (r"mixed_7a\.", r"reduction_b."),
)
_UNIT = {"conv": "0", "bn": "1"}  # of a convolution with its norm
_EMBEDDING = ("last_linear.", "last_bn.")


class FacenetEmbedding(NamedTuple):
    """What a published file has behind the average of the last map: a linear layer without bias, then batch norm of
    epsilon 0.001, each as its `state_dict()`.
    """

    linear: dict[str, torch.Tensor]  # weight (512, 1792)
    norm: dict[str, torch.Tensor]  # weight, bias, running_mean, running_var of (512,), num_batches_tracked


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
    _add_published_head(network)
    return Network(network, layers, auxiliary=("block17_9",), rename=rename)


def rename(key: str) -> str:
    """The key here of a tensor that facenet-pytorch's release calls `key`; any other key is returned as it is.

    There a block's branches are branch0, branch1 and so on, its last convolution conv2d, and a convolution with its
    norm has the parts conv and bn: `repeat_1.0.branch1.0.conv.weight` is `block35_0.branches.1.0.0.weight` here.
    """
    for theirs, ours in _PATHS:
        path, found = re.subn(rf"^{theirs}(?=.+\.)", ours, key)
        if found:
            return _rename_inside(path)
    return key


def facenet_embedding(weights: Mapping[str, torch.Tensor]) -> FacenetEmbedding | None:
    """The layers of a file that stand behind the average of the last map; None where it has no such layers."""
    linear, norm = ({k.removeprefix(p): v for k, v in weights.items() if k.startswith(p)} for p in _EMBEDDING)
    return FacenetEmbedding(linear, norm) if linear and norm else None


def _rename_inside(path: str) -> str:
    block, *parts, unit, name = path.split(".")
    if unit == "conv2d":
        return f"{block}.projection.{name}"
    # A reduction is its branches, a block has them; a branch or layer of one convolution is a chain of one here.
    inside = [] if block.startswith(("conv", "reduction")) else ["branches"]
    chain = [part.removeprefix("branch") for part in parts]
    alone = ["0"] if len(chain) < 2 else []
    return ".".join([block, *inside, *chain, *alone, _UNIT.get(unit, unit), name])


def _add_published_head(network: nn.Sequential) -> None:
    """So that the keys in published files are known, though no layers of ours; their numbers are never made."""
    network.add_module("last_linear", nn.Linear(1792, 512, bias=False, device="meta"))
    network.add_module("last_bn", nn.BatchNorm1d(512, device="meta"))
    network.add_module("logits", nn.Linear(512, 1, device="meta"))


def _stem(in_channels: int) -> nn.Sequential:
    """Figure 14: 299 pixels to 35."""
    stem = nn.Sequential()
    stem.add_module("renormalise", Renormalise(in_channels, MEAN, STD))
    stem.add_module("conv1a", chain(in_channels, (32, 3), stride=2, padding=0))
    stem.add_module("conv2a", chain(32, (32, 3), padding=0))
    stem.add_module("conv2b", chain(32, (64, 3)))
    stem.add_module("maxpool3a", nn.MaxPool2d(3, stride=2))
    stem.add_module("conv3b", chain(64, (80, 1)))
    stem.add_module("conv4a", chain(80, (192, 3), padding=0))
    stem.add_module("conv4b", chain(192, (256, 3), stride=2, padding=0))
    return stem
