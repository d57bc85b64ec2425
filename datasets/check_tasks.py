"""What `foveal check-data` asks of the truth of each task: its numbers, and faults that a reader does not look for.

Imports no torch.
"""

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import DataError
from ..core.images import ImageError
from .depths import KNOWN_SCALES, SCALES_APART
from .findings import Action, Findings
from .masks import IGNORE
from .scan import Mode, Watch, in_threads

NEAREST, FARTHEST = 0.01, 1000.0  # metres of a median depth: between a close-up and a landscape
TINY = 3.0  # pixels: a box with a shorter side is lost in the first layer of most networks

# Numbers under their names, in the order in which they are shown: whole numbers and shares, and [least, median, most].
Numbers = dict[str, Any]


class View(NamedTuple):
    """One split of a data set, and what is known of its files."""

    dataset: Any
    names: Sequence[bytes]  # of the images, relative to the root
    sizes: np.ndarray  # int32 (N, 2), (H, W) of the files; 0 where they are not known or cannot be read
    on_disk: bool  # whether the images are files, so that a size of 0 means one that cannot be read
    findings: Findings
    mode: Mode
    watch: Watch

    def name(self, index: int) -> str:
        """What a finding calls an image."""
        return os.fsdecode(self.names[index])

    def truth_name(self, index: int) -> str:
        """What a finding calls the file of an image's truth: where it has none, the image."""
        if not hasattr(self.dataset, "truth_path"):
            return self.name(index)
        path, image = self.dataset.truth_path(index), self.dataset.path(index)
        root = image.removesuffix(self.name(index))
        return path.removeprefix(root)


class Truth(NamedTuple):
    """What was found in the truth of one split."""

    numbers: Numbers
    counts: np.ndarray  # int64 (C,), of each class: images, objects or pixels
    unusable: dict[int, str]  # images whose truth cannot be used, and why


def check_truth(task: str, view: View) -> Truth:
    """Look at the truth of every image of a split, for the task it is for; notes what is wrong."""
    return _CHECKS.get(task, _without_truth)(view)


def spread(values: np.ndarray) -> list[float] | None:
    """[least, median, most] of (N,) numbers, whole ones as int; None of none."""
    if not len(values):
        return None
    three = (values.min(), np.median(values), values.max())
    return [int(value) if float(value).is_integer() else round(float(value), 4) for value in three]


def _without_truth(view: View) -> Truth:
    return Truth({}, np.zeros(0, np.int64), {})


# --- truth known without opening a file -------------------------------------------------------------------------------


def _classification(view: View) -> Truth:
    counts = np.bincount(view.dataset.labels, minlength=len(view.dataset.class_names))
    return Truth({"images_per_class": spread(counts)}, counts, {})


def _detection(view: View) -> Truth:
    unusable: dict[int, str] = {}
    per_image, sides, marks, tiny = np.zeros(len(view.names), np.int64), [], np.zeros(2, np.int64), 0
    for index in range(len(view.names)):
        if view.on_disk and not view.sizes[index].all():
            continue  # the file is a finding already
        truth = view.dataset.truth(index)
        boxes = truth["boxes"]
        per_image[index] = len(boxes)
        marks += truth["crowd"].sum(), truth["difficult"].sum()
        shorter = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
        sides.append(shorter)
        tiny += int((shorter < TINY).sum())
        _check_size(view, index, unusable)
        _check_boxes(view, index, boxes, truth["labels"])
    numbers = {
        "objects": int(per_image.sum()),
        "objects_per_image": spread(per_image),
        **_without_objects(per_image),
        "shorter_side_of_boxes": spread(np.concatenate(sides) if sides else np.zeros(0)),
        "tiny_boxes": tiny,
        "crowd_boxes": int(marks[0]),
        "difficult_boxes": int(marks[1]),
    }
    counts = np.bincount(view.dataset.labels, minlength=len(view.dataset.class_names))
    return Truth(numbers, counts, unusable)


def _without_objects(per_image: np.ndarray) -> Numbers:
    empty = int((per_image == 0).sum())
    return {"images_without_objects": empty, "share_without_objects": empty / max(len(per_image), 1)}


def _check_size(view: View, index: int, unusable: dict[int, str]) -> None:
    if not (view.on_disk and hasattr(view.dataset, "size")):
        return
    said, real = tuple(view.dataset.size(index)), tuple(view.sizes[index].tolist())
    if said != real:
        text = (
            f"has {real[1]} x {real[0]} pixels, but its annotations say {said[1]} x {said[0]}: its boxes may belong to "
            "another picture, or to one that was turned or resized"
        )
        view.findings.note("SIZE_DIFFERS", view.name(index), text, action="kept")
        unusable[index] = f"SIZE_DIFFERS: {text}"


