"""Backbones for tasks: the door of `backbones/`, with its errors turned into the ones that carry an exit code."""

from typing import Any

from ..backbones import Backbone, WeightsError, create_backbone
from ..core.errors import ModelFileError, UsageError


def build_backbone(name: str, *, weights: str | None, **options: Any) -> Backbone:
    """`create_backbone`, with its options, for a recipe.

    Raises UsageError for a wrong name or number, ModelFileError for a file of weights.
    """
    try:
        return create_backbone(name, weights=weights, **options)
    except WeightsError as error:
        raise ModelFileError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
