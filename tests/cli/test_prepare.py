"""`foveal prepare tracking`: crops on the disk, from which training sees what it would see of whole frames."""

import json

import cv2
import numpy as np
import pytest

from foveal.cli import prepare as command
from foveal.cli.main import main
from foveal.core.images import read_image
from foveal.datasets import open_dataset
from foveal.tasks.tracking import prepare as tracking
from foveal.tasks.tracking.pairs import Motion, Pairs, Views
from foveal.tasks.tracking.region import Region, context_square

LENGTHS = {"train/a": 6, "train/b": 4, "val/c": 3}
HIDDEN = 2  # the frame of each sequence without a target


def double(box: np.ndarray) -> Region:
    return context_square(box).times(2)


VIEWS = Views(context_square, double, 63, 126)
SIZES = ("--exemplar-size", "63", "--search-size", "255")


def write_sequences(root):
    """Smooth colours with a target near the middle, without loss, so that its context lies inside."""
    rng = np.random.default_rng(0)
    for name, length in LENGTHS.items():
        (root / name).mkdir(parents=True)
        image = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
        lines = []
        for frame in range(length):
            cv2.imwrite(str(root / name / f"{frame + 1:04d}.png"), np.roll(image, 5 * frame, axis=1))
            box = f"{290.5 + 5 * frame},{210 + frame},{50 + frame},40"
            lines.append("NaN,NaN,NaN,NaN" if frame == HIDDEN else box)
        (root / name / "groundtruth.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    return write_sequences(tmp_path_factory.mktemp("sequences") / "raw")


def run(capsys, *words):
    """Exit code, standard output and standard error of `foveal prepare ...`."""
    capsys.readouterr()
    code = main(["prepare", *map(str, words)])
    return code, *capsys.readouterr()


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_training_sees_the_same_pairs(sequences, tmp_path, capsys):
    out = tmp_path / "crops"
    code, text, _ = run(capsys, "tracking", "--data.root", sequences, "--out", out, *SIZES)
    assert code == 0
    assert text == (
        "Done: 10 crops of 255 x 255 from 2 sequences for train and 3 whole frames from 1 for val, as frame_folder in "
        f"{out}\n"
    )
    sets = [open_dataset("frame_folder", root, split="train") for root in (sequences, out)]
    assert [len(dataset) for dataset in sets] == [10, 10]
    assert (sets[0].visible == sets[1].visible).all() and (sets[0].frames == sets[1].frames).all()
    assert sets[0].class_names == sets[1].class_names == ["a", "b"]
    for motion in (Motion(), Motion(shift=0.2, stretch=0.1)):
        raw, cut = (Pairs(dataset, VIEWS, max_distance=2, motion=motion) for dataset in sets)
        for index in range(len(raw)):
            one, other = raw.draw(index, 5), cut.draw(index, 5)
            assert np.abs(one["box2"] - other["box2"]).max() < 1e-3
            for key in ("image", "image2"):
                difference = np.abs(one[key].astype(int) - other[key])
                assert difference.mean() < 1.5 and difference.max() < 20, key


def test_frames_for_validation_stay_as_they_are(sequences, tmp_path, capsys):
    out = tmp_path / "crops"
    assert run(capsys, "tracking", "--data.root", sequences, "--out", out, *SIZES)[0] == 0
    raw, copied = (open_dataset("frame_folder", root, split="val") for root in (sequences, out))
    for index in range(3):
        one, other = raw[index], copied[index]
        assert (one["image"] == other["image"]).all() and one["boxes"].tolist() == other["boxes"].tolist()
    assert sorted(path.name for path in out.iterdir()) == ["prepared.json", "train", "val"]


def test_a_frame_without_a_target_keeps_its_place(sequences, tmp_path, capsys):
    out = tmp_path / "crops"
    run(capsys, "tracking", "--data.root", sequences, "--out", out, *SIZES)
    lines = (out / "train/a/groundtruth.txt").read_text().splitlines()
    assert [line.startswith("NaN") for line in lines] == [False, False, True, False, False, False]
    # The target's middle is the crop's, and its context, sqrt((50 + 45) * (40 + 45)) wide in the first, 63 pixels.
    left, top, width, height = (float(number) for number in lines[0].split(","))
    assert [left + width / 2, top + height / 2] == pytest.approx([127.5, 127.5], abs=1e-4)
    assert [width, height] == pytest.approx([50 * 63 / 8075**0.5, 40 * 63 / 8075**0.5], abs=1e-4)
    assert (read_image(out / "train/a/000003.jpg") == 128).all()


def test_what_was_stopped_goes_on_by_sequence_and_is_not_seen_before(sequences, tmp_path, capsys, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "crops"
    words = ("--data.root", sequences, *SIZES)
    assert run(capsys, "tracking", *words, "--out", whole)[0] == 0
    write, written = tracking.write_image, []

    def stopped(path, image):
        if "/b/" in str(path):
            raise KeyboardInterrupt
        write(path, image)
        written.append(str(path))

    monkeypatch.setattr(tracking, "number_of_cores", lambda: 1)  # one sequence after another
    monkeypatch.setattr(tracking, "write_image", stopped)
    assert run(capsys, "tracking", *words, "--out", out)[0] == 75
    assert len(written) == 6 and sorted(path.name for path in out.iterdir()) == [".unfinished", "prepared.json"]
    monkeypatch.setattr(tracking, "write_image", write)
    code, text, _ = run(capsys, "tracking", *words, "--out", out)
    assert code == 0 and "Done: 4 crops of 255 x 255 from 1 sequences for train" in text
    assert "1 sequences from before" in text
    assert files_of(out) == files_of(whole)
    before = files_of(out)
    code, text, _ = run(capsys, "tracking", *words, "--out", out)
    assert code == 0 and "3 sequences from before" in text and files_of(out) == before


def test_frames_that_cannot_be_read_are_named_and_the_others_written(tmp_path, capsys):
    root, out = write_sequences(tmp_path / "raw"), tmp_path / "crops"
    (root / "train/a/0002.png").write_bytes(b"no image")
    code, text, error = run(capsys, "tracking", "--data.root", root, "--out", out, *SIZES)
    assert code == 3 and "Done: 10 crops" in text
    assert (
        "1 frame is without a target in the crops, for want of an image; the first: " in error and "0002.png" in error
    )
    dataset = open_dataset("frame_folder", out, split="train")
    assert dataset.visible.tolist() == [True, False, False, True, True, True, True, True, False, True]


def test_the_drawn_world_is_prepared_too(tmp_path, capsys):
    out = tmp_path / "crops"
    words = ("--data.format", "shapes", "--data.images", "9", "--data.splits", "[0.6, 0.4, 0]")
    code, text, _ = run(capsys, "tracking", *words, "--out", out, "--search-size", "64", "--exemplar-size", "32")
    assert code == 0 and text.startswith("Done: 5 crops of 64 x 64 from 1 sequences for train and 4 whole frames")
    assert json.loads((out / "prepared.json").read_text())["search_size"] == 64
    assert len(open_dataset("frame_folder", out, split="train")) == 5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["depth"], "There is nothing to prepare for 'depth': only tracking learns from crops cut before."),
        (["tracking", "--data.root", "RAW"], "Say where to write, with --out DIR."),
        (["tracking", "--out", "OUT"], "Say where the sequences are, with --data.root DIR."),
        (["tracking", "--out", "OUT", "--data.root", "nowhere"], "nowhere: there is no such folder or file."),
        (["tracking", "--out", "RAW/crops", "--data.root", "RAW"], "and its crops would be taken for sequences"),
        (["tracking", "--out", "OUT", "--data.root", "RAW", "--data.format", "coco"], "coco is for detection, and not"),
        (["tracking", "--out", "OUT", "--data.root", "RAW", "--data.format", "otc"], "There is no data format 'otc'"),
        (["tracking", "--out", "OUT", "--data.root", "RAW", "--search-size", "9"], "--search-size is 9; it must be"),
        (["tracking", "--out", "RAW/..", "--data.root", "RAW"], "something is there already"),
    ],
)
def test_mistakes_are_one_sentence(sequences, tmp_path, capsys, words, sentence):
    words = [word.replace("RAW", str(sequences)).replace("OUT", str(tmp_path / "crops")) for word in words]
    code, _, error = run(capsys, *words)
    assert code == 2 and sentence in error and len(error.splitlines()) == 1


def test_crops_of_another_size_are_not_mixed(sequences, tmp_path, capsys):
    words = ("tracking", "--data.root", sequences, "--out", tmp_path / "crops", "--exemplar-size", "63")
    assert run(capsys, *words, "--search-size", "255")[0] == 0
    before = files_of(tmp_path)
    code, _, error = run(capsys, *words, "--search-size", "256")
    assert code == 2 and "holds crops of other data or of another size" in error and files_of(tmp_path) == before


def test_help_names_the_formats(capsys):
    with pytest.raises(SystemExit):
        command.run(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "otb, got10k, frame_folder, video" in text and "--exemplar-size" in text
