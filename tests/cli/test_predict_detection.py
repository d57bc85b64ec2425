"""`foveal predict` where there are boxes: options, tiles, test-time augmentation, formats, videos.

The detector is one that makes no mistakes: it finds red and green rectangles on black by their colour. So every box can
be told by hand; what the network of a real one does to them is tested with the task.
"""

import csv
import json
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from foveal.cli.main import main
from foveal.core import reading
from foveal.core.data import DataOptions, preprocessing
from foveal.core.images import read_image, write_image
from foveal.core.task import Task
from foveal.core.tiles import Tiling
from foveal.core.transforms import Transform, resize_steps
from foveal.core.types import Batch, Prediction
from foveal.core.videos import read_frames, read_header
from foveal.tasks.detection.draw import draw_boxes
from foveal.tasks.detection.merge import BoxJoiner, predict_augmented, scale_boxes
from foveal.tasks.detection.suppression import Candidates, Suppression

SIZE = 200  # of the detector's input
NAMES = ["red", "green"]
COLOURS = ((250, 0, 0), (0, 250, 0))
LEAST = 8  # pixels of the input: what it finds is no smaller


class Colours(Task):
    """Finds rectangles by their colour; surer of those that are higher."""

    name = "detection"
    metric = "ap"
    OPTIONS = DataOptions
    PREDICTION_OPTIONS = ("score", "nms_iou", "nms", "class_agnostic", "flip", "scales", "tile", "overlap")
    FORMATS = ("coco", "yolo", "crops")

    def __init__(self) -> None:
        prepared = preprocessing(DataOptions(size=SIZE, resize="fit"))
        super().__init__(None, backbone=nn.Identity(), head=nn.Identity(), class_names=NAMES, preprocessing=prepared)
        self.recipe = {"data": {"batch_size": 3}}
        self.batches: list[int] = []  # sizes of those that were predicted
        self.half = False  # whether it ran in bfloat16

    def transform(self, augment: str = "none") -> Transform:
        return Transform(resize_steps(self.preprocessing))

    def predict(self, batch: Batch) -> list[Prediction]:
        self.batches.append(len(batch["path"]))
        self.half = torch.mm(torch.ones(1, 1), torch.ones(1, 1)).dtype == torch.bfloat16
        wanted = self.prediction_options
        looks = {"flip": wanted.flip, "scales": wanted.scales, "suppression": self.suppression()}
        found = predict_augmented(self.find, batch["image"], batch["shape"], **looks)
        return [
            Prediction(
                path=path,
                size=size,
                boxes=scale_boxes(each.boxes, shape, size),
                labels=each.labels,
                scores=each.scores,
                names=[NAMES[label] for label in each.labels.tolist()],
            )
            for path, size, shape, each in zip(batch["path"], batch["size"], batch["shape"], found, strict=True)
        ]

    def find(self, images: torch.Tensor, shapes) -> list[Candidates]:
        return [self.suppression()(_rectangles(image)) for image in images]

    def suppression(self) -> Suppression:
        return replace(Suppression().with_prediction(self.prediction_options), most=1000)

    def tiling(self) -> Tiling | None:
        wanted = self.prediction_options
        return None if wanted.tile is None else Tiling(wanted.tile, wanted.overlap, whole=True)

    def joiner(self, size) -> BoxJoiner:
        return BoxJoiner(size, self.suppression())

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        return draw_boxes(image, prediction, NAMES)


def _rectangles(image: torch.Tensor) -> Candidates:
    boxes, labels = [], []
    for label in range(2):
        mask = (image[label] > 127).numpy().astype(np.uint8)
        for x, y, width, height, _ in cv2.connectedComponentsWithStats(mask)[2][1:]:
            if min(width, height) >= LEAST:
                boxes.append([x, y, x + width, y + height])
                labels.append(label)
    found = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Candidates(found, (found[:, 3] - found[:, 1]) / 1000 + 0.5, torch.tensor(labels, dtype=torch.int64))


@pytest.fixture
def colours() -> Colours:
    """The detector that any checkpoint holds."""
    return Colours()


@pytest.fixture
def predict(colours, predict_with):
    """`foveal predict`, whose results are in `out`."""
    return predict_with(colours)


def picture(objects, size=(150, 200)) -> np.ndarray:
    """Rectangles, each (label, x1, y1, x2, y2), on black."""
    image = np.zeros((*size, 3), np.uint8)
    for label, x1, y1, x2, y2 in objects:
        image[y1:y2, x1:x2] = COLOURS[label]
    return image


