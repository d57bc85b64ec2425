"""Text files with one box a line, one line a frame: what trackers are given as truth."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from .boxes import clean_boxes
from .findings import Action, Finding, Findings

Change = tuple[str, str, str]  # of a mended copy: file, place in it, what was changed

_DELIMITERS = bytes.maketrans(b",;\t", b"   ")
_EXPECTED = "expected x, y, width and height, or the 8 numbers of a polygon"


def read_lines(path: Path) -> list[bytes]:
    """The lines of a file with their ends, but for blank ones behind the last box; raises DataError."""
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from None
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def is_blank(path: Path) -> bool:
    """Whether a file of boxes has none, as one in OTB."""
    try:
        with path.open("rb") as file:
            return not file.read(4096).strip()
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from None


def check_boxes(
    lines: Sequence[bytes], used: np.ndarray, file: str, *, origin: float, size: tuple[int, int], findings: Findings
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes float64 (L, 4), xyxy in continuous pixels, and whether each line has one that can be used, bool (L,).

    A line is x, y, width and height, or the eight numbers of a polygon, of which the upright hull is taken (VOT); the
    numbers stand between commas, semicolons, tabs or spaces, even in one file (OTB). `origin` is the number that the
    file gives the first pixel, and x2 = x + width. Four times NaN, 0 or -1 says that the target is not there (UAV123,
    OTB, GOT-10k).

    `used`: bool (L,), lines whose faults are noted, under `file`. Those without usable numbers, without area or wholly
    outside of the frame are left out. Boxes that stick out of it are used as they are: where a target is cut by the
    frame's border, its box is an estimate of the whole, and every tracking protocol scores it so. `size`: (H, W) of
    the frame, 0 where it is not known.
    """
    numbers, readable = _parse(lines)
    for index in np.flatnonzero(used & ~readable).tolist():
        said = "is blank" if not lines[index].strip() else f"is '{_shown(lines[index])}'"
        findings.note("NOT_A_BOX", file, f"the line {said}; {_EXPECTED}", place=f"line {index + 1}", index=index)
    absent = np.isnan(numbers).all(axis=1) | (numbers == 0).all(axis=1) | (numbers == -1).all(axis=1)
    boxes = _corners(numbers, origin)
    asked = np.flatnonzero(used & readable & ~absent)
    sticking: list[int] = []

    def report(row: int, code: str, text: str, action: Action, value: Sequence[float] | None) -> None:
        index = int(asked[row])
        if code == "STICKS_OUT":
            sticking.append(index)
            return
        said = f"'{_shown(lines[index])}': {text}{' (its first frame)' if code == 'OUTSIDE' else ''}"
        findings.note(code, file, said, place=f"line {index + 1}", index=index)

    _, usable = clean_boxes(boxes[asked], np.broadcast_to(size, (len(asked), 2)), report)
    if sticking:
        text = (
            f"boxes that stick out of the first frame's {size[1]} x {size[0]} pixels: {len(sticking)}, the first here"
        )
        findings.note("STICKS_OUT", file, text, place=f"line {sticking[0] + 1}", action="noted", index=sticking[0])
    visible = np.zeros(len(lines), bool)
    visible[asked[usable]] = True
    return boxes, visible


def _shown(line: bytes) -> str:
    return line.strip()[:60].decode("ascii", "backslashreplace").replace("\t", " ")