def _check_boxes(view: View, index: int, boxes: np.ndarray, labels: np.ndarray) -> None:
    sides = boxes[:, 2:] - boxes[:, :2]
    tiny = np.flatnonzero(sides.min(axis=1) < TINY)
    if len(tiny):
        width, height = sides[tiny[sides[tiny].min(axis=1).argmin()]].tolist()
        text = f"{_boxes(len(tiny))} a side below {TINY:g} pixels; the smallest is {width:.1f} x {height:.1f}"
        view.findings.note("TINY_BOX", view.name(index), text, action="noted")
    kinds, counts = np.unique(np.column_stack([labels, boxes]), axis=0, return_counts=True)
    twice = np.flatnonzero(counts > 1)
    if len(twice):
        name = view.dataset.class_names[int(kinds[twice[0], 0])]
        box = ", ".join(f"{number:g}" for number in kinds[twice[0], 1:])
        more = f", and {len(twice) - 1} more like it" if len(twice) > 1 else ""
        text = f"the box ({box}) of the class {name} is there {counts[twice[0]]} times{more}"
        view.findings.note("DUPLICATE_BOX", view.name(index), text, action="noted")


def _boxes(count: int) -> str:
    return "1 box has" if count == 1 else f"{count} boxes have"


def _tracking(view: View) -> Truth:
    sequences = np.asarray(view.dataset.labels)
    seen = [len(view.dataset.truth(index)["boxes"]) > 0 for index in range(len(view.names))]
    hidden = len(seen) - sum(seen)
    frames = np.bincount(sequences)
    numbers = {
        "sequences": int((frames > 0).sum()),
        "frames_per_sequence": spread(frames[frames > 0]),
        "frames_without_box": hidden,
        "share_without_box": hidden / max(len(seen), 1),
        "sequences_never_visible": int(((np.bincount(sequences, seen) == 0) & (frames > 0)).sum()),
    }
    return Truth(numbers, np.zeros(0, np.int64), {})


def _faces(view: View) -> Truth:
    people, counts = np.unique(np.asarray(view.dataset.labels), return_counts=True)
    numbers: Numbers = {
        "people": len(people),
        "images_per_person": spread(counts),
        "people_with_one_image": int((counts == 1).sum()),
    }
    if len(getattr(view.dataset, "pairs", ())):
        folds = np.bincount(view.dataset.folds)
        numbers |= {
            "pairs": len(view.dataset.pairs),
            "share_of_one_person": float(view.dataset.same.mean()),
            "folds": int((folds > 0).sum()),
            "pairs_per_fold": spread(folds[folds > 0]),
        }
    return Truth(numbers, np.zeros(0, np.int64), {})


# --- truth that is read from files ------------------------------------------------------------------------------------


def _segmentation(view: View) -> Truth:
    pixels, lock = np.zeros(256, np.int64), threading.Lock()
    kinds = np.zeros(len(view.names), np.int64)

    def look(index: int, truth: dict[str, Any]) -> str | None:
        found = np.bincount(truth["mask"].ravel(), minlength=256)
        with lock:
            pixels[:] += found
        kinds[index] = np.count_nonzero(found[:IGNORE])
        return None if kinds[index] else "every pixel is ignored: nothing can be learnt from it"

    read, unusable = _read_all(view, "mask", look, "ALL_IGNORED")
    ignored = pixels[IGNORE] / max(pixels.sum(), 1)
    numbers = {"classes_per_image": spread(kinds[read]), "share_ignored": float(ignored)} if read.any() else {}
    classes = len(view.dataset.class_names)
    return Truth(numbers, pixels[:classes] if read.any() else np.zeros(0, np.int64), unusable)


def _edges(view: View) -> Truth:
    shares, annotators = np.zeros(len(view.names)), np.zeros(len(view.names), np.int64)
    sure = np.zeros(len(view.names))

    def look(index: int, truth: dict[str, Any]) -> str | None:
        shares[index] = np.count_nonzero(truth["edges"]) / truth["edges"].size
        sure[index] = np.count_nonzero(truth["edges"] >= 0.5) / truth["edges"].size
        annotators[index] = len(truth.get("annotators", ()))
        return None if shares[index] else "no pixel of it is an edge"

    read, unusable = _read_all(view, "edges", look, "NO_EDGE")
    for index in np.flatnonzero(read & (sure > 0.5)).tolist():
        text = f"{sure[index]:.0%} of its pixels are edges: is it inverted? White, or 1, must be where an edge is"
        view.findings.note("MOSTLY_EDGES", view.truth_name(index), text, action="noted")
    numbers: Numbers = {}
    if read.any():
        numbers["share_of_edge_pixels"] = float(shares[read].mean())
        numbers["maps_without_edge"] = int((shares[read] == 0).sum())
    if annotators.any():
        numbers["annotators_per_image"] = spread(annotators[read])
    return Truth(numbers, np.zeros(0, np.int64), unusable)


