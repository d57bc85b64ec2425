"""Which images make an epoch, and which of them make a batch.

Both are functions of (seed, epoch) alone: neither depends on the number of workers, and no state has to be saved to
repeat them.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from .errors import DataError


class Draw(NamedTuple):
    """What the training sampler hands to the data set: an epoch's draw of one image."""

    epoch: int
    index: int


class EpochOrder(Sampler[Draw]):
    """The images of an epoch: each once, in another order each time; or, with `weights` float (N,), as many draws, of
    each image as often as its weight says.

    Lightning calls `set_epoch` before each epoch, but in a resumed run only after the workers have begun to read: the
    first epoch must be known from the start.
    """

    def __init__(self, length: int, seed: int, epoch: int = 0, weights: np.ndarray | None = None) -> None:
        self.length = length
        self.seed = seed
        self.epoch = epoch
        self.shares = None if weights is None else np.asarray(weights, np.float64) / np.sum(weights)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.shares is None:
            order = rng.permutation(self.length)
        else:
            order = rng.choice(self.length, self.length, p=self.shares)
        return (Draw(self.epoch, int(index)) for index in order)

    def __len__(self) -> int:
        return self.length


class EpochBatches(Sampler[list[Draw]]):
    """The batches of an epoch, in the order of `sampler`; those of like shape together where `buckets` are given.

    `buckets`: int (N,), the kind of each image. A batch is ready when its bucket has enough images; what is left in the
    buckets at the end makes batches of mixed kinds, so that every epoch has as many batches as any other. `skip`
    batches of the first epoch are left out: a resumed run has had them. A last batch of one image is left out, for
    batch normalisation cannot learn from it, unless it is the only one.
    """

    def __init__(
        self, sampler: EpochOrder, batch_size: int, *, skip: int = 0, buckets: np.ndarray | None = None
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self._first = (sampler.epoch, skip)
        self._buckets = np.zeros(len(sampler), np.int64) if buckets is None else buckets

    def __iter__(self) -> Iterator[list[Draw]]:
        skip = self._first[1] if self.sampler.epoch == self._first[0] else 0
        return islice(self._batches(), skip, len(self))

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > 1 or (rest == 1 and whole == 0))

    def _batches(self) -> Iterator[list[Draw]]:
        waiting: dict[int, list[Draw]] = {}
        for draw in self.sampler:
            batch = waiting.setdefault(int(self._buckets[draw.index]), [])
            batch.append(draw)
            if len(batch) == self.batch_size:
                yield batch
                waiting[int(self._buckets[draw.index])] = []
        rest = [draw for _, batch in sorted(waiting.items()) for draw in batch]
        for start in range(0, len(rest), self.batch_size):
            yield rest[start : start + self.batch_size]


class PeopleBatches(Sampler[list[Draw]]):
    """Batches of `people` different people with `images` of each, whose images are then compared within the batch.

    `labels`: int (N,), who is in each image; those with fewer than `least_images` are left out. An epoch has about as
    many draws as there are images. In it everybody is drawn as often as anyone else, give or take once, however many
    images there are of them; and so is each image among those of its person. A person with fewer than `images` repeats
    some; where there are fewer than `people`, a batch has them all. `skip` batches of the first epoch are left out, as
    in `EpochBatches`. Hermans, Beyer, Leibe 2017, section 2.

    Raises DataError if all people are left out.
    """

    def __init__(
        self,
        labels: np.ndarray,
        *,
        people: int,
        images: int,
        seed: int,
        epoch: int = 0,
        skip: int = 0,
        least_images: int = 1,
    ) -> None:
        groups = _indices_of_people(np.asarray(labels))
        self._indices = [indices for indices in groups if len(indices) >= least_images]
        if not self._indices:
            raise DataError(f"None of the {len(groups)} people has {least_images} images in training; give more.")
        self.people = min(people, len(self._indices))
        self.images = images
        self.seed = seed
        self.epoch = epoch
        self._first = (epoch, skip)

    @property
    def sampler(self) -> "PeopleBatches":
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Draw]]:
        skip = self._first[1] if self.epoch == self._first[0] else 0
        return islice(self._batches(self.epoch), skip, len(self))

    def __len__(self) -> int:
        drawable = sum(len(indices) for indices in self._indices)
        return max(1, round(drawable / (self.people * self.images)))

    def _batches(self, epoch: int) -> Iterator[list[Draw]]:
        rng = np.random.default_rng((self.seed, epoch))
        images: dict[int, Iterator[np.ndarray]] = {}
        for people in _groups(np.arange(len(self._indices)), self.people, rng):
            batch = []
            for person in people.tolist():
                if person not in images:
                    images[person] = _groups(self._indices[person], self.images, rng)
                batch += [Draw(epoch, index) for index in next(images[person]).tolist()]
            yield batch


def _indices_of_people(labels: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(labels) else []


def _groups(items: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Groups of so many items without end: at any time each was given as often as any other, give or take once, and
    within a group too, so that none is twice in a group of fewer than there are.
    """
    whole, rest = divmod(size, len(items))
    waiting = items[:0]
    while True:
        if len(waiting) < rest:
            fresh = rng.permutation(items)
            # What is left of the last round comes first; the new round fills up with others, and has these later.
            filling = fresh[~np.isin(fresh, waiting)][: rest - len(waiting)]
            waiting = np.concatenate([waiting, filling, fresh[~np.isin(fresh, filling)]])
        yield np.concatenate([*[items] * whole, waiting[:rest]])
        waiting = waiting[rest:]


def aspect_buckets(sizes: Sequence[tuple[int, int]] | np.ndarray, number: int) -> np.ndarray:
    """Int (N,): which of `number` kinds of shape each image of `sizes` (H, W) is of, from wide to tall.

    The borders lie evenly in the logarithm of H / W from 1/2 to 2; with two kinds it is the square.
    """
    heights, widths = np.asarray(sizes, np.float64).reshape(-1, 2).T
    borders = np.linspace(-1, 1, number + 1)[1:-1]
    return np.digitize(np.log2(heights / widths), borders)


def balanced_weights(labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Float64 (N,): how often each image should be drawn so that rare classes are seen as often as common ones.

    `labels`: int64 (M,), the classes of all objects, `counts`: int64 (N,), objects of each image. An image weighs as
    much as the rarest class in it: 1 / (images with that class). One without objects weighs as the commonest class.
    """
    owners = np.repeat(np.arange(len(counts)), counts)
    pairs = np.unique(np.stack([owners, labels]), axis=1)
    images_with = np.bincount(pairs[1], minlength=int(labels.max(initial=0)) + 1)
    weights = np.full(len(counts), 1.0 / max(1, int(images_with.max(initial=1))))
    np.maximum.at(weights, pairs[0], 1.0 / images_with[pairs[1]])
    return weights