def lines(tmp_path: Path, name: str = "predictions.jsonl") -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "out" / name).read_text().splitlines()]


def objects_of(line: dict) -> list[tuple]:
    return sorted((label, *box) for label, box in zip(line["labels"], line["boxes"], strict=True))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two images: a red and a green object, and none."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    write_image(tmp_path / "in" / "a.png", picture([(0, 10, 20, 60, 80), (1, 100, 40, 180, 120)]))
    write_image(tmp_path / "in" / "sub" / "b.png", picture([]))
    return tmp_path / "in"


def test_boxes_come_in_every_form(predict, folder, tmp_path, capsys):
    assert predict(folder, "--draw", "--formats", "coco,yolo", "--save-crops") == 0
    first, second = lines(tmp_path)
    assert objects_of(first) == [(0, 10, 20, 60, 80), (1, 100, 40, 180, 120)] and first["names"] == ["green", "red"]
    assert second["boxes"] == second["labels"] == second["names"] == []
    out = tmp_path / "out"
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["x1"], row["y2"]) for row in rows] == [
        ("green", "100.00", "120.00"),
        ("red", "10.00", "80.00"),
    ]
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == [
        "coco_images.json", "coco_results.json", "crops/green/a_0.jpg", "crops/red/a_1.jpg", "failures.jsonl",
        "pictures/a.png.jpg", "pictures/sub/b.png.jpg", "predictions.csv", "predictions.jsonl",
        "summary.json", "yolo/a.txt", "yolo/classes.txt", "yolo/sub/b.txt",
    ]  # fmt: skip
    crop = read_image(out / "crops/red/a_1.jpg")
    assert crop.shape == (60, 50, 3) and (crop[..., 0] > 200).all()
    assert "Done: 2 images predicted, 0 unreadable" in capsys.readouterr().out


def test_boxes_are_in_pixels_of_the_file(predict, tmp_path):
    write_image(tmp_path / "big.png", picture([(0, 100, 200, 600, 800)], size=(1000, 2000)))
    assert predict(tmp_path / "big.png") == 0
    assert objects_of(lines(tmp_path)[0]) == [(0, 100, 200, 600, 800)]


@pytest.mark.parametrize(
    "options", [["--flip"], ["--scales", "0.5,1"], ["--flip", "--scales", "1,2", "--nms-iou", "0.7"]]
)
def test_more_looks_find_each_object_once(predict, folder, tmp_path, options):
    assert predict(folder, *options) == 0
    found = objects_of(lines(tmp_path)[0])
    np.testing.assert_allclose(found, [(0, 10, 20, 60, 80), (1, 100, 40, 180, 120)], atol=2)


