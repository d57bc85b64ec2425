"""voc_segmentation: lists, palettes, colours of a labelmap, and what is wrong with each."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.core.errors import DataError, MissingSplit
from foveal.core.images import ImageError
from foveal.core.masks import voc_colors, write_mask
from foveal.datasets import open_dataset, voc_segmentation
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld
from foveal.datasets.voc_segmentation import CLASS_NAMES, write_split

MASK = [[0, 1, 20], [15, 255, 0]]


def voc(root: Path, lists: dict[str, str], names: str = "abcdef", mask=MASK) -> Path:
    """Images and masks of the letters of `names`, and lists with a letter a line."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    height, width = np.shape(mask)[:2]
    for name in names:
        Image.new("RGB", (width, height), (9, 80, 7)).save(root / f"JPEGImages/{name}.jpg")
        write_mask(root / f"SegmentationClass/{name}.png", np.array(mask))
    for name, letters in lists.items():
        (root / f"ImageSets/Segmentation/{name}.txt").write_text("\n".join(letters) + "\n")
    return root


def opened(root: Path, split: str = "train", findings=None, fractions=(1, 0, 0)):
    return open_dataset("voc_segmentation", root, split=split, fractions=fractions, findings=findings)


def letters(dataset) -> str:
    return "".join(Path(dataset.path(index)).stem for index in range(len(dataset)))


def colour_mask(root: Path, colors) -> None:
    Image.fromarray(np.array(colors, np.uint8)).save(root / "SegmentationClass/a.png")


def test_a_sample_and_its_classes(tmp_path):
    dataset = opened(voc(tmp_path, {"train": "a"}))
    assert len(dataset.class_names) == 21
    assert [dataset.class_names[number] for number in (0, 1, 15, 20)] == [
        "background", "aeroplane", "person", "tvmonitor",
    ]  # fmt: skip
    sample = dataset[0]
    assert set(sample) == {"image", "path", "size", "mask"}
    assert sample["mask"].dtype == np.int64
    assert sample["mask"].tolist() == MASK


def test_splits_are_the_lists(tmp_path):
    voc(tmp_path, {"train": "ba", "val": "c", "test": "de"})
    assert [letters(opened(tmp_path, split)) for split in ("train", "val", "test")] == ["ba", "c", "de"]


def test_trainval_less_val_is_train(tmp_path):
    voc(tmp_path, {"trainval": "abcd", "val": "db"})
    assert [letters(opened(tmp_path, split)) for split in ("train", "val")] == ["ac", "db"]
    with pytest.raises(MissingSplit, match="has images for train and val and none for test"):
        opened(tmp_path, "test")


def test_val_is_drawn_from_train_and_all_from_all(tmp_path):
    voc(tmp_path / "one", {"train": "abcdef"})
    parts = [letters(opened(tmp_path / "one", split, fractions=(0.5, 0.5, 0))) for split in ("train", "val")]
    assert sorted("".join(parts)) == list("abcdef") and list(map(len, parts)) == [3, 3]
    voc(tmp_path / "none", {"default": "abcdef"})  # CVAT's list when nobody chose splits
    fractions = (0.5, 0.17, 0.33)
    parts = [letters(opened(tmp_path / "none", split, fractions=fractions)) for split in ("train", "val", "test")]
    assert sorted("".join(parts)) == list("abcdef") and list(map(len, parts)) == [3, 1, 2]


def test_faults_of_a_list_are_noted_with_their_lines(tmp_path):
    voc(tmp_path, {"train": "abc"})
    (tmp_path / "SegmentationClass/b.png").unlink()
    (tmp_path / "JPEGImages/c.jpg").unlink()
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("a\n\nb\r\nc\na\n../a\n")
    findings = Findings()
    assert letters(opened(tmp_path, findings=findings)) == "a"
    assert {finding.file for finding in findings} == {"ImageSets/Segmentation/train.txt"}
    assert [(finding.code, finding.place, finding.index, finding.action) for finding in findings] == [
        ("NO_TRUTH", "line 3", 2, "left out"),
        ("NO_IMAGE", "line 4", 3, "left out"),
        ("DUPLICATE", "line 5", 4, "left out"),
        ("LEAVES_ROOT", "line 6", 5, "refused"),
    ]
    with pytest.raises(DataError, match=r"train.txt, line 6: '../a' leads out of the data set"):
        opened(tmp_path)


