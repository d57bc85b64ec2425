"""What tests of several commands need: a checkpoint that holds a task made by hand, and commands that are killed."""

import io
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from foveal import tasks
from foveal.cli.main import main
from foveal.core import reading
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


@pytest.fixture
def same_results() -> Callable[[Path, Path], None]:
    """The function that compares the results of two runs: in batches of other sizes a processor may round the last of
    six digits another way.
    """

    def compare(one: Path, other: Path) -> None:
        for name in ("predictions.jsonl", "predictions.csv", "failures.jsonl"):
            texts = [re.split(r"(\d+\.\d+)", (folder / name).read_text()) for folder in (one, other)]
            assert texts[0][::2] == texts[1][::2], name  # all but the numbers
            numbers, others = (list(map(float, text[1::2])) for text in texts)
            assert numbers == pytest.approx(others, abs=2e-6), name

    return compare


@pytest.fixture
def kill_again_and_again(monkeypatch) -> Callable[..., int]:
    """The function that starts a command so many `times`, each in a process of its own and for up to `seconds`, and
    gives how often it had to be killed. In all of the test reading a file takes a while, and a kill costs little.
    """
    read = reading.read_reduced
    monkeypatch.setattr(reading, "read_reduced", lambda *given: time.sleep(0.02) or read(*given))  # a slow disk
    monkeypatch.setattr("foveal.core.writers._COMMIT_INPUTS", 2)

    def kill(arguments: list[str], *, times: int, seconds: float) -> int:
        draw, kills = random.Random(0), 0
        for _ in range(times):
            process = _started_apart(arguments)
            process.join(draw.uniform(0.02, seconds))
            if process.exitcode is None:
                os.kill(process.pid or 0, signal.SIGKILL)
                kills += 1
            process.join()
        return kills

    return kill


def _started_apart(arguments: list[str]) -> multiprocessing.Process:
    def work() -> None:
        sys.stdout = sys.stderr = io.StringIO()
        os._exit(main(arguments))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process
