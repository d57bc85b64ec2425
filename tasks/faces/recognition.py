"""Faces found in pictures, and who of a gallery they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch

from ...core.data import to_tensor
from ...core.errors import UsageError
from ...core.types import Prediction
from .align import cut_face
from .detector import Face, FaceDetector, build_detector
from .gallery import Gallery
from .search import Search
from .thresholds import Threshold

UNKNOWN = "unknown"


class Seen(NamedTuple):
    """An image, the boxes of the faces in it, float32 (K, 4), and their embeddings, float32 (K, D)."""

    path: str
    size: tuple[int, int]  # (H, W)
    boxes: torch.Tensor
    embeddings: torch.Tensor


class Finder:
    """Finds the faces of a picture, and cuts them out as a network with an input of `size` pixels sees them."""

    def __init__(self, detector: FaceDetector, size: int) -> None:
        self.detector = detector
        self.size = size

    @classmethod
    def from_file(cls, path: str | None, size: int) -> Self | None:
        """With the detector whose file `path` is: YuNet's ends in .onnx, any other is of MTCNN. None for none."""
        if path is None:
            return None
        if not Path(path).exists():
            raise UsageError(
                f"--detector {path}: there is no such file; give the weights of MTCNN, which `foveal fit-detector` "
                "makes, or YuNet's .onnx file; images that are faces already need none."
            )
        return cls(build_detector("yunet" if path.lower().endswith(".onnx") else "mtcnn", path), size)

    def find(self, image: np.ndarray) -> tuple[list[Face], torch.Tensor]:
        """The faces of an image uint8 (H, W, 3), by falling score, and their crops, uint8 (K, 3, S, S)."""
        faces = self.detector.detect(image)
        crops = [to_tensor(cut_face(image, face, self.size)) for face in faces]
        empty = torch.zeros(0, 3, self.size, self.size, dtype=torch.uint8)
        return faces, torch.stack(crops) if crops else empty


class Naming:
    """Says who of a gallery a face is, or that it is nobody whose distance is below the threshold.

    A gallery of M embeddings compares each face M times: somebody who is not in it is taken for one who is up to M
    times as often as the threshold's FAR says. Raises UsageError where there is no threshold, and for a gallery with
    somebody called unknown.
    """

    def __init__(self, gallery: Gallery, threshold: Threshold | None) -> None:
        if threshold is None:
            raise UsageError(
                "This checkpoint has no threshold, for its validation had too few pairs; nobody can be named by it. "
                "Train it with more people to validate, or name a larger model.far."
            )
        self.threshold = threshold
        self.people = list(dict.fromkeys(gallery.names))
        if UNKNOWN in self.people:
            raise UsageError(
                f"The gallery has a person called {UNKNOWN}, as strangers are called; enrol them by a name."
            )
        self.class_names = [*self.people, UNKNOWN]
        numbers = {name: number for number, name in enumerate(self.people)}
        self._numbers = torch.tensor([numbers[name] for name in gallery.names])
        self._search = Search(gallery.embeddings)

    @property
    def unknown(self) -> int:
        """The label of those who are not in the gallery."""
        return len(self.people)

    @property
    def mistaken(self) -> float:
        """Of strangers' faces the share that may be named, at most: the FAR for each embedding of the gallery."""
        return min(1.0, self.threshold.far * len(self._numbers))

    def predictions(self, images: Sequence[Seen]) -> list[Prediction]:
        """The faces of each image named, the surest first; a score is the cosine between a face and the nearest one of
        the gallery. All are looked for at once, which costs little more than one.
        """
        counts = [len(image.embeddings) for image in images]
        if not sum(counts):
            return [self._named(image, torch.zeros(0), torch.zeros(0, dtype=torch.int64)) for image in images]
        similarities, rows = self._search.nearest(torch.cat([image.embeddings for image in images]), 1)
        parts = zip(images, similarities[:, 0].split(counts), rows[:, 0].split(counts), strict=True)
        return [self._named(*part) for part in parts]

    def _named(self, image: Seen, similarities: torch.Tensor, rows: torch.Tensor) -> Prediction:
        scores, order = similarities.sort(descending=True, stable=True)
        near = 1 - scores < self.threshold.distance
        labels = torch.where(near, self._numbers[rows[order]], self.unknown)
        names = [self.class_names[label] for label in labels.tolist()]
        boxes = image.boxes[order]
        return Prediction(path=image.path, size=image.size, boxes=boxes, labels=labels, scores=scores, names=names)
