"""Predictions of depth in files: maps and what they mean, lines of JSON and CSV, the page, arrays, normals, clouds."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from foveal.core.depth_files import Camera, from_colours, to_colours
from foveal.core.errors import MachineError, UsageError
from foveal.core.formats import Formats
from foveal.core.images import write_image
from foveal.core.report import Report, rebuilt
from foveal.core.types import Prediction
from foveal.datasets import open_dataset
from foveal.datasets.depths import read_depth

# Metres: 2 x 3 pixels, one of them not known.
MAP = np.array([[1.0, 2.0, 0.0], [4.0, 0.5, 100.25]], np.float32)
CAMERA = Camera(2.0, 4.0, 1.0, 0.0)


def found(path: str, depth: np.ndarray = MAP, **entries) -> Prediction:
    known = depth[depth > 0]
    return Prediction(
        path=path,
        size=depth.shape,
        labels=torch.zeros(0, dtype=torch.int64),
        scores=torch.zeros(0),
        names=[],
        depth=torch.from_numpy(depth),
        nearest=float(known.min()) if known.size else 0.0,
        median=float(np.median(known)) if known.size else 0.0,
        farthest=float(known.max()) if known.size else 0.0,
        known=known.size / depth.size,
        **entries,
    )


@pytest.fixture
def write(writing) -> Callable[..., Path]:
    """The prediction of each file, by the file's name, in a new folder of results."""

    def in_folder(folder: Path, predictions: dict[str, Prediction], *formats: str, report=None, **options) -> Path:
        files = {name: each["path"] for name, each in predictions.items()}
        with writing(folder / "out", files, formats=Formats(formats, **options), report=report) as writer:
            for name, each in predictions.items():
                writer.write(each, name)
        return folder / "out"

    return in_folder


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def read_cloud(path: Path) -> tuple[list[str], np.ndarray]:
    """The lines of the head of a PLY, and its points."""
    data = path.read_bytes()
    end = data.index(b"end_header\n") + len(b"end_header\n")
    head = data[:end].decode("ascii").splitlines()
    kinds = {"float": "<f4", "uchar": "u1"}
    fields = [(line.split()[2], kinds[line.split()[1]]) for line in head if line.startswith("property")]
    return head, np.frombuffer(data[end:], fields)


# --- lines, tables and maps -------------------------------------------------------------------------------------------


def test_a_line_names_the_map_and_says_how_far(write, tmp_path):
    out = write(tmp_path, {"sub/a.jpg": found("in/sub/a.jpg")})
    assert lines(out) == [
        {
            "path": "in/sub/a.jpg",
            "size": [2, 3],
            "labels": [],
            "scores": [],
            "names": [],
            "depth": "depth/sub/a.jpg.png",
            "nearest": 0.5,
            "median": 2.0,
            "farthest": 100.25,
            "known": 0.833333,
        }
    ]


def test_the_table_has_a_row_an_image(write, tmp_path):
    out = write(tmp_path, {"a.jpg": found("a.jpg"), "b.jpg": found("b.jpg", np.zeros((4, 5), np.float32))})
    with (out / "predictions.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "height", "width", "nearest", "median", "farthest", "known"],
            ["a.jpg", "2", "3", "0.500", "2.000", "100.250", "0.833333"],
            ["b.jpg", "4", "5", "0.000", "0.000", "0.000", "0.000000"],
        ]


@pytest.mark.parametrize(("steps", "said"), [(256.0, "256\n"), (500.0, "500\n"), (0.5, "0.5\n")])
def test_maps_hold_steps_and_the_file_beside_them_says_how_many_are_a_metre(write, tmp_path, steps, said):
    out = write(tmp_path, {"a.jpg": found("a.jpg")}, depth_scale=steps)
    stored = cv2.imread(str(out / "depth/a.jpg.png"), cv2.IMREAD_UNCHANGED)
    # The nearest pixel, of a quarter of a step with 0.5 of them, is a whole one: 0 is not known.
    expected = {256.0: [[256, 512, 0], [1024, 128, 25664]], 500.0: [[500, 1000, 0], [2000, 250, 50125]]}
    assert stored.dtype == np.uint16 and stored.tolist() == expected.get(steps, [[1, 1, 0], [2, 1, 50]])
    assert (out / "depth_scale.txt").read_text() == said
    with Image.open(out / "depth/a.jpg.png") as picture:
        assert picture.mode == "I;16" and picture.size == (3, 2)
    back = read_depth(out / "depth/a.jpg.png", float(said))["depth"]
    assert ((back > 0) == (MAP > 0)).all() and np.abs(back - MAP).max() <= max(0.5 / steps, 1 / steps - 0.5)


