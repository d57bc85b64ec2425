"""`foveal train`: what a run leaves behind, and how it ends."""

import csv
import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from foveal.cli.main import main
from foveal.configs import list_recipes
from foveal.core.callbacks import SafeStop
from foveal.core.checkpoint import read_checkpoint

DIGITS = ["train", "classification/lenet5_digits"]
FAST = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "4"]


def test_a_run_folder_keeps_everything(digits_run):
    names = {path.name for path in digits_run.iterdir()}
    assert names == {
        "recipe.yaml",
        "metrics.csv",
        "best.ckpt",
        "last.ckpt",
        "curves.png",
        "confusion.png",
        "tensorboard",
    }
    with (digits_run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["train/loss"]) < float(rows[0]["train/loss"])
    assert float(rows[-1]["val/top1"]) > 0.8
    recipe = yaml.safe_load((digits_run / "recipe.yaml").read_text())
    assert recipe["trainer"]["max_epochs"] == 3 and recipe["model"]["backbone"] == "lenet5"
    for name in ("curves.png", "confusion.png"):
        assert cv2.imdecode(np.fromfile(digits_run / name, "uint8"), 1).std() > 5


def test_the_resolved_recipe_is_a_recipe_and_gives_the_same_run(digits_run, tmp_path, capsys):
    again = tmp_path / "again"
    assert main(["train", str(digits_run / "recipe.yaml"), "--out", str(again)]) == 0
    first, second = (read_checkpoint(folder / "best.ckpt")["state_dict"] for folder in (digits_run, again))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert "top1" in capsys.readouterr().out


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_runs_on_tiny_data(name, blobs, tmp_path):
    line = ["train", name, "--out", str(tmp_path / "run"), "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
    line += [
        "--model.weights",
        "null",
        "--data.num_workers",
        "0",
        "--data.batch_size",
        "4",
        "--trainer.limit_train_batches",
        "2",
    ]
    if name.endswith("_folder"):
        line += ["--data.root", str(blobs), "--data.size", "64"]
    assert main(line) == 0
    assert (tmp_path / "run" / "best.ckpt").is_file()


@pytest.mark.parametrize("kind", ["csv", "idx", "split folders"])
def test_every_format_trains_and_evaluates(kind, tmp_path, write_blobs, capsys):
    line = ["train", "classification/lenet5_digits", "--trainer.max_epochs", "1", "--out", str(tmp_path / "run")]
    line += ["--data.batch_size", "4", "--data.root", str(tmp_path / "data")]
    if kind == "csv":
        write_blobs(tmp_path / "data", count=10)
        rows = [
            f"{path.relative_to(tmp_path / 'data')},{path.parent.name}" for path in (tmp_path / "data").glob("*/*.png")
        ]
        (tmp_path / "data" / "table.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
        classes, tested = ["circle", "square"], 5  # a quarter of 20
    elif kind == "idx":
        write_idx(tmp_path / "data")
        classes, tested = ["0", "1", "2"], 9
    else:
        for split, count in (("train", 6), ("val", 2), ("test", 3)):
            write_blobs(tmp_path / "data" / split, count=count)
        classes, tested = ["circle", "square"], 6
    line += ["--data.format", "image_folder" if kind == "split folders" else kind]
    assert main(line) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert list(metrics["per_class"]) == classes and metrics["images"] == tested


def write_idx(folder):
    """Three classes of 12 x 12 images in MNIST's format: 30 to train, 9 to test."""
    folder.mkdir()
    for name, count in (("train", 30), ("t10k", 9)):
        labels = np.arange(count, dtype=np.uint8) % 3
        images = np.full((count, 12, 12), 80, np.uint8) * labels[:, None, None]
        (folder / f"{name}-images-idx3-ubyte").write_bytes(
            struct.pack(">IIII", 0x803, count, 12, 12) + images.tobytes()
        )
        packed = gzip.compress(struct.pack(">II", 0x801, count) + labels.tobytes())
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(packed)


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_says_command_and_expectation(name):
    first, second = (Path(__file__).parents[2] / "configs" / f"{name}.yaml").read_text().splitlines()[:2]
    assert first.startswith(f"# foveal train {name}")
    assert second.startswith("# ") and len(second) > 40


def test_print_config_prints_a_whole_recipe(tmp_path, capsys):
    assert main([*DIGITS, "--model.dropout", "0.25", "--optimizer.lr=1e-2", "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["dropout"] == 0.25 and printed["optimizer"]["lr"] == 0.01
    assert printed["schedule"] == {"name": "cosine", "warmup_epochs": 1.0}


def test_help_behind_a_recipe_shows_every_entry_with_its_meaning(capsys):
    assert main([*DIGITS, "--help"]) == 0
    text = capsys.readouterr().out
    for entry in (
        "--model.backbone",
        "--model.loss.label_smoothing",
        "--data.augment",
        "--trainer.max_epochs",
        "--optimizer.lr",
    ):
        assert entry in text
    assert "learning rate at its highest" in text


def test_a_run_is_not_overwritten_unasked(digits_run, capsys):
    assert main([*DIGITS, *FAST, "--out", str(digits_run)]) == 2
    assert "a run is already there" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_ends_with_5_and_a_finite_checkpoint(tmp_path, capsys):
    line = [
        *DIGITS,
        "--optimizer.name",
        "sgd",
        "--optimizer.lr",
        "1e25",
        "--schedule.warmup_epochs",
        "0",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(line) == 5
    said = capsys.readouterr().err
    assert "The loss became nan in epoch 1, step" in said and "digits:" in said
    state = read_checkpoint(tmp_path / "run" / "last.ckpt")["state_dict"]
    assert all(values.isfinite().all() for values in state.values())


def start(folder, *more):
    line = [sys.executable, "-m", "foveal", *DIGITS, "--trainer.max_epochs", "200", "--out", str(folder), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_to_go_on_from_and_75(tmp_path, number):
    run = start(tmp_path / "run")
    for line in run.stdout:
        if line.startswith("epoch 2/"):
            break
    run.send_signal(number)
    sent = time.monotonic()
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 75, errors
    assert time.monotonic() - sent < 10
    assert f"Stopped by {signal.Signals(number).name}" in errors and "Traceback" not in errors
    stopped = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert 2 <= stopped["epoch"] < 199

    # The schedule's length is the recipe's, so the rest is cut by the batches of an epoch and not by the epochs.
    rest = ["--resume", "--trainer.max_epochs", str(stopped["epoch"] + 2), "--trainer.limit_val_batches", "1"]
    assert main([*DIGITS, "--out", str(tmp_path / "run"), *rest]) == 0
    with (tmp_path / "run" / "metrics.csv").open() as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
    assert epochs == list(range(1, stopped["epoch"] + 3))


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("place", ["training", "validation", "between"])
def test_a_stopped_and_resumed_run_ends_with_the_weights_of_a_straight_one(tmp_path, monkeypatch, place, workers):
    line = [*DIGITS, "--trainer.max_epochs", "3", "--trainer.limit_train_batches", "8", "--data.num_workers", workers]

    def stop_once(self, trainer, *_):
        here = trainer.validating if place == "validation" else not trainer.validating
        if here and trainer.current_epoch == 1 and trainer.global_step >= 11 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            self._signal = signal.SIGTERM

    for hook in ("on_train_batch_end", "on_validation_batch_start") if place != "between" else ("on_train_epoch_end",):
        before = getattr(SafeStop, hook)
        monkeypatch.setattr(SafeStop, hook, lambda *all, before=before: (stop_once(*all), before(*all))[1])
    assert main([*line, "--out", str(tmp_path / "resumed")]) == 75
    assert main([*line, "--out", str(tmp_path / "resumed"), "--resume"]) == 0
    assert main([*line, "--out", str(tmp_path / "straight")]) == 0
    first, second = (read_checkpoint(tmp_path / run / "last.ckpt")["state_dict"] for run in ("resumed", "straight"))
    assert all(torch.equal(first[name], second[name]) for name in second)
    tables = [list(csv.DictReader((tmp_path / run / "metrics.csv").open())) for run in ("resumed", "straight")]
    assert [row["val/top1"] for row in tables[0]] == [row["val/top1"] for row in tables[1]]


def test_a_signal_before_the_first_step_is_75_too(tmp_path):
    run = start(tmp_path / "run")
    while not (tmp_path / "run").is_dir() and run.poll() is None:
        time.sleep(0.01)  # the folder is made before the heavy imports end
    run.send_signal(signal.SIGTERM)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 75 and "Traceback" not in errors


@pytest.mark.slow
def test_lenet5_reads_98_percent_of_unseen_digits_within_a_minute(tmp_path):
    began = time.monotonic()
    line = [sys.executable, "-m", "foveal", *DIGITS, "--out", str(tmp_path / "run")]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    seconds = time.monotonic() - began
    evaluated = [sys.executable, "-m", "foveal", "evaluate", str(tmp_path / "run"), "--json"]
    metrics = yaml.safe_load(subprocess.run(evaluated, capture_output=True, text=True, check=True).stdout)
    assert metrics["images"] == 449 and metrics["top1"] >= 0.98
    assert f"top1 {100 * metrics['top1']:.2f} % on 449 test images" in done.stdout
    print(f"{seconds:.1f} s")  # the promise is 60 s on two free cores; a time is no test
