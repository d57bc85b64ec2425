"""`foveal predict` that compares and names faces, and `foveal enroll`: by a task whose embedding is a mean colour."""

import csv
import json

import numpy as np
import pytest
import torch

from foveal.cli.main import main
from foveal.core.data import preprocessing
from foveal.core.images import write_image
from foveal.core.options import DataOptions
from foveal.core.videos import VideoFile
from foveal.datasets.pairs_csv import read_pairs
from foveal.tasks.faces.detector import Face
from foveal.tasks.faces.gallery import Gallery
from foveal.tasks.faces.options import FacesOptions
from foveal.tasks.faces.task import FacesTask

SIDE = 32
RED, DARK, BLUE, GREY = (200, 0, 0), (100, 0, 0), (0, 0, 200), (90, 90, 90)


class Colours(FacesTask):
    """Two faces are as far apart as their colours: red and dark red 0, red and blue 1, red and grey 1 - 1 / sqrt 3."""

    def embed(self, images, *, flip=False):
        return torch.nn.functional.normalize(images.float().mean(dim=(2, 3)), dim=1)


@pytest.fixture
def task(predict_with):
    torch.manual_seed(0)
    options = FacesOptions(backbone="lenet5", width=3, far=0.01, fars=[0.1])
    task = Colours(options, preprocessing=preprocessing(DataOptions(size=SIDE))).eval()
    task.thresholds = [0.3, 0.5]  # grey is another person at the first, and red's at the second
    predict_with(task)
    return task


@pytest.fixture
def faces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, colour in {"ann/1": RED, "ann/2": DARK, "bob/1": BLUE, "new/red": (201, 0, 0), "new/grey": GREY}.items():
        paint(tmp_path / "faces" / f"{name}.png", colour)
    return tmp_path / "faces"


