"""`foveal predict` where there are masks: files, pictures, formats, videos.

The segmenter is one that makes no mistakes: what is red is a cell.
"""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import nn

from foveal.core.data import DataOptions, preprocessing
from foveal.core.images import read_image, write_image
from foveal.core.task import Task
from foveal.core.transforms import Transform, resize_steps
from foveal.core.types import Batch, Prediction
from foveal.core.videos import read_header
from foveal.tasks.segmentation.draw import draw_mask

NAMES = ["background", "cell"]


class Reds(Task):
    """Finds red pixels; where an image is blue, it says that nothing is known."""

    name = "segmentation"
    metric = "miou"
    OPTIONS = DataOptions
    PREDICTION_OPTIONS = ("probabilities",)
    FORMATS = ("coco",)

    def __init__(self) -> None:
        prepared = preprocessing(DataOptions(size=100))
        super().__init__(None, backbone=nn.Identity(), head=nn.Identity(), class_names=NAMES, preprocessing=prepared)
        self.predicted = 0

    def transform(self, augment: str = "none") -> Transform:
        return Transform(resize_steps(self.preprocessing))

    def predict(self, batch: Batch) -> list[Prediction]:
        self.predicted += len(batch["path"])
        return [self._found(*each) for each in zip(batch["image"], batch["path"], batch["size"], strict=True)]

    def _found(self, image: torch.Tensor, path: str, size: tuple[int, int]) -> Prediction:
        pixels = cv2.resize(image.permute(1, 2, 0).numpy(), size[::-1], interpolation=cv2.INTER_NEAREST)
        mask = torch.from_numpy((pixels[..., 0] > 127).astype(np.uint8))
        mask[torch.from_numpy(pixels[..., 2] > 127)] = 255
        pixels = torch.bincount(mask.flatten(), minlength=2)[:2]
        labels = pixels.argsort(descending=True, stable=True)
        labels = labels[pixels[labels] > 0]
        found = Prediction(
            path=path,
            size=size,
            labels=labels,
            scores=torch.ones(len(labels)),
            names=[NAMES[label] for label in labels.tolist()],
            mask=mask,
            pixels=pixels[labels],
        )
        if self.prediction_options.probabilities:
            found["probabilities"] = torch.stack([mask == label for label in range(2)]).half()
        return found

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        return draw_mask(image, prediction, NAMES)


@pytest.fixture
def reds() -> Reds:
    """The segmenter that any checkpoint holds."""
    return Reds()


@pytest.fixture
def predict(reds, predict_with):
    """`foveal predict`, whose results are in `out`."""
    return predict_with(reds)


def picture(*boxes, size=(300, 400)) -> np.ndarray:
    """Red rectangles, each (x1, y1, x2, y2), on black."""
    image = np.zeros((*size, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = (250, 0, 0)
    return image


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two images: one with two red rectangles, one without."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    write_image(tmp_path / "in" / "a.png", picture((0, 0, 100, 60), (200, 150, 400, 300)))
    write_image(tmp_path / "in" / "sub" / "b.png", picture())
    return tmp_path / "in"


def lines(tmp_path: Path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]


def test_masks_come_in_every_form(predict, folder, tmp_path):
    assert predict(folder, "--draw", "--formats", "coco", "--probabilities") == 0
    out, (first, second) = tmp_path / "out", lines(tmp_path)
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == [
        "coco_images.json", "coco_results.json", "failures.jsonl", "masks/a.png.png", "masks/sub/b.png.png",
        "pictures/a.png.jpg", "pictures/sub/b.png.jpg", "predictions.csv", "predictions.jsonl",
        "probabilities/a.png.npy", "probabilities/sub/b.png.npy", "summary.json",
    ]  # fmt: skip
    assert (first["names"], first["pixels"]) == (["background", "cell"], [84000, 36000])
    assert (second["names"], second["pixels"]) == (["background"], [120000])
    mask = np.asarray(Image.open(out / first["mask"]))
    assert (mask == (read_image(first["path"])[..., 0] > 0)).all()
    assert (np.load(out / first["probabilities"])[1] == mask).all()
    with (out / "predictions.csv").open(newline="") as file:
        rows = [(row["name"], row["pixels"], row["share"]) for row in csv.DictReader(file)]
    assert rows == [
        ("background", "84000", "0.700000"),
        ("cell", "36000", "0.300000"),
        ("background", "120000", "1.000000"),
    ]
    (out / "truth.json").write_text(
        json.dumps({**json.loads((out / "coco_images.json").read_text()), "annotations": []})
    )
    results = COCO(out / "truth.json").loadRes(str(out / "coco_results.json"))
    assert (sum(results.annToMask(entry) for entry in results.anns.values()) == mask).all()
    drawn = read_image(out / "pictures/a.png.jpg")
    assert drawn.shape[0] > 300 and np.abs(drawn[30, 50].astype(int) - (189, 0, 0)).max() < 8  # (250 + 128) / 2


@pytest.mark.parametrize("options", [["--formats", "yolo"], ["--formats", "coco,crops"], ["--save-crops"]])
def test_formats_of_boxes_are_refused_before_anything_is_predicted(predict, reds, folder, tmp_path, capsys, options):
    assert predict(folder, *options) == 2
    error = capsys.readouterr().err
    assert (
        "is of boxes, and segmentation finds none; it takes --formats coco,parquet." in error and error.count("\n") == 1
    )
    assert reds.predicted == 0 and not (tmp_path / "out").exists()


def test_a_video_has_a_mask_a_frame_and_is_drawn_in_one_size(predict, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (400, 300))
    for number in range(6):
        box = [(0, 0, 200, 150)] if number >= 3 else []  # the legend's second class comes later
        writer.write(cv2.cvtColor(picture(*box), cv2.COLOR_RGB2BGR))
    writer.release()
    assert predict(tmp_path / "a.mp4", "--draw") == 0
    masks = [np.asarray(Image.open(tmp_path / "out" / line["mask"])) for line in lines(tmp_path)]
    assert [mask.shape for mask in masks] == [(300, 400)] * 6
    assert [round(mask.mean(), 1) for mask in masks] == [0, 0, 0, 0.2, 0.2, 0.2]
    header = read_header(str(next((tmp_path / "out" / "pictures").rglob("*.mp4"))))
    assert header.frames == 6 and header.size[1] == 400 and header.size[0] > 340