def test_a_map_that_16_bits_do_not_hold_is_an_array_of_metres(write, tmp_path):
    farther = np.array([[1.0, 256.0]], np.float32)  # 65,536 steps
    out = write(tmp_path, {"a.jpg": found("a.jpg", farther), "b.jpg": found("b.jpg", farther - np.float32(1 / 256))})
    assert [line["depth"] for line in lines(out)] == ["depth/a.jpg.npy", "depth/b.jpg.png"]
    assert np.load(out / "depth/a.jpg.npy").tolist() == [[1.0, 256.0]]
    assert cv2.imread(str(out / "depth/b.jpg.png"), cv2.IMREAD_UNCHANGED).tolist() == [[255, 65535]]


def test_results_are_a_data_set_for_training(write, tmp_path):
    out = write(tmp_path, {name: found(name) for name in ("a.jpg", "b.png")}, depth_scale=500.0)
    (out / "images").mkdir()
    for name in ("a.jpg", "b.png"):
        write_image(out / "images" / name, np.zeros((2, 3, 3), np.uint8))
    dataset = open_dataset("depth_folder", out, split="train", fractions=(0.5, 0.5, 0.0), seed=0)
    assert len(dataset) == 1 and np.abs(dataset[0]["depth"] - MAP).max() <= 0.001


def test_a_file_says_what_the_numbers_mean(write, tmp_path):
    about = {"alignment": "none", "calibration": None, "range": [0.1, 10.0], "model": "run, fcrn"}
    out = write(tmp_path, {"a.jpg": found("a.jpg")}, depth_scale=500.0, camera=CAMERA, about=about)
    assert json.loads((out / "depth.json").read_text()) == {
        "schema": 1,
        "unit": "metre",
        "direction": "larger is farther",
        "distance": "along the camera's axis, not along the ray of the pixel",
        "not_known": 0,
        "png_steps_per_metre": 500.0,
        "npy": "float32, metres",
        "camera": {"fx": 2.0, "fy": 4.0, "cx": 1.0, "cy": 0.0, "unit": "pixels of the file"},
        **about,
    }


def test_other_tasks_say_nothing_of_depth(write, tmp_path):
    label = Prediction(path="a", size=(1, 1), labels=torch.tensor([0]), scores=torch.ones(1), names=["x"])
    out = write(tmp_path, {"a": label})
    assert not (out / "depth.json").exists() and not (out / "depth_scale.txt").exists()


def test_maps_of_frames_have_their_numbers(write, tmp_path):
    out = write(tmp_path, {"clip.mp4": found("clip.mp4", frame=12)}, "npy", "ply", camera=CAMERA)
    assert lines(out)[0]["depth"] == "depth/clip.mp4_000012.png"
    assert (out / "npy/clip.mp4_000012.npy").is_file() and (out / "ply/clip.mp4_000012.ply").is_file()


def test_the_line_and_the_maps_are_the_prediction_again(write, tmp_path):
    normals = np.zeros((3, 2, 3), np.float32)
    normals[:, 1, 2] = (0.6, 0, -0.8)
    out = write(tmp_path, {"a.jpg": found("a.jpg", normals=torch.from_numpy(normals))}, depth_scale=500.0)
    again = rebuilt(lines(out)[0], out)
    assert np.abs(again["depth"].numpy() - MAP).max() <= 0.001 and again["median"] == 2.0
    assert np.abs(again["normals"].numpy() - normals).max() <= 0.005
    (out / "depth_scale.txt").unlink()
    with pytest.raises(OSError):
        rebuilt(lines(out)[0], out)


