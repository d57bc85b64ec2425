"""`foveal info CKPT`: what is in a checkpoint: task, backbone, classes, preprocessing, metrics, versions."""

import json
from typing import Any

from ..core.inputs import find_checkpoint
from ..tasks import is_ready_made
from .main import CommandParser


def run(arguments: list[str]) -> int:
    """Print it; 0 at the end."""
    parser = CommandParser("foveal info", __doc__)
    parser.add_argument(
        "checkpoint", metavar="CKPT", help="a .ckpt file, the folder of a run (its best.ckpt), or a ready-made model"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    given = parser.parse_args(arguments)
    entry = _ready_made(given.checkpoint) if is_ready_made(given.checkpoint) else _trained(given.checkpoint)
    if given.json:
        print(json.dumps(entry, indent=2))
    else:
        _print_table(entry)
    return 0


def _trained(path: str) -> dict[str, Any]:
    find_checkpoint(path)
    from ..core.checkpoint import read_checkpoint

    contents = read_checkpoint(path)
    entry = dict(contents["foveal"])
    entry["parameters"] = sum(values.numel() for name, values in contents["state_dict"].items() if _is_weight(name))
    return entry


def _ready_made(name: str) -> dict[str, Any]:
    """What a checkpoint would say of a ready-made model, without its weights."""
    from ..tasks.ready_made import describe, find_ready_made

    return describe(find_ready_made(name))


def _is_weight(name: str) -> bool:
    # The running statistics of normalisation are state, but nothing that was learnt.
    return name.startswith(("backbone.", "head.")) and not name.endswith(
        ("running_mean", "running_var", "num_batches_tracked")
    )


def _formula(calibration: dict[str, float]) -> str:
    scale, shift = calibration["scale"], calibration["shift"]
    return f"metres = {scale:.6g} x predicted {'-' if shift < 0 else '+'} {abs(shift):.6g}"


def _thresholds(entry: dict[str, Any]) -> dict[str, str]:
    """Of faces: the distances below which two are one person's."""
    if entry["task"] != "faces":
        return {}
    from ..tasks.faces.options import FacesOptions
    from ..tasks.faces.thresholds import known_thresholds

    known = known_thresholds(
        entry.get("thresholds", []), FacesOptions(far=entry["model"]["far"], fars=entry["model"]["fars"])
    )
    said = (f"{distance:.4f} at FAR {far:g}" for far, distance in sorted(known.items(), reverse=True))
    return {"same person below": ", ".join(said) or "not known: validation had too few pairs"}


def _print_table(entry: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    names = entry["class_names"]
    rows = {
        "task": entry["task"],
        "backbone": entry["model"].get("backbone"),
        "head": entry["model"].get("head"),
        "parameters": f"{entry['parameters']:,}",
        "classes": f"{len(names)}: {', '.join(names[:10])}{' …' if len(names) > 10 else ''}",
        "preprocessing": ", ".join(f"{key} {value}" for key, value in entry["preprocessing"].items()),
        **_thresholds(entry),
        **({"calibration": _formula(entry["calibration"])} if entry.get("calibration") else {}),
        **({"epoch": str(entry["epoch"] + 1)} if "epoch" in entry else {}),
        **{f"published {name}": text for name, text in entry.get("published", {}).items()},
        **({"file": entry["file"]} if "file" in entry else {}),
        **{f"val {name}": f"{value:.4f}" for name, value in entry.get("metrics", {}).items()},
        **{f"version of {name}": version for name, version in entry.get("versions", {}).items()},
    }
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, escape(str(value)))
    Console().print(table)
