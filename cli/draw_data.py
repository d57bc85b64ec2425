"""`foveal draw-data FORMAT DIR`: a drawn data set on the disk, in any format, whose truth is known to the pixel."""

from pathlib import Path

from ..core.errors import UsageError, unknown
from ..core.options import SPLITS
from ..datasets import FORMATS
from .main import CommandParser

_SHARES = (0.65, 0.10, 0.25)  # of train, val and test


def run(arguments: list[str]) -> int:
    """Draw and write; 0 at the end."""
    formats = "\n".join(f"  {name:<18} {format.about}" for name, format in FORMATS.items() if not format.embedded)
    parser = CommandParser("foveal draw-data", __doc__, epilog=f"formats:\n{formats}")
    parser.add_argument("format", metavar="FORMAT", help="one of those below")
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder to make; it must be empty or not there")
    parser.add_argument("--images", type=int, default=200, metavar="N", help="images over all splits (default: 200)")
    parser.add_argument("--size", type=int, metavar="N", help="height and width in pixels (default: 256; faces 112)")
    parser.add_argument("--portraits", action="store_true", help="one large body a picture in place of many")
    parser.add_argument("--level", action="store_true", help="scenes of one camera, for depth, in place of many")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another world (default: 0)")
    given = parser.parse_args(arguments)
    if given.format not in FORMATS or FORMATS[given.format].embedded:
        written = [name for name, format in FORMATS.items() if not format.embedded]
        raise unknown("data format", given.format, written, "`foveal draw-data --help` shows them all.")
    for name, value, low, high in (
        ("images", given.images, 3, 10**7),
        ("size", given.size, 32, 4096),
        ("seed", given.seed, 0, 2**32 - 1),
    ):
        if value is not None and not low <= value <= high:
            raise UsageError(f"--{name} is {value}; it must be from {low} to {high}.")
    scenes = {"portraits": given.portraits, "level": given.level}
    counts = draw(given.format, given.folder, images=given.images, size=given.size, seed=given.seed, **scenes)
    listed = ", ".join(f"{count} for {split}" for split, count in counts.items())
    print(f"Done: {sum(counts.values())} images ({listed}) as {given.format} in {given.folder}")
    return 0


def draw(
    format: str,
    folder: Path,
    *,
    images: int,
    size: int | None = None,
    seed: int = 0,
    portraits: bool = False,
    level: bool = False,
) -> dict[str, int]:
    """Write the drawn world for the task of `format`: 65 % of `images` for train, 10 % val, 25 % test; their numbers.

    Raises UsageError where `folder` holds something.
    """
    from ..core.bars import progress
    from ..core.folders import all_or_nothing, require_empty
    from ..datasets import reader
    from ..datasets.shapes import ShapesWorld, open_split

    require_empty(folder)
    task, counts = FORMATS[format].task, {}
    with all_or_nothing(folder):  # a format may find that the images are too few for it
        for split in SPLITS:
            counts[split] = len(open_split(None, split=split, fractions=_SHARES, seed=seed, task=task, images=images))
            scenes = {"portraits": portraits, "level": level}
            world = ShapesWorld(task, split, images=counts[split], size=size, seed=seed, **scenes)
            samples = progress(world, f"draw {split}")
            reader(format).write_split(samples, folder, split=split, class_names=world.class_names)
    return counts
