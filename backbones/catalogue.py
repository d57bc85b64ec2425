"""Which backbones exist: one line per family, so that adding one is a file and a word here.

Imports the standard library alone: the command line lists and checks names without paying for torch.
"""

import re
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple


class Family(NamedTuple):
    """The networks that one module of this package builds."""

    names: tuple[str, ...]
    paper: str
    source: Literal["torchvision", "ours"]  # "torchvision" has published ImageNet weights, "ours" has none
    dilates: bool = False  # whether output_stride 16 and 8 are possible


# The key is the module's name: FAMILIES["resnet"] is built by resnet.py.
FAMILIES: dict[str, Family] = {
    "alexnet": Family(("alexnet",), "Krizhevsky, One weird trick for parallelizing CNNs, 2014", "torchvision"),
    "lenet": Family(
        ("lenet5", "lenet5_modern"),
        "LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, 1998",
        "ours",
    ),
    "mobilenet": Family(
        ("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"),
        "Sandler et al., MobileNetV2, 2018; Howard et al., Searching for MobileNetV3, 2019",
        "torchvision",
        dilates=True,
    ),
    "resnet": Family(
        ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        "He, Zhang, Ren, Sun, Deep residual learning for image recognition, 2016",
        "torchvision",
        dilates=True,
    ),
    "vgg": Family(
        ("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
        "Simonyan, Zisserman, Very deep convolutional networks for large-scale image recognition, 2015",
        "torchvision",
        dilates=True,
    ),
}


class UnknownBackboneError(ValueError):
    """A name that no family has; the message offers the nearest that exist."""


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the backbones that match a shell pattern such as `"resnet*"`, numbers in counting order."""
    names = (name for family in FAMILIES.values() for name in family.names)
    return sorted((name for name in names if fnmatchcase(name, pattern)), key=_natural)


def find_family(name: str) -> str:
    """The module that builds the backbone `name`: a key of `FAMILIES`. Raises `UnknownBackboneError`."""
    for module, family in FAMILIES.items():
        if name in family.names:
            return module
    known = list_backbones()
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    offer = f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(known)}"
    raise UnknownBackboneError(f"There is no backbone '{name}'; {offer}.")


def _natural(name: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
