"""`foveal enroll CKPT PEOPLE --out FILE`: the people of a folder into a gallery, by which `foveal predict` names faces.

The file holds embeddings and names, and no pictures. It is of use to this network alone.
"""

from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError
from ..core.inputs import find_checkpoint
from .main import CommandParser
from .prediction import FEW

_EPILOG = """PEOPLE has a folder a person, which is called by that person's name, with one image or more. Each image
must show one face; others are left out, and named."""


def run(arguments: list[str]) -> int:
    """Write the gallery; 0 if all images but --max-bad have a face in it, 3 otherwise."""
    parser = CommandParser("foveal enroll", __doc__, epilog=_EPILOG)
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="a .ckpt file, or the folder of a run (its best.ckpt), of faces")
    add("people", metavar="PEOPLE", help="the folder of people")
    add("--out", type=Path, required=True, metavar="FILE", help="the gallery, as gallery.safetensors")
    add("--detector", metavar="FILE", help="finds faces: MTCNN's weights or YuNet's .onnx (default: they are cut out)")
    add("--flip", action="store_true", help="embed each face mirrored too; give it to `foveal predict` as well")
    add("--batch-size", type=int, metavar="N", help="images a step (default: 32; with --detector 4)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N, gpu or mps")
    add("--max-bad", type=int, default=0, metavar="N", help="images that may be left out and are still a success")
    add("--overwrite", action="store_true", help="replace the gallery in --out")
    given = parser.parse_args(arguments)
    if given.batch_size is not None and given.batch_size < 1:
        raise UsageError(f"--batch-size is {given.batch_size}; it must be 1 or more.")
    if given.max_bad < 0:
        raise UsageError(f"--max-bad is {given.max_bad}; it must be 0 or more.")
    if given.out.exists() and not given.overwrite:
        raise UsageError(f"{given.out}: there is a file already; give another --out, or --overwrite it.")
    find_checkpoint(given.checkpoint)
    return _enroll(given)


def _enroll(given: Any) -> int:
    from ..core.fit import quiet
    from ..core.options import PredictionOptions
    from ..core.predict import find_device
    from ..tasks import load
    from ..tasks.faces.enrolment import enroll, read_people

    quiet()
    task: Any = load(given.checkpoint)
    if task.name != "faces":
        raise UsageError(f"{given.checkpoint}: it is of {task.name}, and a gallery is of faces.")
    task.predict_by(PredictionOptions(flip=given.flip, detector=given.detector))
    people, strays = read_people(given.people)
    batch_size = given.batch_size or (32 if given.detector is None else FEW)
    gallery, problems = enroll(task.to(find_device(given.device)).eval(), people, batch_size=batch_size)
    gallery.write(given.out)
    problems = [*strays, *problems]
    for problem in problems:
        print(f"left out: {problem}")
    count, images = len(set(gallery.names)), len(gallery.names)
    print(f"Done: {count} people with {images} images, {len(problems)} left out; {given.out} has names and embeddings")
    if len(problems) > given.max_bad:
        raise DataError(
            f"{len(problems)} left out of {given.out}, and --max-bad is {given.max_bad}; the lines above say why."
        )
    return 0
