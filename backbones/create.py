"""The door of the package: a backbone by its name."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from .backbone import Backbone
from .catalogue import FAMILIES, find_family
from .weights import load_weights

_OUTPUT_STRIDES = (32, 16, 8)


def create_backbone(
    name: str,
    *,
    weights: str | Path | None = None,
    in_channels: int = 3,
    output_stride: int = 32,
    levels: Sequence[int] | None = None,
    frozen_stages: int = 0,
) -> Backbone:
    """Build a backbone; `list_backbones()` gives the names.

    `weights`: None for fresh ones, `"imagenet"` for torchvision's (downloaded on first use, kept in torch's cache), or
    the path of a `.pth`, `.pt`, `.ckpt` or `.safetensors` file. With `in_channels` other than 3 a file's first
    convolution is adapted, so that a grey image, or one of repeated channels, gives what it gave as RGB.

    `output_stride`: the stride of the coarsest map. 16 and 8 keep the weights and the number of levels but dilate the
    later convolutions, for dense prediction; 32 leaves the network as it was published.

    `levels`: indices of the maps to return (0 is the finest, -1 the coarsest; the order is always finest first); layers
    beyond the coarsest of them are left out. None returns all.

    `frozen_stages`: how many stages from the image on keep their weights and their batch-norm statistics in training.

    Raises `UnknownBackboneError`, `WeightsError` for a file that can't be used, `ValueError` for any other argument.
    """
    module = find_family(name)
    if in_channels < 1:
        raise ValueError(f"in_channels is {in_channels}, but an image has at least 1 channel.")
    if output_stride not in _OUTPUT_STRIDES:
        raise ValueError(
            f"output_stride is {output_stride}, but it must be one of {', '.join(map(str, _OUTPUT_STRIDES))}."
        )
    if output_stride != 32 and not FAMILIES[module].dilates:
        raise ValueError(
            f"output_stride is {output_stride}, but {name} can't be dilated: leave output_stride at 32 (no dilation), "
            "or take a ResNet, VGG or MobileNet."
        )
    network, layers = import_module(f".{module}", __package__).build(name, in_channels)
    published = set(network.state_dict())
    backbone = Backbone(network, layers, output_stride=output_stride, levels=levels, frozen_stages=frozen_stages)
    if weights is not None:
        load_weights(backbone, weights, name, ignored=published - set(backbone.state_dict()))
    return backbone