def test_parquet_has_the_same(write, tmp_path):
    out = write(tmp_path, {"a.jpg": found("a.jpg")}, "parquet")
    assert pyarrow.parquet.read_table(out / "predictions.parquet").to_pylist() == lines(out)


def test_the_page_says_how_far_things_are(write, tmp_path):
    write_image(tmp_path / "a.png", np.zeros((700, 1100, 3), np.uint8))
    predictions = {str(number): found(str(tmp_path / "a.png"), MAP + number) for number in range(3)}
    predictions["3"] = found(str(tmp_path / "a.png"), np.zeros((7, 11), np.float32))
    drawn = []

    def draw(image, prediction):
        drawn.append((image.shape[:2], round(float(prediction["depth"].max()), 2)))
        return image

    page = (write(tmp_path, predictions, report=Report(draw, "a model")) / "report.html").read_text()
    assert drawn == [((204, 320), 100.25), ((204, 320), 101.25), ((204, 320), 102.25), ((204, 320), 0.0)]
    assert 'nearest, metres</dt><dd class="">0.50<' in page and 'farthest, metres</dt><dd class="">102.25<' in page
    assert "0.50 to 100.25 m, half of it within 2.00 m" in page and "nothing found" in page
    assert "classes found" not in page and page.count("data:image/jpeg") == 4


# --- normals ----------------------------------------------------------------------------------------------------------


def test_normals_are_colours_in_a_png(write, tmp_path):
    # Towards the camera, to the right, up, and not known.
    vectors = np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0], [0, 0, 0]], np.float32)
    normals = torch.from_numpy(vectors.T[:, None])
    out = write(tmp_path, {"a.jpg": found("a.jpg", np.ones((1, 4), np.float32), normals=normals)})
    assert lines(out)[0]["normals"] == "normals/a.jpg.png"
    stored = np.asarray(Image.open(out / "normals/a.jpg.png"))
    assert stored.tolist() == [[[128, 128, 255], [255, 128, 128], [128, 255, 128], [0, 0, 0]]]
    assert json.loads((out / "depth.json").read_text())["normals"]["not_known"] == [0, 0, 0]


def test_colours_are_normals_again():
    vectors = np.random.default_rng(0).normal(size=(3, 20, 30)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=0)
    vectors[:, 0, 0] = 0
    again = from_colours(to_colours(vectors))
    assert np.abs(again - vectors).max() < 0.01 and (again[:, 0, 0] == 0).all()
    assert np.linalg.norm(again, axis=0)[0, 1:] == pytest.approx(1, abs=1e-6)


# --- formats ----------------------------------------------------------------------------------------------------------


def test_arrays_hold_metres_as_they_were_predicted(write, tmp_path):
    depth = np.array([[1 / 3, 0.0, 1e5]], np.float32)
    out = write(tmp_path, {"a.jpg": found("a.jpg", depth)}, "npy")
    array = np.load(out / "npy/a.jpg.npy")
    assert array.dtype == np.float32 and (array == depth).all()


def test_a_cloud_has_a_point_a_pixel_whose_distance_is_known(write, tmp_path):
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    write_image(tmp_path / "a.png", image)
    out = write(tmp_path, {"a.png": found(str(tmp_path / "a.png"))}, "ply", camera=CAMERA)
    head, points = read_cloud(out / "ply/a.png.ply")
    assert head[:2] == ["ply", "format binary_little_endian 1.0"] and "element vertex 5" in head
    # x = (column - 1) / 2 z, y = row / 4 z.
    assert [list(point) for point in points[["x", "y", "z"]].tolist()] == [
        [-0.5, 0.0, 1.0],
        [0.0, 0.0, 2.0],
        [-2.0, 1.0, 4.0],
        [0.0, 0.125, 0.5],
        [50.125, 25.0625, 100.25],
    ]
    colours = [list(point) for point in points[["red", "green", "blue"]].tolist()]
    assert colours == [[0, 1, 2], [3, 4, 5], [9, 10, 11], [12, 13, 14], [15, 16, 17]]


