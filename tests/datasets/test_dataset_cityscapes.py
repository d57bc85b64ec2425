"""cityscapes: the table of ids, fine and coarse masks, and what is missing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.core.errors import DataError, MissingSplit, UsageError
from foveal.datasets import open_dataset
from foveal.datasets.cityscapes import CLASS_NAMES, write_split
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld

# All ids of the published table, and what the benchmark counts them as.
IDS = [list(range(34))]
TRAIN_IDS = [[
    255, 255, 255, 255, 255, 255, 255, 0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14,
    15, 255, 255, 16, 17, 18,
]]  # fmt: skip


def frame(root: Path, split: str, name: str, mask=None, kind: str = "gtFine", end: str = "labelIds") -> None:
    """An image of a city, and its mask if there is one."""
    city = name.split("_")[0]
    width = np.shape(mask)[1] if mask is not None else 34
    for folder in (root / "leftImg8bit" / split / city, root / kind / split / city):
        folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, 1)).save(root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png")
    if mask is not None:
        values = np.array(mask, np.uint8)
        Image.fromarray(values).save(root / f"{kind}/{split}/{city}/{name}_{kind}_{end}.png")


def opened(root: Path, split: str = "train", findings=None, fractions=(1, 0, 0)):
    return open_dataset("cityscapes", root, split=split, fractions=fractions, findings=findings)


def test_the_published_table(tmp_path):
    frame(tmp_path, "train", "ulm_000000_000019", IDS)
    dataset = opened(tmp_path)
    assert dataset[0]["mask"].dtype == np.int64
    assert dataset[0]["mask"].tolist() == TRAIN_IDS
    assert len(dataset.class_names) == 19
    assert [dataset.class_names[number] for number in (0, 10, 18)] == ["road", "sky", "bicycle"]


def test_train_ids_are_taken_as_they_are_where_there_are_no_ids(tmp_path):
    frame(tmp_path, "train", "ulm_000000_000019", [[0, 18, 255]], end="labelTrainIds")
    frame(tmp_path, "train", "ulm_000001_000019", [[7, 33, 255]])
    frame(tmp_path, "train", "ulm_000001_000019", [[5, 5, 5]], end="labelTrainIds")
    dataset = opened(tmp_path)
    assert [dataset[index]["mask"].tolist() for index in range(2)] == [[[0, 18, 255]], [[0, 18, 255]]]


def test_coarse_masks_stand_in_for_a_split_without_fine_ones(tmp_path):
    frame(tmp_path, "train", "ulm_000000_000019", [[7]])
    frame(tmp_path, "train", "ulm_000000_000019", [[8]], kind="gtCoarse")
    frame(tmp_path, "val", "bonn_000000_000019", [[8]], kind="gtCoarse")
    assert opened(tmp_path)[0]["mask"].tolist() == [[0]]
    assert opened(tmp_path, "val")[0]["mask"].tolist() == [[1]]


def test_splits(tmp_path):
    for number in range(4):
        frame(tmp_path, "train", f"ulm_00000{number}_000019", [[7]])
    frame(tmp_path, "test", "berlin_000000_000019", [[0]])
    assert [len(opened(tmp_path, split, fractions=(0.75, 0.25, 0))) for split in ("train", "val", "test")] == [3, 1, 1]
    assert opened(tmp_path, "test")[0]["mask"].tolist() == [[255]]  # the published masks of test are empty
    frame(tmp_path, "val", "bonn_000000_000019", [[7]])
    assert [len(opened(tmp_path, split)) for split in ("train", "val")] == [4, 1]


def test_what_is_missing(tmp_path):
    frame(tmp_path, "train", "ulm_000000_000019", [[7]])
    frame(tmp_path, "train", "ulm_000001_000019")
    findings = Findings()
    assert len(opened(tmp_path, findings=findings)) == 1
    assert [(finding.code, finding.file, finding.action) for finding in findings] == [
        ("NO_TRUTH", "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png", "left out")
    ]
    with pytest.raises(MissingSplit, match="has images for train and none for test"):
        opened(tmp_path, "test")
    (tmp_path / "gtFine/train/ulm/ulm_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError, match=r"No image in .*leftImg8bit/train' has a mask in .*gtFine/train'"):
        opened(tmp_path, findings=Findings())
    (tmp_path / "leftImg8bit").rename(tmp_path / "images")
    with pytest.raises(DataError, match=f"'{tmp_path}' holds gtFine, images: expected leftImg8bit/train/CITY"):
        opened(tmp_path)


def test_values_that_are_no_ids(tmp_path):
    frame(tmp_path, "train", "ulm_000000_000019", [[7, 34, 255]])
    frame(tmp_path, "train", "ulm_000001_000019", [[19, 0]], end="labelTrainIds")
    dataset = opened(tmp_path)
    with pytest.raises(DataError, match=r"labelIds.png' has values that stand for no class, 34 \(1 pixel\): exp"):
        dataset[0]
    with pytest.raises(DataError, match=r"labelTrainIds.png' has values that stand for no class, 19 \(1 pixel\): exp"):
        dataset[1]


def test_the_drawn_world_comes_back_as_it_was(tmp_path):
    drawn = {}
    for split in ("train", "val", "test"):
        world = ShapesWorld("segmentation", split, images=2, size=(48, 64))
        drawn[split] = [world[index] for index in range(2)]
        drawn[split][0]["mask"][:5, :7] = 255
        write_split(drawn[split], tmp_path, split=split, class_names=world.class_names)
    for split, samples in drawn.items():
        dataset = opened(tmp_path, split)
        assert dataset.class_names == CLASS_NAMES
        for index, sample in enumerate(samples):
            assert (dataset[index]["image"] == sample["image"]).all()
            assert (dataset[index]["mask"] == sample["mask"]).all()
    with pytest.raises(UsageError, match="Cityscapes has 19 classes, too few for 20"):
        write_split([], tmp_path, split="train", class_names=[str(number) for number in range(20)])
