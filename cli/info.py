"""`foveal info CKPT`: what is in a checkpoint: task, backbone, classes, preprocessing, metrics, versions."""

import json
from typing import Any

from ..core.inputs import find_checkpoint
from .main import CommandParser


def run(arguments: list[str]) -> int:
    """Print it; 0 at the end."""
    parser = CommandParser("foveal info", __doc__)
    parser.add_argument("checkpoint", metavar="CKPT", help="a .ckpt file, or the folder of a run (its best.ckpt)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    given = parser.parse_args(arguments)
    find_checkpoint(given.checkpoint)
    from ..core.checkpoint import read_checkpoint

    contents = read_checkpoint(given.checkpoint)
    entry = dict(contents["foveal"])
    entry["parameters"] = sum(values.numel() for name, values in contents["state_dict"].items() if _is_weight(name))
    if given.json:
        print(json.dumps(entry, indent=2))
    else:
        _print_table(entry)
    return 0


def _is_weight(name: str) -> bool:
    # The running statistics of normalisation are state, but nothing that was learnt.
    return name.startswith(("backbone.", "head.")) and not name.endswith(
        ("running_mean", "running_var", "num_batches_tracked")
    )


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
        "epoch": str(entry.get("epoch", 0) + 1),
        **{f"val {name}": f"{value:.4f}" for name, value in entry.get("metrics", {}).items()},
        **{f"version of {name}": version for name, version in entry.get("versions", {}).items()},
    }
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, escape(str(value)))
    Console().print(table)
