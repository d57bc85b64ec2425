"""Mask files and mask_folder: values as stored, what they stand for, and every way both can be wrong."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.core.errors import DataError, UsageError
from foveal.core.images import ImageError
from foveal.datasets import open_dataset
from foveal.datasets.findings import Findings
from foveal.datasets.mask_folder import write_split
from foveal.datasets.masks import read_values
from foveal.datasets.shapes import ShapesWorld


def png(width: int, height: int, bits: int, color: int, rows: list[bytes], palette: bytes = b"") -> bytes:
    """A PNG from its raw rows; `color`: 0 grey, 2 RGB, 3 palette."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"PLTE", palette) * bool(palette) + pixels + chunk(b"IEND", b"")


# 16 colours that say nothing: a reader that looks at them gives other numbers than the indices.
PALETTE = bytes(range(200, 248))


def save(path: Path, values, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(values)
    Image.fromarray(pixels.astype(np.uint16 if pixels.max() > 255 else np.uint8), mode).save(path)
    return path


def folder_of(root: Path, *masks, images: str = "images", truths: str = "masks") -> Path:
    """Grey masks and images of their sizes."""
    for number, mask in enumerate(masks):
        height, width = np.shape(mask)[:2]
        save(root / images / f"{number}.jpg", np.full((height, width, 3), 90 + number))
        save(root / truths / f"{number}.png", mask)
    return root


def opened(root: Path, split: str = "train", fractions=(1, 0, 0), findings=None, **options):
    return open_dataset("mask_folder", root, split=split, fractions=fractions, options=options, findings=findings)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "color", "row", "values"),
    [
        (1, 0, [0b10110000, 0b01000000], [1, 0, 1, 1, 0, 0, 0, 0, 0, 1]),
        (2, 0, [0b00011011, 0b11100000], [0, 1, 2, 3, 3, 2]),
        (4, 0, [0x1F, 0x20], [1, 15, 2, 0]),
        (8, 0, [1, 2, 255], [1, 2, 255]),
        (16, 0, [1, 2, 255, 255], [258, 65535]),
        (1, 3, [0b10110000, 0b01000000], [1, 0, 1, 1, 0, 0, 0, 0, 0, 1]),
        (2, 3, [0b00011011, 0b11100000], [0, 1, 2, 3, 3, 2]),
        (4, 3, [0x1F, 0x20], [1, 15, 2, 0]),
        (8, 3, [1, 15, 2], [1, 15, 2]),
        (8, 2, [7, 7, 7, 9, 9, 9], [7, 9]),
    ],
)
def test_values_are_those_in_the_file(tmp_path, bits, color, row, values):
    file = tmp_path / "mask.png"
    file.write_bytes(png(len(values), 1, bits, color, [bytes(row)], PALETTE if color == 3 else b""))
    read = read_values(file)
    assert read.tolist() == [values]
    assert read.dtype == (np.uint16 if bits == 16 else np.uint8)


@pytest.mark.parametrize("suffix", [".gif", ".bmp", ".tif"])
@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_other_formats_that_keep_numbers(tmp_path, suffix, mode):
    values = np.array([[0, 1, 1], [1, 0, 1]], np.uint8)
    picture = Image.fromarray(values * 255).convert("1") if mode == "1" else Image.fromarray(values)
    if mode == "P":
        picture.putpalette(PALETTE)
    picture.save(tmp_path / f"mask{suffix}")
    stored = (
        values * 255 if (mode, suffix) == ("1", ".gif") else values
    )  # a GIF has no bits, so Pillow writes 0 and 255
    assert read_values(tmp_path / f"mask{suffix}").tolist() == stored.tolist()


def test_an_interlaced_file(tmp_path):
    # Adam7 of 3 x 3 pixels: passes 1, 4, 5, 6 and 7 have pixels, and each row a filter byte.
    rows = [bytes(row) for row in ([0], [2], [6, 8], [1], [7], [3, 4, 5])]
    data = bytearray(png(3, 3, 8, 0, rows))
    data[28] = 1
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "mask.png").write_bytes(data)
    assert read_values(tmp_path / "mask.png").tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def fault_of(file: Path) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        read_values(file)
    assert str(caught.value).startswith(f"'{file}' ") and "\n" not in str(caught.value)
    return caught.value.code, caught.value.reason


