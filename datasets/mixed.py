"""Several data sets of one task in one run, and the choice, renaming and merging of their classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import UsageError
from .splits import digest


class Mixed:
    """Data sets one behind another; all must have the same class names. See the package for what a data set is."""

    def __init__(self, parts: Sequence[Any]) -> None:
        assert all(part.class_names == parts[0].class_names for part in parts)
        self.class_names: list[str] = parts[0].class_names
        self.labels = np.concatenate([part.labels for part in parts])
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        if all(hasattr(part, "counts") for part in parts):
            self.counts = np.concatenate([part.counts for part in parts])

    def __len__(self) -> int:
        """Number of images of all."""
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The sample of the part that holds image `index`."""
        part, inner = self._find(index)
        return part[inner]

    def path(self, index: int) -> str:
        """The image's file."""
        part, inner = self._find(index)
        return part.path(inner)

    def truth(self, index: int) -> dict[str, Any]:
        """What is known about an image, without opening it."""
        part, inner = self._find(index)
        return part.truth(inner)

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of an image, where the parts know it."""
        part, inner = self._find(index)
        return part.size(inner)

    def fingerprint(self) -> str:
        """A digest of those of the parts, in their order."""
        return digest([part.fingerprint().encode() for part in self._parts])

    def subset(self, indices: np.ndarray) -> "Mixed":
        """The same with the images at `indices` alone, which must rise."""
        indices = np.asarray(indices)
        starts = self._ends - [len(part) for part in self._parts]
        inside = [
            indices[(start <= indices) & (indices < end)] - start for start, end in zip(starts, self._ends, strict=True)
        ]
        return Mixed([part.subset(inner) for part, inner in zip(self._parts, inside, strict=True)])

    def _find(self, index: int) -> tuple[Any, int]:
        if index < 0:
            index += len(self)
        number = int(np.searchsorted(self._ends, index, side="right"))
        if number == len(self._parts):
            raise IndexError(index)
        return self._parts[number], index - int(self._ends[number] - len(self._parts[number]))


def mix(parts: Sequence[Any], classes: Mapping[str, str] | Sequence[str] | None = None) -> Any:
    """`parts` as one data set whose classes are those that `classes` names, or else all of all parts, by their names.

    Raises UsageError for a class that no part has, and for data sets whose classes cannot be chosen.
    """
    held = list(dict.fromkeys(name for part in parts for name in part.class_names))
    if classes is None:
        chosen = {name: name for name in held}
    else:
        chosen = dict(classes) if isinstance(classes, Mapping) else {name: name for name in classes}
    if not chosen and held:
        raise UsageError(f"data.classes names no class; the data's are {', '.join(held[:12])}.")
    missing = [name for name in chosen if name not in held]
    if missing:
        raise UsageError(
            f"data.classes names '{missing[0]}', which the data does not have; its classes are {', '.join(held[:12])}."
        )
    if any(list(chosen) != part.class_names or list(chosen.values()) != part.class_names for part in parts):
        if not all(hasattr(part, "with_classes") for part in parts):
            raise UsageError("data.classes and data sets of different classes can be mixed for boxes and labels alone.")
        parts = [part.with_classes(chosen) for part in parts]
    return parts[0] if len(parts) == 1 else Mixed(parts)


def class_numbers(class_names: Sequence[str], classes: Mapping[str, str]) -> tuple[np.ndarray, list[str]]:
    """For each of `class_names` its new number, int64 (C,), -1 for one that is left out, and the new names.

    `classes`: old name to new; the new numbers follow its order.
    """
    names = list(dict.fromkeys(classes.values()))
    numbers = [names.index(classes[name]) if name in classes else -1 for name in class_names]
    return np.array(numbers, np.int64), names
