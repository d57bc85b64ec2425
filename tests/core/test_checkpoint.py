"""Checkpoints: whole or not there, and never code."""

import csv
import os
import pickle

import pytest
import torch

import foveal
from foveal.cli.main import main
from foveal.core.checkpoint import AtomicCheckpointIO, read_checkpoint
from foveal.core.errors import MachineError, ModelFileError, UsageError
from foveal.core.inputs import find_checkpoint


def test_what_is_saved_is_loaded(tmp_path):
    io = AtomicCheckpointIO()
    io.save_checkpoint({"weights": torch.arange(3.0), "name": "a"}, tmp_path / "deep" / "a.ckpt")
    loaded = io.load_checkpoint(tmp_path / "deep" / "a.ckpt")
    assert loaded["weights"].tolist() == [0, 1, 2] and loaded["name"] == "a"
    assert os.listdir(tmp_path / "deep") == ["a.ckpt"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed"), KeyboardInterrupt()]
)
def test_a_write_that_fails_half_way_leaves_the_previous_file(tmp_path, monkeypatch, error):
    io = AtomicCheckpointIO()
    io.save_checkpoint({"step": 1}, tmp_path / "last.ckpt")

    def fail(_contents, file):
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else MachineError):
        io.save_checkpoint({"step": 2}, tmp_path / "last.ckpt")
    assert os.listdir(tmp_path) == ["last.ckpt"]
    assert io.load_checkpoint(tmp_path / "last.ckpt") == {"step": 1}


def test_tmpdir_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "does" / "not" / "exist"))
    AtomicCheckpointIO().save_checkpoint({"step": 1}, tmp_path / "last.ckpt")
    assert read_keys(tmp_path / "last.ckpt") == {"step"}


def read_keys(path):
    return set(torch.load(path, weights_only=True))


def test_a_trained_checkpoint_holds_plain_values_only(digits_run):
    for name in ("best.ckpt", "last.ckpt"):
        contents = torch.load(digits_run / name, weights_only=True)
        entry = contents["foveal"]
        assert (entry["task"], entry["model"]["backbone"], entry["model"]["head"]) == (
            "classification",
            "lenet5",
            "linear",
        )
        assert entry["class_names"] == [str(digit) for digit in range(10)]
        assert entry["preprocessing"] == {"size": 32, "resize": "squash", "grey": True, "mean": [0.459], "std": [0.226]}
        assert entry["metrics"]["top1"] > 0.8
        assert set(entry["versions"]) == {"foveal", "torch", "torchvision", "lightning"}
        assert entry["recipe"]["data"]["format"] == "digits"


def test_a_run_folder_means_its_best_checkpoint(digits_run, tmp_path):
    assert find_checkpoint(digits_run) == digits_run / "best.ckpt"
    with pytest.raises(UsageError, match="there is no such checkpoint"):
        find_checkpoint(tmp_path)


def test_a_loaded_task_is_the_trained_one(digits_run):
    task = foveal.load(digits_run)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    state = torch.load(digits_run / "best.ckpt", weights_only=True)["state_dict"]
    assert not task.training
    assert all(torch.equal(task.state_dict()[name], values) for name, values in state.items())
    assert torch.equal(task(images), foveal.load(digits_run / "best.ckpt")(images))


class Canary:
    """Pickled, this asks the reader to make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("force", [False, True], ids=["plain", "forced by the environment"])
@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_checkpoint_that_would_run_code_does_not(tmp_path, monkeypatch, how, force):
    if force:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    contents = {"foveal": {"format": 1}, "state_dict": {}, "payload": Canary(tmp_path / "canary")}
    if how == "torch":
        torch.save(contents, tmp_path / "evil.ckpt")
    else:
        (tmp_path / "evil.ckpt").write_bytes(pickle.dumps(contents, protocol=2))
    with pytest.raises(ModelFileError, match=r"evil\.ckpt: refused, since reading it would run code"):
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "canary").exists()


def test_a_checkpoint_cut_anywhere_is_refused_by_name(digits_run, tmp_path):
    whole = (digits_run / "best.ckpt").read_bytes()
    for share in range(0, 100, 10):
        (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) * share // 100])
        with pytest.raises(ModelFileError, match=r"cut\.ckpt: not a readable checkpoint"):
            read_checkpoint(tmp_path / "cut.ckpt")


def test_checkpoints_of_other_programs_and_versions_are_refused(digits_run, tmp_path):
    torch.save({"state_dict": {"w": torch.ones(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(ModelFileError, match=r"other\.ckpt: this is no checkpoint of foveal's"):
        read_checkpoint(tmp_path / "other.ckpt")
    contents = torch.load(digits_run / "best.ckpt", weights_only=True)
    contents["foveal"]["format"] = 99
    torch.save(contents, tmp_path / "newer.ckpt")
    with pytest.raises(ModelFileError, match="its format is 99, and this version of foveal reads 1"):
        read_checkpoint(tmp_path / "newer.ckpt")


def test_weights_that_do_not_fit_the_named_network_are_refused(digits_run, tmp_path):
    contents = torch.load(digits_run / "best.ckpt", weights_only=True)
    contents["foveal"]["model"]["backbone"] = "lenet5_modern"
    torch.save(contents, tmp_path / "wrong.ckpt")
    with pytest.raises(ModelFileError, match="don't fit the network"):
        foveal.load(tmp_path / "wrong.ckpt")


def test_of_epochs_that_score_alike_the_last_is_kept(tmp_path, blobs):
    # Both classes are told apart from the first epochs on: many epochs score 1.
    line = f"train classification/lenet5_digits --data.format image_folder --data.root {blobs} --out {tmp_path}/run"
    assert main([*line.split(), "--trainer.max_epochs", "12", "--data.batch_size", "4"]) == 0
    scores = [float(row["val/top1"]) for row in csv.DictReader((tmp_path / "run/metrics.csv").open())]
    best = max(epoch for epoch, score in enumerate(scores) if score == max(scores))
    assert scores.count(max(scores)) > 1
    assert read_checkpoint(tmp_path / "run")["foveal"]["epoch"] == best
