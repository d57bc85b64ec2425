"""`foveal merge OUT`: one folder of results, of those that `foveal predict --shard I/N --out OUT` has left.

It is the same as if there had been one run. The shards stay; whole files are linked where the disk can do that.
"""

from pathlib import Path

from .main import CommandParser
from .prediction import verdict


def run(arguments: list[str]) -> int:
    """Merge; 0 if all shards are there and no more than --max-bad files could not be read."""
    parser = CommandParser("foveal merge", __doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="the --out of the shards")
    parser.add_argument("--max-bad", type=int, default=0, metavar="N", help="unreadable files that are still a success")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier merge has left")
    given = parser.parse_args(arguments)
    from ..core.merge import merge

    summary = merge(given.out, overwrite=given.overwrite)
    print(f"Done: {summary['predicted']} predicted, {summary['failed']} unreadable; results in {given.out}")
    return verdict(summary, given.out, given.max_bad)