def test_colours_of_voc_without_a_palette(tmp_path):
    voc(tmp_path, {"train": "a"})
    colour_mask(tmp_path, voc_colors()[np.array(MASK)])
    assert opened(tmp_path).truth(0)["mask"].tolist() == MASK
    colour_mask(tmp_path, [[[0, 0, 0], [1, 2, 3]]])
    with pytest.raises(DataError, match=r"a.png' has colours that stand for no class, \(1, 2, 3\) \(1 pixel\): exp"):
        opened(tmp_path).truth(0)


LABELMAP = "# label:color_rgb:parts:actions\ncat:250,50,83::\nbackground:0,0,0::\ndog:51,221,255::walk\n"


def test_a_labelmap_names_classes_and_their_colours(tmp_path):
    voc(tmp_path, {"train": "a"}, mask=[[0, 0, 0, 0]])
    (tmp_path / "labelmap.txt").write_text(LABELMAP)
    colour_mask(tmp_path, [[[250, 50, 83], [0, 0, 0], [51, 221, 255], [224, 224, 192]]])
    dataset = opened(tmp_path)
    assert dataset.class_names == ["cat", "background", "dog"]
    assert dataset[0]["mask"].tolist() == [[0, 1, 2, 255]]


def test_a_labelmap_decides_for_palettes_by_their_colours_and_for_grey_by_its_lines(tmp_path):
    voc(tmp_path, {"train": "a"}, mask=[[0, 0, 0]])
    (tmp_path / "labelmap.txt").write_text(LABELMAP)
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([51, 221, 255, 250, 50, 83, 0, 0, 0])
    picture.save(tmp_path / "SegmentationClass/a.png")
    assert opened(tmp_path)[0]["mask"].tolist() == [[2, 0, 1]]
    picture.putpalette([51, 221, 255, 250, 50, 83, 7, 7, 7])
    picture.save(tmp_path / "SegmentationClass/a.png")
    with pytest.raises(DataError, match=r"stand for no class, \(7, 7, 7\) \(1 pixel\): expected the colours of 0 cat"):
        opened(tmp_path)[0]
    Image.fromarray(np.array([[2, 1, 255]], np.uint8)).save(tmp_path / "SegmentationClass/a.png")
    assert opened(tmp_path)[0]["mask"].tolist() == [[2, 1, 255]]


def test_a_labelmap_without_background_or_colours(tmp_path):
    voc(tmp_path, {"train": "a"}, mask=[[0, 1, 2]])
    (tmp_path / "labelmap.txt").write_text("cat:128,0,0::\ndog:0,128,0::\n")
    dataset = opened(tmp_path)
    assert dataset.class_names == ["background", "cat", "dog"]
    assert dataset[0]["mask"].tolist() == [[0, 1, 2]]
    (tmp_path / "labelmap.txt").write_text("sky:::\nsea:::\nland\n")
    dataset = opened(tmp_path)
    assert dataset.class_names == ["sky", "sea", "land"]
    assert dataset[0]["mask"].tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("cat:1,2::", "line 1: 'cat:1,2::' was found"),
        ("cat:1,2,256::", "line 1: 'cat:1,2,256::' was found"),
        ("#\n:1,2,3::", "line 2: ':1,2,3::' was found"),
        ("cat:1,2,3::\ncat:1,2,4::", "line 2: 'cat:1,2,4::' has a name or a colour of a line above"),
        ("cat:1,2,3::\ndog:1,2,3::", "line 2: 'dog:1,2,3::' has a name or a colour of a line above"),
        ("cat:1,2,3::\ndog:::", "gives a colour to some classes and none to others"),
        ("", "names 1 classes"),
    ],
)
def test_labelmaps_that_are_wrong(tmp_path, text, fault):
    voc(tmp_path, {"train": "a"})
    (tmp_path / "labelmap.txt").write_text(text)
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    assert str(caught.value).startswith(f"'{tmp_path}/labelmap.txt'") and fault in str(caught.value)


