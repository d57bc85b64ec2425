"""The archive that GOT-10k's server takes as a submission (got-10k.aitestunion.com)."""

import math
import os
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np

from ...core.errors import DataError, MachineError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can have: the same results make the same archive


class Got10kArchive:
    """A zip with a folder for each sequence, as the authors' toolkit (got10k 0.1.3) makes it.

    `NAME/NAME_001.txt` has x, y, width and height of each frame with three decimals, where the first pixel is number 1;
    `NAME/NAME_time.txt` the seconds of each frame with eight. In the first frame the box is the one that was given.
    The server does not read NaN: of a frame without a box the last one before it is written.

    A context: the archive stands in its place once all went well, and not before. Raises MachineError where it can't be
    written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._draft = self.path.with_name(f"{self.path.name}.draft")
        self._names: set[str] = set()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._zip = zipfile.ZipFile(self._draft, "w", zipfile.ZIP_DEFLATED)
        except OSError as error:
            raise self._failed(error) from None

    def add(self, name: str, boxes: np.ndarray, seconds: np.ndarray) -> None:
        """Take a sequence: boxes float (T, 4), xyxy in continuous pixels from 0, and seconds float (T,).

        Raises DataError for a name that is not that of a folder, comes twice, or whose first frame has no box.
        """
        if not _NAME.fullmatch(name):
            raise DataError(f"'{name}' can't be a folder of the archive; name the sequence as GOT-10k does.")
        if name in self._names:
            raise DataError(f"The sequence '{name}' comes twice; the archive has one result of each.")
        assert len(boxes) == len(seconds), (len(boxes), len(seconds))
        texts = {f"{name}/{name}_001.txt": _box_lines(name, boxes), f"{name}/{name}_time.txt": _time_lines(seconds)}
        self._names.add(name)
        for file, text in texts.items():
            entry = zipfile.ZipInfo(file, _DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            try:
                self._zip.writestr(entry, text)
            except OSError as error:
                raise self._failed(error) from None

    def __enter__(self) -> "Got10kArchive":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._zip.close()
            if kind is None:
                _reach_disk(self._draft)
                self._draft.replace(self.path)
        except OSError as failure:
            if kind is None:
                raise self._failed(failure) from None
        finally:
            self._draft.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> MachineError:
        return MachineError(f"The archive '{self.path}' can't be written ({error.strerror or error}).")


def write_archive(path: str | Path, sequences: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """An archive of names, boxes and seconds; see `Got10kArchive`."""
    with Got10kArchive(path) as archive:
        for name, boxes, seconds in sequences:
            archive.add(name, boxes, seconds)


def _box_lines(name: str, boxes: np.ndarray) -> str:
    lines: list[str] = []
    for number, (x1, y1, x2, y2) in enumerate(np.asarray(boxes, np.float64).tolist()):
        if math.isfinite(x1 + y1 + x2 + y2):
            lines.append(f"{x1 + 1:.3f},{y1 + 1:.3f},{x2 - x1:.3f},{y2 - y1:.3f}\n")
        elif number:
            lines.append(lines[-1])
        else:
            raise DataError(f"The first frame of '{name}' has no box; a tracker needs one to begin with.")
    return "".join(lines)


def _time_lines(seconds: np.ndarray) -> str:
    """A second a line; what was not measured is 0, which the toolkit leaves out of its speed."""
    return "".join(f"{value if math.isfinite(value) else 0.0:.8f}\n" for value in np.asarray(seconds).tolist())


def _reach_disk(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