def test_without_a_centre_the_axis_goes_through_the_images_middle(write, tmp_path):
    out = write(tmp_path, {"a.png": found("a.png", np.full((3, 5), 2, np.float32))}, "ply", camera=Camera(2.0, 2.0))
    head, points = read_cloud(out / "ply/a.png.ply")  # whose image is gone: points without colours
    assert not any("red" in line for line in head) and len(points) == 15
    assert points[["x", "y", "z"]].tolist()[0] == (-2.0, -1.0, 2.0) and points["x"].sum() == points["y"].sum() == 0
    assert points[["x", "y", "z"]].tolist()[-1] == (2.0, 1.0, 2.0)


def test_points_have_normals_where_the_prediction_does(write, tmp_path):
    normals = torch.tensor([0.0, 0.6, -0.8]).reshape(3, 1, 1).expand(3, 2, 3)
    out = write(tmp_path, {"a.png": found("a.png", normals=normals)}, "ply", camera=CAMERA)
    _, points = read_cloud(out / "ply/a.png.ply")
    assert points[["nx", "ny", "nz"]].tolist() == [pytest.approx((0, 0.6, -0.8))] * 5


def test_a_cloud_in_strips_is_the_same(write, tmp_path, monkeypatch):
    depth = np.random.default_rng(0).uniform(0, 3, (9, 7)).astype(np.float32).clip(1) - 1
    whole = write(tmp_path / "whole", {"a.png": found("a.png", depth)}, "ply", camera=CAMERA)
    monkeypatch.setattr("foveal.core.depth_formats._ROWS", 14)
    strips = write(tmp_path / "strips", {"a.png": found("a.png", depth)}, "ply", camera=CAMERA)
    assert (whole / "ply/a.png.ply").read_bytes() == (strips / "ply/a.png.ply").read_bytes()


def test_a_cloud_needs_a_camera(write, tmp_path):
    with pytest.raises(UsageError, match="The format ply needs the camera: give --focal PIXELS"):
        write(tmp_path, {"a.png": found("a.png")}, "ply")


@pytest.mark.parametrize("name", ["npy", "ply"])
def test_formats_of_depth_are_refused_for_boxes(write, tmp_path, name):
    boxes = Prediction(
        path="a", size=(1, 1), labels=torch.tensor([0]), scores=torch.ones(1), names=["x"], boxes=torch.zeros(1, 4)
    )
    with pytest.raises(UsageError, match=f"The format {name} is of depth, and this task finds none; leave it out."):
        write(tmp_path, {"a": boxes}, name, camera=CAMERA)


NAMES = [os.fsdecode(b"caf\xe9\x01\x1b.png"), "猫🐈.png", "a\nb.png"]


@pytest.mark.parametrize("name", NAMES)
def test_files_take_any_name(write, tmp_path, name):
    out = write(tmp_path, {name: found(name)}, "npy", "ply", camera=CAMERA)
    assert lines(out)[0]["depth"] == f"depth/{name}.png"
    assert (out / f"npy/{name}.npy").is_file() and (out / f"ply/{name}.ply").is_file()


@pytest.mark.parametrize("name", ["depth", "npy"])
def test_a_full_disk_is_one_sentence(write, tmp_path, monkeypatch, name):
    def full(path: Path, data: bytes) -> int:
        if path.parent.name == name:
            raise OSError(28, "No space left on device")
        return 0

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MachineError, match=rf"{name}/a\.jpg\.\w+'?:? cannot be written.*No space left on device\)?\.$"):
        write(tmp_path, {"a.jpg": found("a.jpg")}, "npy")
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_full_disk_ends_a_cloud_in_one_sentence(write, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("foveal.core.depth_formats._write_cloud", full)
    with pytest.raises(MachineError, match=r"a\.jpg\.ply' cannot be written: No space left on device\.$"):
        write(tmp_path, {"a.jpg": found("a.jpg")}, "ply", camera=CAMERA)
