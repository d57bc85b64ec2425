"""The door of the package: a backbone by its name."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from .backbone import Backbone, Network
from .catalogue import Family, find_family, plugins
from .stochastic_depth import spread_stochastic_depth
from .timm_package import published_keys
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
    stochastic_depth: float | None = None,
) -> Backbone:
    """Build a backbone; `list_backbones()` gives the names.

    `weights`: None for fresh ones, `"imagenet"` for the published ones of torchvision or timm (downloaded on first use,
    kept in their caches), or the path of a `.pth`, `.pt`, `.ckpt` or `.safetensors` file. With `in_channels` other than
    3 a file's first convolution is adapted, so that a grey image, or one of repeated channels, gives what it gave as
    RGB (nearly so where the weights expect another normalisation than ImageNet's: see `layers.Renormalise`).

    `output_stride`: the stride of the coarsest map. 16 and 8 keep the weights and the number of levels but dilate the
    later convolutions, for dense prediction; 32 leaves the network as it was published.

    `levels`: indices of the maps to return (0 is the finest, -1 the coarsest; the order is always finest first); layers
    beyond the coarsest of them are left out. None returns all.

    `frozen_stages`: how many stages from the image on keep their weights and their batch-norm statistics in training.

    `stochastic_depth`: the rate at which training leaves out the last residual branch, from 0 to 1; earlier ones are
    left out less, in proportion to their depth. None leaves the network as its paper has it.

    Raises `UnknownBackboneError`, `WeightsError` for a file that can't be used, `ValueError` for any other argument.
    """
    family = find_family(name)
    _check_types(in_channels=in_channels, output_stride=output_stride, frozen_stages=frozen_stages, levels=levels)
    _check(name, family, in_channels, output_stride)
    options: dict[str, Any] = {"output_stride": output_stride, "levels": levels, "frozen_stages": frozen_stages}
    if family.module == "timm_networks":
        from .timm_networks import TimmBackbone

        network = None
        backbone = TimmBackbone(name, in_channels=in_channels, stochastic_depth=stochastic_depth, **options)
    else:
        network = _build(name, family, in_channels)
        if stochastic_depth is not None:
            spread_stochastic_depth(network.module, stochastic_depth, name)
        backbone = Backbone(network, **options)
    if weights is not None:
        published = published_keys(name) if network is None else network.module.state_dict()
        ignored = set(backbone.own_keys(published).values()) - set(backbone.state_dict())
        load_weights(backbone, weights, name, ignored=ignored)
    return backbone


def _check_types(*, levels: Sequence[int] | None, **numbers: int) -> None:
    """A string or a float from a configuration would fail much later, or half."""
    for option, value in numbers.items():
        if type(value) is not int:
            raise ValueError(f"{option} is {value!r}, but it must be a whole number.")
    whole = levels is None or (not isinstance(levels, int | str) and all(type(level) is int for level in levels))
    if not whole:
        raise ValueError(f"levels is {levels!r}, but it must be a list of whole numbers, such as (1, 2, 3), or None.")


def _check(name: str, family: Family, in_channels: int, output_stride: int) -> None:
    if in_channels < 1:
        raise ValueError(f"in_channels is {in_channels}, but an image has at least 1 channel.")
    if output_stride not in _OUTPUT_STRIDES:
        raise ValueError(
            f"output_stride is {output_stride}, but it must be one of {', '.join(map(str, _OUTPUT_STRIDES))}."
        )
    if output_stride != 32 and not family.dilates:
        raise ValueError(
            f"output_stride is {output_stride}, but {name} can't be dilated: leave output_stride at 32 (no dilation), "
            "or take a ResNet, VGG or MobileNet."
        )


def _build(name: str, family: Family, in_channels: int) -> Network:
    if family.source != "plugin":
        return import_module(f".{family.module}", __package__).build(name, in_channels)
    point = plugins()[name]
    package = point.dist.name if point.dist else "an installed package"
    try:
        network = point.load()(name, in_channels)
        Backbone(network)  # which runs its layers, as shapes
    except Exception as error:  # other people's code may raise anything
        raise ValueError(
            f"The backbone {name} comes from {package} ({point.value}), which does not give a network that works "
            f"({type(error).__name__}: {error}): mend or remove the package."
        ) from error
    return network
