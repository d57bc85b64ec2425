"""Random numbers that are the same on every machine and in every version of numpy."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Thing = TypeVar("Thing")


class Dice:
    """A stream of random numbers that is a function of its `key`, whole numbers of 0 or more, and of nothing else.

    Numpy's own distributions may change between its versions; the raw output of PCG64, and the SeedSequence that starts
    it, may not.
    """

    def __init__(self, *key: int) -> None:
        self._key = key
        # The length, because SeedSequence takes (1, 0) and (1,) for the same.
        self._bits = np.random.PCG64(np.random.SeedSequence((*key, len(key))))

    def fork(self, *key: int) -> "Dice":
        """A stream of its own for a part of what is drawn: however much that part uses, this one is not moved."""
        return Dice(*self._key, *key)

    def below(self, number: int) -> int:
        """A whole number, 0 to `number` - 1."""
        return int(self._bits.random_raw()) % number

    def between(self, low: int, high: int) -> int:
        """A whole number, `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A float from `low` up to `high`."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) / 2**53)

    def chance(self, share: float) -> bool:
        """True in this share of the throws."""
        return self.uniform() < share

    def choice(self, things: Sequence[Thing]) -> Thing:
        """One of `things`."""
        return things[self.below(len(things))]

    def shuffled(self, things: Sequence[Thing]) -> list[Thing]:
        """All of `things`, in another order."""
        keys = self._bits.random_raw(len(things))
        return [things[index] for index in np.argsort(keys, kind="stable")]

    def bytes(self, *shape: int) -> np.ndarray:
        """uint8 of `shape`, each value 0 to 255 as likely as any other."""
        count = int(np.prod(shape))
        raw = self._bits.random_raw(-(-count // 8)).astype("<u8")  # little-endian: the same order everywhere
        return raw.view(np.uint8)[:count].reshape(shape)
