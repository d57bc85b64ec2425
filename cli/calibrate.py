"""`foveal calibrate CKPT --points FILE`: scale and shift of a depth network, from distances that are known.

They are stored in the checkpoint, and `foveal predict` goes by them.
"""

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.errors import DataError, UsageError
from ..core.inputs import find_checkpoint
from ..tasks import is_ready_made
from .main import CommandParser

if TYPE_CHECKING:
    from ..core.task import Task
    from ..core.types import Prediction

_EPILOG = """FILE is CSV with the columns path, x, y and metres, a line a point: an image, its path relative to FILE's
folder; a place in it in pixels of the file, x to the right and y down; and its distance from the camera, along the
camera's axis. Two points or more, some near and some far, of one image or of several."""
_COLUMNS = ("path", "x", "y", "metres")


class _Point(NamedTuple):
    """A place whose distance is known."""

    line: int  # of the table
    path: str
    x: float
    y: float
    metres: float


def run(arguments: list[str]) -> int:
    """Find them, store them and print what they change; 0 at the end."""
    parser = CommandParser("foveal calibrate", __doc__, epilog=_EPILOG)
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="a .ckpt file, or the folder of a run (its best.ckpt), of depth")
    add("--points", type=Path, metavar="FILE", help="distances that are known")
    add("--clear", action="store_true", help="take the calibration out of the checkpoint, in place of --points")
    add("--out", type=Path, metavar="FILE", help="leave CKPT as it is, and write another checkpoint")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N, gpu or mps")
    given = parser.parse_args(arguments)
    if given.clear == (given.points is not None):
        raise UsageError("Give --points FILE, with distances that are known, or --clear, and not both.")
    if is_ready_made(given.checkpoint):
        raise UsageError(f"{given.checkpoint} is a ready-made model, and no file to store a calibration in.")
    path = find_checkpoint(given.checkpoint)
    points = _read(given.points) if given.points is not None else []
    _calibrate(path, points, given)
    return 0


def _calibrate(path: Path, points: list[_Point], given: Any) -> None:
    from ..core.predict import find_device
    from ..tasks import load
    from ..tasks.depth.calibration import fit_calibration, store_calibration

    task: Any = load(path)
    if task.name != "depth":
        raise UsageError(f"{path}: it is of {task.name}, and a calibration is for depth.")
    out = given.out or path
    if not points:
        store_calibration(path, None, out)
        print(f"No calibration any more; {out} is written.")
        return
    import numpy as np

    task.calibration = None
    predicted = _predicted(task.to(find_device(given.device)), points, given.points)
    measured = np.array([point.metres for point in points])
    calibration = fit_calibration(predicted, measured)
    store_calibration(path, calibration, out)
    after = calibration["scale"] * predicted + calibration["shift"]
    _print(points, predicted, after)
    errors = [100 * float((abs(values - measured) / measured).mean()) for values in (predicted, after)]
    print(
        f"scale {calibration['scale']:.6g}, shift {calibration['shift']:.6g} m; mean error of the {len(points)} points "
        f"{errors[0]:.1f} % before, {errors[1]:.1f} % after; {out} is written."
    )


# --- what is known ----------------------------------------------------------------------------------------------------


def _read(file: Path) -> list[_Point]:
    """The points of a table; raises UsageError where there is none, DataError for what it may not hold."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{file}: there is no such file; --points is a CSV file with path,x,y,metres.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{file}' cannot be read as text in UTF-8: {error}.") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f"'{file}' has no column {missing[0]}: its first line must be {','.join(_COLUMNS)}.")
        points = [_point(file, reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(f"'{file}', line {reader.line_num + 1}: not CSV ({error}); check the quotes.") from None
    if len(points) < 2:
        raise DataError(f"'{file}' holds {len(points) or 'no'} point{'s' * (not points)}: scale and shift need two.")
    return points


def _point(file: Path, line: int, row: dict[str, str | None]) -> _Point:
    path = (row["path"] or "").strip()
    if None in row:  # a comma for the decimal point, say
        raise DataError(f"'{file}', line {line}: there are more values than the first line has columns.")
    if not path:
        raise DataError(f"'{file}', line {line}: the path is empty; write the image's.")
    x, y, metres = (_number(file, line, name, row[name]) for name in _COLUMNS[1:])
    if metres <= 0:
        raise DataError(f"'{file}', line {line}: metres is {row['metres']}; a distance is above 0.")
    return _Point(line, str(file.parent / path), x, y, metres)


def _number(file: Path, line: int, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        given = f"'{text}'" if text else "missing"
        raise DataError(f"'{file}', line {line}: {name} is {given}; it must be a number.")
    return value


# --- what is predicted ------------------------------------------------------------------------------------------------


def _predicted(task: "Task", points: list[_Point], file: Path) -> Any:
    """Metres at each of the points, float64 (K,); each image is read once, in the way of `foveal predict`."""
    import numpy as np

    found = np.zeros(len(points))
    for path in dict.fromkeys(point.path for point in points):
        depth = _predict(task, path)["depth"].numpy()
        height, width = depth.shape
        for number, point in enumerate(points):
            if point.path != path:
                continue
            if not (0 <= point.x <= width and 0 <= point.y <= height):
                raise DataError(
                    f"'{file}', line {point.line}: x {point.x:g} and y {point.y:g} lie beside '{path}', which is "
                    f"{width} x {height}."
                )
            # A place at the image's far end belongs to its last pixel.
            found[number] = depth[min(int(point.y), height - 1), min(int(point.x), width - 1)]
            if found[number] == 0:
                raise DataError(f"'{file}', line {point.line}: the network knows no distance there; take another.")
    return found


def _predict(task: Any, path: str) -> "Prediction":
    import torch

    from ..core.inputs import Input
    from ..core.reading import Reading

    reading = Reading((task.transform("none"),), batch_size=1, preprocessings=(task.preprocessing,))
    (done,) = reading([Input(path, path)], lambda _: None, lambda: None)
    if done.value.failures:
        raise done.value.failures[0]
    ((batch,),) = done.value.parts(task.device, 1)
    with torch.inference_mode():
        return task.predict({key: value for key, value in batch.items() if key != "part"})[0]


def _print(points: list[_Point], predicted: Any, after: Any) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("image", overflow="fold")
    for name in ("x", "y", "measured, m", "predicted, m", "calibrated, m"):
        table.add_column(name, justify="right")
    for point, *values in zip(points, predicted, after, strict=True):
        numbers = [f"{point.x:g}", f"{point.y:g}", *(f"{value:.3f}" for value in (point.metres, *values))]
        table.add_row(escape(point.path), *numbers)
    Console().print(table)