def test_folders_that_are_not_voc(tmp_path):
    voc(tmp_path / "VOC2012", {"train": "a"})
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    assert str(caught.value) == (
        f"'{tmp_path}' has no folder JPEGImages: expected JPEGImages and SegmentationClass, as in VOC2012; "
        f"'{tmp_path}/VOC2012' has one: pass that with --data.root."
    )
    (tmp_path / "VOC2012/ImageSets/Segmentation/train.txt").write_text("z\n")
    with pytest.raises(DataError, match=r"train.txt' names no image with a mask"):
        opened(tmp_path / "VOC2012", findings=Findings())


def test_masks_that_cannot_be_read(tmp_path):
    voc(tmp_path, {"train": "ab"})
    (tmp_path / "SegmentationClass/a.png").write_bytes(b"")
    write_mask(tmp_path / "SegmentationClass/b.png", np.array([[0, 21, 0], [0, 0, 0]]))
    with pytest.raises(ImageError, match=r"a.png' is empty"):
        opened(tmp_path)[0]
    with pytest.raises(DataError, match=r"b.png' has values that stand for no class, 21 \(1 pixel\): .*labelmap.txt'"):
        opened(tmp_path)[1]


@pytest.mark.parametrize("own_names", [True, False])
def test_the_drawn_world_comes_back_as_it_was(tmp_path, own_names):
    drawn = {}
    for split in ("train", "val", "test"):
        world = ShapesWorld("segmentation", split, images=2, size=(48, 64))
        drawn[split] = [world[index] for index in range(2)]
        drawn[split][0]["mask"][:5, :7] = 255
        names = world.class_names if own_names else CLASS_NAMES
        write_split(drawn[split], tmp_path, split=split, class_names=names)
    for split, samples in drawn.items():
        dataset = opened(tmp_path, split)
        assert dataset.class_names == list(names)
        assert len(dataset) == 2
        for index, sample in enumerate(samples):
            assert (dataset[index]["mask"] == sample["mask"]).all()
    with Image.open(tmp_path / "SegmentationClass/train_000000.png") as picture:
        assert picture.mode == "P"
        assert picture.convert("RGB").getpixel((0, 0)) == (224, 224, 192)
    assert (tmp_path / "labelmap.txt").exists() == own_names


def test_mend_writes_lists_without_bad_lines_and_dropped_images(tmp_path):
    root = voc(tmp_path / "set", {"train": "abzac", "test": "def"})
    findings = Findings()
    open_dataset("voc_segmentation", root, split="train", findings=findings)
    dropped = {"JPEGImages/e.jpg": "TRUNCATED: is cut off"}
    log = voc_segmentation.mend(root, tmp_path / "out", findings, dropped)
    lists = tmp_path / "out/ImageSets/Segmentation"
    assert (lists / "train.txt").read_text().split() == ["a", "b", "c"]
    assert (lists / "test.txt").read_text().split() == ["d", "f"]
    assert [entry[:2] for entry in log] == [
        ("SegmentationClass/e.png", ""),
        ("ImageSets/Segmentation/test.txt", "line 2"),
        ("ImageSets/Segmentation/train.txt", "line 3"),
        ("ImageSets/Segmentation/train.txt", "line 4"),
    ]


def test_mend_without_lists_leaves_out_the_mask_of_a_dropped_image(tmp_path):
    root = voc(tmp_path / "set", {})
    log = voc_segmentation.mend(root, tmp_path / "out", [], {"JPEGImages/b.jpg": "TRUNCATED: is cut off"})
    assert log == [("SegmentationClass/b.png", "", "left out: its image is")]
