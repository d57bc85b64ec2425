"""Edge maps in grey files: the share that each level stands for, and every way a file can be wrong."""

import pickle
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from foveal.cli.main import main
from foveal.core.errors import DataError, MissingSplit
from foveal.core.images import ImageError, write_image
from foveal.core.options import SPLITS
from foveal.datasets import bsds, open_dataset
from foveal.datasets.edge_folder import read_edges, write_split
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld


def png(width: int, height: int, bits: int, color: int, rows: list[bytes], palette: bytes = b"") -> bytes:
    """A PNG from its raw rows; `color`: 0 grey, 2 RGB, 3 palette, 4 grey and alpha."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"PLTE", palette) * bool(palette) + pixels + chunk(b"IEND", b"")


def save(path: Path, levels, dtype=np.uint8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.asarray(levels, dtype))[1].tobytes())
    return path


def folder_of(root: Path, *maps, images: str = "images", truths: str = "edges", dtype=np.uint8) -> Path:
    """Edge maps and images of their sizes."""
    for number, levels in enumerate(maps):
        save(root / images / f"{number}.jpg", np.full((*np.shape(levels)[:2], 3), 90 + number))
        save(root / truths / f"{number}.png", levels, dtype)
    return root


def opened(root: Path, split="train", findings=None, fractions=(1, 0, 0)):
    return open_dataset("edge_folder", root, split=split, fractions=fractions, findings=findings)


def shares(*values) -> list[float]:
    """As float32 has them."""
    return np.array(values, np.float32).tolist()


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "color", "row", "expected"),
    [
        (8, 0, [0, 51, 128, 255], shares(0, 0.2, 128 / 255, 1)),
        (16, 0, [0, 0, 51, 51, 128, 0, 255, 255], shares(0, 0.2, 32768 / 65535, 1)),
        (16, 0, [0, 0, 0, 2], shares(0, 2 / 65535)),
        (1, 0, [0b01100000], shares(0, 1, 1, 0)),
        (2, 0, [0b00011011], shares(0, 1 / 3, 2 / 3, 1)),
        (4, 0, [0x03, 0xF0], shares(0, 0.2, 1, 0)),
        (8, 0, [0, 1, 1, 0], shares(0, 1, 1, 0)),  # True and False, saved as they are
        (16, 0, [0, 0, 0, 1], shares(0, 1)),
        (8, 0, [0, 2], shares(0, 2 / 255)),
        (8, 0, [0, 0], shares(0, 0)),
        (8, 2, [51, 51, 51, 255, 255, 255], shares(0.2, 1)),
        (16, 2, [51, 51] * 3 + [255, 255] * 3, shares(0.2, 1)),
        (8, 4, [51, 0, 255, 255], shares(0.2, 1)),  # whatever is transparent
    ],
)
def test_the_grey_level_is_the_share(tmp_path, bits, color, row, expected):
    file = tmp_path / "1.png"
    file.write_bytes(png(len(expected), 1, bits, color, [bytes(row)]))
    edges = read_edges(str(file))["edges"]
    assert edges.dtype == np.float32 and edges.tolist() == [expected]


@pytest.mark.parametrize(
    ("bits", "palette", "row", "expected"),
    [
        (1, [0, 0, 0, 255, 255, 255], [0b01100000], shares(0, 1, 1)),
        (1, [255, 255, 255, 0, 0, 0], [0b01100000], shares(1, 0, 0)),  # the first colour is white
        (8, [0, 0, 0, 51, 51, 51, 255, 255, 255], [2, 1, 0], shares(1, 0.2, 0)),
    ],
)
def test_a_palette_counts_by_what_it_shows(tmp_path, bits, palette, row, expected):
    file = tmp_path / "1.png"
    file.write_bytes(png(3, 1, bits, 3, [bytes(row)], bytes(palette)))
    assert read_edges(str(file))["edges"].tolist() == [expected]


@pytest.mark.parametrize("suffix", [".bmp", ".gif"])
def test_other_formats_that_keep_levels(tmp_path, suffix):
    Image.fromarray(np.array([[0, 51, 255]], np.uint8)).save(tmp_path / f"1{suffix}")
    assert read_edges(str(tmp_path / f"1{suffix}"))["edges"].tolist() == [shares(0, 0.2, 1)]


def fault_of(file: Path) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        read_edges(str(file))
    assert str(caught.value).startswith(f"'{file}' ") and "\n" not in str(caught.value)
    return caught.value.code, caught.value.reason


def test_files_that_are_no_edge_maps(tmp_path):
    file = tmp_path / "1.png"
    assert fault_of(file) == ("MISSING", "does not exist; check the path")
    good = png(3, 1, 8, 0, [bytes([1, 2, 3])])
    for data, code in (
        (b"", "EMPTY_FILE"),
        (b"<html>", "NOT_AN_IMAGE"),
        (good[:-20], "TRUNCATED"),
        (good[:45] + b"X" + good[46:], "DAMAGED"),  # a checksum is wrong
        (png(3, 2, 16, 0, [bytes(6)]), "DAMAGED"),  # the second row is not there
        (png(60000, 60000, 1, 0, [b""]), "TOO_LARGE"),  # a bomb: it is not decoded
    ):
        file.write_bytes(data)
        assert fault_of(file)[0] == code


@pytest.mark.parametrize(
    ("bits", "color", "row"),
    [
        (8, 2, [51, 51, 51, 51, 52, 51]),
        (16, 2, [0, 1, 0, 1, 0, 1, 0, 1, 0, 2, 0, 1]),  # unequal below the high bytes
        (8, 3, [0, 1]),
    ],
)
def test_colour_is_refused_with_what_to_do(tmp_path, bits, color, row):
    file = tmp_path / "1.png"
    file.write_bytes(png(2, 1, bits, color, [bytes(row)], bytes([0, 0, 0, 128, 0, 0]) if color == 3 else b""))
    reason = "is an edge map in colour; save it in grey, white where there is an edge"
    assert fault_of(file) == ("UNSUPPORTED", reason)


def test_formats_that_change_levels_are_refused(tmp_path):
    for suffix, kind in ((".jpg", "JPEG"), (".tif", "TIFF")):
        assert fault_of(save(tmp_path / f"1{suffix}", np.zeros((8, 8)))) == (
            "UNSUPPORTED",
            f"is a {kind} file, but edge maps are read from PNG, BMP, GIF alone, which keep every grey level; write "
            "the map anew as grey PNG",
        )


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_sample(tmp_path):
    dataset = opened(folder_of(tmp_path, [[0, 255, 51], [0, 0, 0]]))
    sample = dataset[0]
    assert set(sample) == {"image", "path", "size", "edges"}
    assert sample["edges"].tolist() == [shares(0, 1, 0.2), shares(0, 0, 0)]
    assert sample["size"] == (2, 3) and dataset.class_names == [] and dataset.labels.shape == (0,)


def test_sizes_that_differ_name_both_files(tmp_path):
    folder_of(tmp_path, [[0, 255], [255, 0]])
    save(tmp_path / "images/0.jpg", np.zeros((2, 3, 3)))
    with pytest.raises(DataError) as caught:
        opened(tmp_path)[0]
    edges, image = f"'{tmp_path}/edges/0.png'", f"'{tmp_path}/images/0.jpg'"
    assert str(caught.value) == f"{edges} has 2 x 2 pixels, but its image {image} has 3 x 2: they must be of one size."


@pytest.mark.parametrize(
    ("images", "truths"),
    [("Images", "Edges"), ("imgs", "edge_maps"), ("img", "gt"), ("rgb", "boundaries"), ("image", "groundTruth")],
)
def test_names_of_folders(tmp_path, images, truths):
    assert len(opened(folder_of(tmp_path, [[0, 1]], images=images, truths=truths))) == 1


def test_splits_of_the_folder_itself(tmp_path):
    # As BIPED is unpacked: images and maps of one name some folders further down.
    for split, count in (("train", 4), ("test", 2)):
        maps = [[[0, 255]]] * count
        folder_of(tmp_path, *maps, images=f"imgs/{split}/rgbr/real", truths=f"edge_maps/{split}/rgbr/real")
    sizes = [len(opened(tmp_path, split, fractions=(0.5, 0.25, 0.25))) for split in SPLITS]
    assert sizes[0] + sizes[1] == 4 and min(sizes) >= 1 and sizes[2] == 2


def test_splits_are_drawn_where_there_are_none(tmp_path):
    folder_of(tmp_path, *[[[0, 255]]] * 10)
    assert [len(opened(tmp_path, split, fractions=(0.5, 0.2, 0.3))) for split in SPLITS] == [5, 2, 3]


def test_folders_that_are_something_else(tmp_path):
    (tmp_path / "masks").mkdir()
    with pytest.raises(
        DataError, match=r"holds masks: expected a folder images .* and a folder edges with a map of edges"
    ):
        opened(tmp_path)
    folder_of(tmp_path / "train", [[0, 255]])
    with pytest.raises(MissingSplit):
        opened(tmp_path, "test")


def test_pairs_that_lack_one_half_are_noted(tmp_path):
    folder_of(tmp_path, *[[[0, 255]]] * 3)
    (tmp_path / "edges/1.png").unlink()
    (tmp_path / "images/2.jpg").unlink()
    findings = Findings()
    dataset = opened(tmp_path, findings=findings)
    assert [Path(dataset.path(index)).name for index in range(len(dataset))] == ["0.jpg"]
    assert [(finding.code, finding.file, finding.action) for finding in findings] == [
        ("NO_TRUTH", "images/1.jpg", "left out"),
        ("NO_IMAGE", "edges/2.png", "noted"),
    ]


def test_a_link_out_of_the_set_is_noted(tmp_path):
    folder_of(tmp_path / "set", [[0, 255]])
    (tmp_path / "set/edges/0.png").rename(tmp_path / "elsewhere.png")
    (tmp_path / "set/edges/0.png").symlink_to(tmp_path / "elsewhere.png")
    findings = Findings()
    assert opened(tmp_path / "set", findings=findings)[0]["edges"].tolist() == [[0, 1]]
    assert [(finding.code, finding.file) for finding in findings] == [("LINK_OUTSIDE", "edges/0.png")]


def test_it_goes_to_workers(tmp_path):
    dataset = pickle.loads(pickle.dumps(opened(folder_of(tmp_path, [[0, 255]], [[51, 255]]))))
    assert dataset.subset(np.array([1])).truth(0)["edges"].tolist() == [shares(0.2, 1)]


# --- what is written --------------------------------------------------------------------------------------------------


def test_the_drawn_world_comes_back_as_it_was(tmp_path):
    for split in SPLITS:
        world = ShapesWorld("edges", split, images=3, size=(48, 64))
        write_split(world, tmp_path, split=split, class_names=[])
        dataset = opened(tmp_path, split)
        assert len(dataset) == 3
        for index in range(3):
            sample, drawn = dataset[index], world[index]
            assert np.array_equal(sample["edges"], drawn["edges"]) and sample["edges"].dtype == np.float32
            assert np.abs(sample["image"].astype(int) - drawn["image"]).mean() < 8


def written(tmp_path, edges) -> tuple[int, np.ndarray]:
    """Bits of the map that is written, and what is read."""
    values = np.asarray(edges, np.float32)[None]
    sample = {"image": np.zeros((*values.shape, 3), np.uint8), "edges": values}
    write_split([sample], tmp_path, split="train", class_names=[])
    return (tmp_path / "train/edges/000000.png").read_bytes()[24], opened(tmp_path).truth(0)["edges"][0]


@pytest.mark.parametrize("annotators", range(1, 13))
def test_shares_of_any_number_of_annotators(tmp_path, annotators):
    edges = np.arange(annotators + 1, dtype=np.float32) / np.float32(annotators)
    bits, read = written(tmp_path, edges)
    assert bits == (8 if 255 % annotators == 0 else 16)
    assert np.abs(read.astype(float) - edges).max() <= (0 if 65535 % annotators == 0 else 1 / 131000)


def test_the_faintest_shares(tmp_path):
    assert [written(tmp_path, [0, 0])[0], written(tmp_path, [0, 1 / 255])[0]] == [8, 16]
    assert written(tmp_path, [0, 1 / 255])[1].tolist() == shares(0, 1 / 255)  # not 1
    assert written(tmp_path, [0, 1 / 65535])[1].tolist() == [0, 0]


def test_ground_truth_of_bsds_as_a_folder_and_back(tmp_path):
    """Of three annotators the shares are kept; written as BSDS, one annotator has marked what a half or more did."""
    annotators = np.array([[[1, 1, 0, 0]], [[1, 1, 1, 0]], [[1, 0, 0, 0]]], bool)
    sample = {"image": np.zeros((1, 4, 3), np.uint8), "annotators": annotators}
    sample["edges"] = annotators.mean(axis=0, dtype=np.float32)
    write_split([sample], tmp_path / "folder", split="train", class_names=[])
    read = opened(tmp_path / "folder")
    assert read[0]["edges"].tolist() == [shares(1, 2 / 3, 1 / 3, 0)]
    bsds.write_split([read[0]], tmp_path / "bsds", split="train", class_names=[])
    again = open_dataset("bsds", tmp_path / "bsds", split="train", fractions=(1, 0, 0))
    assert again.truth(0)["annotators"].tolist() == [[[True, True, False, False]]]


# --- check-data -------------------------------------------------------------------------------------------------------


def check(capsys, root) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["check-data", "edge_folder", str(root)])
    return code, " ".join(capsys.readouterr().out.split())


def test_check_data_says_what_is_wrong_with_maps(tmp_path, capsys):
    for split in SPLITS:
        write_split(ShapesWorld("edges", split, images=2, size=64), tmp_path, split=split, class_names=[])
    code, said = check(capsys, tmp_path)
    assert code == 0 and "Nothing is wrong with these 6 images." in said

    inverted, empty, colored, small = (
        tmp_path / "train/edges/000000.png",
        *(tmp_path / split / f"edges/00000{number}.png" for split, number in (("train", 1), ("val", 0), ("test", 0))),
    )
    save(inverted, 255 - cv2.imread(str(inverted), cv2.IMREAD_GRAYSCALE))
    save(empty, np.zeros((64, 64)))
    code, said = check(capsys, tmp_path)
    assert code == 0
    assert "MOSTLY_EDGES (1)" in said and "train/edges/000000.png: 9" in said and "is it inverted?" in said
    assert "NO_EDGE (1)" in said and "train/edges/000001.png: no pixel of it is an edge" in said

    write_image(colored, np.full((64, 64, 3), (255, 0, 0), np.uint8))
    save(small, np.zeros((64, 32)))
    code, said = check(capsys, tmp_path)
    assert code == 3
    assert "val/edges/000000.png: is an edge map in colour" in said
    assert "test/edges/000000.png: has 32 x 64 pixels, but its image 'test/images/000000.jpg' has 64 x 64" in said
