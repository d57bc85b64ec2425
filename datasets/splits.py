"""Which images are for training, which for validation, which for testing, where the data set does not say."""

import hashlib
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from ..core.errors import DataError, MissingSplit, UsageError


def stratified_split(
    labels: np.ndarray,
    fractions: Sequence[float] = (0.65, 0.10, 0.25),
    seed: int = 0,
    class_names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Indices of train, val and test, each int64 and rising: disjoint, complete, and of each class about the same
    share.

    `labels`: int64 (N,). Each class gives its share rounded down, and where its leftover images go is decided by what
    the split still lacks over all classes so far (largest remainder), so that the totals meet the fractions within an
    image or two. A class gives at least one image to every split that has a fraction. The same on every machine and in
    every version of numpy: it uses the raw numbers of PCG64, the only ones that numpy promises never to change.

    Raises UsageError for fractions that are not three shares of 1, DataError for a class that has too few images.
    """
    require_shares(fractions)
    keys = np.random.PCG64(seed).random_raw(len(labels))
    order = np.argsort(keys, kind="stable")
    wanted, parts = np.zeros(3), ([], [], [])
    for label, count in enumerate(np.bincount(labels).tolist()):
        if not count:
            continue
        wanted += np.asarray(fractions) * count
        sizes = _shares(count, np.asarray(fractions), wanted)
        if sizes is None:
            name = class_names[label] if class_names is not None else label
            need = sum(fraction > 0 for fraction in fractions)
            raise DataError(
                f"Class '{name}' has {count} image{'s' * (count > 1)}, and {need} splits need at least one each: add "
                "images, leave the class out, or sort the images into splits yourself."
            )
        wanted -= sizes
        members = order[labels[order] == label]
        for part, indices in zip(parts, np.split(members, np.cumsum(sizes)[:2]), strict=True):
            part.append(indices)
    joined = (np.sort(np.concatenate(part)) if part else np.empty(0, np.int64) for part in parts)
    return dict(zip(("train", "val", "test"), joined, strict=True))


def split_train(
    labels: np.ndarray, split: str, fractions: Sequence[float], seed: int, class_names: Sequence[str]
) -> np.ndarray:
    """Indices of train or val, for a data set whose training images must give both; the share of test is ignored."""
    train, val, _ = fractions
    if train + val <= 0:
        raise UsageError(f"The shares of train and val are {train} and {val}; one of them must be more than 0.")
    return stratified_split(labels, (train / (train + val), val / (train + val), 0.0), seed, class_names)[split]


def require_classes(class_names: Sequence[str], where: str) -> None:
    """DataError unless there is something to tell apart."""
    if len(class_names) < 2:
        raise DataError(f"{where} has only one class, '{class_names[0]}': there must be two or more to tell apart.")


def require_shares(fractions: Sequence[float]) -> None:
    """Raises UsageError unless `fractions` are three shares, none below 0, that add up to 1."""
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UsageError(f"The splits {list(fractions)} must be three shares (train, val, test) that add up to 1.")


def _shares(count: int, fractions: np.ndarray, wanted: np.ndarray) -> np.ndarray | None:
    """How many of a class's `count` images go to each split; None where they are too few.

    `wanted`: what each split should have got from all classes so far, this one included, less what it did get.
    """
    sizes = np.floor(fractions * count + 1e-9).astype(np.int64)
    first = np.argsort(-np.where(fractions > 0, wanted - sizes, -np.inf), kind="stable")
    sizes[first[: count - sizes.sum()]] += 1
    if count < np.count_nonzero(fractions):
        return None
    for empty in np.flatnonzero((sizes == 0) & (fractions > 0)):
        sizes[sizes.argmax()] -= 1
        sizes[empty] += 1
    return sizes


def random_split(number: int, fractions: Sequence[float], seed: int) -> dict[str, np.ndarray]:
    """As `stratified_split`, for images without classes."""
    return stratified_split(np.zeros(number, np.int64), fractions, seed, ["image"])


def require_own_split(where: object, split: str, own: Collection[str]) -> str:
    """The split whose images give `split`, for a data set that names the splits `own` itself: val may come from train.

    Raises MissingSplit for a test, DataError for a train that is not there.
    """
    if split in own:
        return split
    if split == "val" and "train" in own:
        return "train"
    kind = MissingSplit if split == "test" else DataError
    raise kind(f"'{where}' has images for {' and '.join(own)} and none for {split}: add them.")


def part_of_own_split(
    number: int, split: str, own: Collection[str], fractions: Sequence[float], seed: int
) -> np.ndarray:
    """Which of the `number` images of `require_own_split` are for `split`: all, but that val is drawn from train where
    it has none of its own.
    """
    if split == "test" or "val" in own:
        return np.arange(number)
    train, val, _ = fractions
    share = train / (train + val) if train + val > 0 else 1.0
    return random_split(number, (share, 1.0 - share, 0.0), seed)[split]


def digest(names: Iterable[bytes], *truths: np.ndarray) -> str:
    """A short hash of a data set's names, in their order, and truths: what a checkpoint remembers of it."""
    state = hashlib.blake2b(digest_size=16)
    for truth in truths:
        kind = {"f": "<f8", "i": "<i8", "u": "<i8", "b": "<i8"}.get(truth.dtype.kind, truth.dtype)  # names stay bytes
        state.update(np.ascontiguousarray(truth, dtype=kind).tobytes())
    for name in names:
        state.update(len(name).to_bytes(8, "little") + name)
    return state.hexdigest()
