"""A network measured on people whom it has not seen: pairs of images, and whether their distances tell who is who."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ...core.errors import DataError
from .curves import plot_distances, plot_roc
from .far import EqualError, Rate, Roc, equal_error_rate, negatives_needed, roc, tar_at_far, threshold_at_far
from .identification import answer, identification_at_far, rank_rate, split_gallery
from .options import FacesOptions
from .pairs_of_people import draw_pairs
from .thresholds import MISSING, rates_of
from .verification import LfwAccuracy, lfw_accuracy

_FOLDS = 10  # of LFW's protocol
_PAIRS = 6000  # drawn for it, where the data set names none: half of them of one person, as in LFW
_SEED = 0  # of these pairs: the same ones for every network
_STRANGERS = 0.3  # of people, in no gallery
_IDENTIFICATION_FARS = (0.1, 0.01)
_PIXELS = 32  # sides of the grey images that are compared beside the network
_MATRIX = 2**26  # products that are computed all at once, in place of pair by pair
_BLOCK = 2**16  # pairs


class Pairs(NamedTuple):
    """Images to compare, by their places among those that were seen."""

    first: np.ndarray  # int64 (P,)
    second: np.ndarray  # int64 (P,)
    same: np.ndarray  # bool (P,)
    folds: np.ndarray  # int64 (P,)


class Measured(NamedTuple):
    """What one kind of embedding makes of the pairs."""

    accuracy: LfwAccuracy
    distances: np.ndarray  # float64 (P,), of all pairs
    eer: EqualError
    roc: Roc
    named: dict[str, float | None]  # shares of images that are named rightly, see `_identification`


class Evaluation:
    """Gathers the embeddings of the images of `dataset`, and measures how well distances tell people apart.

    The accuracy is that of LFW's protocol, on the pairs and folds that the data set names, else on pairs drawn with a
    fixed seed. All else is of all pairs of images, up to `options.max_pairs` of each kind; but of a data set that knows
    no people, only pairs, of these. With `pixels` the same numbers are found for small grey images as they are; with
    `identify` it is told too how often the right one of many people is named. `stored` are the distances, by their FAR,
    that validation found and predictions go by: what they are worth here is told.
    """

    def __init__(
        self,
        dataset: Any,
        options: FacesOptions,
        *,
        pixels: bool = False,
        identify: bool = False,
        stored: Mapping[float, float] | None = None,
    ) -> None:
        self._dataset = dataset
        self._stored = dict(sorted((stored or {}).items(), reverse=True))
        self._options = options
        self._rates = rates_of(options)
        self._identify = identify and getattr(dataset, "identified", True)
        self._paths: list[str] = []
        self._rows: dict[str, list[torch.Tensor]] = {"network": [], **({"pixels": []} if pixels else {})}
        self._measured: dict[str, Measured] = {}
        self._same = np.zeros(0, bool)  # of all pairs
        self._remarks: list[str] = []

    def add(self, paths: list[str], embeddings: torch.Tensor, images: torch.Tensor) -> None:
        """Images of the data set: embeddings float32 (N, D) of length 1, and what was seen, uint8 (N, 3, S, S)."""
        self._paths += paths
        self._rows["network"].append(embeddings.detach().cpu())
        if "pixels" in self._rows:
            self._rows["pixels"].append(raw_pixels(images))

    def compute(self) -> None:
        """Measure what was gathered."""
        places = {self._dataset.path(index): index for index in range(len(self._dataset))}
        seen = np.array([places[path] for path in self._paths], np.int64)
        try:
            protocol, pairs = self._pairs(seen)
        except DataError as error:
            self._remarks.append(f"Nothing can be verified: {error}")
            return
        self._same = pairs.same
        for name, rows in self._rows.items():
            embeddings = torch.cat(rows)
            near, all_of_them = (distances_of(embeddings, each) for each in (protocol, pairs))
            accuracy = lfw_accuracy(near, protocol.same, protocol.folds)
            eer, curve = equal_error_rate(all_of_them, pairs.same), roc(all_of_them, pairs.same)
            assert eer is not None and curve is not None  # there are pairs of both kinds
            named = _identification(embeddings.numpy(), self._dataset.labels[seen]) if self._identify else {}
            self._measured[name] = Measured(accuracy, all_of_them, eer, curve, named)

    def summary(self) -> dict[str, float]:
        """`accuracy` with its `standard_error`, `eer` and `auc`, shares of 1, and at the recipe's FAR the share of
        pairs of one person that are found, `tar`, where there are enough pairs for it; all -1 where there are none.
        """
        measured = self._measured.get("network")
        if measured is None:
            return dict.fromkeys(("accuracy", "standard_error", "eer", "auc"), MISSING)
        rate = self._tar()[self._options.far]
        accuracy = {"accuracy": measured.accuracy.mean, "standard_error": measured.accuracy.standard_error}
        return {**accuracy, **_rest(measured), **({"tar": rate.rate} if rate is not None else {})}

    def thresholds(self) -> list[float]:
        """For each of `rates_of` the highest distance with no larger share of false matches; -1 for too few pairs."""
        measured = self._measured.get("network")
        if measured is None:
            return []
        found = [threshold_at_far(measured.distances, self._same, rate) for rate in self._rates]
        return [MISSING if distance is None else distance for distance in found]

    def tables(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """TAR at each FAR, with the interval that holds it with 95 % confidence, and the distance; FAR and TAR of the
        distances that predictions go by; beside the network what the pixels themselves say; and how often the right
        name is found.
        """
        if not self._measured:
            return {}
        rates = self._tar()
        columns: dict[str, Callable[[Rate], float]] = {
            "TAR": lambda rate: rate.rate,
            "from": lambda rate: rate.low,
            "to": lambda rate: rate.high,
            "distance": lambda rate: rate.threshold,
        }
        tar: dict[str, dict[str, float | None]] = {
            name: {f"{far:g}": None if rate is None else read(rate) for far, rate in rates.items()}
            for name, read in columns.items()
        }
        beside: dict[str, dict[str, float | None]] = {
            name: {"accuracy": measured.accuracy.mean, **_rest(measured)} for name, measured in self._measured.items()
        }
        named = {name: measured.named for name, measured in self._measured.items() if measured.named}
        tables = {
            "FAR": tar,
            "threshold": self._of_stored(),
            "verification": beside if len(beside) > 1 else {},
            "identification": named,
        }
        return {name: columns for name, columns in tables.items() if columns}

    def remark(self) -> str | None:
        """See `Task`."""
        few = [rate for rate in self._rates if self._measured and self._needs_more(rate)]
        if few:
            count = int(np.count_nonzero(~self._same))
            least = negatives_needed(max(few))
            self._remarks.append(
                f"There are {count:,} pairs of two people, too few for a FAR of {max(few):g} and less, which need "
                f"{least:,}."
            )
        remarks, self._remarks = self._remarks, []
        return " ".join(remarks) or None

    def plots(self) -> dict[str, Callable[[str], None]]:
        """See `Task`."""
        if not self._measured:
            return {}
        distances, far = self._measured["network"].distances, self._options.far
        threshold = self._stored.get(far) if self._stored else threshold_at_far(distances, self._same, far)
        return {
            "roc.png": lambda path: plot_roc({name: each.roc for name, each in self._measured.items()}, path),
            "distances.png": lambda path: plot_distances(distances, self._same, threshold, path),
        }

    def _of_stored(self) -> dict[str, dict[str, float | None]]:
        """Of each distance, called by the FAR that it had in validation, both shares here."""
        distances = self._measured["network"].distances
        columns: dict[str, dict[str, float | None]] = {"distance": {}, "FAR": {}, "TAR": {}}
        for far, distance in self._stored.items():
            near, row = distances < distance, f"for FAR {far:g}"
            columns["distance"][row] = distance
            columns["FAR"][row], columns["TAR"][row] = (float(near[kind].mean()) for kind in (~self._same, self._same))
        return columns if self._stored else {}

    def _tar(self) -> dict[float, Rate | None]:
        return tar_at_far(self._measured["network"].distances, self._same, sorted(self._rates, reverse=True))

    def _needs_more(self, rate: float) -> bool:
        return int(np.count_nonzero(~self._same)) < negatives_needed(rate)

    def _pairs(self, seen: np.ndarray) -> tuple[Pairs, Pairs]:
        """Those of the protocol, and all; `seen` int64 (N,) are the numbers of the images in the data set."""
        named = _named_pairs(self._dataset, seen)
        labels = self._dataset.labels[seen]
        if named is None:
            people = len(np.unique(labels))
            folds = max(1, min(_FOLDS, people // 2))
            protocol = Pairs(*draw_pairs(labels, positives=_PAIRS // 2, folds=folds, seed=_SEED))
            self._remarks.append(
                f"The data set names no pairs: accuracy is of {len(protocol.same):,} that were drawn from {people} "
                "people."
            )
        else:
            protocol = named
        if len(np.unique(protocol.folds)) < 2:
            protocol = protocol._replace(folds=_drawn_folds(len(protocol.folds)))
            self._remarks.append("Pairs were divided into folds at random: people of one fold are in others too.")
        if named is not None and not getattr(self._dataset, "identified", True):
            return protocol, named
        most = self._options.max_pairs
        return protocol, Pairs(*draw_pairs(labels, positives=most, negatives=most, seed=_SEED))


def distances_of(embeddings: torch.Tensor, pairs: Pairs) -> np.ndarray:
    """1 - cosine of each pair, float64 (P,), of embeddings float32 (N, D) of length 1."""
    first, second = torch.from_numpy(pairs.first), torch.from_numpy(pairs.second)
    if len(embeddings) ** 2 <= _MATRIX:
        similarities = (embeddings @ embeddings.T)[first, second]
    else:
        blocks = zip(first.split(_BLOCK), second.split(_BLOCK), strict=True)
        similarities = torch.cat([(embeddings[one] * embeddings[other]).sum(dim=1) for one, other in blocks])
    return 1 - similarities.double().numpy()


def raw_pixels(images: torch.Tensor) -> torch.Tensor:
    """Faces uint8 (N, 3, S, S) as they are: 32 x 32 grey values less their mean, float32 (N, 1024), of length 1."""
    faces = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    grey = [
        cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (_PIXELS, _PIXELS), interpolation=cv2.INTER_AREA)
        for face in faces
    ]
    rows = torch.from_numpy(np.stack(grey)).flatten(1).float()
    return F.normalize(rows - rows.mean(dim=1, keepdim=True), dim=1)


def _identification(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """Of a gallery with one image of all people but three tenths, how often the right one comes first, or is among five
    (rank 1, rank 5), and how often first and below the distance at which a share of the strangers is named too.

    Empty where nobody could be asked for.
    """
    try:
        split = split_gallery(labels, unknown=_STRANGERS, seed=_SEED)
    except DataError:
        return {}
    probes = np.concatenate([split.known, split.unknown])
    answers = answer(embeddings[split.gallery], labels[split.gallery], embeddings[probes], labels[probes])
    rates = identification_at_far(answers, _IDENTIFICATION_FARS)
    return {
        **{f"rank {rank}": rank_rate(answers.ranks, rank) for rank in (1, 5)},
        **{f"rank 1 at FAR {far:g}": None if rate is None else rate.rate for far, rate in rates.items()},
    }


def _rest(measured: Measured) -> dict[str, float]:
    return {"eer": measured.eer.rate, "auc": measured.roc.area()}


def _named_pairs(dataset: Any, seen: np.ndarray) -> Pairs | None:
    """The pairs of the data set of which both images were seen; None where it names none, or all are of one kind."""
    pairs = getattr(dataset, "pairs", np.zeros((0, 2), np.int64))
    places = np.full(len(dataset), -1)
    places[seen] = np.arange(len(seen))
    moved = places[pairs]
    kept = (moved >= 0).all(axis=1)
    if not kept.any():
        return None
    same = np.asarray(dataset.same)[kept]
    if same.all() or not same.any():
        kind = "one person" if same.all() else "two people"
        raise DataError(f"all {len(same):,} pairs that the data set names are of {kind}; it takes both kinds.")
    first, second = moved[kept].T
    return Pairs(first, second, same, np.asarray(dataset.folds)[kept])


def _drawn_folds(count: int) -> np.ndarray:
    number = max(2, min(_FOLDS, count // 2))
    return np.random.default_rng(_SEED).permutation(count) % number
