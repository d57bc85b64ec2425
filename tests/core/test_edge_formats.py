"""Predictions of edges in files: maps, lines of JSON and CSV, the page, binary maps, drawings and collections."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from foveal.core.edge_formats import read_edges
from foveal.core.errors import MachineError, UsageError
from foveal.core.formats import Formats
from foveal.core.images import write_image
from foveal.core.report import Report, rebuilt
from foveal.core.types import Prediction

# A T of sure pixels, one alone of 0.6, and one below the threshold.
MAP = np.zeros((7, 11), np.float32)
MAP[1, 1:10], MAP[2:6, 5], MAP[5, 9], MAP[5, 1] = 0.8, 1.0, 0.6, 0.499
T = {((1.5, 1.5), (5.5, 1.5)), ((5.5, 1.5), (9.5, 1.5)), ((5.5, 1.5), (5.5, 5.5))}
SVG = "{http://www.w3.org/2000/svg}"


def found(path: str, edges: np.ndarray = MAP, threshold: float = 0.5, **entries) -> Prediction:
    pixels = edges[edges >= threshold]
    return Prediction(
        path=path,
        size=edges.shape,
        labels=torch.tensor([0]),
        scores=torch.tensor([pixels.mean() if pixels.size else 0.0]),
        names=["edge"],
        pixels=torch.tensor([pixels.size]),
        edges=torch.from_numpy(edges),
        threshold=threshold,
        **entries,
    )


@pytest.fixture
def write(writing) -> Callable[..., Path]:
    """The prediction of each file, by the file's name, in a new folder of results."""

    def in_folder(folder: Path, predictions: dict[str, Prediction], *formats: str, bits: int = 8, **options) -> Path:
        files = {name: each["path"] for name, each in predictions.items()}
        with writing(folder / "out", files, formats=Formats(formats, ["edge"], bits=bits), **options) as writer:
            for name, each in predictions.items():
                writer.write(each, name)
        return folder / "out"

    return in_folder


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


# --- lines, tables and maps -------------------------------------------------------------------------------------------


def test_a_line_names_the_map_and_counts_what_reaches_the_threshold(write, tmp_path):
    out = write(tmp_path, {"sub/a.jpg": found("in/sub/a.jpg", threshold=0.5)})
    assert lines(out) == [
        {
            "path": "in/sub/a.jpg",
            "size": [7, 11],
            "labels": [0],
            "scores": [0.842857],  # (9 x 0.8 + 4 x 1 + 0.6) / 14
            "names": ["edge"],
            "pixels": [14],
            "edges": "edges/sub/a.jpg.png",
            "threshold": 0.5,
        }
    ]


def test_the_threshold_has_six_digits(write, tmp_path):
    out = write(tmp_path, {"a.jpg": found("a.jpg", threshold=1 / 3)})
    assert lines(out)[0]["threshold"] == 0.333333


def test_the_table_has_a_row_an_image(write, tmp_path):
    nothing = found("b.jpg", np.zeros((2, 3), np.float32))
    out = write(tmp_path, {"a.jpg": found("a.jpg"), "b.jpg": nothing})
    with (out / "predictions.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "height", "width", "name", "score", "pixels", "share"],
            ["a.jpg", "7", "11", "edge", "0.842857", "14", "0.181818"],
            ["b.jpg", "2", "3", "edge", "0.000000", "0", "0.000000"],
        ]


