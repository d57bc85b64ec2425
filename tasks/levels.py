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


def learning_levels(name: str) -> tuple[int, ...]:
    """The levels of the backbone `name` whose stages have weights: all but a last one that only pools, as VGG's."""
    with torch.device("meta"):  # shapes alone
        backbone = build_backbone(name, weights=None)
    ends, levels, learns = [info.layer for info in backbone.feature_info()], [], False
    for path in backbone.layers:
        module = dict(backbone.named_modules()).get(path)  # timm's maps are no modules: each learns
        learns = learns or module is None or any(True for _ in module.parameters())
        if path in ends:
            levels += [ends.index(path)] if learns else []
            learns = False
    return tuple(levels)


def strides_of(name: str) -> tuple[int, ...]:
    """The strides of all maps of the backbone `name`, finest first."""
    with torch.device("meta"):  # shapes alone
        return build_backbone(name, weights=None).strides


def _listed(strides: Sequence[int]) -> str:
    return ", ".join(map(str, strides))
