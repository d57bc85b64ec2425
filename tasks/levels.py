"""Which of a backbone's maps a head reads."""

from collections.abc import Sequence

import torch

from ..core.errors import UsageError
from .build import build_backbone


def levels_of_strides(name: str, strides: Sequence[int]) -> tuple[int, ...]:
    """The levels of the backbone `name` whose maps have `strides`, in their order; of several of one stride the last.

    Raises UsageError, with both lists, where it has no such map.
    """
    held = strides_of(name)
    last = {stride: level for level, stride in enumerate(held)}
    if not set(strides) <= last.keys():
        raise UsageError(
            f"This head reads maps of the strides {_listed(strides)}, but the backbone {name} has {_listed(held)}; "
            "take one that has them all, or another model.head."
        )
    return tuple(last[stride] for stride in strides)


def strides_of(name: str) -> tuple[int, ...]:
    """The strides of all maps of the backbone `name`, finest first."""
    with torch.device("meta"):  # shapes alone
        return build_backbone(name, weights=None).strides


def _listed(strides: Sequence[int]) -> str:
    return ", ".join(map(str, strides))
