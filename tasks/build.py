"""Backbones for tasks: the door of `backbones/`, with its errors turned into the ones that carry an exit code."""

from ..backbones import Backbone, WeightsError, create_backbone
from ..core.errors import ModelFileError, UsageError


def build_backbone(name: str, *, weights: str | None, in_channels: int = 3, frozen_stages: int = 0) -> Backbone:
    """`create_backbone` for a recipe; raises UsageError for a wrong name or number, ModelFileError for a file of
    weights.
    """
    try:
        return create_backbone(name, weights=weights, in_channels=in_channels, frozen_stages=frozen_stages)
    except WeightsError as error:
        raise ModelFileError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
