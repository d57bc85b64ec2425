"""image_folder: layouts, class numbers, what is left out, and every way the folder can be wrong."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from foveal.core.errors import DataError, UsageError
from foveal.core.images import ImageError
from foveal.datasets import FORMATS, open_dataset, reader

DATA = os.environ.get("FOVEAL_TEST_DATA")


def fill(root: Path, **counts: int) -> Path:
    """Folders of pictures 6 wide and 4 high; a class is written with __ for /."""
    for name, count in counts.items():
        folder = root / name.replace("__", "/")
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("RGB", (6, 4), (number, len(name), 7)).save(folder / f"{number}.png")
    return root


def opened(root, split="train", **options):
    return open_dataset("image_folder", root, split=split, **options)


def names(dataset) -> set[str]:
    return {dataset[index]["path"] for index in range(len(dataset))}


def test_a_sample_and_the_classes(tmp_path):
    dataset = opened(fill(tmp_path, dog=10, cat=10))
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [0] * 7 + [1] * 6  # 6.5 each
    sample = dataset[len(dataset) - 1]
    assert set(sample) == {"image", "path", "size", "label"}
    assert (sample["size"], sample["label"]) == ((4, 6), 1)
    assert sample["image"].shape == (4, 6, 3)
    assert sample["path"].startswith(f"{tmp_path}/dog/")
    assert sample["image"][0, 0].tolist() == [int(Path(sample["path"]).stem), 3, 7]


def test_the_three_splits_share_all_images_out(tmp_path):
    fill(tmp_path, cat=20, dog=20)
    parts = [names(opened(tmp_path, split)) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [26, 4, 10]
    assert len(set.union(*parts)) == 40
    assert names(opened(tmp_path, "val", seed=1)) != parts[1]


def test_class_numbers_and_images_are_those_of_torchvision(tmp_path):
    fill(tmp_path, train__s10=2, train__s2=3, train__Zebra=2, train__a=2, train__a__inside=2, val__a=1)
    theirs = ImageFolder(str(tmp_path / "train"))
    ours = opened(tmp_path)
    assert ours.class_names == theirs.classes == ["Zebra", "a", "s10", "s2"]
    assert {(ours[i]["path"], ours[i]["label"]) for i in range(len(ours))} == set(theirs.samples)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_folders_for_splits_are_taken_as_they_are(tmp_path, name):
    fill(tmp_path, train__a=3, train__b=1, test__b=2, **{f"{name}__a": 1})
    assert [len(opened(tmp_path, split)) for split in ("train", "val", "test")] == [4, 1, 2]
    assert opened(tmp_path, "test").labels.tolist() == [1, 1]  # numbered by train
    assert opened(tmp_path, "val").class_names == ["a", "b"]


def test_val_is_drawn_from_train_where_it_has_no_folder(tmp_path):
    fill(tmp_path, train__a=15, train__b=15, test__a=1)
    train, val = names(opened(tmp_path, "train")), names(opened(tmp_path, "val"))
    assert (len(train), len(val), len(train | val)) == (26, 4, 30)
    assert len(opened(tmp_path, "test")) == 1


def test_litter_and_hidden_files_are_left_out_and_loops_cut(tmp_path):
    fill(tmp_path, a=5, b=4, b__deep__deeper=1)
    for name in ("a/._0.png", "a/.DS_Store", "a/Thumbs.db", "a/notes.txt", ".hidden/x.png", "loose.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    parts = [names(opened(tmp_path, split)) for split in ("train", "val", "test")]
    assert sum(map(len, parts)) == 10
    assert f"{tmp_path}/b/deep/deeper/0.png" in set.union(*parts)


def test_names_that_are_not_utf8(tmp_path):
    for label in (b"a", b"b\xff"):
        folder = os.fsencode(tmp_path) + b"/" + label
        Path(os.fsdecode(folder)).mkdir()
        for number in range(3):
            Image.new("L", (1, 1)).save(os.fsdecode(folder + b"/\xfe%d.png" % number))
    assert opened(tmp_path).class_names == ["a", "b\udcff"]
    assert opened(tmp_path)[1]["image"].shape == (1, 1, 3)


def test_paths_are_no_python_objects(tmp_path):
    dataset = opened(fill(tmp_path, a=5, b=5))
    kept = [value for value in vars(dataset).values() if isinstance(value, list | tuple | dict)]
    assert kept == [dataset.class_names]


def test_a_broken_image_is_an_error_when_it_is_read(tmp_path):
    fill(tmp_path, train__a=1, train__b=1, val__a=1)
    (tmp_path / "val/a/0.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"val/a/0\.png' is empty"):
        opened(tmp_path, "val")[0]


def broken(root, split="train", exit_code=3, **options) -> str:
    with pytest.raises((DataError, UsageError)) as caught:
        opened(root, split, **options)
    assert caught.value.exit_code == exit_code
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_link_beside_its_image_is_no_second_image(tmp_path):
    fill(tmp_path, train__a=2, train__b=2, val__a=1, val__b=1)
    (tmp_path / "train/a/00.png").symlink_to(tmp_path / "train/a/1.png")
    (tmp_path / "outside.png").write_bytes((tmp_path / "train/a/1.png").read_bytes())
    (tmp_path / "train/b/link.png").symlink_to(tmp_path / "outside.png")
    found = [Path(opened(tmp_path, "train")[index]["path"]).name for index in range(5)]
    assert found == ["0.png", "1.png", "0.png", "1.png", "link.png"]


def test_folders_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert broken("absent", exit_code=2) == (
        f"There is no folder '{tmp_path}/absent': pass the one that holds the images with --data.root."
    )
    assert "is a file: pass the folder" in broken(__file__, exit_code=2)
    assert broken(tmp_path) == f"The folder '{tmp_path}' is empty: pass the one that holds the images with --data.root."
    assert "say where with --data.root" in broken(None, exit_code=2)


def test_a_folder_of_other_files_says_what_they_are(tmp_path):
    for name in ("a.txt", "b.txt", "c.mp4"):
        (tmp_path / name).touch()
    message = broken(tmp_path)
    assert message.startswith(
        f"There is no image in '{tmp_path}', only 3 files (2 .txt, 1 .mp4): expected one folder per"
    )
    assert ".jpg" in message


def test_images_without_class_folders(tmp_path):
    Image.new("L", (1, 1)).save(tmp_path / "x.png")
    assert broken(tmp_path) == f"'{tmp_path}' holds 1 image but no folders: make one folder per class."


def test_classes_that_cannot_be_used(tmp_path):
    assert "has only one class, 'a'" in broken(fill(tmp_path / "one", a=3))
    (fill(tmp_path / "two", a=3, b=3) / "void").mkdir()
    (tmp_path / "two/void/x.txt").touch()
    assert broken(tmp_path / "two") == (
        f"The class folder '{tmp_path}/two/void' has no image (1 file (1 .txt)): fill it or remove it."
    )
    assert "Class 'b' has 1 image, and 3 splits need" in broken(fill(tmp_path / "few", a=3, b=1))
    assert "Class 'b' has 1 image, and 2 splits need" in broken(fill(tmp_path / "train", train__a=3, train__b=1), "val")


def test_splits_that_do_not_fit_train(tmp_path):
    fill(tmp_path, train__a=2, train__b=2, val__c=1, validation__a=1)
    assert "holds both val and validation" in broken(tmp_path, "val")
    (tmp_path / "validation").rename(tmp_path / "other")
    assert f"'{tmp_path}/val/c' is a class that train does not have" in broken(tmp_path, "val")
    assert "none called test: add test/ with one folder per class" in broken(tmp_path, "test")
    assert "holds val, test and no train" in broken(fill(tmp_path / "x", val__a=1, test__a=1))
    (tmp_path / "test").mkdir()
    assert f"There is no image in '{tmp_path}/test', only 0 files" in broken(tmp_path, "test")


def test_wrong_names_and_empty_splits(tmp_path):
    fill(tmp_path, a=5, b=5)
    with pytest.raises(UsageError, match="no data format 'imagefolder'; the nearest are image_folder"):
        open_dataset("imagefolder", tmp_path, split="train")
    with pytest.raises(UsageError, match="no split 'tset'; the nearest are test"):
        opened(tmp_path, "tset")
    assert "no image for the split 'val'" in broken(tmp_path, "val", fractions=(0.5, 0.0, 0.5))


def test_every_format_has_a_reader_and_a_writer():
    for name, kind in FORMATS.items():
        with pytest.raises(UsageError, match="three shares"):
            open_dataset(name, None if kind.embedded else "/absent", split="train", fractions=(2, 0, 0))
        if not kind.embedded:
            assert callable(reader(name).write_split)
            with pytest.raises((DataError, UsageError), match=r"There is no .* '/absent'"):
                open_dataset(name, "/absent", split="train")


@pytest.mark.skipif(not DATA, reason="FOVEAL_TEST_DATA does not say where the ORL faces are")
def test_the_orl_faces():
    root = Path(DATA) / "att_faces"
    parts = {split: opened(root, split) for split in ("train", "val", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 260, "val": 40, "test": 100}
    assert parts["train"].class_names == ImageFolder(str(root)).classes
    with Image.open(root / "s1" / "1.pgm") as picture:  # 92 x 112, or a quarter of it in some copies
        assert parts["val"][0]["size"] == picture.size[::-1]
