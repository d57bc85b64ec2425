"""idx and digits: data sets that come as arrays."""

import gzip
import struct
import subprocess
import sys

import numpy as np
import pytest

from foveal.core.errors import DataError, UsageError
from foveal.datasets import open_dataset


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


IMAGES = np.arange(12 * 2 * 3).reshape(12, 2, 3)  # 12 pictures, 2 high and 3 wide
LABELS = np.array([0, 1, 2] * 4)
FILES = {
    "train-images-idx3-ubyte": idx(IMAGES),
    "train-labels-idx1-ubyte": idx(LABELS),
    "t10k-images-idx3-ubyte": idx(IMAGES[:2] + 100),
    "t10k-labels-idx1-ubyte": idx(LABELS[1:3]),
}


@pytest.fixture(params=["plain", "gzip", "dots"])
def folder(tmp_path, request):
    for name, data in FILES.items():
        if request.param == "gzip":
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (tmp_path / (name.replace("-idx", ".idx") if request.param == "dots" else name)).write_bytes(data)
    return tmp_path


def opened(root, split="train"):
    return open_dataset("idx", root, split=split)


def test_idx_in_all_its_spellings(folder):
    test = opened(folder, "test")
    assert test.class_names == ["0", "1", "2"]
    assert test.labels.tolist() == [1, 2]
    sample = test[1]
    assert sample["image"].tolist() == [[[106] * 3, [107] * 3, [108] * 3], [[109] * 3, [110] * 3, [111] * 3]]
    assert (sample["label"], sample["size"]) == (2, (2, 3))
    assert sample["path"].startswith(f"{folder}/t10k-images")
    assert sample["path"].endswith(":1")


def test_val_of_idx_is_drawn_from_train(folder):
    train, val = opened(folder), opened(folder, "val")
    assert (len(train), len(val)) == (9, 3)  # 12 x 0.10 / 0.75 = 1.6, and one of each class
    numbers = {int(part[i]["path"].rsplit(":")[-1]) for part in (train, val) for i in range(len(part))}
    assert numbers == set(range(12))
    for index in range(len(val)):
        number = int(val[index]["path"].rsplit(":")[-1])
        assert val[index]["image"][0, 0, 0] == 6 * number
        assert val[index]["label"] == number % 3


IMAGE_FILE, LABEL_FILE = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (IMAGE_FILE, None, "There is no train-images-idx3-ubyte .* pass MNIST's folder with --data.root"),
        (LABEL_FILE, None, "There is no train-labels-idx1-ubyte"),
        (IMAGE_FILE, b"\0\0\x08", "is cut off: 3 bytes are no whole header"),
        (IMAGE_FILE, FILES[LABEL_FILE] + bytes(4), "begins with 0x00000801, not 0x00000803"),
        (IMAGE_FILE, FILES[IMAGE_FILE][:-1], r"claims 72 values \(12 x 2 x 3\) and has 71: get it anew"),
        (IMAGE_FILE, FILES[IMAGE_FILE] + b"\0", "claims 72 values .* and has more"),
        (IMAGE_FILE, struct.pack(">4I", 0x803, 2**31, 2**31, 2**31), "claims .* and has fewer"),
        (IMAGE_FILE, struct.pack(">4I", 0x803, 0, 2, 3), "holds nothing"),
        (LABEL_FILE, idx(LABELS[:-1]), r"has 12 images, '.*' 11 labels"),
        (LABEL_FILE, idx(LABELS * 0), "has only one class, '0'"),
    ],
)
def test_wrong_idx_files(tmp_path, name, data, message):
    for other, content in (FILES | {name: data}).items():
        if content is not None:
            (tmp_path / other).write_bytes(content)
    with pytest.raises(DataError, match=message):
        opened(tmp_path)


def test_damaged_gzip_and_foreign_labels(tmp_path):
    for name, data in FILES.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([1, 9]))))
    with pytest.raises(DataError, match="label 9 of test is on no training image"):
        opened(tmp_path, "test")
    packed = gzip.compress(FILES[IMAGE_FILE])
    for damaged in (packed[:-20], b"no gzip at all, but long enough", packed[:-8] + bytes(8)):
        (tmp_path / f"{IMAGE_FILE}.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=f"{IMAGE_FILE}.gz' is damaged or cut off"):
            opened(tmp_path)


def test_idx_folder_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=f"There is no folder '{tmp_path}/absent'"):
        opened(tmp_path / "absent")


def test_digits():
    from sklearn.datasets import load_digits

    parts = {split: open_dataset("digits", None, split=split) for split in ("train", "val", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 1168, "val": 180, "test": 449}
    assert np.bincount(parts["val"].labels).tolist() == [18] * 10
    assert parts["test"].class_names == list("0123456789")
    sample = parts["train"][0]
    number = int(sample["path"].removeprefix("digits:"))
    values = load_digits().images[number]
    assert sample["label"] == load_digits().target[number]
    assert sample["image"].shape == (8, 8, 3)
    assert sample["image"][..., 0].tolist() == np.round(values * 255 / 16).tolist()
    greys = {grey for index in range(1168) for grey in parts["train"][index]["image"].ravel().tolist()}
    assert {0, 16, 32, 128, 255} <= greys  # 0, 1, 2, 8 and 16 sixteenths
    assert len(greys) == 17


def test_data_sets_need_no_torch():
    program = (
        "import sys; from foveal.datasets import open_dataset; open_dataset('digits', None, split='val')[0]\n"
        "import foveal.datasets.image_folder; print([name for name in ('torch', 'lightning') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd="/", check=True)
    assert done.stdout == "[]\n"
