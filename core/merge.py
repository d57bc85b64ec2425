"""The results of shards as those of one run. Imports no torch."""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from .errors import UsageError
from .run_folder import (
    DEPTH_ABOUT,
    DEPTH_SCALE,
    EMBEDDINGS,
    EMBEDDINGS_OF,
    PARQUET,
    REPORT,
    SUMMARY,
    GrowingFile,
    RunFolder,
)

_SHARD = "shard"  # the entry of a run's identity
# COCO's lists have an entry a line: how many lines come before, which entry is the number of an image, and the end.
_LISTS = {"coco_results.json": (1, "image_id", b"\n]\n"), "coco_images.json": (2, "id", b"\n]}\n")}
_ALIKE = (DEPTH_SCALE, DEPTH_ABOUT)  # in all shards that have it: one that found nothing does not
_BLOCK = 2**20  # bytes


def merge(folder: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Join the folders shard-I-of-N in `folder` there, but for their reports; returns the summary.

    Raises UsageError where one is missing, not done, or of another command, or where there are results already;
    MachineError where the folder cannot be written.
    """
    shards = _shards(folder)
    summaries = [_summary(shard) for shard in shards]
    identity = _common_identity(shards, summaries)
    names = sorted({name for shard in shards for name in os.listdir(shard) if not name.startswith(".")})
    with RunFolder(folder, identity, names, overwrite=overwrite) as run:
        if run.summary is not None:
            return run.summary
        run.commit({})  # the only one: a merge that was stopped begins anew
        for name in names:
            there = [shard / name for shard in shards]
            if name in _LISTS:
                _join_lists(run, name, there, summaries)
            elif name in _ALIKE:
                _take_first(run, name, there)
            elif any(path.is_dir() for path in there):
                _join_folders(run, name, there)
            elif name not in (SUMMARY, REPORT, PARQUET, EMBEDDINGS, EMBEDDINGS_OF):
                _join_lines(run.growing(name), there, head=name.endswith(".csv"))
        run.sync()
        whole = _joined(summaries)
        if PARQUET in names:
            from .parquet import write_parquet

            write_parquet(run, frames=whole["inputs"]["videos"] > 0)
        if EMBEDDINGS in names:
            from .embedding_formats import write_embeddings

            write_embeddings(run, frames=whole["inputs"]["videos"] > 0)
        run.finish(whole)
        return whole


def _shards(folder: Path) -> list[Path]:
    found = {}
    for path in folder.glob("shard-*-of-*"):
        if match := re.fullmatch(r"shard-(\d+)-of-(\d+)", path.name):
            found[int(match[2]), int(match[1])] = path
    counts = {count for count, _ in found}
    if len(counts) != 1:
        what = "no folder shard-I-of-N" if not counts else f"shards of {' and of '.join(map(str, sorted(counts)))}"
        raise UsageError(f"{folder}: there is {what} in it; give the --out of one `foveal predict --shard I/N`.")
    (count,) = counts
    if missing := [str(index) for index in range(1, count + 1) if (count, index) not in found]:
        raise UsageError(f"{folder}: of {count} shards, {', '.join(missing)} missing; predict them first.")
    return [found[count, index] for index in range(1, count + 1)]


def _summary(shard: Path) -> dict[str, Any]:
    try:
        return json.loads((shard / SUMMARY).read_bytes())
    except (OSError, ValueError):
        raise UsageError(f"{shard}: this shard is not done; give its command again until it is.") from None


def _common_identity(shards: Sequence[Path], summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    identities = [{key: value for key, value in each["run"].items() if key != _SHARD} for each in summaries]
    for shard, identity in zip(shards, identities, strict=True):
        if keys := [key for key in identity if identity[key] != identities[0].get(key)]:
            raise UsageError(f"{shard}: it was predicted with another {keys[0]} than {shards[0]}; do it again.")
    for shard, each in zip(shards, summaries, strict=True):
        if each["inputs"]["whole"] != summaries[0]["inputs"]["whole"]:
            raise UsageError(
                f"{shard}: there were other files when it began than when {shards[0]} did, so some would be missing or "
                "come twice; predict the shards again, of a list of files (@list.txt) that stays as it is."
            )
    return {**identities[0], "shards": len(shards)}


def _join_lines(target: GrowingFile, parts: Sequence[Path], *, head: bool) -> None:
    """Files of lines behind one another; with `head`, the first line of each is the same, and is written once."""
    for path in parts:
        with path.open("rb") as file:
            line = file.readline() if head else b""
            target.write(line if target.empty else b"")
            while block := file.read(_BLOCK):
                target.write(block)
                target.flush()


def _join_lists(run: RunFolder, name: str, parts: Sequence[Path], summaries: Sequence[dict[str, Any]]) -> None:
    """COCO's lists behind one another; images without a number of their own are counted on."""
    above, key, tail = _LISTS[name]
    with parts[0].open("rb") as file:
        head = b"".join(file.readline() for _ in range(above)).rstrip(b"\n")
    target, before = run.growing(name, head=head, tail=tail), 0
    for path, summary in zip(parts, summaries, strict=True):
        for entry in _entries(path, above):
            if not summary["inputs"]["numbered"]:
                entry[key] += before
            target.write((b"\n" if target.empty else b",\n") + json.dumps(entry).encode("ascii"))
            if target.waiting > _BLOCK:
                target.flush()
        target.flush()
        before += summary["predicted"]


def _entries(path: Path, above: int) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in islice(file, above, None):
            if line.startswith(b"{"):
                yield json.loads(line.rstrip(b",\n"))


def _take_first(run: RunFolder, name: str, parts: Sequence[Path]) -> None:
    """A file that is the same wherever it is."""
    with run.whole(name) as path:
        shutil.copyfile(next(part for part in parts if part.exists()), path)


def _join_folders(run: RunFolder, name: str, parts: Sequence[Path]) -> None:
    """Whole files, under the same names; YOLO's names of classes, which all shards have, once."""
    for part in parts:
        for path in (path for path in part.rglob("*") if path.is_file()):
            below = str(path.relative_to(part))
            if not (name == "yolo" and below == "classes.txt" and (run.path / name / below).exists()):
                _link(path, run.place(name, *_split(below)))


def _split(below: str) -> tuple[tuple[str], str]:
    stem, ending = os.path.splitext(below)
    return (stem,), ending


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _joined(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = {key: value for key, value in summaries[0].items() if key != "run"}
    counts = ("images", "videos")
    inputs = {key: sum(each["inputs"][key] for each in summaries) for key in counts}
    failures = sum((Counter(each["failures"]) for each in summaries), Counter[str]())
    seconds = round(sum(each["seconds"] for each in summaries), 3)
    predicted = sum(each["predicted"] for each in summaries)
    return {
        **first,
        "inputs": {**{key: value for key, value in first["inputs"].items() if key != "whole"}, **inputs},
        "predicted": predicted,
        "failed": failures.total(),
        "failures": dict(sorted(failures.items())),
        "seconds": seconds,
        "rate": round(predicted / max(seconds, 1e-3), 2),
    }
