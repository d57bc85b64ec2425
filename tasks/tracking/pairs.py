"""What training sees of sequences: a target in one frame, and the part of another in which to find it.

Imports no torch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...core.errors import DataError
from .crops import crop, mean_colour
from .region import Region

if TYPE_CHECKING:
    from ...core.data import Dataset


class Views(NamedTuple):
    """What of a frame a head looks at, and how large it is drawn; see `TrackingHead`."""

    exemplar_region: Callable[[np.ndarray], Region]
    search_region: Callable[[np.ndarray], Region]
    exemplar_size: int  # pixels, side of the crop
    search_size: int


class Motion(NamedTuple):
    """How far from where it is a target is looked for: drawn anew for each pair.

    With `laplace` the box is changed as GOTURN's motion model says (Held et al. 2016, section 3.2): its middle by
    shares of its sides of scale 1/5, its sides by factors around 1 of scale 1/15, from 0.6 to 1.4; the target's middle
    stays in the crop.
    """

    shift: float = 0.0  # in shares of the crop's side, at most, along each axis: uniform
    stretch: float = 0.0  # in shares of the region's sides, at most, each by itself: uniform
    laplace: bool = False


MOTIONS = {
    "none": Motion(),
    "siamfc": Motion(shift=4 / 255, stretch=0.05),  # pixels of Bertinetto et al.'s code; their paper has neither
    "shifted": Motion(shift=64 / 255, stretch=0.05),  # a padded network would learn that targets are in the middle
    "siamrpn": Motion(shift=64 / 255, stretch=0.18),  # of the code of SiamRPN++ (Li et al. 2019, section 3.2: 64)
    "goturn": Motion(laplace=True),
}
_UNSEEN = np.zeros(3)  # the colour beyond a border that is not in sight
_SHIFT, _FACTOR, _FACTORS = 1 / 5, 1 / 15, (0.6, 1.4)


class _Seen(NamedTuple):
    """The frames of a sequence in which its target is visible, in their order."""

    rows: np.ndarray  # int64 (F,), of the data set
    frames: np.ndarray  # int64 (F,), their numbers


class Pairs:
    """Pairs of crops from the sequences of a data set; see the package `datasets` for what a data set is.

    An epoch has one pair for each frame whose target is visible, which is the exemplar's, or `per_sequence` for each
    sequence, their exemplars evenly spread. The other frame is drawn from those of the same sequence that are at most
    `max_distance` frames away, with the target visible too; where there is none it is the same one. `labels`: int64,
    the sequence of each pair.

    Of a data set that does not know beforehand where its targets are visible (no `visible`, as the drawn world, which
    needs half a minute for 50,000 frames), every frame counts, and one without the target is replaced by its nearest
    neighbour with it. Raises DataError where no target is visible anywhere.
    """

    def __init__(
        self,
        dataset: "Dataset",
        views: Views,
        *,
        max_distance: int = 100,
        per_sequence: int | None = None,
        motion: Motion = MOTIONS["none"],
    ) -> None:
        self.class_names = dataset.class_names
        self._dataset, self._views, self._motion = dataset, views, motion
        self._max_distance, self._per_sequence = max_distance, per_sequence
        self._frames: np.ndarray | None = getattr(dataset, "frames", None)
        visible: np.ndarray | None = getattr(dataset, "visible", None)
        rows = np.arange(len(dataset)) if visible is None else np.flatnonzero(visible)
        if len(dataset) and not len(rows):
            raise DataError(f"In none of {len(dataset)} frames a target is visible, so that there is nothing to learn.")
        self._known = visible is not None and self._frames is not None
        sequences = np.asarray(dataset.labels, np.int64)[rows]
        order = np.argsort(sequences, kind="stable")
        self._rows = rows[order]
        numbers, starts = np.unique(sequences[order], return_index=True)
        self._ends = np.append(starts, len(rows))
        self.labels = sequences[order] if per_sequence is None else np.repeat(numbers, per_sequence)
        self._seen: dict[int, _Seen] = {}  # of sequences that were asked for

    def __len__(self) -> int:
        """Number of pairs in an epoch."""
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A pair, always the same one."""
        return self.draw(index, 0)

    def draw(self, index: int, seed: int) -> dict[str, Any]:
        """A pair, a function of its number and of `seed`, 0 or more.

        `image` uint8 (E, E, 3), the crop with the exemplar, and its `path` and `size`, (H, W) of the file; `image2`
        uint8 (S, S, 3), the crop to search, and `box2` float32 (4,), the target in it, xyxy in pixels of the crop,
        outside of it too. Raises what the data set raises for a frame that can't be read.
        """
        rng = np.random.default_rng((seed, index))
        seen, place = self._exemplar(index, rng.random())
        partner = self._partner(seen.frames, place, rng)
        first = self._dataset[int(seen.rows[place])]
        second = first if partner == place else self._dataset[int(seen.rows[partner])]
        views = self._views
        exemplar = crop_around(first["image"], views.exemplar_region(_box(first)), views.exemplar_size)
        box, size = _box(second), views.search_size
        region = moved(box, views.search_region, self._motion, rng)
        return {
            "image": exemplar,
            "image2": crop_around(second["image"], region, size),
            "box2": region.from_frame(box, size).astype(np.float32),
            "path": first["path"],
            "size": first["size"],
        }

    def path(self, index: int) -> str:
        """The file of a pair's exemplar; where these are drawn, the one that is as likely before as behind."""
        return self._dataset.path(self._row(index))  # type: ignore[attr-defined]  # the data sets of sequences have it

    def truth(self, index: int) -> dict[str, Any]:
        """What is known about the frame that `path` names."""
        return self._dataset.truth(self._row(index))

    def fingerprint(self) -> str:
        """That of the data set."""
        return self._dataset.fingerprint()

    def _row(self, index: int) -> int:
        seen, place = self._exemplar(index, 0.5)
        return int(seen.rows[place])

    def _exemplar(self, index: int, share: float) -> tuple[_Seen, int]:
        """The frames of the pair's sequence, and which of them has the exemplar; `share` chooses where it is drawn."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._per_sequence is None:
            sequence = int(np.searchsorted(self._ends, index, side="right")) - 1
            seen = self._of_sequence(sequence)
            return seen, int(np.abs(seen.rows - self._rows[index]).argmin())
        sequence, part = divmod(index, self._per_sequence)
        seen = self._of_sequence(sequence)
        return seen, int((part + share) / self._per_sequence * len(seen.rows))

    def _of_sequence(self, number: int) -> _Seen:
        """The frames of a sequence with its target; where it is never visible, those of the next."""
        count = len(self._ends) - 1
        for sequence in (number + np.arange(count)) % count:
            seen = self._look(int(sequence))
            if len(seen.rows):
                return seen
        raise DataError(f"In none of {count} sequences a target is visible, so that there is nothing to learn.")

    def _look(self, sequence: int) -> _Seen:
        if sequence not in self._seen:
            rows = self._rows[self._ends[sequence] : self._ends[sequence + 1]]
            if self._known and self._frames is not None:
                frames = self._frames[rows]
            else:
                truths = [self._dataset.truth(int(row)) for row in rows]
                there = np.array([len(truth["boxes"]) > 0 for truth in truths], bool)
                rows, frames = rows[there], np.array([truth["frame"] for truth in truths], np.int64)[there]
            order = np.argsort(frames, kind="stable")
            self._seen[sequence] = _Seen(rows[order], frames[order])
        return self._seen[sequence]

    def _partner(self, frames: np.ndarray, place: int, rng: np.random.Generator) -> int:
        first = int(np.searchsorted(frames, frames[place] - self._max_distance, side="left"))
        end = int(np.searchsorted(frames, frames[place] + self._max_distance, side="right"))
        if end - first < 2:
            return place
        other = first + int(rng.integers(end - first - 1))
        return other + (other >= place)


def moved(box: np.ndarray, region: Callable[[np.ndarray], Region], motion: Motion, rng: np.random.Generator) -> Region:
    """The `region` of a box xyxy (4,), moved and stretched as `motion` says."""
    if motion.laplace:
        return _moved_as_goturn(np.asarray(box, np.float64), region, rng)
    looked_at = region(box)
    across, down = 1 + rng.uniform(-motion.stretch, motion.stretch, 2)
    right, below = rng.uniform(-motion.shift, motion.shift, 2)
    width, height = looked_at.width * across, looked_at.height * down
    return Region(looked_at.x + right * width, looked_at.y + below * height, width, height)


def crop_around(image: np.ndarray, region: Region, size: int) -> np.ndarray:
    """A crop uint8 (size, size, 3), beyond the image's border of its mean colour."""
    return crop(image, region, size, mean_colour(image) if _touches_border(image, region, size) else _UNSEEN)


def _moved_as_goturn(box: np.ndarray, region: Callable[[np.ndarray], Region], rng: np.random.Generator) -> Region:
    sides = box[2:] - box[:2]
    middle, half = (box[:2] + box[2:]) / 2, sides * np.clip(rng.laplace(1, _FACTOR, 2), *_FACTORS) / 2
    looked_at = region(np.concatenate((middle - half, middle + half)))
    reach = np.array([looked_at.width, looked_at.height]) / 2
    right, below = np.clip(sides * rng.laplace(0, _SHIFT, 2), -reach, reach)
    return looked_at._replace(x=looked_at.x + float(right), y=looked_at.y + float(below))


def _touches_border(image: np.ndarray, region: Region, size: int) -> bool:
    """Whether any of a crop depends on what is beyond the image: its mean takes as long as a small crop."""
    height, width = image.shape[:2]
    across, down = (side / 2 + 4 * max(1.0, side / size) for side in (region.width, region.height))
    inside = across <= region.x <= width - across and down <= region.y <= height - down
    return not inside


def _box(sample: dict[str, Any]) -> np.ndarray:
    return np.asarray(sample["boxes"][0], np.float64)
