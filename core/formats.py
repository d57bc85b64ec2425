"""What the formats of results have in common: which are wanted, what a result is about, and where its files go."""

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, ClassVar

import numpy as np

from .depth_files import STEPS, Camera
from .errors import DataWarning
from .frames import read_frame
from .images import ImageError, read_image
from .input_list import InputList
from .run_folder import RunFolder
from .types import Prediction

LONGEST = 65_000  # pixels a side of a picture, with room for a legend: a JPEG holds 65,500


@dataclass(frozen=True)
class Formats:
    """Which formats are wanted beside lines and tables, as in `writers.FORMATS`; the names of all classes; what a crop
    shows around its box, as a share of the box's sides; the bits of a map of edges, 8 or 16; of a map of depth the
    steps to the metre, the camera, where it is known, and what else is to be said about its numbers.
    """

    names: Sequence[str] = ()
    class_names: Sequence[str] = ()
    crop_margin: float = 0.0
    bits: int = 8
    depth_scale: float = STEPS
    camera: Camera | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def text_bytes(text: str) -> bytes:
    """`text` as UTF-8. Bytes of a file's name that are none come through; half of a surrogate pair, as a class name out
    of JSON may hold it, is no text, and becomes U+FFFD.
    """
    return re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", text).encode("utf-8", "surrogateescape")


class Item:
    """A prediction, the name that results about it take, its number among all of the run, from 1, and its picture."""

    def __init__(self, prediction: Prediction, name: str, number: int) -> None:
        self.prediction = prediction
        self.name = name
        self.number = number
        self._image: np.ndarray | None = None
        self._reading = Lock()

    @property
    def image(self) -> np.ndarray:
        """The image or frame, uint8 (H, W, 3), RGB, read when it is first wanted, by any thread; raises ImageError."""
        with self._reading:
            if self._image is None:
                path, frame = self.prediction["path"], self.prediction.get("frame")
                self._image = read_image(path) if frame is None else read_frame(path, frame)
            return self._image

    @property
    def stem(self) -> str:
        """The name without its suffix; that of a frame with its number behind it, clip_000012."""
        return self._numbered(os.path.splitext(self.name)[0])

    @property
    def whole(self) -> str:
        """The name with its suffix, clip.mp4_000012: a.jpg and a.png do not get into each other's way."""
        return self._numbered(self.name)

    def _numbered(self, name: str) -> str:
        frame = self.prediction.get("frame")
        return name if frame is None else f"{name}_{frame:06d}"


@contextmanager
def without_image() -> Iterator[None]:
    """Goes on where the image can't be read again: its results stand, without crops and pictures."""
    try:
        yield
    except ImageError as error:
        if error.code != "MISSING":  # gone since; others may be too large for all but tiles
            sentence = f"'{error.path}' is predicted, but neither drawn nor cut into crops: it {error.reason}."
            warnings.warn(sentence, DataWarning, stacklevel=3)


class Format:
    """Writes predictions into the folder of a run; `NAMES` are the files and folders that it makes there, `OF` the keys
    of a prediction any of which it can write.
    """

    NAMES: ClassVar[tuple[str, ...]]
    OF: ClassVar[tuple[str, ...]]

    def __init__(self, run: RunFolder, wanted: Formats, inputs: InputList) -> None:
        self.run = run
        self.class_names = list(wanted.class_names)
        self._doubled = frozenset(inputs.doubled)

    @classmethod
    def subject(cls) -> str:
        """What it writes, for people: "boxes or masks"."""
        return " or ".join({"mask": "masks"}.get(key, key) for key in cls.OF)

    @classmethod
    def check(cls) -> None:
        """Raise UsageError where something is missing that it needs."""

    def stems(self, item: Item) -> tuple[str, ...]:
        """What a file about an image may be called: a for a.jpg, but a.png for a.png behind it."""
        return (item.whole,) if item.name in self._doubled else (item.stem, item.whole)

    def write(self, item: Item) -> None:
        """Add what was found in one image or frame; raises MachineError where that cannot be written."""
        raise NotImplementedError

    def finish(self) -> None:
        """Make what can be made of the lines of the whole run alone; raises MachineError where it cannot be written."""