def test_files_that_are_no_masks(tmp_path):
    file = tmp_path / "mask.png"
    assert fault_of(file) == ("MISSING", "does not exist; check the path")
    good = png(3, 1, 8, 0, [bytes([1, 2, 3])])
    for data, code in (
        (b"", "EMPTY_FILE"),
        (b"<html>", "NOT_AN_IMAGE"),
        (good[:-20], "TRUNCATED"),
        (good[:-1], "TRUNCATED"),
        (good[:45] + b"X" + good[46:], "DAMAGED"),  # a checksum is wrong
        (png(3, 2, 8, 0, [bytes([1, 2, 3])]), "DAMAGED"),  # the second row is not there
        (png(60000, 60000, 1, 0, [b""]), "TOO_LARGE"),  # a bomb: it is not decoded
        (png(1, 1, 16, 2, [bytes([1, 2, 1, 3, 1, 4])]), "UNSUPPORTED"),  # unequal below the high bytes
    ):
        file.write_bytes(data)
        assert fault_of(file)[0] == code
    Image.new("L", (8, 8)).save(tmp_path / "mask.jpg")
    code, reason = fault_of(tmp_path / "mask.jpg")
    assert code == "UNSUPPORTED" and reason.startswith("is a JPEG file, but masks are read from PNG, GIF, BMP, TIFF")


def test_colour_is_refused_with_what_to_do(tmp_path):
    file = save(tmp_path / "mask.png", [[[1, 1, 1], [255, 0, 0]]])
    assert fault_of(file) == (
        "UNSUPPORTED",
        "is a mask in colour (RGB); save it as a PNG with one number a pixel: grey or with a palette, where the class "
        "number is the value",
    )


