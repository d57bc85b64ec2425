"""`foveal predict`, `evaluate`, `info` and `list` on a trained run."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from foveal.cli.main import main
from foveal.core.images import read_image, write_image
from foveal.datasets import open_dataset


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_paths_may_stand_before_and_behind_options(digits_run, digit_files, tmp_path):
    first, *rest = sorted(str(path) for path in digit_files.rglob("*.png"))
    assert main(["predict", str(digits_run), first, "--out", str(tmp_path / "out"), "--device", "cpu", *rest]) == 0
    assert [row["path"] for row in rows(tmp_path / "out" / "predictions.jsonl")] == [first, *rest]


def test_a_folder_becomes_jsonl_csv_and_pictures(digits_run, digit_files, tmp_path, capsys):
    out = tmp_path / "out"
    line = ["predict", str(digits_run), str(digit_files), "--out", str(out), "--draw"]
    assert main([*line, "--top-k", "3", "--batch-size", "5"]) == 0
    lines = rows(out / "predictions.jsonl")
    assert [line["path"] for line in lines] == sorted(str(path) for path in digit_files.rglob("*.png"))
    for line in lines:
        assert line["size"] == [8, 8] and len(line["names"]) == len(line["scores"]) == len(line["labels"]) == 3
        assert line["scores"] == sorted(line["scores"], reverse=True) and 0 < sum(line["scores"]) <= 1.000001
    right = sum(Path(line["path"]).stem.endswith(f"is_{line['names'][0]}") for line in lines)
    assert right >= 10
    with (out / "predictions.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["path", "height", "width", "name_1", "score_1", "name_2", "score_2", "name_3", "score_3"]
    assert [row["name_1"] for row in table] == [line["names"][0] for line in lines]
    assert (out / "failures.jsonl").read_text() == ""
    pictures = sorted(path.relative_to(out / "pictures").as_posix() for path in (out / "pictures").rglob("*.jpg"))
    assert pictures == sorted(f"{path.relative_to(digit_files).as_posix()}.jpg" for path in digit_files.rglob("*.png"))
    assert read_image(out / "pictures" / pictures[0]).shape[1] >= 240
    assert "12 images predicted, 0 unreadable" in capsys.readouterr().out


def test_batches_workers_and_neighbours_do_not_change_a_prediction(digits_run, digit_files, tmp_path):
    for name, options in (("one", ["--batch-size", "1"]), ("many", ["--batch-size", "4", "--num-workers", "2"])):
        line = ["predict", str(digits_run), str(digit_files), "--device", "cpu", *options]
        assert main([*line, "--out", str(tmp_path / name)]) == 0
    one, many = (rows(tmp_path / name / "predictions.jsonl") for name in ("one", "many"))
    assert [line["path"] for line in one] == [line["path"] for line in many]
    assert [line["names"] for line in one] == [line["names"] for line in many]
    np.testing.assert_allclose([line["scores"] for line in one], [line["scores"] for line in many], atol=2e-6)


@pytest.fixture
def mixed_folder(digit_files, tmp_path) -> Path:
    """Two good images and three broken ones."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    good = next(digit_files.rglob("*.png")).read_bytes()
    (folder / "a.png").write_bytes(good)
    (folder / "b.jpg").write_text("<html>not found</html>")
    (folder / "c.png").write_bytes(good[: len(good) // 2])
    (folder / "d.png").write_bytes(b"")
    (folder / "z.png").write_bytes(good)
    return folder


def test_broken_files_are_named_and_the_others_written(digits_run, mixed_folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(digits_run), str(mixed_folder), "--out", str(out), "--draw"]) == 3
    assert [Path(line["path"]).name for line in rows(out / "predictions.jsonl")] == ["a.png", "z.png"]
    failures = {Path(line["path"]).name: line for line in rows(out / "failures.jsonl")}
    assert {name: line["code"] for name, line in failures.items()} == {
        "b.jpg": "NOT_AN_IMAGE",
        "c.png": "TRUNCATED",
        "d.png": "EMPTY_FILE",
    }
    assert all(str(mixed_folder / name) in line["reason"] for name, line in failures.items())
    assert "3 of 5 files could not be read" in capsys.readouterr().err
    assert main(["predict", str(digits_run), str(mixed_folder), "--out", str(tmp_path / "b"), "--max-bad", "3"]) == 0


def test_nothing_but_broken_files_is_still_an_answer(digits_run, tmp_path):
    (tmp_path / "x.png").write_bytes(b"")
    assert main(["predict", str(digits_run), str(tmp_path / "x.png"), "--out", str(tmp_path / "out")]) == 3
    assert len(rows(tmp_path / "out" / "failures.jsonl")) == 1


def test_results_are_not_overwritten_unasked(digits_run, digit_files, tmp_path, capsys):
    line = ["predict", str(digits_run), str(digit_files / "first"), "--out", str(tmp_path)]
    assert main(line) == 0
    assert main(line) == 0
    assert "Done already: this very command has left" in capsys.readouterr().out
    assert main([*line, "--top-k", "2"]) == 2
    assert "results of another command are already there (--top-k 5, now 2)" in capsys.readouterr().err
    assert main([*line, "--top-k", "2", "--overwrite"]) == 0


def test_a_name_in_any_bytes_comes_through(digits_run, digit_files, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    data = next(digit_files.rglob("*.png")).read_bytes()
    with open(os.fsencode(folder) + b"/caf\xe9 1,5.png", "wb") as file:
        file.write(data)
    assert main(["predict", str(digits_run), str(folder), "--out", str(tmp_path / "out"), "--draw"]) == 0
    (line,) = rows(tmp_path / "out" / "predictions.jsonl")
    assert os.fsencode(line["path"]).endswith(b"caf\xe9 1,5.png")
    assert os.listdir(os.fsencode(tmp_path / "out" / "pictures")) == [b"caf\xe9 1,5.png.jpg"]


def test_a_large_image_is_drawn_at_its_own_size(digits_run, tmp_path):
    image = np.full((300, 500, 3), 128, np.uint8)
    (tmp_path / "big.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    assert main(["predict", str(digits_run), str(tmp_path / "big.png"), "--out", str(tmp_path / "out"), "--draw"]) == 0
    (picture,) = (tmp_path / "out" / "pictures").rglob("*.jpg")
    assert read_image(picture).shape[1] == 500


def test_no_single_file_ends_a_run(digits_run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, shape in (
        ("thin.png", (20000, 1)),
        ("flat.png", (1, 20000)),
        (f"{'x' * 250}.png", (9, 9)),
        ("dot.png", (1, 1)),
    ):
        (folder / name).write_bytes(cv2.imencode(".png", np.full((*shape, 3), 99, np.uint8))[1].tobytes())
    (tmp_path / "list.txt").write_text(f"{folder}\n{tmp_path}/missing.png\n")
    out = folder / "out"  # below the input: its pictures are no input of the next run
    for again in ([], ["--overwrite"]):
        line = ["predict", str(digits_run), f"@{tmp_path}/list.txt", "--out", str(out), "--draw", "--max-bad", "1"]
        assert main([*line, *again]) == 0
        assert len(rows(out / "predictions.jsonl")) == 4 == len(list((out / "pictures").rglob("*.jpg")))
        assert [line["code"] for line in rows(out / "failures.jsonl")] == ["MISSING"]


def test_a_stopped_run_keeps_what_it_wrote(digits_run, digit_files, tmp_path):
    source = next(digit_files.rglob("*.png"))
    (tmp_path / "in").mkdir()
    for number in range(20_000):
        os.link(source, tmp_path / "in" / f"{number:05d}.png")
    line = [sys.executable, "-m", "foveal", "predict", str(digits_run), str(tmp_path / "in"), "--num-workers", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    run = subprocess.Popen([*line, "--out", str(tmp_path / "out")], start_new_session=True, **pipes)
    assert run.stdout.readline().startswith("20000 images to predict")
    os.killpg(run.pid, signal.SIGTERM)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 75 and "Traceback" not in errors, errors
    assert re.search(r"Stopped by SIGTERM. \d+ of 20000 files are done; the same command goes on.", errors)
    assert all(line["names"] for line in rows(tmp_path / "out" / "predictions.jsonl"))


def test_a_caption_holds_letters_beyond_ascii(digits_run):
    from foveal.core.plots import draw_caption

    image = np.zeros((300, 300, 3), np.uint8)
    pictures = [draw_caption(image, [name], [0.5]) for name in ("ü", "ñ", "ж", "a\nb")]
    assert all(not np.array_equal(one, pictures[0]) for one in pictures[1:])
    assert np.array_equal(pictures[3], draw_caption(image, ["a b"], [0.5]))


def test_evaluate_prints_what_training_reported(digits_run, tmp_path, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(digits_run), "--json", "--out", str(tmp_path / "report")]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["images"] == 449 and metrics["split"] == "test" and set(metrics["per_class"]) == set("0123456789")
    assert metrics["top1"] > 0.8 and metrics == json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert (tmp_path / "report" / "confusion.png").is_file()
    assert main(["evaluate", str(digits_run), "--split", "val"]) == 0
    text = capsys.readouterr().out
    assert "top1" in text and "class 9" in text and "val images" in text


def test_evaluate_agrees_with_predict(digits_run, tmp_path, capsys):
    digits = open_dataset("digits", None, split="test")  # the recipe's own shares and seed
    (tmp_path / "digits").mkdir()
    for index in range(len(digits)):
        write_image(tmp_path / "digits" / f"{index}_is_{digits[index]['label']}.png", digits[index]["image"])
    assert main(["predict", str(digits_run), str(tmp_path / "digits"), "--out", str(tmp_path / "out")]) == 0
    lines = rows(tmp_path / "out" / "predictions.jsonl")
    right = sum(Path(line["path"]).stem.endswith(f"is_{line['names'][0]}") for line in lines)
    capsys.readouterr()
    assert main(["evaluate", str(digits_run), "--json"]) == 0
    assert right / len(lines) == pytest.approx(json.loads(capsys.readouterr().out)["top1"])


def test_evaluate_refuses_other_classes(digits_run, blobs, capsys):
    assert main(["evaluate", str(digits_run), "--data.format", "image_folder", "--data.root", str(blobs)]) == 3
    assert "its classes are circle, square, but the checkpoint knows 0, 1, 2" in capsys.readouterr().err


def test_info_says_what_is_inside(digits_run, capsys):
    assert main(["info", str(digits_run)]) == 0
    text = capsys.readouterr().out
    assert (
        "lenet5" in text and "60,850" in text and "classification" in text and "grey True" in text
    )  # 60,000 + 84 * 10 + 10
    assert main(["info", str(digits_run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["backbone"] == "lenet5"


@pytest.mark.parametrize(
    ("kind", "pattern", "first"),
    [
        ("backbones", "resnet*", "resnet18"),
        ("recipes", "*digits", "classification/lenet5_digits"),
        ("tasks", "*", "classification"),
        ("datasets", "i*", "idx"),
    ],
)
def test_list_shows_what_there_is(kind, pattern, first, capsys):
    assert main(["list", kind, pattern]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert first in names


def test_list_of_nothing_is_an_error(capsys):
    assert main(["list", "backbones", "vit*"]) == 2
    assert "No backbones match 'vit*'" in capsys.readouterr().err