def paint(path, *colours):
    """Faces of these colours side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.concatenate([np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in colours], axis=1)
    write_image(path, image)


def predict(*words):
    return main(["predict", "run", *map(str, words), "--out", "out", "--num-workers", "0", "--overwrite"])


def rows(name):
    with open(name, newline="") as file:
        return list(csv.DictReader(file))


def test_two_images_are_compared_and_embedded(task, faces, capsys):
    assert predict(faces / "ann/1.png", faces / "ann/2.png") == 0
    assert "The same person: distance 0.000, below the threshold 0.300, at which 1 %" in capsys.readouterr().out
    assert predict(faces / "ann/1.png", faces / "new/grey.png", "--formats", "embeddings") == 0
    assert "Two people: distance 0.423, not below the threshold 0.300" in capsys.readouterr().out
    (row,) = rows("out/pairs.csv")
    assert (row["distance"], row["same"]) == ("0.422650", "0")
    assert np.load("out/embeddings.npy") == pytest.approx(np.array([[1, 0, 0], [3**-0.5] * 3]), abs=1e-6)
    assert [row["path"] for row in rows("out/embeddings.csv")] == [
        str(faces / "ann/1.png"),
        str(faces / "new/grey.png"),
    ]
    assert predict(faces / "ann/1.png", faces / "new/grey.png", "--far", "0.1") == 0
    assert "The same person: distance 0.423, below the threshold 0.500, at which 10 %" in capsys.readouterr().out
    assert predict(faces / "ann") == 0  # a folder of two images is no comparison
    assert "distance" not in capsys.readouterr().out and not (faces.parent / "out/pairs.csv").exists()


def test_a_far_without_a_threshold_is_refused_before_anything_is_done(task, faces, capsys):
    assert predict(faces, "--far", "0.001") == 2
    assert "it has some for 0.01, 0.1" in capsys.readouterr().err and not (faces.parent / "out").exists()
    task.thresholds = []
    assert predict(faces / "ann/1.png", faces / "ann/2.png") == 0
    assert "distance 0.000; the checkpoint has no threshold" in capsys.readouterr().out


def test_a_table_of_pairs(task, faces, capsys):
    table = faces / "pairs.csv"
    table.write_text(
        "a,b,same\nann/1.png,ann/2.png,1\nann/1.png,bob/1.png,0\nann/1.png,new/grey.png,\nbob/1.png,no.png,1\n"
    )
    assert predict(table) == 3
    said = capsys.readouterr()
    assert "3 pairs compared, 1 of them the same person, right for 100.00 % of 2" in said.out
    assert "1 of 5 files could not be read" in said.err
    found = rows("out/pairs.csv")
    assert [row["distance"] for row in found] == ["0.000000", "1.000000", "0.422650", ""]
    assert [row["same"] for row in found] == ["1", "0", "0", ""] and [row["truth"] for row in found] == [
        "1",
        "0",
        "",
        "1",
    ]
    assert found[3]["problem"] == "'no.png' could not be read"


def test_tables_that_are_none(faces, tmp_path, task, capsys):
    (tmp_path / "t.csv").write_text("a,b\nx.png,y.png\n")
    assert read_pairs(tmp_path / "t.csv") == [("x.png", "y.png", None)]
    for text, said in {
        "a,c\nx.png,y.png\n": "no column called b",
        "a,b,same\nx.png,y.png,maybe\n": "line 2: same is 'maybe'",
        "a,b\n../x.png,y.png\n": "line 2: '../x.png' leaves the table's folder",
        "a,b\nx.png\n": "line 2: 2 values where the header has 3 columns",
        "a,b\n": "has a header and no rows",
    }.items():
        (tmp_path / "t.csv").write_text(text)
        assert predict(tmp_path / "t.csv") == 3
        assert said in capsys.readouterr().err, text


def test_people_are_enrolled_and_named(task, faces, capsys):
    assert main(["enroll", "run", str(faces), "--out", "g.safetensors"]) == 0
    assert "3 people with 5 images, 0 left out" in capsys.readouterr().out
    gallery = Gallery.read("g.safetensors", fingerprint=task.fingerprint)
    assert gallery.names == ["ann", "ann", "bob", "new", "new"]
    assert main(["enroll", "run", str(faces), "--out", "g.safetensors"]) == 2  # there already
    (faces / "new" / "red.png").unlink()
    (faces / "new").rename(faces.parent / "new")
    assert main(["enroll", "run", str(faces), "--out", "g.safetensors", "--overwrite"]) == 0
    paint(faces.parent / "new" / "blue.png", BLUE)
    capsys.readouterr()
    assert predict(faces.parent / "new", "--gallery", "g.safetensors", "--formats", "crops", "--draw") == 0
    assert "in up to 3 % of cases" in capsys.readouterr().out  # three embeddings at a FAR of 1 %
    assert [(row["name"], row["score"]) for row in rows("out/predictions.csv")] == [
        ("bob", "1.000000"),
        ("unknown", "0.577350"),
    ]
    assert {path.parent.name for path in (faces.parent / "out" / "crops").glob("*/*.jpg")} == {"bob", "unknown"}


def test_a_gallery_of_another_network_is_refused(task, faces, capsys):
    Gallery(["ann"], torch.eye(3)[:1], "another").write("g.safetensors")
    assert predict(faces, "--gallery", "g.safetensors") == 6
    assert "its embeddings are of another model" in capsys.readouterr().err


def test_one_file_under_two_people_is_refused(task, faces, capsys):
    (faces / "bob" / "2.png").write_bytes((faces / "ann" / "2.png").read_bytes())
    assert main(["enroll", "run", str(faces), "--out", "g.safetensors"]) == 3
    assert "are the same file, of 'ann' and of 'bob'" in capsys.readouterr().err


class Halves:
    """Finds a face in each square that is not black."""

    def detect(self, image):
        boxes = [(left, 0, left + SIDE, SIDE) for left in range(0, image.shape[1], SIDE)]
        return [Face(np.array(box, np.float32), 1.0, None) for box in boxes if image[0, box[0]].any()]


@pytest.fixture
def detector(monkeypatch, faces):
    monkeypatch.setattr("foveal.tasks.faces.recognition.build_detector", lambda name, path: Halves())
    (faces.parent / "net.onnx").touch()
    return ["--detector", "net.onnx"]


def test_an_image_to_compare_must_show_one_face(task, faces, detector, capsys):
    paint(faces / "two.png", RED, BLUE)
    paint(faces / "none.png", (0, 0, 0))
    assert predict(faces / "ann/1.png", faces / "two.png", *detector) == 3
    assert "two.png': 2 faces are found in it, and a comparison needs one" in capsys.readouterr().out
    assert predict(faces / "none.png", faces / "two.png", *detector) == 3
    said = capsys.readouterr()
    assert "none.png': no face is found in it" in said.out and "1 pair could not be compared" in said.err
    assert predict(faces / "ann/1.png", faces / "ann/2.png", *detector) == 0
    assert "The same person: distance 0.000" in capsys.readouterr().out


def test_each_face_of_a_picture_is_named_and_enrolment_wants_one(task, faces, detector, capsys):
    paint(faces / "bob" / "group.png", RED, BLUE)
    assert main(["enroll", "run", str(faces), "--out", "g.safetensors", *detector]) == 3
    said = capsys.readouterr()
    assert "left out: '" in said.out and "2 faces are found in it, and enrolment needs one" in said.out
    assert "1 left out of g.safetensors, and --max-bad is 0" in said.err
    gallery = Gallery.read("g.safetensors")
    kept = [place for place, name in enumerate(gallery.names) if name != "new"]
    Gallery([gallery.names[place] for place in kept], gallery.embeddings[kept], gallery.fingerprint).write(
        "g.safetensors"
    )
    paint(faces.parent / "group.png", BLUE, GREY, RED)
    assert predict(faces.parent / "group.png", "--gallery", "g.safetensors", *detector, "--draw", "--blur-unknown") == 0
    found = json.loads((faces.parent / "out" / "predictions.jsonl").read_text())
    assert sorted(zip(found["names"], (box[0] for box in found["boxes"]), strict=True)) == [
        ("ann", 2.0 * SIDE),
        ("bob", 0.0),
        ("unknown", float(SIDE)),
    ]
    assert "embeddings" not in found
    assert predict(faces.parent / "group.png", *detector, "--formats", "embeddings", "--report") == 0
    assert np.load("out/embeddings.npy").shape == (3, 3)
    assert [row["face"] for row in rows("out/embeddings.csv")] == ["0", "1", "2"]


def test_faces_too_small_for_the_network_are_not_enrolled(task, faces, capsys):
    write_image(faces / "bob" / "tiny.png", np.full((7, 7, 3), BLUE, np.uint8))
    assert main(["enroll", "run", str(faces), "--out", "g.safetensors", "--max-bad", "1"]) == 0
    assert "its face is 7 pixels wide, too few of the 32" in capsys.readouterr().out
    assert main(["enroll", "run", str(faces / "ann"), "--out", "h.safetensors"]) == 3
    assert "There is nobody in" in capsys.readouterr().err


def test_small_faces_and_videos_are_not_compared(task, faces, capsys):
    write_image(faces / "tiny.png", np.full((7, 7, 3), RED, np.uint8))
    assert predict(faces / "ann/1.png", faces / "tiny.png") == 3
    assert "tiny.png': its face is 7 pixels wide; of fewer than 8 nothing can be told" in capsys.readouterr().out
    with VideoFile(faces / "clip.mp4", 10.0) as video:
        video.write(np.full((SIDE, SIDE, 3), RED, np.uint8))
    (faces / "pairs.csv").write_text("a,b\nclip.mp4,ann/1.png\nann/1.png,ann/2.png\n")
    assert predict(faces / "pairs.csv") == 3
    assert [row["problem"] for row in rows("out/pairs.csv")] == [
        "'clip.mp4' is a video, and a comparison needs an image",
        "",
    ]


def test_one_file_is_no_pair_and_pairs_are_in_no_shards(task, faces, capsys):
    (faces / "link.png").symlink_to(faces / "ann" / "1.png")
    for other in ("ann/1.png", "link.png"):
        assert predict(faces / "ann" / "1.png", faces / other) == 2
        assert "are one file: to compare faces takes two" in capsys.readouterr().err
    assert predict(faces / "ann/1.png", faces / "ann/2.png", "--shard", "1/2") == 2
    assert "what is compared is compared in one run" in capsys.readouterr().err


def test_what_is_of_nobody_is_said_and_nobody_is_called_unknown(task, faces, capsys):
    (faces / "empty").mkdir()
    paint(faces / "loose.png", RED)
    (faces / "bob" / "1.png").write_bytes(b"broken")
    assert main(["enroll", "run", str(faces), "--out", "g.safetensors"]) == 3
    said = capsys.readouterr()
    assert "2 people with 4 images, 4 left out" in said.out  # the folder, the image, and bob with his own
    for what in ("empty: there is no image", "loose.png", "'bob': of this person no image can be used"):
        assert what in said.out
    assert main(["enroll", "run", str(faces), "--out", "h.safetensors", "--max-bad", "-1"]) == 2
    (faces / "new").rename(faces / "unknown")
    assert main(["enroll", "run", str(faces), "--out", "h.safetensors"]) == 2
    assert "has a person called unknown, as strangers are called" in capsys.readouterr().err


def test_a_gallery_is_used_as_it_was_made(task, faces, capsys):
    assert main(["enroll", "run", str(faces), "--out", "g.safetensors", "--flip"]) == 0
    assert predict(faces, "--gallery", "g.safetensors") == 6
    assert "or made with another --detector or --flip" in capsys.readouterr().err
    assert predict(faces, "--gallery", "g.safetensors", "--flip") == 0


def test_another_detector_in_the_same_file_is_another_command(task, faces, detector, capsys):
    line = ["predict", "run", str(faces / "ann"), "--out", "out", "--num-workers", "0", *detector]
    assert main(line) == 0 and main(line) == 0
    assert "Done already" in capsys.readouterr().out
    (faces.parent / "net.onnx").write_bytes(b"another")
    assert main(line) == 2
    assert "detector file" in capsys.readouterr().err


def test_formats_that_can_hold_nothing_are_refused_before_anything_is_done(task, faces, detector, capsys):
    assert main(["enroll", "run", str(faces), "--out", "g.safetensors"]) == 0
    for rest, said in {
        ("--save-crops",): "--save-crops is of boxes, and faces finds none; it takes --formats embeddings,",
        ("--gallery", "g.safetensors", "--formats", "embeddings"): "finds none; it takes --formats crops,",
    }.items():
        assert predict(faces, *rest) == 2
        assert said in capsys.readouterr().err and not (faces.parent / "out").exists()
    assert predict(faces, *detector, "--save-crops", "--formats", "embeddings") == 0


def test_only_drawn_faces_of_strangers_can_be_hidden(task, faces, capsys):
    assert main(["enroll", "run", str(faces), "--out", "g.safetensors"]) == 0
    for rest, said in {
        ("--draw",): "faces that are not in a gallery; give one",
        ("--gallery", "g.safetensors"): "is of drawn pictures; add --draw",
        ("--gallery", "g.safetensors", "--draw", "--save-crops"): "would write as they are",
    }.items():
        assert predict(faces, "--blur-unknown", *rest) == 2
        assert said in capsys.readouterr().err, rest


def test_options_of_faces_mean_nothing_to_others(digits_run, faces, capsys):
    assert main(["predict", str(digits_run), str(faces), "--gallery", "g.safetensors", "--out", "out"]) == 2
    assert "--gallery means nothing to classification" in capsys.readouterr().err
    assert main(["enroll", str(digits_run), str(faces), "--out", "g.safetensors"]) == 2
    assert "it is of classification, and a gallery is of faces" in capsys.readouterr().err


def test_embeddings_of_shards_are_joined(task, faces):
    for shard in ("1/2", "2/2"):
        line = ["predict", "run", str(faces), "--out", "out", "--num-workers", "0", "--shard", shard]
        assert main([*line, "--formats", "embeddings"]) == 0
    assert main(["merge", "out"]) == 0
    joined, own = np.load("out/embeddings.npy"), rows("out/embeddings.csv")
    assert predict(faces, "--formats", "embeddings") == 0
    assert np.array_equal(np.load("out/embeddings.npy"), joined) and rows("out/embeddings.csv") == own
