"""`foveal fit-detector --out FILE`: MTCNN trained on drawn people, and how well it finds others.

For photographs take published weights: drawn people show that everything works, and how well on drawn people.
"""

import math
import os
from pathlib import Path

from ..core.errors import UsageError
from .main import CommandParser

_SUFFIX = ".safetensors"
_UNSEEN = 100  # pictures that it is tested on


def run(arguments: list[str]) -> int:
    """Train, test and write; 0 at the end."""
    parser = CommandParser("foveal fit-detector", __doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file of weights, .safetensors")
    parser.add_argument("--images", type=int, default=300, metavar="N", help="drawn pictures to learn from (300)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other people (0)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file where there is one")
    given = parser.parse_args(arguments)
    for name, value, low, high in (("images", given.images, 1, 100_000), ("seed", given.seed, 0, 2**32 - 1)):
        if not low <= value <= high:
            raise UsageError(f"--{name} is {value}; it must be from {low} to {high}.")
    _require_place(given.out, overwrite=given.overwrite)
    _fit(given.out, images=given.images, seed=given.seed)
    return 0


def _fit(out: Path, *, images: int, seed: int) -> None:
    from ..tasks.faces.mtcnn import Mtcnn
    from ..tasks.faces.mtcnn_training import fit_mtcnn, score_detector, unseen_crowds
    from ..tasks.faces.mtcnn_weights import save_mtcnn

    networks = fit_mtcnn(images, seed=seed)
    scores = score_detector(Mtcnn(networks), unseen_crowds(_UNSEEN, seed=seed))
    error = "none" if math.isnan(scores.landmark_error) else f"{scores.landmark_error:.3f} of the eyes' distance"
    partial = out.with_name(f".{out.name}.part")
    try:
        save_mtcnn(networks, partial, {"drawn_images": str(images), "seed": str(seed)})
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    print(f"\n{_UNSEEN} drawn pictures of people that it has not seen, {scores.faces} faces:")
    print(f"  recall {scores.recall:.3f}   precision {scores.precision:.3f}   mean landmark error {error}")
    print(f"Done: trained on {images} drawn pictures; weights in {out}")


def _require_place(out: Path, *, overwrite: bool) -> None:
    """Refuse, before any work, a file that could not or should not be written."""
    from ..core.folders import make_folder

    if out.suffix != _SUFFIX:
        raise UsageError(f"--out is {out}; the weights are written as safetensors: give a name that ends in {_SUFFIX}.")
    if out.is_dir() or (out.exists() and not overwrite):
        raise UsageError(f"{out}: something is there already; give another name, or --overwrite for a file.")
    make_folder(out.parent)
