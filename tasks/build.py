"""Backbones for tasks: the door of `backbones/`, with its errors turned into the ones that carry an exit code."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

from ..backbones import Backbone, WeightsError, create_backbone, vary_layers
from ..backbones.weights import DownloadError, Weights, read_state_dict
from ..core.errors import FovealError, MachineError, ModelFileError, UsageError
from ..core.types import Preprocessing


@dataclass(frozen=True)
class Variation:
    """What `vary_layers` is to put in place of the network's own layers."""

    activation: str | None = None
    norm: str | None = None
    pooling: str | None = None


class BackboneOptions(Protocol):
    """What the `model` sections of tasks with maps say of their backbone."""

    backbone: str
    frozen_stages: int
    activation: Any
    norm: Any
    pooling: Any


def backbone_maker(
    options: BackboneOptions, preprocessing: Preprocessing, *, weights: str | None
) -> Callable[..., Backbone]:
    """`build_backbone` with all that a recipe says, for heads that choose the rest: `levels` and `output_stride`."""
    return partial(
        build_backbone,
        options.backbone,
        weights=weights,
        in_channels=1 if preprocessing["grey"] else 3,
        frozen_stages=options.frozen_stages,
        variation=Variation(options.activation, options.norm, options.pooling),
    )


def build_backbone(name: str, *, weights: str | None, variation: Variation | None = None, **options: Any) -> Backbone:
    """`create_backbone`, with its options, for a recipe.

    Raises UsageError for a wrong name or number, and of weights what `weights_error` makes of it.
    """
    try:
        backbone = create_backbone(name, weights=weights, **options)
        if variation is not None and any(asdict(variation).values()):
            vary_layers(backbone, **asdict(variation))
        return backbone
    except WeightsError as error:
        raise weights_error(error) from error
    except ValueError as error:
        raise UsageError(str(error)) from error


def read_weights(source: str, name: str) -> Weights:
    """`read_state_dict` for a recipe: of the whole network `name`, for a head that goes on with parts of it.

    Raises what `weights_error` makes of weights that can't be had.
    """
    try:
        return read_state_dict(source, name)
    except WeightsError as error:
        raise weights_error(error) from error


def weights_error(error: WeightsError) -> FovealError:
    """What the command line says of weights that can't be had: a MachineError where they could not be downloaded, a
    ModelFileError of a file that can't be used.
    """
    return MachineError(str(error)) if isinstance(error, DownloadError) else ModelFileError(str(error))
