"""Several models over one folder: each image is read once, what models have in common is computed once, and each gives
what it gives alone.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from foveal import tasks
from foveal.cli.main import main
from foveal.core import reading


@pytest.fixture
def contrary(digits_run, tmp_path) -> Path:
    """A checkpoint with the same backbone and another head: of all classes it finds the others."""
    checkpoint = torch.load(digits_run / "best.ckpt", weights_only=True)
    for key, value in checkpoint["state_dict"].items():
        if key.startswith("head."):
            checkpoint["state_dict"][key] = -value
    (tmp_path / "contrary").mkdir()
    torch.save(checkpoint, tmp_path / "contrary" / "best.ckpt")
    return tmp_path / "contrary"


def line(models, folder: Path, out: Path, *options: str) -> list[str]:
    given = ["predict", *map(str, models), str(folder), "--out", str(out), "--device", "cpu", "--batch-size", "4"]
    return [*given, "--num-workers", "0", *options]


def same(one: Path, other: Path) -> None:
    for name in ("predictions.jsonl", "predictions.csv", "failures.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """How many images went through the backbone at each pass."""
    counted, load = [], tasks.load

    def watched(name, **options):
        task = load(name, **options)
        first = next(layer for layer in task.backbone.modules() if isinstance(layer, torch.nn.Conv2d))
        first.register_forward_pre_hook(lambda _, images: counted.append(len(images[0])))
        return task

    monkeypatch.setattr(tasks, "load", watched)
    return counted


def test_a_common_backbone_runs_once(digits_run, contrary, digit_files, tmp_path, passes, monkeypatch, capsys):
    read, paths = reading.read_reduced, []
    monkeypatch.setattr(reading, "read_reduced", lambda path, *rest: paths.append(path) or read(path, *rest))
    assert main(line([digits_run, contrary], digit_files, tmp_path / "both", "--max-bad", "1")) == 0
    assert passes == [4, 4, 4] and len(paths) == 12
    assert "The backbone that 2 models have in common ran once for them" in capsys.readouterr().out
    for model in (digits_run, contrary):
        assert main(line([model], digit_files, tmp_path / "alone" / model.name)) == 0
        same(tmp_path / "both" / model.name, tmp_path / "alone" / model.name)
    names = [
        [json.loads(each)["names"][0] for each in (tmp_path / "both" / name / "predictions.jsonl").open()]
        for name in (digits_run.name, "contrary")
    ]
    assert all(one != other for one, other in zip(*names, strict=True))
    assert json.loads((tmp_path / "both" / "contrary" / "summary.json").read_bytes())["shared_seconds"] > 0


def test_a_common_backbone_runs_once_for_a_batch_that_goes_in_parts(
    digits_run, contrary, digit_files, tmp_path, passes
):
    assert main([*line([digits_run, contrary], digit_files, tmp_path / "both"), "--batch-size", "12"]) == 0
    assert passes == [8, 4]


def test_other_backbones_run_side_by_side(digits_run, contrary, digit_files, tmp_path, passes):
    checkpoint = torch.load(contrary / "best.ckpt", weights_only=True)
    key = next(key for key in checkpoint["state_dict"] if key.startswith("backbone."))
    checkpoint["state_dict"][key] += 0.01
    torch.save(checkpoint, contrary / "best.ckpt")
    assert main(line([digits_run, contrary], digit_files, tmp_path / "both")) == 0
    assert passes == [4] * 6
    assert main(line([contrary], digit_files, tmp_path / "alone")) == 0
    same(tmp_path / "both" / "contrary", tmp_path / "alone")


def test_what_is_done_of_one_model_is_not_done_again(digits_run, contrary, digit_files, tmp_path, passes):
    out = tmp_path / "out"
    assert main(line([digits_run, contrary], digit_files, out)) == 0
    shutil.copytree(out, tmp_path / "whole")
    shutil.rmtree(out / "contrary")
    passes.clear()
    assert main(line([digits_run, contrary], digit_files, out)) == 0
    assert passes == [4, 4, 4]
    same(out / "contrary", tmp_path / "whole" / "contrary")
    assert main(line([digits_run, contrary], digit_files, out)) == 0
    assert len(passes) == 3


def test_models_of_one_name_have_folders_of_their_own(digits_run, contrary, digit_files, tmp_path):
    other = tmp_path / "more" / "contrary"
    shutil.copytree(contrary, other)
    assert main(line([contrary, other], digit_files, tmp_path / "out")) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["contrary", "contrary~2"]


def test_an_option_must_mean_something_to_one_of_them(digits_run, contrary, digit_files, tmp_path, capsys):
    assert main(line([digits_run, contrary], digit_files, tmp_path / "out", "--top-k", "2")) == 0
    assert main(line([digits_run, contrary], digit_files, tmp_path / "no", "--score", "0.5")) == 2
    assert "--score means nothing to classification" in capsys.readouterr().err
    assert main(line([digits_run, contrary], digit_files, tmp_path / "no", "--formats", "coco")) == 2
    assert "--formats coco is of boxes or masks, and classification finds none" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_model_without_a_name_of_its_own_stays_below_out(digits_run, contrary, digit_files, tmp_path, monkeypatch):
    monkeypatch.chdir(contrary)
    (contrary / "deep").mkdir()
    monkeypatch.chdir(contrary / "deep")
    assert main(line(["..", digits_run], digit_files, tmp_path / "parents")) == 0
    assert sorted(path.name for path in (tmp_path / "parents").iterdir()) == ["contrary", digits_run.name]
    monkeypatch.chdir(contrary)
    assert main(line(["best.ckpt", digits_run], digit_files, tmp_path / "files")) == 0
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == ["contrary", digits_run.name]


def test_shards_of_several_models_are_merged_for_each(digits_run, contrary, digit_files, tmp_path, same_results):
    models = [digits_run, contrary]
    assert main(line(models, digit_files, tmp_path / "whole")) == 0
    for number in (1, 2):
        assert main(line(models, digit_files, tmp_path / "parts", "--shard", f"{number}/2")) == 0
    for model in models:
        assert main(["merge", str(tmp_path / "parts" / model.name)]) == 0
        same_results(tmp_path / "parts" / model.name, tmp_path / "whole" / model.name)
