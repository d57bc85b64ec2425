"""A run of prediction as one page for people: what was done, scores and classes as histograms, pictures, failures.

The page is made at the end of a run from the files that it has written, in one pass and in constant memory. Pictures
are drawn then too, and not while the run goes on: which ones are shown depends on how many predictions there are, a
line has all that a drawing needs, and a run that was killed and taken up again has nothing to remember. The cost is
that some files are read a second time.
"""

import base64
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from . import report_page as page
from .depth_files import from_colours, read_map, read_steps
from .edge_formats import read_edges
from .formats import Item
from .images import ImageError
from .input_list import InputList
from .masks import BACKGROUND, read_mask
from .run_folder import PARQUET, REPORT, SUMMARY, RunFolder
from .types import Prediction

BINS = 20
MOST_PICTURES, MOST_CLASSES, MOST_FAILURES = 48, 30, 200
_SIDE = 320  # pixels of an image on its longer side; with what is drawn below it at most half as many more
_QUALITY = 82
_WAITING = 2**16  # scores that are counted at once

Draw = Callable[[np.ndarray, Prediction], np.ndarray]


class Report:
    """Makes `report.html` at the end of a run. `draw` makes the picture of a prediction; `model` says in a few words
    what predicted.
    """

    def __init__(self, draw: Draw, model: str) -> None:
        self._draw = draw
        self._model = model

    def write(self, run: RunFolder, inputs: InputList, summary: Mapping[str, Any]) -> None:
        """Make the page of a run whose results are all there, with the counts of its summary; raises MachineError where
        it cannot be written.
        """
        tally, cards = self._read(run.path, inputs, summary["predicted"])
        what = _what(inputs)
        with run.whole(REPORT) as path, path.open("w", encoding="utf-8") as file:
            title = f"{str(summary.get('task', 'prediction')).capitalize()}: {_some(run.identity.get('paths', []))}"
            file.write(page.head(title))
            date, numbers = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}", _numbers(summary, tally, what)
            file.write(page.overview(title, date, numbers, self._facts(summary), _files(run.path)))
            if tally.counts:
                file.write(page.charts(tally.score_chart(what), tally.class_chart(what)))
            if tally.lines:
                file.writelines(page.contact_sheet(_shown(len(cards), tally.lines, what), cards))
            file.write(_failures(run.path, inputs, summary))
            file.write(page.options({key: _plain(value) for key, value in run.identity.items()}))
            file.write(page.foot())

    def _read(self, folder: Path, inputs: InputList, count: int) -> tuple["Tally", list[page.Card]]:
        """All lines, counted, and the cards of some."""
        chosen = chosen_of(count, MOST_PICTURES)
        tally, cards = Tally(), []
        for number, line in enumerate(_lines(folder / "predictions.jsonl")):
            tally.add(line)
            if number in chosen:
                cards.append(self._card(line, folder, inputs.root))
        tally.count()
        return tally, cards

    def _card(self, line: dict[str, Any], folder: Path, root: str) -> page.Card:
        height, width = line["size"]
        frame = f", frame {line['frame']:,}" if "frame" in line else ""
        result = _result(line)
        try:
            picture = self._picture(line, folder)
        except (ImageError, OSError):  # gone since, or too large to be held as a whole
            picture = None
        name = line["path"].removeprefix(root)
        return page.Card(picture, line["path"], name, f"{width:,} × {height:,}{frame}", result)

    def _picture(self, line: dict[str, Any], folder: Path) -> str:
        """A JPEG in base 64; raises ImageError or OSError where a file is gone."""
        item = Item(rebuilt(line, folder), line["path"], 0)
        drawn = self._draw(*_small(item.image, item.prediction))
        drawn = _fitted(drawn, _SIDE * 3 // 2)
        good, data = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        assert good
        return base64.b64encode(data.tobytes()).decode("ascii")

    def _facts(self, summary: Mapping[str, Any]) -> dict[str, str]:
        inputs = summary["inputs"]
        counts = {noun: inputs[f"{noun}s"] for noun in ("image", "video")}
        counted = [f"{count:,} {noun}{'s' * (count > 1)}" for noun, count in counts.items() if count]
        hidden = f" ({inputs['left_out']:,} hidden files left out)" if inputs["left_out"] else ""
        versions = ", ".join(f"{name} {version}" for name, version in summary.get("versions", {}).items())
        facts = {"model": self._model, "input": " and ".join(counted) + hidden, "versions": versions}
        return {key: value for key, value in facts.items() if value}


def chosen_of(count: int, most: int) -> set[int]:
    """At most so many of the numbers below `count`, the first and the last among them, in even steps."""
    return set(range(count)) if count <= most else {number * (count - 1) // (most - 1) for number in range(most)}


def rebuilt(line: Mapping[str, Any], folder: Path) -> Prediction:
    """The prediction that a line of `predictions.jsonl` in `folder` was written of, but for its probabilities; raises
    OSError where its maps are gone.
    """
    values = {key: value for key, value in line.items() if key != "probabilities"}
    values["size"] = tuple(line["size"])
    for key, kind in (("labels", torch.int64), ("scores", torch.float32), ("pixels", torch.int64)):
        if key in values:
            values[key] = torch.tensor(values[key], dtype=kind)
    if "boxes" in values:
        values["boxes"] = torch.tensor(values["boxes"], dtype=torch.float32).reshape(-1, 4)
    for key in ("embedding", "embeddings"):
        if key in values:
            values[key] = torch.tensor(values[key], dtype=torch.float32)
    if "mask" in values:
        values["mask"] = torch.from_numpy(read_mask(folder / values["mask"]))
    if "edges" in values:
        values["edges"] = torch.from_numpy(read_edges(folder / values["edges"]))
    if "depth" in values:
        values["depth"] = torch.from_numpy(read_map(folder / values["depth"], read_steps(folder)))
    if "normals" in values:
        values["normals"] = torch.from_numpy(from_colours(read_mask(folder / values["normals"])))
    return Prediction(**values)


class Tally:
    """Counts over lines.

    Of boxes and masks, each score and each class counts; of a list of classes for the whole image, the first alone; and
    an image without any edge has none. Of depth, distances.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.empty = 0  # lines that name no class
        self.bins = np.zeros(BINS, np.int64)  # scores, those of 1 in the last
        self.not_numbers = 0  # scores
        self.counts = Counter[int]()  # of each label
        self.pixels = Counter[int]()  # of each label
        self.names: dict[int, str] = {}  # of the labels
        self._area = 0  # pixels of all images
        self._kind = "classes"  # or boxes, mask, edges or depth
        self._nearest, self._farthest = math.inf, 0.0  # metres
        self._labels: list[int] = []
        self._scores: list[float] = []

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a line."""
        self._kind = next((kind for kind in ("boxes", "mask", "edges", "depth") if kind in line), "classes")
        self.lines += 1
        labels, names, scores = (line.get(key, []) for key in ("labels", "names", "scores"))
        if self._kind == "depth" and line["known"]:
            self._nearest = min(self._nearest, line["nearest"])
            self._farthest = max(self._farthest, line["farthest"])
        if self._kind == "edges" and line["pixels"] == [0]:
            labels, names, scores = [], [], []
        self.empty += not labels
        if self._kind == "classes":
            labels, names, scores = labels[:1], names[:1], scores[:1]
        self.names.update(zip(labels, names, strict=True))
        self._labels += labels
        self._scores += scores
        for label, pixels in zip(labels, line.get("pixels", ()), strict=False):
            self.pixels[label] += pixels
        self._area += line["size"][0] * line["size"][1]
        if len(self._labels) >= _WAITING:
            self.count()

    def count(self) -> None:
        """Take what waits into the counts."""
        labels, scores = np.array(self._labels, np.int64), np.array(self._scores, np.float64)
        for label, number in zip(*(each.tolist() for each in np.unique(labels, return_counts=True)), strict=True):
            self.counts[label] += number
        good = scores[np.isfinite(scores)]
        self.not_numbers += len(scores) - len(good)
        # In millionths, as they are written: 0.15 is in the fourth bin, whatever 20 times it comes to.
        places = (np.rint(good * 1e6).astype(np.int64) * BINS // 10**6).clip(0, BINS - 1)
        self.bins += np.bincount(places, minlength=BINS)
        self._labels.clear()
        self._scores.clear()

    @property
    def objects(self) -> int | None:
        """Boxes, where there are such."""
        return self.counts.total() if self._kind == "boxes" else None

    def found(self) -> list[page.Number]:
        """What is worth a large number: of depth the ends of its range, else objects and classes."""
        if self._kind == "depth":
            ends = {"nearest": self._nearest, "farthest": self._farthest} if self._farthest else {}
            return [page.Number(f"{end}, metres", f"{value:,.2f}") for end, value in ends.items()]
        objects = self.objects
        return [
            *([page.Number("objects", f"{objects:,}")] if objects is not None else []),
            page.Number("classes found", f"{len(self.counts):,}"),
        ]

    def score_chart(self, what: str) -> str:
        """The histogram of the scores of `what` was predicted."""
        titles = {
            "boxes": f"{self.counts.total():,} objects by their score",
            "mask": "classes found in an image, by the mean probability of their pixels",
            "edges": f"{what} by the mean probability of their edges",
            "classes": f"{what} by the probability of their first class",
        }
        broken = f"no numbers: {self.not_numbers:,} of {self.counts.total():,} scores" if self.not_numbers else ""
        return page.score_chart(titles[self._kind], self.bins.tolist(), broken)

    def class_chart(self, what: str) -> str:
        """The most frequent classes; what would make all other bars small is said in words: background, and the sum of
        the rest.
        """
        areas = self._kind in ("mask", "edges")
        sizes = self.pixels if areas else self.counts
        ground = [label for label in self.pixels if self.names[label] == BACKGROUND]
        order = sorted(sizes.keys() - ground, key=lambda label: (-sizes[label], label))
        shown, rest = order[:MOST_CLASSES], order[MOST_CLASSES:]
        longest = max((sizes[label] for label in shown), default=1) or 1
        titles = {"boxes": "objects by their class", "classes": f"{what} by their first class"}
        title = f"share of all pixels, and number of {what} in which the class is" if areas else titles[self._kind]
        rows = [page.Share(self.names[label], sizes[label] / longest, self._counted([label])) for label in shown]
        others = f"{len(rest):,} other class{'es' * (len(rest) > 1)}"
        said = [(others, rest), (BACKGROUND, ground)]
        remarks = [f"{name}: {self._counted(labels)}" for name, labels in said if labels]
        if self.empty:
            remarks.append(f"without any: {self.empty:,} of {self.lines:,} {what}")
        return page.class_chart(title, rows, "; ".join(remarks))

    def _counted(self, labels: Sequence[int]) -> str:
        """How much there is of some classes; in how many images makes sense of one alone."""
        number = sum(self.counts[label] for label in labels)
        if self._kind in ("boxes", "classes"):
            return f"{number:,} ({_percent(number / max(self.counts.total(), 1))})"
        share = _percent(sum(self.pixels[label] for label in labels) / max(self._area, 1))
        return f"{share}, in {number:,}" if len(labels) == 1 else share


# --- words ------------------------------------------------------------------------------------------------------------


def _numbers(summary: Mapping[str, Any], tally: Tally, what: str) -> list[page.Number]:
    return [
        page.Number(f"{what} predicted", f"{summary['predicted']:,}"),
        page.Number("unreadable", f"{summary['failed']:,}", "bad" if summary["failed"] else ""),
        *tally.found(),
        page.Number("seconds", f"{summary['seconds']:,.1f}", "time"),
        page.Number(f"{what} a second", f"{summary['rate']:,.1f}", "time"),
    ]


def _what(inputs: InputList) -> str:
    """What a prediction is about."""
    return "images and frames" if inputs.images and inputs.videos else "frames" if inputs.videos else "images"


def _shown(shown: int, count: int, what: str) -> str:
    return f"all {what}" if shown == count else f"{shown} of {count:,} {what}, in even steps"


def _result(line: Mapping[str, Any]) -> str:
    """What was found first."""
    names, scores = line.get("names", []), line.get("scores", [])
    if line.get("known"):
        return f"{line['nearest']:.2f} to {line['farthest']:.2f} m, half of it within {line['median']:.2f} m"
    if not names:
        return "nothing found"
    if "pixels" in line:
        first = next((number for number, name in enumerate(names) if name != BACKGROUND), 0)
        height, width = line["size"]
        return f"{names[first]}: {_percent(line['pixels'][first] / (height * width))} of pixels"
    if "boxes" in line:
        more = f", and {len(names) - 1:,} more" if len(names) > 1 else ""
        return f"{names[0]} {scores[0]:.2f}{more}"
    return f"{names[0]} {_percent(scores[0])}"


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _files(folder: Path) -> list[str]:
    names = ("predictions.jsonl", "predictions.csv", PARQUET, "failures.jsonl")
    return [*(name for name in names if (folder / name).exists()), SUMMARY]  # which is written after the page


def _failures(folder: Path, inputs: InputList, summary: Mapping[str, Any]) -> str:
    rows = []
    for line in _lines(folder / "failures.jsonl"):
        if len(rows) == MOST_FAILURES:
            break
        reason = line["reason"].removeprefix(f"'{line['path']}' ")  # the path stands beside it
        rows.append(page.Failure(line["path"].removeprefix(inputs.root), line["code"], reason))
    codes = ", ".join(f"{count:,} {code}" for code, count in summary["failures"].items())
    title = f"{summary['failed']:,} of {len(inputs):,} files: {codes}" if rows else "none: every file could be read"
    return page.failure_table(title, rows, "failures.jsonl", summary["failed"] - len(rows))


# --- files and pictures -----------------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from map(json.loads, file)


def _small(image: np.ndarray, prediction: Prediction) -> tuple[np.ndarray, Prediction]:
    """An image at the size of the sheet, so that letters and lines which are drawn on it stay as large as they are
    meant, and what is to be drawn: boxes in its pixels. A mask stays as it is, with its counts: whoever draws it fits
    it.
    """
    small = _fitted(image, _SIDE)
    if small is image or "boxes" not in prediction:
        return small, prediction
    across, down = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
    boxes = prediction["boxes"] * torch.tensor([across, down, across, down])
    return small, Prediction(**{**prediction, "boxes": boxes})


def _fitted(image: np.ndarray, side: int) -> np.ndarray:
    share = side / max(image.shape[:2])
    if share >= 1:
        return image
    width, height = (max(1, round(length * share)) for length in image.shape[1::-1])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
