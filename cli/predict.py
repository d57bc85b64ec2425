"""`foveal predict CKPT PATH...`: results for image files, as JSON lines and CSV, and as drawn pictures on request."""

import re
import time
from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError
from ..core.inputs import IMAGE_SUFFIXES, find_checkpoint, find_images
from .main import CommandParser


def run(arguments: list[str]) -> int:
    """Predict; 0 if every image could be read (or no more than --max-bad could not), 3 otherwise."""
    parser = CommandParser("foveal predict", __doc__)
    parser.add_argument("checkpoint", metavar="CKPT", help="a .ckpt file, or the folder of a run (its best.ckpt)")
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="image files, folders, globs, or @list.txt with a path a line"
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="folder for the results")
    parser.add_argument("--draw", action="store_true", help="also write each image with its results to OUT/pictures")
    parser.add_argument("--top-k", type=int, default=5, metavar="K", help="classes to name (default: 5)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="images a step (default: 32)")
    parser.add_argument(
        "--num-workers", type=int, metavar="N", help="processes that read images (default: by the cores)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N, gpu or mps")
    parser.add_argument("--max-bad", type=int, default=0, metavar="N", help="unreadable files that are still a success")
    parser.add_argument("--overwrite", action="store_true", help="replace the results in --out")
    given = parser.parse_args(arguments)
    for name, value, least in (
        ("top-k", given.top_k, 1),
        ("batch-size", given.batch_size, 1),
        ("max-bad", given.max_bad, 0),
    ):
        if value < least:
            raise UsageError(f"--{name} is {value}; it must be {least} or more.")
    if not re.fullmatch(r"auto|cpu|mps|gpu|cuda(:\d+)?", given.device):
        raise UsageError(f"--device is {given.device}; give auto, cpu, cuda, cuda:N, gpu or mps.")
    find_checkpoint(given.checkpoint)
    return _predict(given)


def _predict(given: Any) -> int:
    inputs = find_images(given.paths, IMAGE_SUFFIXES, leave_out=given.out)
    from ..core.fit import quiet
    from ..core.predict import find_device, predict_files
    from ..core.writers import FolderWriter
    from ..tasks import load

    quiet()
    device = find_device(given.device)
    task = load(given.checkpoint)
    if hasattr(task, "top_k"):
        task.top_k = given.top_k
    began = time.perf_counter()
    with FolderWriter(given.out, draw=task.draw if given.draw else None, overwrite=given.overwrite) as writer:
        print(f"{len(inputs)} images to predict; results in {given.out}", flush=True)
        predict_files(task, inputs, writer, batch_size=given.batch_size, num_workers=given.num_workers, device=device)
    seconds = time.perf_counter() - began
    rate = f"{len(inputs) / seconds:.0f} images/s"
    print(
        f"Done: {writer.written} images predicted, {writer.failed} unreadable, {seconds:.1f} s ({rate}); "
        f"results in {given.out}"
    )
    if writer.failed > given.max_bad:
        raise DataError(
            f"{writer.failed} of {len(inputs)} files could not be read; {given.out}/failures.jsonl names them with the "
            "reason. All others are written."
        )
    return 0