def test_an_exif_turn_is_refused(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("L", (4, 2)).save(tmp_path / "mask.png", exif=exif)
    assert fault_of(tmp_path / "mask.png")[0] == "UNSUPPORTED"


# --- what values stand for --------------------------------------------------------------------------------------------


def test_a_map_merges_values_and_its_order_is_that_of_the_classes(tmp_path):
    folder_of(tmp_path, [[0, 128, 64], [7, 1000, 128]])
    values = {0: "background", 128: "road", 64: "car", 1000: "road"}
    dataset = opened(tmp_path, mask_values=values, ignore_value=7)
    assert dataset.class_names == ["background", "road", "car"]
    sample = dataset[0]
    assert set(sample) == {"image", "path", "size", "mask"}
    assert sample["mask"].dtype == np.int64
    assert sample["mask"].tolist() == [[0, 1, 2], [255, 1, 1]]
    assert dataset.truth(0)["mask"].tolist() == sample["mask"].tolist()
    assert dataset.labels.shape == (0,)


def test_a_value_beyond_the_map_is_an_error_that_counts(tmp_path):
    folder_of(tmp_path, [[0, 1, 2, 2], [2, 3, 4, 5], [6, 7, 255, 255]])
    dataset = opened(tmp_path, mask_values={0: "a", 1: "b"}, ignore_value=7)
    with pytest.raises(DataError) as caught:
        dataset.truth(0)
    assert str(caught.value) == (
        f"'{tmp_path}/masks/0.png' has values that stand for no class, 2 (3 pixels), 255 (2 pixels), 3 (1 pixel), "
        "4 (1 pixel), 5 (1 pixel) and 1 more: expected 0 a, 1 b, 7 ignored; correct the mask, or say what its values "
        "mean with data.mask_values and data.ignore_value."
    )


def test_a_file_of_names(tmp_path):
    folder_of(tmp_path, [[0, 2, 255]], [[1, 9, 0]])
    (tmp_path / "classes.txt").write_bytes("\ufeffsky\r\nroad \r\nböats\r\n\r\n".encode())
    dataset = opened(tmp_path)
    assert dataset.class_names == ["sky", "road", "böats"]
    assert dataset.truth(0)["mask"].tolist() == [[0, 2, 255]]
    with pytest.raises(DataError, match=r"masks/1.png' has values .* 9 \(1 pixel\): expected 0 sky, 1 road, 2 böats"):
        dataset.truth(1)
    dataset = opened(tmp_path, ignore_value=9)
    assert dataset.truth(1)["mask"].tolist() == [[1, 255, 0]]
    with pytest.raises(DataError, match=r"255 \(1 pixel\)"):
        dataset.truth(0)


@pytest.mark.parametrize(
    ("met", "ignore_value", "names", "mask"),
    [
        ([0, 255], None, ["background", "foreground"], [0, 1]),
        ([0, 1], None, ["background", "foreground"], [0, 1]),
        ([0, 1, 255], None, ["background", "foreground"], [0, 1, 255]),
        ([0, 3, 5, 255], None, ["0", "3", "5"], [0, 1, 2, 255]),
        ([0, 127, 255], None, ["0", "127", "255"], [0, 1, 2]),
        ([0, 3, 5, 255], 0, ["3", "5", "255"], [255, 0, 1, 2]),
        ([500, 1000, 2000], 500, ["1000", "2000"], [255, 0, 1]),
    ],
)
def test_masks_say_themselves_which_classes_there_are(tmp_path, met, ignore_value, names, mask):
    folder_of(tmp_path, [met[:1] * len(met)], [met])
    options = {} if ignore_value is None else {"ignore_value": ignore_value}
    dataset = opened(tmp_path, **options)
    assert dataset.class_names == names
    assert dataset.truth(1)["mask"].tolist() == [mask]


def test_classes_of_all_splits_are_those_of_train(tmp_path):
    for split, mask in (("train", [[0, 2, 7]]), ("val", [[7, 2, 2]]), ("test", [[9, 0, 0]])):
        folder_of(tmp_path / split, mask)
    assert [opened(tmp_path, split).class_names for split in ("train", "val", "test")] == [["0", "2", "7"]] * 3
    assert opened(tmp_path, "val").truth(0)["mask"].tolist() == [[2, 1, 1]]
    with pytest.raises(DataError, match=r"test/masks/0.png' has values that stand for no class, 9 \(1 pixel\)"):
        opened(tmp_path, "test").truth(0)


def test_a_mask_that_cannot_be_read_raises_when_it_is_its_turn(tmp_path):
    folder_of(tmp_path, [[0, 1]], [[1, 0]])
    (tmp_path / "masks/0.png").write_bytes(b"")
    dataset = opened(tmp_path)
    assert dataset.class_names == ["background", "foreground"]
    assert dataset[1]["mask"].tolist() == [[1, 0]]
    with pytest.raises(ImageError, match=r"masks/0.png' is empty"):
        dataset[0]
    (tmp_path / "masks/1.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"masks/0.png' is empty"):
        opened(tmp_path)


def broken(root: Path, kind: type[Exception] = DataError, **options) -> str:
    with pytest.raises(kind) as caught:
        opened(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_maps_and_masks_that_make_no_classes(tmp_path):
    folder_of(tmp_path / "one", [[0, 0]])
    assert broken(tmp_path / "one") == (
        f"The masks of '{tmp_path}/one' hold 1 value (0), and 2 to 64 were expected: say what they mean with "
        "data.mask_values, or name the classes in a classes.txt."
    )
    root = folder_of(tmp_path / "many", [list(range(256))])
    assert "hold 255 values (0, 1, 2, 3, 4, 5, 6, 7, ...), and 2 to 64" in broken(root, ignore_value=255)
    assert "names 1 classes; there must be 2" in broken(root, UsageError, mask_values={0: "a", 1: "a"})
    assert "has the value 70000" in broken(root, UsageError, mask_values={0: "a", 70000: "b"})
    assert "ignore_value is -1" in broken(root, UsageError, ignore_value=-1)
    assert "1 is 'b' in data.mask_values and" in broken(root, UsageError, mask_values={0: "a", 1: "b"}, ignore_value=1)
    for text, fault in (("a\n\nb", "line 2: is empty"), ("a\nb\na", "line 3: 'a' is there"), ("a", "names 1 classes")):
        (root / "classes.txt").write_text(text)
        assert f"'{root}/classes.txt'" in broken(root) and fault in broken(root)
    (root / "classes.txt").write_bytes(b"\xff\n")
    assert "is not UTF-8" in broken(root)


# --- images and masks -------------------------------------------------------------------------------------------------


def test_sizes_that_differ_name_both_files(tmp_path):
    folder_of(tmp_path, [[0, 1], [1, 0]])
    save(tmp_path / "images/0.jpg", np.zeros((2, 3, 3)))
    dataset = opened(tmp_path)
    with pytest.raises(DataError) as caught:
        dataset[0]
    image, mask = f"'{tmp_path}/images/0.jpg'", f"'{tmp_path}/masks/0.png'"
    assert str(caught.value) == (f"{mask} has 2 x 2 pixels, but its image {image} has 3 x 2: they must be of one size.")


@pytest.mark.parametrize(
    ("images", "truths"), [("Images", "Masks"), ("img", "labels"), ("rgb", "gt"), ("image", "SegmentationS")]
)
def test_names_of_folders(tmp_path, images, truths):
    assert len(opened(folder_of(tmp_path, [[0, 1]], images=images, truths=truths))) == 1


def test_pairs_that_lack_one_half_are_noted(tmp_path):
    folder_of(tmp_path, [[0, 1]], [[0, 1]], [[0, 1]])
    (tmp_path / "masks/1.png").unlink()
    (tmp_path / "images/2.jpg").unlink()
    findings = Findings()
    dataset = opened(tmp_path, findings=findings)
    assert [Path(dataset.path(index)).name for index in range(len(dataset))] == ["0.jpg"]
    assert [(finding.code, finding.file, finding.action) for finding in findings] == [
        ("NO_TRUTH", "images/1.jpg", "left out"),
        ("NO_IMAGE", "masks/2.png", "noted"),
    ]


def test_a_link_out_of_the_set_is_noted(tmp_path):
    folder_of(tmp_path / "set", [[0, 1]])
    (tmp_path / "set/masks/0.png").rename(tmp_path / "elsewhere.png")
    (tmp_path / "set/masks/0.png").symlink_to(tmp_path / "elsewhere.png")
    findings = Findings()
    assert opened(tmp_path / "set", findings=findings)[0]["mask"].tolist() == [[0, 1]]
    assert [(finding.code, finding.file) for finding in findings] == [("LINK_OUTSIDE", "masks/0.png")]


def test_names_that_are_not_utf8(tmp_path):
    folder_of(tmp_path, [[0, 1]])
    for file in ("images/0.jpg", "masks/0.png"):
        name = os.fsencode(tmp_path / file)
        os.rename(name, name.replace(b"0.", b"\xff."))
    assert opened(tmp_path)[0]["mask"].tolist() == [[0, 1]]


def test_the_drawn_world_comes_back_as_it_was(tmp_path):
    worlds = {split: ShapesWorld("segmentation", split, images=3, size=(48, 64)) for split in ("train", "val", "test")}
    for split, world in worlds.items():
        samples = [world[index] for index in range(3)]
        samples[0]["mask"][:5, :7] = 255
        write_split(samples, tmp_path, split=split, class_names=world.class_names)
        dataset = opened(tmp_path, split)
        assert dataset.class_names == world.class_names
        assert len(dataset) == 3
        for index, sample in enumerate(samples):
            assert (dataset[index]["mask"] == sample["mask"]).all()
            assert np.abs(dataset[index]["image"].astype(int) - sample["image"]).mean() < 6  # JPEG


def test_it_holds_no_python_object_an_image(tmp_path):
    dataset = opened(folder_of(tmp_path, *[[[0, 1]]] * 5))
    kept = [value for value in vars(dataset).values() if isinstance(value, list | tuple | dict)]
    assert kept == [dataset.class_names]
