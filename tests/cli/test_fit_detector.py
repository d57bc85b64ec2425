"""`foveal fit-detector --out FILE`: what it writes can be loaded, and what it could not write is refused at once."""

import re

import numpy as np
import pytest
from safetensors import safe_open

from foveal.cli.main import main
from foveal.tasks.faces.detector import build_detector


@pytest.fixture
def few(monkeypatch):
    """Networks that saw two pictures take much for a face, and are tested on two."""
    monkeypatch.setattr("foveal.tasks.faces.mtcnn._MOST_CANDIDATES", 30)
    monkeypatch.setattr("foveal.cli.fit_detector._UNSEEN", 2)


def test_it_trains_says_how_well_and_writes(few, tmp_path, capsys):
    out = tmp_path / "new" / "mtcnn.safetensors"
    assert main(["fit-detector", "--out", str(out), "--images", "2", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"recall [01]\.\d{3}   precision [01]\.\d{3}   mean landmark error (none|\d+\.\d{3})", said)
    assert f"weights in {out}" in said
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    with safe_open(out, "np") as file:
        assert file.metadata() == {"network": "mtcnn", "drawn_images": "2", "seed": "3"}
    for face in build_detector("mtcnn", out).detect(np.zeros((64, 64, 3), np.uint8)):
        assert face.landmarks is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "mtcnn.pt"], "ends in .safetensors"),
        (["--out", "there.safetensors"], "something is there already"),
        (["--out", "folder.safetensors", "--overwrite"], "something is there already"),
        (["--out", "new.safetensors", "--images", "0"], "--images is 0"),
        (["--out", "new.safetensors", "--seed", "-1"], "--seed is -1"),
        ([], "--out"),
    ],
)
def test_what_can_not_be_is_refused_before_any_work(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.safetensors").touch()
    (tmp_path / "folder.safetensors").mkdir()
    assert main(["fit-detector", *words]) == 2
    assert said in capsys.readouterr().err
