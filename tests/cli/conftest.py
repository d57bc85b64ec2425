"""What tests of several commands need: a checkpoint that holds a task made by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foveal import tasks
from foveal.cli.main import main
from foveal.core.task import Task


@pytest.fixture
def predict_with(monkeypatch, tmp_path) -> Callable[[Task], Callable[..., int]]:
    """The function that puts a task in place of any checkpoint's, and gives `foveal predict`: (path, options), with the
    results in `out`.
    """

    def put(task: Task) -> Callable[..., int]:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "best.ckpt").touch()
        monkeypatch.setattr(tasks, "load", lambda path, weights=None: task)

        def run(path: Path, *options: str) -> int:
            line = ["predict", str(tmp_path / "run"), str(path), "--out", str(tmp_path / "out"), "--num-workers", "0"]
            return main([*line, "--overwrite", *options])

        return run

    return put
