"""`foveal prepare tracking --data.root DIR --out DIR`: the crops that a tracker learns from, cut once.

A training on the folder that this makes, with --data.format frame_folder, decodes small pictures in place of whole
frames.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import DataError, UsageError
from ..datasets import FORMATS, taken_by
from .main import CommandParser
from .recipe import Recipe, parse_data

if TYPE_CHECKING:
    from ..tasks.tracking.prepare import Written

_EPILOG = """OUT/train gets a square around the target of each training frame, and OUT/val the validation's frames as
they are, for there a tracker must find its way. Frames for testing stay where they were: evaluate with --data.root DIR.
A run that was stopped goes on when it is given again. What draws the splits must be as in training."""
# Entries of a recipe that say what the data are.
_ENTRIES = {
    "data.root": "the data set: sequences of frames with boxes",
    "data.format": "how it is stored (default: frame_folder): "
    + ", ".join(name for name, format in FORMATS.items() if format.task == "tracking"),
    "data.images": "how many frames the drawn world has",
    "data.splits": "shares of train, val and test, where the data set has no splits: '[0.65, 0.1, 0.25]'",
    "seed": "draws the splits, as in training (default: 0)",
}
_LEAST, _MOST = 32, 4096


def run(arguments: list[str]) -> int:
    """Cut and write; 0 at the end, 3 where frames could not be read."""
    parser = CommandParser("foveal prepare", __doc__, epilog=_EPILOG)
    parser.add_argument("task", metavar="TASK", help="tracking; other tasks learn from their images as they are")
    for name, meaning in _ENTRIES.items():
        parser.add_argument(f"--{name}", dest=name, metavar="X", help=meaning)
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder to make, or to go on with")
    parser.add_argument(
        "--exemplar-size",
        type=int,
        default=127,
        metavar="N",
        help="pixels of what the exemplar's crop shows, as in the recipe (default: 127)",
    )
    parser.add_argument(
        "--search-size",
        type=int,
        default=511,
        metavar="N",
        help="pixels of the squares that are written: the search crop's and room to move it in (default: 511)",
    )
    given = parser.parse_args(arguments)
    recipe = _recipe_of(given)
    _prepare(recipe, given.out, given.exemplar_size, given.search_size)
    return 0


def _recipe_of(given: Any) -> Recipe:
    """The data that are meant; raises UsageError for what is missing or wrong."""
    if given.task != "tracking":
        raise UsageError(f"There is nothing to prepare for '{given.task}': only tracking learns from crops cut before.")
    if given.out is None:
        raise UsageError("Say where to write, with --out DIR.")
    format = getattr(given, "data.format") or "frame_folder"
    taken_by(format)
    if FORMATS[format].task not in ("tracking", "any"):
        raise UsageError(f"The data format {format} is for {FORMATS[format].task}, and not for tracking.")
    overrides = [(name, value) for name in _ENTRIES if (value := getattr(given, name)) and name != "data.format"]
    recipe = parse_data(format, [*overrides, ("task", "tracking")])
    root = recipe.data.root
    if root is None and not FORMATS[format].embedded:
        raise UsageError("Say where the sequences are, with --data.root DIR.")
    if root is not None and not Path(root).expanduser().exists():
        raise UsageError(f"{root}: there is no such folder or file.")
    if root is not None and given.out.resolve().is_relative_to(Path(root).expanduser().resolve()):
        raise UsageError(
            f"{given.out} lies within {root}, and its crops would be taken for sequences; write elsewhere."
        )
    for name, value in (("exemplar", given.exemplar_size), ("search", given.search_size)):
        if not _LEAST <= value <= _MOST:
            raise UsageError(f"--{name}-size is {value}; it must be from {_LEAST} to {_MOST}.")
    return recipe


def _prepare(recipe: Recipe, out: Path, exemplar_size: int, search_size: int) -> None:
    from ..core.bars import progress_bar
    from ..tasks.tracking.prepare import claim_folder, copy_frames, finish_folder, write_crops
    from .train import open_split

    train, val = open_split(recipe, "train"), open_split(recipe, "val")
    sizes = {"exemplar_size": exemplar_size, "search_size": search_size}
    claim_folder(out, {"train": train.fingerprint(), "val": val.fingerprint(), **sizes})
    with progress_bar() as bar:
        line = bar.add_task("crops", total=len(train) + len(val), rate="")

        def tell() -> None:
            bar.update(line, advance=1, rate=f"{(bar.tasks[line].speed or 0):.0f}/s")

        crops = write_crops(train, out, "train", **sizes, tell=tell)
        bar.update(line, description="frames for validation")
        frames = copy_frames(val, out, "val", tell=tell)
        finish_folder(out, ("val", "train"))
    _report(crops, frames, out, search_size)


def _report(crops: "Written", frames: "Written", out: Path, size: int) -> None:
    earlier = crops.earlier + frames.earlier
    print(
        f"Done: {crops.frames} crops of {size} x {size} from {crops.sequences} sequences for train and {frames.frames} "
        f"whole frames from {frames.sequences} for val"
        + (f", {earlier} sequences from before" if earlier else "")
        + f", as frame_folder in {out}"
    )
    unreadable = crops.unreadable + frames.unreadable
    for text in unreadable[1:20]:
        print(f"foveal: {text}", file=sys.stderr)
    if unreadable:
        some = "1 frame is" if len(unreadable) == 1 else f"{len(unreadable)} frames are"
        raise DataError(f"{some} without a target in the crops, for want of an image; the first: {unreadable[0]}")