def _depth(view: View) -> Truth:
    three, invalid = np.zeros((len(view.names), 3)), np.ones(len(view.names))

    def look(index: int, truth: dict[str, Any]) -> str | None:
        known = truth["depth"][truth["depth"] > 0]
        invalid[index] = 1 - known.size / truth["depth"].size
        if not known.size:
            return "no pixel of it has a depth"
        three[index] = known.min(), np.median(known), known.max()
        return None

    read, unusable = _read_all(view, "depth", look, "NO_DEPTH")
    known = three[read & (three[:, 2] > 0)]
    numbers: Numbers = {}
    if read.any():
        numbers["share_without_depth"] = float(invalid[read].mean())
        numbers["maps_without_depth"] = int((invalid[read] == 1).sum())
    if len(known):
        least, middle, most = known[:, 0].min(), np.median(known[:, 1]), known[:, 2].max()
        numbers["depth_in_metres"] = [round(float(value), 4) for value in (least, middle, most)]
        _check_scale(view, three[:, 1], float(middle))
    return Truth(numbers, np.zeros(0, np.int64), unusable)


def _check_scale(view: View, medians: np.ndarray, middle: float) -> None:
    """Note maps whose median depth, 0 where not known, is far from that of the set, and a set that cannot be metres."""
    if not NEAREST <= middle <= FARTHEST:
        text = f"the median depth of this set is {middle:,.4g} m: is data.depth_scale right ({KNOWN_SCALES})?"
        view.findings.note("ODD_SCALE", view.truth_name(int(np.argmax(medians > 0))), text, action="noted")
    apart = np.maximum(medians / middle, middle / np.where(medians > 0, medians, middle))
    for index in np.flatnonzero(apart >= SCALES_APART).tolist():
        text = f"its median depth is {medians[index]:,.4g} m, and that of the set {middle:,.4g} m: another scale?"
        view.findings.note("OTHER_SCALE", view.truth_name(index), text, action="noted")


def _read_all(
    view: View, key: str, look: Callable[[int, dict[str, Any]], str | None], empty: str
) -> tuple[np.ndarray, dict[int, str]]:
    """Read the truth of every image, unless in a hurry: which could be read, bool (N,), and why others cannot be used.

    `look` is given each truth, and says what is missing in one that holds nothing, which is noted as `empty`.
    """
    read, unusable = np.zeros(len(view.names), bool), {}
    if view.mode == "quick":
        return read, unusable
    noted: list[tuple[int, str, str, Action]] = []

    def one(index: int) -> None:
        try:
            truth = view.dataset.truth(index)
        except DataError as error:
            code = error.code if isinstance(error, ImageError) else "BAD_TRUTH"
            noted.append((index, code, _without_path(view, index, error), "refused"))
            return
        height, width = truth[key].shape[-2:]
        real = tuple(view.sizes[index].tolist())
        if all(real) and real != (height, width):
            text = f"has {width} x {height} pixels, but its image '{view.name(index)}' has {real[1]} x {real[0]}"
            noted.append((index, "SIZE_DIFFERS", f"{text}: they must be of one size", "refused"))
            return
        missing = look(index, truth)
        if missing:
            noted.append((index, empty, missing, "noted"))
        read[index] = True

    in_threads(one, len(view.names), {"mask": "masks"}.get(key, f"{key} maps"), view.watch)
    for index, code, text, action in sorted(noted):
        view.findings.note(code, view.truth_name(index), text, action=action)
        if action == "refused":
            unusable[index] = f"{code}: {text}"
    return read, unusable


def _without_path(view: View, index: int, error: DataError) -> str:
    """What an error says of a file, without the file's name, which the finding has already."""
    if isinstance(error, ImageError):
        return error.reason
    path = view.dataset.truth_path(index) if hasattr(view.dataset, "truth_path") else view.dataset.path(index)
    return str(error).removeprefix(f"'{path}'").lstrip(" :,").removesuffix(".")


_CHECKS: dict[str, Callable[[View], Truth]] = {
    "classification": _classification,
    "style": _classification,
    "detection": _detection,
    "segmentation": _segmentation,
    "edges": _edges,
    "depth": _depth,
    "tracking": _tracking,
    "faces": _faces,
}