def _parse(lines: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """x, y, width and height as they stand, float64 (L, 4), and which lines have them, bool (L,)."""
    rows = [line.translate(_DELIMITERS).split() for line in lines]
    if rows and {len(row) for row in rows} == {4}:
        try:
            return np.array(rows).astype(np.float64), np.ones(len(rows), bool)
        except ValueError:
            pass  # one by one, to find which
    parsed = [_numbers(row) for row in rows]
    numbers = [(np.nan,) * 4 if row is None else row for row in parsed]
    return np.array(numbers, np.float64).reshape(-1, 4), np.array([row is not None for row in parsed], bool)


def _numbers(row: Sequence[bytes]) -> Sequence[float] | None:
    try:
        numbers = [float(value) for value in row]
    except ValueError:
        return None
    if len(numbers) == 8:
        x, y = np.array(numbers[::2]), np.array(numbers[1::2])
        return x.min(), y.min(), x.max() - x.min(), y.max() - y.min()
    return numbers if len(numbers) == 4 else None


def _corners(numbers: np.ndarray, origin: float) -> np.ndarray:
    """x, y, width and height as they stand in a file to x1, y1, x2 and y2 in continuous pixels, float64 (L, 4)."""
    start = numbers[:, :2] - origin
    return np.concatenate([start, start + numbers[:, 2:]], axis=1)


# --- writing ----------------------------------------------------------------------------------------------------------


def format_box(box: np.ndarray, origin: float) -> str:
    """The shortest line of x, y, width and height that reads back as exactly this box: float32 (4,), xyxy."""
    wide = box.astype(np.float64)
    numbers = np.concatenate([wide[:2] + origin, wide[2:] - wide[:2]])
    texts: list[str] = []
    for digits in range(18):
        texts = [f"{number:.{digits}f}" for number in numbers]
        if (_corners(np.array([texts]).astype(np.float64), origin).astype(np.float32) == box).all():
            break
    return ",".join(texts)


def mend_lines(
    lines: list[bytes], findings: Sequence[Finding], dropped: Mapping[int, str], file: str
) -> tuple[list[bytes], list[Change]]:
    """The lines of a file of boxes without the faults that `check_boxes` and the match with frames noted, and the log.

    A line must keep its place, so that the later ones keep their frames: a fault, and a line that is in `dropped`
    (number from 0 -> reason), becomes NaN, which says that there is no target. Only lines of frames that are not there
    go, and those that are too many; too few are filled up.
    """
    kept, log = [], []
    mark = _mark(lines)
    replaced = {
        finding.index: f"{finding.code}, {finding.text}"
        for finding in findings
        if finding.action == "left out" and finding.index is not None and finding.value is None
    }
    replaced |= {index: f"the frame was dropped, {reason}" for index, reason in dropped.items()}
    removed = {finding.index for finding in findings if finding.code == "MISSING_FRAME"}
    for index, line in enumerate(lines):
        place = f"line {index + 1}"
        if index in removed:
            log.append((file, place, "removed: its frame is missing"))
        elif index in replaced:
            kept.append(mark + line[len(line.rstrip(b"\r\n")) :])
            log.append((file, place, f"set to {mark.decode()}: {replaced[index]}"))
        else:
            kept.append(line)
    for wanted in (int(finding.value[0]) for finding in findings if finding.code == "BOX_COUNT" and finding.value):
        place = f"line {min(wanted, len(kept)) + 1}"
        log.append(
            (file, place, f"from here on {'removed' if wanted < len(kept) else 'filled with NaN'}: {wanted} frames")
        )
        kept = _of_length(kept, wanted, mark)
    return kept, log


def _mark(lines: Sequence[bytes]) -> bytes:
    """A line that says "no target", with the file's own delimiter."""
    found = re.search(rb"[^,;\t ]([,;\t ])", b"".join(lines[:1]))
    return (found.group(1) if found else b",").join([b"NaN"] * 4)


def _of_length(lines: list[bytes], number: int, mark: bytes) -> list[bytes]:
    lines = lines[:number]
    if len(lines) < number and lines and not lines[-1].endswith((b"\n", b"\r")):
        lines[-1] += b"\n"
    return lines + [mark + b"\n"] * (number - len(lines))


def copy_file(root: Path, out: Path, file: str, data: bytes | None = None) -> None:
    """Write `data`, or what the file at `root` has, as the same file below `out`."""
    (out / file).parent.mkdir(parents=True, exist_ok=True)
    (out / file).write_bytes((root / file).read_bytes() if data is None else data)
