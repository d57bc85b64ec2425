"""`foveal demo`: from nothing to a sheet of pictures. The README's test runs it at its full length."""

import pytest

from foveal.cli.main import main
from foveal.core.images import read_image
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks import TASKS, demo


@pytest.fixture
def short(monkeypatch):
    """A demonstration of the same steps with few images."""
    images = {"classification": 80, "detection": 12, "segmentation": 12, "edges": 12, "depth": 12}
    images |= {"tracking": 96, "faces": 60}
    sizes = {"tracking": 96}  # in smaller frames a target may be too small to begin with
    monkeypatch.setattr(
        "foveal.cli.demo.demo", lambda task: demo(task)._replace(images=images[task], size=sizes.get(task, 32))
    )


@pytest.fixture
def captions(monkeypatch):
    """What is written below the pictures: names and shares."""
    from foveal.tasks.classification import task

    written, draw = [], task.draw_caption

    def record(image, names, shares):
        written.append((list(names), list(shares)))
        return draw(image, names, shares)

    monkeypatch.setattr(task, "draw_caption", record)
    return written


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_shown_from_data_to_pictures(task, short, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", task]) == 0
    folder = tmp_path / "runs" / f"demo_{task}"
    said = capsys.readouterr().out
    for command in ("foveal draw-data", "foveal train", "foveal predict"):
        assert command in said
    assert f"runs/demo_{task}/sheet.png" in said and demo(task).next in said
    assert (folder / "run" / "best.ckpt").is_file() and len(list((folder / "results" / "pictures").iterdir())) == 8
    height, width, _ = read_image(folder / "sheet.png").shape
    assert width == 12 + 3 * (240 + 12) and height > 8 * 240  # three columns, eight rows
    if task == "classification":
        assert main(["demo", task]) == 0  # once more: it takes the place of the first


def test_the_truth_of_the_sheet_has_the_names_of_the_drawn_world(short, captions, tmp_path):
    # The folders of classes are sorted by name, the classes of the world are not.
    assert main(["demo", "classification", "--out", str(tmp_path / "demo")]) == 0
    world = ShapesWorld("classification", "test", images=8, size=32, seed=1)
    truths = [names for names, shares in captions if shares == [1.0]]
    assert truths == [[world.class_names[label]] for label in world.labels]


def test_what_is_there_is_not_overwritten_and_a_task_must_be_known(tmp_path, capsys):
    (tmp_path / "mine").write_text("precious")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err and (tmp_path / "mine").read_text() == "precious"
    assert main(["demo", "claasification"]) == 2
    assert "the nearest are classification" in capsys.readouterr().err
