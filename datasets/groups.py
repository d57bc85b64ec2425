"""Splits over groups of images, such as sequences and people, none of which may come to lie in two splits."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.options import SPLITS
from .files import split_folder
from .splits import random_split


def own_splits(folder: Path) -> dict[str, str]:
    """The splits that have a sub-folder of their own (train/, val/ or valid/, test/, ...), and its name."""
    found = {split: split_folder(folder, split) for split in SPLITS}
    return {split: name for split, name in found.items() if name is not None}


def without_test(fractions: Sequence[float]) -> tuple[float, float, float]:
    """The shares of train and val alone, where val is drawn from a train/ that stands beside a test/."""
    train, val, _ = fractions
    share = train / (train + val) if train + val > 0 else 1.0
    return share, 1.0 - share, 0.0


def draw_groups(
    groups: Sequence[str],
    split: str,
    own: Collection[str],
    fractions: Sequence[float],
    seed: int,
    *,
    what: str,
    where: object,
) -> np.ndarray:
    """Which entries are for `split`, int64 and rising: all of a group or none.

    `groups`: the group of each entry. `own`: the splits that the data set names itself; the entries are then those of
    one of them, and all are for `split`, but that val is drawn from train where it has none of its own. A split with a
    share gets at least one group; raises DataError where there are too few. `what`: the noun for them, "people".
    """
    if own and (split == "test" or "val" in own):
        return np.arange(len(groups))
    fractions = without_test(fractions) if own else fractions
    names = sorted(set(groups))
    needed = sum(fraction > 0 for fraction in fractions)
    if len(names) < needed:
        raise DataError(
            f"'{where}' has too few {what} ({len(names)}) for {needed} splits, which need at least one each: add some, "
            "set a share of --data.splits to 0, or sort them into folders train, val and test."
        )
    numbers = {name: number for number, name in enumerate(names)}
    chosen = random_split(len(names), fractions, seed)[split]
    return np.flatnonzero(np.isin([numbers[group] for group in groups], chosen))