def test_the_batch_is_that_of_training_unless_told(predict, colours, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(7):
        write_image(tmp_path / "in" / f"{number}.png", picture([]))
    assert predict(tmp_path / "in") == 0 and colours.batches == [3, 3, 1]
    colours.batches.clear()
    assert predict(tmp_path / "in", "--batch-size", "5") == 0 and colours.batches == [5, 2]
    colours.batches.clear()
    colours.recipe = {}
    assert predict(tmp_path / "in") == 0 and colours.batches == [7]


def test_precision_bf16_is_autocast(predict, colours, folder):
    assert predict(folder) == 0 and not colours.half
    assert predict(folder, "--precision", "bf16") == 0 and colours.half


# --- what may be said -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--top-k", "3"], "--top-k means nothing to detection; it takes --score, --nms-iou, --nms"),
        (["--formats", "coco,yolov5"], "There is no format of results 'yolov5'; the nearest are yolo"),
        (["--score", "1.5"], "--score is 1.5; it must be from 0 to 1."),
        (["--nms-iou", "-1"], "--nms-iou is -1.0; it must be from 0 to 1."),
        (["--tile", "8"], "--tile is 8; it must be 32 or more pixels."),
        (["--tile", "64", "--overlap", "1"], "--overlap is 1.0; it must be from 0 to 0.9."),
        (["--overlap", "0.1"], "--overlap is that of tiles, and there are none; give --tile"),
        (["--scales", ""], "--scales takes one number or more from 0.1 to 10"),
        (["--scales", "1,99"], "--scales takes one number or more from 0.1 to 10"),
        (["--scales", "1,nan"], "--scales takes one number or more from 0.1 to 10"),
        (["--scales", "1,x"], "--scales takes one number or more from 0.1 to 10, with commas between, not '1,x'."),
        (["--num-workers=-3"], "--num-workers is -3; it must be 0 or more."),
        (["--nms", "fast"], "--nms: invalid choice: 'fast'"),
        (["--every", "0"], "--every is 0; it must be 1 or more."),
        (["--crop-margin", "nan"], "--crop-margin is nan; it must be from 0 to 10."),
        (["--precision", "16"], "--precision: invalid choice: '16'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(predict, folder, capsys, options, said):
    assert predict(folder, *options) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_tiles_mean_nothing_to_classification(digits_run, digit_files, tmp_path, capsys):
    line = ["predict", str(digits_run), str(digit_files), "--out", str(tmp_path / "out")]
    assert main([*line, "--tile", "64"]) == 2
    assert "--tile means nothing to classification; it takes --top-k." in capsys.readouterr().err
    assert main([*line, "--formats", "coco"]) == 2
    assert (
        "--formats coco is of boxes or masks, and classification finds none; it takes --formats parquet."
        in capsys.readouterr().err
    )
    assert main([*line, "--save-crops"]) == 2
    assert "--save-crops is of boxes, and classification finds none" in capsys.readouterr().err


# --- tiles ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def field(tmp_path) -> tuple[Path, list[tuple]]:
    """An image of 900 x 1300 with objects of 20 pixels, too small for the detector at a glance, and a large one."""
    rng = np.random.default_rng(0)
    objects = [
        (int(rng.integers(2)), x, y, x + 20, y + 20)
        for x in range(5, 1260, 45)
        for y in [*range(5, 250, 45), *range(655, 860, 45)]
    ]
    objects.append((0, 30, 280, 1250, 630))
    write_image(tmp_path / "field.png", picture(objects, size=(900, 1300)))
    return tmp_path / "field.png", sorted(objects)


def test_tiles_find_small_objects_once_and_large_ones_whole(predict, colours, field, tmp_path):
    path, objects = field
    assert predict(path) == 0
    assert len(lines(tmp_path)[0]["boxes"]) == 1  # without tiles
    colours.batches.clear()
    assert predict(path, "--tile", "200", "--overlap", "0.2", "--batch-size", "10") == 0
    (line,) = lines(tmp_path)
    assert line["size"] == [900, 1300]
    np.testing.assert_allclose(objects_of(line), objects, atol=3.3)  # of the large one, a pixel of the input is 6.5
    # (900 - 200) / 160 = 4.4 and (1300 - 200) / 160 = 6.9 steps: 6 x 8 tiles, and the whole image.
    assert sum(colours.batches) == 49 and max(colours.batches) == 8  # of ten, so many at once


@pytest.mark.parametrize("workers", ["0", "2"])
def test_tiles_of_many_images_go_through_together(predict, colours, tmp_path, workers):
    (tmp_path / "in").mkdir()
    for number in range(5):
        place = 10 + 40 * number
        size = (300, 420) if number % 2 else (60, 90)  # two tiles and the whole, and one
        write_image(tmp_path / "in" / f"{number}.png", picture([(0, place % 50, 20, place % 50 + 30, 50)], size))
    (tmp_path / "in" / "3.png").write_bytes((tmp_path / "in" / "1.png").read_bytes()[:-40])
    (tmp_path / "in" / "2.jpg").write_bytes(b"<html>")
    assert predict(tmp_path / "in", "--tile", "300", "--num-workers", workers, "--max-bad", "2") == 0
    assert [Path(line["path"]).name for line in lines(tmp_path)] == ["0.png", "1.png", "2.png", "4.png"]
    for line in lines(tmp_path):
        place = (10 + 40 * int(Path(line["path"]).stem)) % 50
        np.testing.assert_allclose(objects_of(line), [(0, place, 20, place + 30, 50)], atol=1)
    failures = lines(tmp_path, "failures.jsonl")
    assert [Path(line["path"]).name for line in failures] == ["2.jpg", "3.png"]  # each once
    if workers == "0":
        assert colours.batches == [3, 1, 2]  # of three files each, in batches of three parts: what could be read


def test_an_image_whose_tile_fails_is_one_failure_and_takes_nothing_from_the_next(predict, monkeypatch, tmp_path):
    class Fails(Transform):
        def __call__(self, sample, seed):
            if sample["image"][0, 0, 2] == 255:
                raise cv2.error("no")
            return super().__call__(sample, seed)

    monkeypatch.setattr(Colours, "transform", lambda self, _: Fails(resize_steps(self.preprocessing)))
    (tmp_path / "in").mkdir()
    for number, left in enumerate((20, 120, 240)):
        image = picture([(0, left, 20, left + 40, 50)], (60, 300))
        image[0, 75] = [0, 0, 255 * (number == 1)]  # where the second tile begins
        write_image(tmp_path / "in" / f"{number}.png", image)
    assert predict(tmp_path / "in", "--tile", "150", "--batch-size", "2", "--max-bad", "1") == 0
    found = [objects_of(line) for line in lines(tmp_path)]
    np.testing.assert_allclose(found, [[(0, 20, 20, 60, 50)], [(0, 240, 20, 280, 50)]], atol=1)
    (failure,) = lines(tmp_path, "failures.jsonl")
    assert failure["path"].endswith("1.png") and failure["code"] == "UNSUPPORTED"


def test_images_small_and_large_come_in_their_order(predict, colours, monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "_LARGE", 40_000)
    (tmp_path / "in").mkdir()
    sizes = [(60, 90), (60, 90), (300, 420), (60, 90), (300, 420), (300, 420), (60, 90)]
    for number, size in enumerate(sizes):
        write_image(tmp_path / "in" / f"{number}.png", picture([(0, 10 + number, 20, 50, 50)], size))
    assert predict(tmp_path / "in", "--tile", "300", "--batch-size", "4", "--num-workers", "2") == 0
    assert [round(line["boxes"][0][0]) for line in lines(tmp_path)] == [10, 11, 12, 13, 14, 15, 16]
    # Large images are two tiles and the whole; they share a batch with no other.
    assert colours.batches == [2, 3, 1, 3, 3, 1]


def test_what_is_too_large_at_once_is_read_in_tiles(predict, tmp_path):
    # Headers that claim 400 and 1,600 million pixels, and nothing behind them.
    for side in (20_000, 40_000):
        data = bytearray(cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()[:33])
        data[16:29] = struct.pack(">II", side, side) + data[24:29]
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        (tmp_path / f"{side}.png").write_bytes(data)

    def reasons(*options):
        assert predict(Path(f"{tmp_path}/*0.png"), *options) == 3
        return [(line["code"], line["reason"].split("; ", 1)[-1]) for line in lines(tmp_path, "failures.jsonl")]

    limit = "the limit is 268 million, and 1,048,576 a side; make it smaller or cut it into tiles"
    assert reasons() == [("TOO_LARGE", f"{limit}, as --tile does."), ("TOO_LARGE", f"{limit}.")]
    in_tiles = [("TRUNCATED", "copy it again."), ("TOO_LARGE", f"{limit.replace('268', '1,074')}.")]
    assert reasons("--tile", "1024") == in_tiles


@pytest.mark.slow
def test_a_huge_image_is_predicted_in_bounded_memory(predict, tmp_path):
    import resource

    objects = [(0, x, y, x + 60, y + 60) for x in range(100, 11900, 700) for y in range(100, 8900, 700)]
    write_image(tmp_path / "huge.png", picture(objects, size=(9000, 12000)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert predict(tmp_path / "huge.png", "--tile", "640") == 0
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert len(lines(tmp_path)[0]["boxes"]) == len(objects)
    assert grown < 1000  # MB; the image alone has 324


# --- videos -----------------------------------------------------------------------------------------------------------


def place(number: int) -> int:
    return 10 + 6 * number


@pytest.fixture
def clip(tmp_path) -> Path:
    """Twenty frames of 160 x 320 with a red object that moves by six pixels a frame."""
    path = tmp_path / "videos" / "clip.mp4"
    path.parent.mkdir()
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (320, 160))
    for number in range(20):
        frame = picture([(0, place(number), 40, place(number) + 40, 100)], size=(160, 320))
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def test_a_video_gives_a_prediction_a_frame_and_an_annotated_video(predict, clip, tmp_path, capsys):
    assert predict(clip, "--draw", "--formats", "yolo,coco,crops") == 0
    found = lines(tmp_path)
    assert [(line["path"], line["frame"], line["size"]) for line in found] == [
        (str(clip), n, [160, 320]) for n in range(20)
    ]
    for number, line in enumerate(found):
        np.testing.assert_allclose(line["boxes"], [[place(number), 40, place(number) + 40, 100]], atol=3)
    out = tmp_path / "out"
    (drawn,) = [path for path in (out / "pictures").rglob("*") if path.is_file()]
    assert drawn.name == "clip.mp4.mp4" and read_header(str(drawn)) == (20, (160, 320), 10)
    for number, frame in read_frames(str(drawn)):  # the tag above the object moves with it
        red = frame[26:36].astype(int)
        columns = ((red[..., 0] > 150) & (red[..., 1] < 140)).any(axis=0).nonzero()[0]
        assert abs(columns.min() - place(number)) <= 6
    labels = sorted(path.relative_to(out / "yolo").as_posix() for path in (out / "yolo").rglob("*.txt"))
    assert labels[0] == "classes.txt" and len(labels) == 21
    assert all(re.search(r"clip_0000\d\d.txt$", name) for name in labels[1:])
    assert len(list((out / "crops" / "red").rglob("clip_0000??_0.jpg"))) == 20
    images = json.loads((out / "coco_images.json").read_text())["images"]
    assert [(image["id"], image["frame"]) for image in images] == [(number + 1, number) for number in range(20)]
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "frame", "height", "width", "name", "score", "x1", "y1", "x2", "y2"]
    assert [row["frame"] for row in rows] == [str(number) for number in range(20)]
    said = capsys.readouterr().out
    assert "1 video to predict" in said and "20 images and frames predicted" in said


def test_every_third_frame_keeps_its_number_and_the_video_its_speed(predict, clip, tmp_path):
    assert predict(clip, "--draw", "--every", "3") == 0
    assert [line["frame"] for line in lines(tmp_path)] == [0, 3, 6, 9, 12, 15, 18]
    (drawn,) = (tmp_path / "out" / "pictures").rglob("*.mp4")
    header = read_header(str(drawn))
    assert header.frames == 7 and header.rate == pytest.approx(10 / 3, abs=0.01)


def test_videos_come_after_images_and_both_have_results(predict, clip, tmp_path):
    write_image(clip.with_name("z.png"), picture([(1, 10, 10, 50, 50)]))
    assert predict(Path(f"{clip.parent}/*"), "--draw") == 0
    found = lines(tmp_path)
    assert len(found) == 21 and found[0]["path"].endswith("z.png") and "frame" not in found[0]
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["frame"] == ""


def test_a_search_of_a_folder_passes_over_videos(predict, clip, tmp_path):
    write_image(clip.with_name("z.png"), picture([]))
    assert predict(clip.parent) == 0
    assert len(lines(tmp_path)) == 1


def test_tiles_of_frames_are_joined(predict, clip, tmp_path):
    assert predict(clip, "--tile", "160", "--every", "5", "--num-workers", "1") == 0
    found = lines(tmp_path)
    assert [line["frame"] for line in found] == [0, 5, 10, 15]
    for line in found:
        left = place(line["frame"])
        assert line["size"] == [160, 320]
        np.testing.assert_allclose(line["boxes"], [[left, 40, left + 40, 100]], atol=3)


def test_a_damaged_video_is_one_failure_and_its_good_frames_are_written(predict, tmp_path, capsys):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 160))
    for _ in range(40):
        writer.write(picture([(0, 40, 40, 90, 100)], size=(160, 320))[..., ::-1].copy())
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (tmp_path / "no.mp4").write_bytes(b"no video")
    (tmp_path / "list.txt").write_text(f"{path}\n{tmp_path}/no.mp4\n{tmp_path}/missing.mov\n")
    assert predict(Path(f"@{tmp_path}/list.txt"), "--draw") == 3
    assert "3 of 3 files could not be read" in capsys.readouterr().err
    codes = {Path(line["path"]).name: line["code"] for line in lines(tmp_path, "failures.jsonl")}
    assert codes == {"clip.avi": "TRUNCATED", "no.mp4": "DAMAGED", "missing.mov": "MISSING"}
    found = lines(tmp_path)
    assert 5 < len(found) < 30 and all(len(line["boxes"]) == 1 for line in found)
    (drawn,) = (tmp_path / "out" / "pictures").rglob("*.mp4")
    assert read_header(str(drawn)).frames == len(found)


def test_a_video_is_predicted_by_classification_too(digits_run, clip, tmp_path):
    line = ["predict", str(digits_run), str(clip), "--out", str(tmp_path / "out"), "--draw", "--every", "4"]
    assert main(line) == 0
    assert [(line["frame"], len(line["names"])) for line in lines(tmp_path)] == [(n, 5) for n in (0, 4, 8, 12, 16)]
    (drawn,) = (tmp_path / "out" / "pictures").rglob("*.mp4")
    header = read_header(str(drawn))
    assert header.frames == 5 and header.size[1] == 320 and header.size[0] > 160  # the caption is below
