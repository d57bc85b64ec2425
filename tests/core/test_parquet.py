"""`predictions.parquet` holds what the lines hold, for all that a prediction may be."""

import json
import os
import sys
from pathlib import Path
from typing import get_type_hints

import pyarrow.parquet
import pytest
import torch

from foveal.core import parquet
from foveal.core.errors import MachineError, UsageError
from foveal.core.formats import Formats
from foveal.core.parquet import COLUMNS
from foveal.core.types import Prediction

PLAIN = Formats(("parquet",), ["cat", "dog"])


def prediction(path: str, count: int = 2, **entries) -> Prediction:
    """The first classes, of scores 1/3, 1/6, ..."""
    scores = torch.tensor([1 / 3 / (number + 1) for number in range(count)])
    names = [f"class {number}" for number in range(count)]
    return Prediction(path=path, size=(10, 20), labels=torch.arange(count), scores=scores, names=names, **entries)


def written(writing, folder: Path, *predictions: Prediction) -> tuple[pyarrow.Table, list[dict]]:
    """The table and the lines."""
    files = {str(number): each["path"] for number, each in enumerate(predictions)}
    with writing(folder / "out", files, formats=PLAIN) as writer:
        for number, each in enumerate(predictions):
            writer.write(each, str(number))
    lines = (folder / "out" / "predictions.jsonl").read_text().splitlines()
    return pyarrow.parquet.read_table(folder / "out" / "predictions.parquet"), [json.loads(line) for line in lines]


def test_rows_are_the_lines_with_lists_as_lists(writing, tmp_path):
    table, lines = written(writing, tmp_path, prediction("a.png"), prediction("b.png", 0), prediction("c.png", 3))
    assert table.to_pylist() == lines
    assert table.schema.names == ["path", "size", "labels", "scores", "names"]
    assert lines[0]["scores"] == [0.333333, 0.166667]


def test_boxes_and_masks_have_columns_of_their_own(writing, tmp_path):
    boxes = torch.tensor([[0.126, 1, 2, 3], [4, 5, 6, 7]])
    table, lines = written(writing, tmp_path / "a", prediction("a.png", boxes=boxes))
    assert table.to_pylist() == lines and lines[0]["boxes"][0] == [0.13, 1, 2, 3]
    mask, probabilities = torch.ones((10, 20), dtype=torch.uint8), torch.ones((2, 10, 20), dtype=torch.float16)
    entries = {"mask": mask, "pixels": torch.tensor([200, 0]), "probabilities": probabilities}
    table, lines = written(writing, tmp_path / "b", prediction("a.png", **entries))
    assert table.to_pylist() == lines
    assert (lines[0]["mask"], lines[0]["probabilities"]) == ("masks/0.png", "probabilities/0.npy")


def test_frames_have_a_number_and_images_none(writing, tmp_path):
    table, lines = written(writing, tmp_path, prediction("a.png"), prediction("b.mp4", frame=7))
    assert table.to_pylist() == [{**lines[0], "frame": None}, lines[1]] and lines[1]["frame"] == 7


def test_without_any_line_it_is_an_empty_table(writing, tmp_path):
    table, lines = written(writing, tmp_path)
    assert (table.num_rows, lines, table.schema.names) == (0, [], ["path", "size", "labels", "scores", "names"])


def test_many_lines_are_written_group_by_group(writing, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_GROUP", 1000)
    table, lines = written(writing, tmp_path, *(prediction(f"{number}.png", number % 4) for number in range(100)))
    assert table.to_pylist() == lines
    groups = pyarrow.parquet.ParquetFile(tmp_path / "out" / "predictions.parquet").num_row_groups
    assert 5 < groups < 50  # a line has some 100 bytes


def test_a_name_that_is_not_utf_8_has_the_escapes_of_its_line(writing, tmp_path):
    table, lines = written(writing, tmp_path, prediction(os.fsdecode(b"caf\xe9.png")), prediction("é🐈.png"))
    assert table["path"].to_pylist() == ["caf\\udce9.png", "é🐈.png"]
    assert [os.fsencode(line["path"]) for line in lines] == [b"caf\xe9.png", "é🐈.png".encode()]


def test_every_entry_of_a_prediction_has_a_column():
    assert sorted(COLUMNS) == sorted(get_type_hints(Prediction))


def test_without_pyarrow_it_is_refused_at_the_beginning(writing, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError) as caught:
        written(writing, tmp_path)
    assert str(caught.value) == 'The format parquet needs pyarrow: install it with pip install "foveal[parquet]".'


def test_a_full_disk_leaves_no_half_of_it(writing, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(MachineError, match=r"predictions\.parquet: cannot be written \(No space left on device\)"),
        writing(tmp_path / "out", {"0": "a.png"}, formats=PLAIN) as writer,
    ):
        writer.write(prediction("a.png"), "0")
        monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", full)
    assert sorted(os.listdir(tmp_path / "out")) == [".run", "failures.jsonl", "predictions.csv", "predictions.jsonl"]
    assert "predictions.parquet" not in os.listdir(tmp_path / "out" / ".run")
