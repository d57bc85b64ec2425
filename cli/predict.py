"""`foveal predict CKPT PATH...`: results for image and video files, as JSON lines and CSV, drawn or in the formats of
others on request.

A run that was stopped or killed goes on when the same command is given again.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.engine_options import ENGINES, check_engine
from ..core.errors import UsageError
from ..core.inputs import find_checkpoint
from ..tasks import is_ready_made
from .main import CommandParser
from .prediction import option, predict, verdict
from .targets import parse_box

_FORMATS = (
    "of boxes: coco,yolo,crops; of masks: coco; of edges: binary,svg,geojson; of depth: npy,ply; of faces: "
    "embeddings,crops; of all: parquet"
)


def run(arguments: list[str]) -> int:
    """Predict; 0 if every file could be read (or no more than --max-bad could not), 3 otherwise."""
    parser = CommandParser("foveal predict", __doc__)
    _add_arguments(parser)
    _add_task_options(parser)
    given = parser.parse_intermixed_args(_joined(arguments))  # paths may stand behind options too
    _check_numbers(given)
    if not re.fullmatch(r"auto|cpu|mps|gpu|cuda(:\d+)?", given.device):
        raise UsageError(f"--device is {given.device}; give auto, cpu, cuda, cuda:N, gpu or mps.")
    if given.overlap is not None and given.tile is None:
        raise UsageError("--overlap is that of tiles, and there are none; give --tile PIXELS too.")
    if given.focal is not None and given.intrinsics is not None:
        raise UsageError("--focal and --intrinsics are both given, and say the same: leave one of them out.")
    chosen = {"compiled": given.compile, "precision": given.precision, "device": given.device}
    given.device = check_engine(given.engine, **chosen)
    given.models, given.paths = _models_and_paths(given.checkpoint, given.paths)
    if given.ray is not None:
        return _on_ray(given, arguments)
    return predict(given)


def _joined(arguments: list[str]) -> list[str]:
    """--box and what is behind it as one argument: a box may begin with a minus, and would be taken for an option."""
    rest, joined = list(arguments), []
    while rest:
        word = rest.pop(0)
        joined.append(f"--box={rest.pop(0)}" if word == "--box" and rest and rest[0].startswith("-") else word)
    return joined


def _models_and_paths(first: str, words: list[str]) -> tuple[list[str], list[str]]:
    """The models, of which more may follow the first, and what they are to look at."""
    if not is_ready_made(first):
        find_checkpoint(first)
    more = 0
    while more < len(words) - 1 and _is_model(words[more]):
        more += 1
    return [first, *words[:more]], words[more:]


def _is_model(word: str) -> bool:
    return (
        is_ready_made(word) or (word.endswith(".ckpt") and Path(word).is_file()) or (Path(word) / "best.ckpt").is_file()
    )


def _on_ray(given: Any, arguments: list[str]) -> int:
    from .predict_on_ray import predict_on_ray

    if given.shard:
        raise UsageError("--ray makes the shards itself; leave out --shard.")
    place = arguments.index("--ray") if "--ray" in arguments else None
    rest = [*arguments[:place], *arguments[place + 2 :]] if place is not None else arguments
    rest = [argument for argument in rest if not argument.startswith("--ray=")]
    if len(given.models) > 1:
        raise UsageError("--ray is for one model at a time: give each a command of its own.")
    summary = predict_on_ray(rest, given.ray, given.out, gpus=given.device in ("cuda", "gpu"))
    return verdict(summary, given.out, given.max_bad)


def _add_arguments(parser: CommandParser) -> None:
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="CKPT",
        help="a .ckpt file, the folder of a run (its best.ckpt), or a ready-made model, as imagenet/resnet50 (`foveal "
        "list models` shows them all); more of them may follow",
    )
    add(
        "paths",
        metavar="PATH",
        nargs="+",
        help="image and video files, folders, globs, zip and tar archives, s3://... and other addresses, @list.txt "
        "with a path a line, or - for such a list from standard input; of faces two image files, or a table of pairs "
        "(.csv with a,b), are compared too",
    )
    add(
        "--out",
        type=Path,
        default=Path("predictions"),
        metavar="DIR",
        help="folder for the results; of several models, for a folder of each",
    )
    add("--weights", type=Path, metavar="FILE", help="of a ready-made model, in place of the download")
    add("--draw", action="store_true", help="also write each image or video with its results to OUT/pictures")
    add("--formats", type=_names, default=(), metavar="LIST", help=_FORMATS)
    add("--report", action="store_true", help="also make a page to look at, of pictures and counts: OUT/report.html")
    add("--save-crops", action="store_true", help="also cut each box out of its image: OUT/crops/CLASS")
    add("--crop-margin", type=float, default=0.0, metavar="SHARE", help="of its sides, around each crop (default: 0)")
    add("--every", type=int, default=1, metavar="N", help="of videos each N-th frame (default: 1)")
    add("--batch-size", type=int, metavar="N", help="images a step (default: as in training)")
    add("--num-workers", type=int, metavar="N", help="processes that read images (default: by the cores)")
    add("--timeout", type=float, default=120.0, metavar="S", help="seconds that reading a file may take (default: 120)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N, gpu or mps")
    add("--precision", choices=("32", "bf16"), default="32", help="bf16 is faster on many processors (default: 32)")
    add("--engine", choices=ENGINES, default="torch", help="what computes the network; the others want a CPU")
    add("--compile", action="store_true", help="let torch's compiler make the network faster, which takes a minute")
    add("--exact", action="store_true", help="decode large JPEGs in full, not at a half, a quarter or an eighth")
    add("--max-bad", type=int, default=0, metavar="N", help="unreadable files, or pairs, that are still a success")
    add(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="only the I-th of N parts, into OUT/shard-I-of-N; see `foveal merge`",
    )
    add("--ray", type=int, metavar="N", help="as a job of Ray Data with N actors, here or on a cluster")
    add("--overwrite", action="store_true", help="replace the results in --out")


def _add_task_options(parser: CommandParser) -> None:
    """Those of PredictionOptions, each None where it is not given."""
    add = parser.add_argument_group("of some tasks").add_argument
    add("--top-k", type=int, metavar="K", help="classes to name (default: 5)")
    add("--score", type=float, metavar="S", help="leave out what is less sure (default: what validation found best)")
    add("--nms-iou", type=float, metavar="IOU", help="boxes of a class that overlap by more are one object")
    add("--nms", choices=("hard", "soft"), help="soft lowers the scores of such boxes instead (default: hard)")
    add("--class-agnostic", action="store_true", default=None, help="so do boxes of different classes")
    add("--flip", action="store_true", default=None, help="predict each image mirrored too, and join the results")
    add("--scales", type=_scales, metavar="LIST", help="predict at these sizes, as 0.75,1,1.25, and join the results")
    add("--tile", type=int, metavar="PIXELS", help="predict squares of this side, and join the results")
    add("--overlap", type=float, metavar="SHARE", help="of neighbouring tiles, at least (default: 0.2)")
    add("--crf", type=int, metavar="STEPS", help="of a fully connected CRF, which draws outlines to the image's")
    add("--probabilities", action="store_true", default=None, help="also write those of all classes, a .npy each")
    add("--thin", action="store_true", default=None, help="of edges keep the highest, lines about one pixel wide")
    add("--bits", type=int, choices=(8, 16), help="of a pixel in the files of edges (default: 8)")
    add("--depth-scale", type=float, metavar="N", help="steps of a PNG of depth to the metre (default: 256)")
    add("--focal", type=float, metavar="PIXELS", help="of the camera, in pixels: also write clouds of points")
    add("--intrinsics", type=_intrinsics, metavar="FX,FY,CX,CY", help="of the camera, in place of --focal")
    add(
        "--box",
        type=parse_box,
        action="append",
        default=[],
        metavar="X,Y,W,H",
        help="what to follow from the first frame of a video or folder of frames on; several, for several targets "
        "(default: the first line of the file of boxes beside it)",
    )
    add("--select", action="store_true", help="draw such boxes in a window")
    add("--redetect", action="store_true", default=None, help="look for a lost target all over the frame")
    add("--far", type=float, metavar="SHARE", help="of pairs of two people that may be taken for one (default: recipe)")
    add("--gallery", metavar="FILE", help="name each face by the people in it; see `foveal enroll`")
    add("--detector", metavar="FILE", help="finds faces: MTCNN's weights or YuNet's .onnx (default: they are cut out)")
    add("--blur-unknown", action="store_true", default=None, help="of --draw, faces that nobody in --gallery has")
    parser.set_defaults(targets=None, pairs=None)


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard is {text}; it must be I/N, as 2/8 for the second of eight parts.")
    return int(match[1]), int(match[2])


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _scales(text: str) -> tuple[float, ...]:
    try:
        scales = tuple(float(name) for name in _names(text))
    except ValueError:
        scales = ()
    if not (scales and all(0.1 <= scale <= 10 for scale in scales)):
        raise UsageError(f"--scales takes one number or more from 0.1 to 10, with commas between, not '{text}'.")
    return scales


def _intrinsics(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(name) for name in _names(text))
    except ValueError:
        values = ()
    if len(values) != 4 or not all(map(math.isfinite, values)) or min(values[:2]) <= 0:
        raise UsageError(
            f"--intrinsics takes FX,FY,CX,CY, four numbers in pixels of the files, the first two above 0, not '{text}'."
        )
    return values


# What each number may be.
_ONE_OR_MORE: tuple[Callable[[float], bool], str] = (lambda value: value >= 1, "1 or more")
_SHARE: tuple[Callable[[float], bool], str] = (lambda value: 0 <= value <= 1, "from 0 to 1")
_BOUNDS: dict[str, tuple[Callable[[float], bool], str]] = {
    "top_k": _ONE_OR_MORE,
    "batch_size": _ONE_OR_MORE,
    "every": _ONE_OR_MORE,
    "timeout": (lambda value: value > 0, "above 0"),
    "depth_scale": (lambda value: 0 < value < math.inf, "above 0"),
    "focal": (lambda value: 0 < value < math.inf, "above 0"),
    "ray": _ONE_OR_MORE,
    "num_workers": (lambda value: value >= 0, "0 or more"),
    "max_bad": (lambda value: value >= 0, "0 or more"),
    "score": _SHARE,
    "nms_iou": _SHARE,
    "crop_margin": (lambda value: 0 <= value <= 10, "from 0 to 10"),
    "tile": (lambda value: value >= 32, "32 or more pixels"),
    "overlap": (lambda value: 0 <= value <= 0.9, "from 0 to 0.9"),
    "crf": (lambda value: 0 <= value <= 100, "from 0 to 100"),
    "far": (lambda value: 0 < value <= 0.5, "above 0 and at most 0.5"),
}


def _check_numbers(given: Any) -> None:
    for name, (good, expected) in _BOUNDS.items():
        value = getattr(given, name)
        if value is not None and not good(value):
            raise UsageError(f"{option(name)} is {value}; it must be {expected}.")