@pytest.mark.parametrize(("bits", "kind", "levels"), [(8, np.uint8, [0, 51, 128, 255]), (16, np.uint16, None)])
def test_maps_are_grey_in_the_bits_that_were_asked_for(write, tmp_path, bits, kind, levels):
    edges = np.array([[0, 0.2, 0.5019, 1]], np.float32)
    out = write(tmp_path, {"a.jpg": found("a.jpg", edges)}, bits=bits)
    stored = cv2.imread(str(out / "edges/a.jpg.png"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == kind and stored.tolist() == [levels or [0, 13107, 32892, 65535]]
    assert np.abs(read_edges(out / "edges/a.jpg.png") - edges).max() <= 0.5 / (2**bits - 1) + 1e-7
    with Image.open(out / "edges/a.jpg.png") as picture:
        assert picture.mode == {8: "L", 16: "I;16"}[bits] and picture.size == (4, 1)


def test_maps_of_frames_have_their_numbers(write, tmp_path):
    out = write(tmp_path, {"clip.mp4": found("clip.mp4", frame=12)}, "binary", "svg", "geojson")
    assert lines(out)[0]["edges"] == "edges/clip.mp4_000012.png"
    names = ["binary/clip.mp4_000012.png", "svg/clip.mp4_000012.svg", "geojson/clip.mp4_000012.geojson"]
    assert all((out / name).is_file() for name in names)


def test_the_line_and_the_map_are_the_prediction_again(write, tmp_path):
    out = write(tmp_path, {"a.jpg": found("a.jpg")}, bits=16)
    again = rebuilt(lines(out)[0], out)
    assert again["pixels"].tolist() == [14] and again["threshold"] == 0.5
    assert np.abs(again["edges"].numpy() - MAP).max() < 1e-5
    (out / "edges/a.jpg.png").unlink()
    with pytest.raises(OSError):
        rebuilt(lines(out)[0], out)


def test_parquet_has_the_same(write, tmp_path):
    out = write(tmp_path, {"a.jpg": found("a.jpg")}, "parquet")
    assert pyarrow.parquet.read_table(out / "predictions.parquet").to_pylist() == lines(out)


def test_the_page_counts_images_and_pixels_with_edges(write, tmp_path):
    write_image(tmp_path / "a.png", np.zeros((700, 1100, 3), np.uint8))
    predictions = {str(number): found(str(tmp_path / "a.png")) for number in range(3)}
    predictions["3"] = found(str(tmp_path / "a.png"), np.zeros((7, 11), np.float32))
    drawn = []

    def draw(image, prediction):
        drawn.append((image.shape[:2], prediction["edges"].shape, round(float(prediction["edges"].max()), 2)))
        return image

    page = (write(tmp_path, predictions, report=Report(draw, "a model")) / "report.html").read_text()
    assert drawn == [((204, 320), (7, 11), 1.0)] * 3 + [((204, 320), (7, 11), 0.0)]
    assert page.count("data:image/jpeg") == 4
    assert "images by the mean probability of their edges" in page and "0.80 to 0.85: 3<" in page
    assert "0.00 to 0.05: 0<" in page  # the one without edges has no mean
    assert "13.6 %, in 3<" in page and "without any: 1 of 4 images" in page  # 3 x 14 of 4 x 77 pixels
    assert page.count("edge: 18.2 % of pixels</b>") == 3 and "edge: 0.0 % of pixels</b>" in page


# --- formats ----------------------------------------------------------------------------------------------------------


def test_a_binary_map_is_white_from_the_threshold_on(write, tmp_path):
    out = write(tmp_path, {"a.jpg": found("a.jpg", np.array([[0.49, 0.5, 0.51]], np.float32))}, "binary")
    assert np.asarray(Image.open(out / "binary/a.jpg.png")).tolist() == [[0, 255, 255]]


def test_a_drawing_has_a_path_a_line_in_pixels_of_the_file(write, tmp_path):
    out = write(tmp_path, {"a.jpg": found("a.jpg")}, "svg")
    drawing = ElementTree.parse(out / "svg/a.jpg.svg").getroot()
    assert drawing.tag == f"{SVG}svg"
    assert [drawing.get(key) for key in ("width", "height", "viewBox")] == ["11", "7", "0 0 11 7"]
    assert [each.text for each in drawing.iter(f"{SVG}title")] == ["a.jpg"]
    paths = sorted(each.get("d", "") for each in drawing.iter(f"{SVG}path"))
    assert [path for path in paths if path.startswith("M9,")] == ["M9,5.5 10,5.5"]  # the pixel alone
    ends = {tuple(sorted(tuple(map(float, point.split(","))) for point in path[1:].split())) for path in paths}
    assert ends == T | {((9.0, 5.5), (10.0, 5.5))}


def test_a_closed_line_of_a_drawing_is_closed(write, tmp_path):
    ring = cv2.circle(np.zeros((40, 40), np.float32), (20, 20), 12, 1.0, 3)
    out = write(tmp_path, {"a.jpg": found("a.jpg", ring)}, "svg")
    (path,) = ElementTree.parse(out / "svg/a.jpg.svg").getroot().iter(f"{SVG}path")
    assert path.get("d", "").endswith("Z")


NAMES = ["<script>\"&'.png", os.fsdecode(b"caf\xe9\x01\x1b.png"), "]]>&amp;<!--.png", "猫🐈.png", "a\nb.png"]


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_is_xml_whatever_its_file_is_called(write, tmp_path, name):
    out = write(tmp_path, {name: found(name)}, "svg", "geojson", "binary")
    (drawing,) = (out / "svg").iterdir()
    root = ElementTree.fromstring(drawing.read_bytes())
    assert {each.tag.removeprefix(SVG) for each in root.iter()} == {"svg", "title", "g", "path"}
    if name.isprintable():
        assert [each.text for each in root.iter(f"{SVG}title")] == [name]


def test_a_collection_has_a_linestring_a_line_with_length_and_mean(write, tmp_path):
    out = write(tmp_path, {"a.jpg": found("a.jpg")}, "geojson")
    collection = json.loads((out / "geojson/a.jpg.geojson").read_text())
    assert collection["type"] == "FeatureCollection" and len(collection["features"]) == 4
    by_line = {}
    for feature in collection["features"]:
        assert feature["type"] == "Feature" and feature["geometry"]["type"] == "LineString"
        by_line[tuple(sorted(map(tuple, feature["geometry"]["coordinates"])))] = feature["properties"]
    assert set(by_line) == T | {((9.0, 5.5), (10.0, 5.5))}
    assert by_line[(1.5, 1.5), (5.5, 1.5)] == {"length": 4.0, "mean": 0.8}
    assert by_line[(5.5, 1.5), (5.5, 5.5)] == {"length": 4.0, "mean": 0.96}  # four of 1 below one of 0.8
    assert by_line[(9.0, 5.5), (10.0, 5.5)] == {"length": 1.0, "mean": 0.6}


def test_a_closed_line_of_a_collection_ends_where_it_begins(write, tmp_path):
    ring = cv2.circle(np.zeros((40, 40), np.float32), (20, 20), 12, 1.0, 3)
    out = write(tmp_path, {"a.jpg": found("a.jpg", ring)}, "geojson")
    (feature,) = json.loads((out / "geojson/a.jpg.geojson").read_text())["features"]
    assert feature["geometry"]["coordinates"][0] == feature["geometry"]["coordinates"][-1]
    assert feature["properties"]["length"] == pytest.approx(2 * np.pi * 12, rel=0.05)


def test_an_image_without_edges_has_files_without_lines(write, tmp_path):
    out = write(tmp_path, {"a.jpg": found("a.jpg", np.zeros((4, 5), np.float32))}, "binary", "svg", "geojson")
    assert not np.asarray(Image.open(out / "binary/a.jpg.png")).any()
    assert not list(ElementTree.parse(out / "svg/a.jpg.svg").getroot().iter(f"{SVG}path"))
    assert json.loads((out / "geojson/a.jpg.geojson").read_text())["features"] == []


def test_no_two_images_are_in_one_file(write, tmp_path):
    predictions = {name: found(name) for name in ("a.jpg", "a.png", "a.jpg.png", "x/a.jpg")}
    out = write(tmp_path, predictions, "binary", "svg", "geojson")
    for folder in ("edges", "binary", "svg", "geojson"):
        assert sum(path.is_file() for path in (out / folder).rglob("*")) == 4


@pytest.mark.parametrize("name", ["binary", "svg", "geojson"])
def test_formats_of_edges_are_refused_for_boxes(writing, tmp_path, name):
    boxes = Prediction(
        path="a", size=(1, 1), labels=torch.tensor([0]), scores=torch.ones(1), names=["x"], boxes=torch.zeros(1, 4)
    )
    with (
        pytest.raises(UsageError, match=f"The format {name} is of edges, and this task finds none; leave it out."),
        writing(tmp_path / "out", {"a": "a"}, formats=Formats((name,))) as writer,
    ):
        writer.write(boxes, "a")


@pytest.mark.parametrize("name", ["edges", "binary", "svg", "geojson"])
def test_a_full_disk_is_one_sentence(write, tmp_path, monkeypatch, name):
    def full(path: Path, data: bytes) -> int:
        if path.parent.name == name:
            raise OSError(28, "No space left on device")
        return 0

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MachineError, match=rf"{name}/a\.jpg\.\w+'?:? cannot be written.*No space left on device\)?\.$"):
        write(tmp_path, {"a.jpg": found("a.jpg")}, "binary", "svg", "geojson")
    assert not (tmp_path / "out" / "summary.json").exists()
