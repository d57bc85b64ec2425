"""Measures every backbone, and writes `backbones/figures.csv` and the tables of `docs/backbones.md`.

    python docs/make_backbones.py

Run it after adding or changing a network. A few minutes; downloads nothing. What stands in the page above the line
`MARK` is written by hand.
"""

import csv
import re
from itertools import groupby
from pathlib import Path

import torch

from foveal.backbones import count_multiply_adds, count_parameters, create_backbone, smallest_image
from foveal.backbones.catalogue import FAMILIES, Family, find_family, list_backbones
from foveal.backbones.figures import FILE, Figures, figures
from foveal.backbones.timm_package import require_timm, timm_name
from foveal.backbones.weights import published_weights

PAGE = Path(__file__).with_name("backbones.md")
MARK = "<!-- What follows is written by docs/make_backbones.py. -->"


def measure(name: str) -> Figures:
    """All that the table says about one backbone."""
    with torch.device("meta"):
        backbone = create_backbone(name)
    smallest = smallest_image(backbone)
    assert smallest is not None, f"{name} must take every size from some size on"
    weights, licence = describe_weights(name)
    return Figures(
        parameters=count_parameters(backbone),
        multiply_adds=count_multiply_adds(backbone, 224),
        strides=backbone.strides,
        channels=backbone.channels,
        smallest_image=smallest,
        weights=weights,
        licence=licence,
    )


def describe_weights(name: str) -> tuple[str, str]:
    """What `weights="imagenet"` loads, and its licence."""
    source = find_family(name).source
    if source == "torchvision":
        entry = published_weights(name)
        return f"{entry.name}, {entry.meta['_metrics']['ImageNet-1K']['acc@1']:.1f} %", "BSD-3-Clause"
    if source == "timm":
        settings = require_timm(name).models.get_pretrained_cfg(timm_name(name))
        return f"{settings.architecture}.{settings.tag}".rstrip("."), settings.license
    return "", ""


def write_figures(found: dict[str, Figures]) -> None:
    """The file that the package reads."""
    with FILE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", *Figures._fields])
        for name, row in found.items():
            writer.writerow([name, *(" ".join(map(str, cell)) if isinstance(cell, tuple) else cell for cell in row)])


def page(found: dict[str, Figures]) -> str:
    """The page of the documentation: its introduction as it is, and the tables anew."""
    parts = [PAGE.read_text().split(MARK)[0] + MARK]
    for paper, families in groupby(sorted(FAMILIES, key=_year), key=lambda family: family.paper):
        rows = [_row(name, family, found[name]) for family in families for name in family.names]
        parts.append("\n".join([f"## {paper}", "", *_HEAD, *rows]))
    return "\n\n".join(parts) + "\n"


def _year(family: Family) -> tuple[str, str, str]:
    return re.findall(r"\d{4}", family.paper)[-1], family.paper, family.source


_HEAD = (
    "| name | parameters | multiply-adds | strides | channels | from | weights | licence |",
    "|---|---:|---:|---|---|---|---|---|",
)


def _row(name: str, family: Family, row: Figures) -> str:
    cells = [
        f"`{name}`",
        f"{row.parameters:,}",
        f"{row.multiply_adds / 1e9:.3f} G",
        " ".join(map(str, row.strides)),
        " ".join(map(str, row.channels)),
        family.source,
        row.weights or "–",
        row.licence or "–",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    write_figures({name: measure(name) for name in list_backbones() if find_family(name).source != "plugin"})
    figures.cache_clear()
    PAGE.write_text(page(figures()))
