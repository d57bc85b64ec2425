"""BSDS500: drawings of several annotators out of MATLAB files, and every way these can be wrong."""

import io
import pickle
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from scipy.io import loadmat, savemat

from foveal.cli.main import main
from foveal.core.data import collate
from foveal.core.errors import DataError, MissingSplit
from foveal.core.images import ImageError, write_image
from foveal.core.options import SPLITS
from foveal.datasets import mat, open_dataset
from foveal.datasets.bsds import read_annotators, write_split
from foveal.datasets.findings import Findings
from foveal.datasets.mat import read_variable
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.edges.transforms import transform

# Three people look at 2 x 4 pixels: all saw an edge in the first, two in the second, one in the third, none elsewhere.
DRAWN = np.array([[[1, 0, 0, 0], [0, 0, 0, 0]], [[1, 1, 0, 0], [0, 0, 0, 0]], [[1, 1, 1, 0], [0, 0, 0, 0]]], np.uint8)
SHARES = [[1, 2 / 3, 1 / 3, 0], [0, 0, 0, 0]]


def cell_of(values, shape=None) -> np.ndarray:
    """A cell array."""
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells.reshape(shape or (1, -1))


def truth_of(drawings) -> np.ndarray:
    """`groundTruth` as it is published."""
    structs = [{"Segmentation": np.ones(np.shape(drawing), np.uint16), "Boundaries": drawing} for drawing in drawings]
    return cell_of(structs)


def save(file: Path, truth=None, compressed=True, **variables) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {**variables, **({} if truth is None else {"groundTruth": truth})}, do_compression=compressed)
    return file


def pair(root: Path, name: str, drawings=DRAWN) -> None:
    """An image `name`, such as "train/1", and its truth."""
    image = root / "images" / f"{name}.jpg"
    image.parent.mkdir(parents=True, exist_ok=True)
    write_image(image, np.full((*np.shape(drawings)[-2:], 3), 90, np.uint8))
    save(root / "groundTruth" / f"{name}.mat", truth_of(drawings))


def opened(root: Path, split="train", findings=None, fractions=(1, 0, 0)):
    return open_dataset("bsds", root, split=split, fractions=fractions, findings=findings)


def names_in(dataset) -> list[str]:
    return [Path(dataset.path(index)).stem for index in range(len(dataset))]


def said(findings) -> list[tuple[str, str, str]]:
    return [(finding.code, finding.file, finding.action) for finding in findings]


def fault_of(file: Path) -> str:
    """What is said of a file, behind its name."""
    with pytest.raises(DataError) as caught:
        read_annotators(str(file))
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"'{file}' ")


# --- what is read -----------------------------------------------------------------------------------------------------


def test_the_share_of_three_annotators(tmp_path):
    pair(tmp_path, "train/1")
    dataset = opened(tmp_path)
    sample = dataset[0]
    assert set(sample) == {"image", "path", "size", "edges", "annotators"}
    assert sample["edges"].dtype == np.float32 and sample["annotators"].dtype == bool
    assert sample["edges"].tolist() == np.array(SHARES, np.float32).tolist()
    assert sample["annotators"].tolist() == (DRAWN == 1).tolist()
    assert sample["size"] == (2, 4) and dataset.class_names == [] and dataset.labels.shape == (0,)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        lambda drawing: drawing.astype(bool),
        lambda drawing: drawing.astype(float),
        lambda drawing: drawing.astype(np.int16),
        lambda drawing: scipy.sparse.csc_matrix(drawing.astype(bool)),
        lambda drawing: scipy.sparse.csc_matrix(drawing.astype(float)),
    ],
    ids=["logical", "double", "int16", "sparse logical", "sparse double"],
)
def test_numbers_of_any_kind(tmp_path, change, compressed):
    file = save(tmp_path / "1.mat", cell_of([{"Boundaries": change(drawing)} for drawing in DRAWN]), compressed)
    assert read_annotators(str(file))["annotators"].tolist() == (DRAWN == 1).tolist()


def test_a_column_of_cells_an_array_of_structs_and_variables_beside_it(tmp_path):
    column = truth_of(DRAWN).reshape(3, 1)
    array = np.zeros((1, 3), [("Boundaries", object)])
    for number in range(3):
        array[0, number]["Boundaries"] = DRAWN[number]
    for name, truth in (("column", column), ("array", array)):
        file = save(tmp_path / f"{name}.mat", truth, about="text", before=np.eye(3))
        assert read_annotators(str(file))["annotators"].tolist() == (DRAWN == 1).tolist()


def element(kind: int, data: bytes, order: str) -> bytes:
    """An element of a MATLAB file; one of up to four bytes lies within its tag."""
    if 0 < len(data) <= 4:
        words = (kind, len(data)) if order == "<" else (len(data), kind)
        return struct.pack(f"{order}HH4s", *words, data)
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8 if kind != 15 else 0)


def matrix(kind: int, shape: tuple[int, int], name: bytes, inside: bytes, order: str, flags: int = 0) -> bytes:
    head = element(6, struct.pack(f"{order}II", flags << 8 | kind, 0), order)
    head += element(5, struct.pack(f"{order}ii", *shape), order) + element(1, name, order)
    return element(14, head + inside, order)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [True, False])
def test_files_of_machines_that_write_the_highest_byte_first(tmp_path, order, packed):
    numbers = np.array([[1, 0], [0, 0], [1, 1]])  # column by column in the file
    drawing = matrix(6, (3, 2), b"", element(4, numbers.T.astype(f"{order}u2").tobytes(), order), order)
    fields = element(5, struct.pack(f"{order}i", 11), order) + element(1, b"Boundaries\0", order)
    truth = matrix(1, (1, 1), b"groundTruth", matrix(2, (1, 1), b"", fields + drawing, order), order)
    if packed:
        truth = element(15, zlib.compress(truth), order)
    version = b"\x00\x01IM" if order == "<" else b"\x01\x00MI"
    (tmp_path / "1.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + version + truth)
    assert read_annotators(str(tmp_path / "1.mat"))["annotators"].tolist() == [(numbers == 1).tolist()]


def test_real_ground_truth(real_data):
    root = real_data / "bsds500"
    splits = {split: opened(root, split) for split in SPLITS}
    assert [len(splits[split]) for split in SPLITS] == [200, 100, 200]
    counts = [len(part.truth(index)["annotators"]) for part in splits.values() for index in range(len(part))]
    assert (min(counts), max(counts), sum(counts)) == (4, 9, 2696)

    train = splits["train"]
    sample = train[names_in(train).index("100075")]
    cells = loadmat(root / "groundTruth" / "train" / "100075.mat")["groundTruth"][0]
    drawings = [cell["Boundaries"][0, 0] for cell in cells]
    assert sample["annotators"].shape == (6, 321, 481) and len(drawings) == 6
    assert sample["annotators"][0].sum() == drawings[0].sum() == 3061
    assert np.array_equal(sample["annotators"], np.stack(drawings) == 1)
    assert np.array_equal(sample["edges"], np.stack(drawings).sum(axis=0).astype(np.float32) / np.float32(6))


def test_real_files_hold_what_scipy_reads(real_data):
    for file in sorted((real_data / "bsds500" / "groundTruth" / "val").iterdir())[:20]:
        cells = loadmat(file)["groundTruth"].ravel()
        read = read_variable(file, "groundTruth")
        assert [len(structs) for structs in read] == [1] * len(cells)
        for (fields,), cell in zip(read, cells, strict=True):
            assert tuple(fields) == cell.dtype.names
            for name, values in fields.items():
                assert values.dtype == cell[name][0, 0].dtype and np.array_equal(values, cell[name][0, 0])


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_the_archive_as_it_was_unpacked(tmp_path, level):
    inner = ["BSR", "BSDS500", "data"]
    for split in SPLITS:
        pair(tmp_path.joinpath(*inner), f"{split}/1")
    pair(tmp_path.joinpath(*inner), "train/2")
    (tmp_path.joinpath(*inner) / "groundTruth/train/2.mat").unlink()
    findings, root = Findings(), tmp_path.joinpath(*inner[:level])
    datasets = [opened(root, split, findings) for split in SPLITS]
    assert [names_in(dataset) for dataset in datasets] == [["1"]] * 3
    assert [Path(dataset.path(0)).parent.name for dataset in datasets] == list(SPLITS)
    assert said(findings) == [("NO_TRUTH", "/".join([*inner[level:], "images/train/2.jpg"]), "left out")]


def test_a_folder_for_each_split_in_any_spelling(tmp_path):
    pair(tmp_path / "Train", "1")
    (tmp_path / "Train/groundTruth").rename(tmp_path / "Train/GROUNDTRUTH")
    assert names_in(opened(tmp_path)) == ["1"]


def test_splits_are_drawn_where_there_are_none(tmp_path):
    for number in range(10):
        pair(tmp_path, str(number))
    fractions = (0.5, 0.2, 0.3)
    parts = [names_in(opened(tmp_path, split, fractions=fractions)) for split in SPLITS]
    assert [len(part) for part in parts] == [5, 2, 3]
    assert sorted(name for part in parts for name in part) == [str(number) for number in range(10)]


def test_val_is_drawn_from_train_and_test_is_not(tmp_path):
    for number in range(4):
        pair(tmp_path, f"train/{number}")
    parts = [names_in(opened(tmp_path, split, fractions=(0.5, 0.25, 0.25))) for split in ("train", "val")]
    assert sorted(parts[0] + parts[1]) == ["0", "1", "2", "3"] and all(parts)
    with pytest.raises(MissingSplit, match="has images for train and none for test"):
        opened(tmp_path, "test")


def test_folders_that_are_something_else(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=r"holds pictures: expected a folder images .* and a folder groundtruth with a"):
        opened(tmp_path)
    pair(tmp_path, "1")
    (tmp_path / "images/1.jpg").rename(tmp_path / "images/2.jpg")
    with pytest.raises(DataError, match=r"No image in .* has a \.mat file of the same name"):
        opened(tmp_path)


def test_pairs_that_lack_one_half_are_noted(tmp_path):
    for name in ("train/1", "train/2", "train/3"):
        pair(tmp_path, name)
    (tmp_path / "groundTruth/train/1.mat").unlink()
    (tmp_path / "images/train/3.jpg").unlink()
    findings = Findings()
    assert names_in(opened(tmp_path, findings=findings)) == ["2"]
    assert said(findings) == [
        ("NO_TRUTH", "images/train/1.jpg", "left out"),
        ("NO_IMAGE", "groundTruth/train/3.mat", "noted"),
    ]


def test_a_link_out_of_the_set_is_noted(tmp_path):
    root = tmp_path / "set" / "BSDS500"
    pair(root, "train/1")
    outside = save(tmp_path / "elsewhere.mat", truth_of(DRAWN[:1]))
    (root / "groundTruth/train/1.mat").unlink()
    (root / "groundTruth/train/1.mat").symlink_to(outside)
    findings = Findings()
    dataset = opened(tmp_path / "set", findings=findings)
    assert said(findings) == [("LINK_OUTSIDE", "BSDS500/groundTruth/train/1.mat", "noted")]
    assert len(dataset.truth(0)["annotators"]) == 1


def test_it_goes_to_workers_and_holds_no_python_object_an_image(tmp_path):
    for number in range(3):
        pair(tmp_path, f"train/{number}", DRAWN[: number + 1])
    dataset = pickle.loads(pickle.dumps(opened(tmp_path)))
    assert all(isinstance(getattr(dataset, name), np.ndarray) for name in ("_paths", "_truths"))
    part = dataset.subset(np.array([2, 0]))
    assert [len(part[index]["annotators"]) for index in range(2)] == [3, 1]
    assert part.fingerprint() != dataset.fingerprint()


def test_images_of_unlike_numbers_of_annotators_make_a_batch(tmp_path):
    for number in (1, 2):
        pair(tmp_path, f"train/{number}", np.resize(DRAWN[:number], (number, 40, 50)))
    crop = transform({"size": 32, "resize": "squash", "grey": False, "mean": [0.5], "std": [0.5]}, "crops")
    dataset = opened(tmp_path)
    samples = [crop(dataset[index], seed=index) for index in range(2)]
    batch = collate(
        [{**sample, "image": as_tensor(sample["image"]), "edges": as_tensor(sample["edges"])} for sample in samples]
    )
    assert batch["image"].shape == (2, 3, 32, 32) and batch["edges"].shape == (2, 32, 32)


def as_tensor(values):
    import torch

    tensor = torch.from_numpy(values)
    return tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor


# --- files that cannot be used ----------------------------------------------------------------------------------------


def test_what_is_no_matlab_file(tmp_path):
    file = tmp_path / "1.mat"
    with pytest.raises(ImageError, match="does not exist"):
        read_annotators(str(file))
    worthless = (
        "is no MATLAB file of version 5 to 7; copy it again from where the data set is to be had, or leave it out."
    )
    for data in (b"<html>404</html>", b"\0" * 4000, b"MATLAB 5.0 MAT-file", np.arange(999).tobytes()):
        file.write_bytes(data)
        assert fault_of(file) == worthless
    savemat(file, {"groundTruth": DRAWN[0]}, format="4")
    assert fault_of(file) == worthless
    file.write_bytes(b"")
    assert fault_of(file) == "is empty (0 bytes); copy it again or leave it out."


@pytest.mark.parametrize("start", [0, 512])
def test_version_7_3_is_another_format(tmp_path, start):
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM"
    file = tmp_path / "1.mat"
    file.write_bytes(header.ljust(512, b"\0")[:start] + b"\x89HDF\r\n\x1a\n" + bytes(4000))
    assert fault_of(file) == "is a MATLAB file of version 7.3 (HDF5), and only older ones are read: save it with '-v7'."


def test_files_that_hold_something_else(tmp_path):
    file = save(tmp_path / "1.mat", a=1, b=np.eye(2))
    assert fault_of(file) == (
        "has no variable groundTruth (its variables: 'a', 'b'): save it with that one, or leave it out."
    )
    without = (
        "has no annotators: expected groundTruth, a cell array with a struct for each, whose Boundaries is a matrix; "
        "correct it, or leave it out."
    )
    for truth in (
        np.zeros((1, 0), object),
        DRAWN[0],
        "a text",
        cell_of([DRAWN[0], DRAWN[1]]),
        cell_of([{"Segmentation": DRAWN[0]}]),
        cell_of([{"Boundaries": "none"}]),
        cell_of([{"Boundaries": DRAWN[0]}, {"Boundaries": cell_of([1, 2])}]),
        cell_of([{"Boundaries": DRAWN[0] * 1j}]),
    ):
        assert fault_of(save(file, truth)) == without


@pytest.mark.parametrize(
    ("drawings", "reason"),
    [
        (
            [DRAWN[0], DRAWN[1][:, :3]],
            "Boundaries of 4 x 2 and 3 x 2 (annotator 2): expected those of all annotators to be as large as the image",
        ),
        ([DRAWN[0][..., None].repeat(2, axis=2)], "Boundaries of 4 x 2 x 2 (annotator 1): expected those of all"),
        ([np.zeros((0, 4))], "Boundaries of 4 x 0 (annotator 1): expected those of all"),
        ([DRAWN[0], DRAWN[1] * 7], "Boundaries of 0 to 7 (annotator 2): expected 1 on a boundary and 0 elsewhere"),
        ([DRAWN[0] * 0.5], "Boundaries of 0.0 to 0.5 (annotator 1): expected 1 on a boundary"),
        ([DRAWN[0] * np.nan], "Boundaries of nan to nan (annotator 1): expected 1 on a boundary"),
    ],
)
def test_drawings_that_are_none(tmp_path, drawings, reason):
    said = fault_of(save(tmp_path / "1.mat", truth_of(drawings)))
    assert said.startswith(f"has {reason}") and said.endswith("; correct it, or leave it out.")


def test_a_size_that_is_not_the_images(tmp_path):
    pair(tmp_path, "train/1")
    save(tmp_path / "groundTruth/train/1.mat", truth_of(DRAWN.transpose(0, 2, 1)))
    with pytest.raises(DataError) as caught:
        opened(tmp_path)[0]
    assert str(caught.value) == (
        f"'{tmp_path}/groundTruth/train/1.mat' has 2 x 4 pixels, but its image '{tmp_path}/images/train/1.jpg' has "
        "4 x 2: they must be of one size."
    )


@pytest.mark.parametrize("kind", ["packed", "plain", "sparse"])
def test_damage_is_an_error_and_never_a_crash(tmp_path, kind):
    """A packed file has a checksum, so that what is still read is what was saved."""
    drawings = np.random.default_rng(0).random((2, 6, 9)) < 0.3
    truth = truth_of([scipy.sparse.csc_matrix(d) if kind == "sparse" else d.astype(np.uint8) for d in drawings])
    file = save(tmp_path / "1.mat", truth, compressed=kind == "packed")
    whole, draw, refused = file.read_bytes(), random.Random(0), 0
    for number in range(3000):
        data = bytearray(whole)
        if number % 3 == 0:
            del data[number * len(data) // 3000 :]
        for _ in range(draw.choice((1, 1, 1, 8)) if number % 3 else 0):
            data[draw.randrange(len(data))] = draw.choice((0, 1, 14, 127, 128, 255, draw.randrange(256)))
        file.write_bytes(data)
        try:
            read = read_annotators(str(file))
        except DataError as error:
            assert str(error).startswith(f"'{file}' ") and "\n" not in str(error)
            refused += 1
            continue
        assert read["annotators"].dtype == bool and read["annotators"].shape[1:] == read["edges"].shape
        assert kind != "packed" or np.array_equal(read["annotators"], drawings)
    assert refused > 1000


def test_a_file_that_unpacks_to_more_than_it_should(tmp_path, monkeypatch):
    file = save(tmp_path / "1.mat", truth_of([np.zeros((100, 100), np.uint8)]))
    assert len(read_annotators(str(file))["annotators"]) == 1
    monkeypatch.setattr(mat, "MAX_BYTES", 5000)
    assert fault_of(file) == "has a variable of more than 5,000 bytes, which is the most that is read."


# --- what is written --------------------------------------------------------------------------------------------------


def test_the_drawn_world_comes_back_as_it_was(tmp_path):
    for split in SPLITS:
        world = ShapesWorld("edges", split, images=3, size=(48, 64))
        write_split(world, tmp_path, split=split, class_names=[])
        dataset = opened(tmp_path, split)
        assert len(dataset) == 3
        for index in range(3):
            sample, drawn = dataset[index], world[index]
            assert np.array_equal(sample["annotators"], drawn["annotators"])
            assert np.array_equal(sample["edges"], drawn["edges"]) and sample["edges"].dtype == np.float32
            assert np.abs(sample["image"].astype(int) - drawn["image"]).mean() < 8


def test_what_is_written_has_the_structure_of_the_published_files(tmp_path):
    sample = {"image": np.zeros((5, 5, 3), np.uint8), "annotators": np.zeros((2, 5, 5), bool)}
    sample["annotators"][0, 2] = sample["annotators"][0, :, 1] = True  # four corners
    write_split([sample], tmp_path, split="train", class_names=[])
    data = (tmp_path / "groundTruth/train/000000.mat").read_bytes()
    truth = loadmat(io.BytesIO(data))["groundTruth"]
    assert truth.shape == (1, 2) and truth.dtype == object
    first, second = truth[0]
    for cell in (first, second):
        assert cell.shape == (1, 1) and cell.dtype.names == ("Segmentation", "Boundaries")
        assert cell["Segmentation"][0, 0].dtype == np.uint16 and cell["Boundaries"][0, 0].dtype == np.uint8
    assert first["Boundaries"][0, 0].tolist() == sample["annotators"][0].astype(int).tolist()
    assert first["Segmentation"][0, 0].tolist() == [
        [1, 0, 2, 2, 2], [1, 0, 2, 2, 2], [0, 0, 0, 0, 0], [3, 0, 4, 4, 4], [3, 0, 4, 4, 4],
    ]  # fmt: skip
    assert second["Segmentation"][0, 0].tolist() == np.ones((5, 5), int).tolist()
    assert data.startswith(b"MATLAB 5.0 MAT-file, ") and b"Created on" not in data  # the same bytes at any time


def test_edges_without_annotators_become_one(tmp_path):
    edges = np.array([[0.0, 0.49, 0.5, 1.0]], np.float32)
    write_split([{"image": np.zeros((1, 4, 3), np.uint8), "edges": edges}], tmp_path, split="train", class_names=[])
    assert opened(tmp_path)[0]["annotators"].tolist() == [[[False, False, True, True]]]


# --- check-data -------------------------------------------------------------------------------------------------------


def test_check_data_finds_nothing_wrong_with_drawn_images(tmp_path, capsys):
    for split in SPLITS:
        write_split(ShapesWorld("edges", split, images=2, size=64), tmp_path, split=split, class_names=[])
    assert main(["check-data", "bsds", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "annotators per image" in said and "5 / 5 / 5" in said and "Nothing is wrong with these 6 images." in said


def test_check_data_names_a_damaged_file_and_mends_the_archive(tmp_path, capsys):
    root, out = tmp_path / "set", tmp_path / "mended"
    place = root / "BSR/BSDS500/data"
    for split in SPLITS:
        write_split(ShapesWorld("edges", split, images=2, size=64), place, split=split, class_names=[])
    bad = place / "groundTruth/train/000001.mat"
    bad.write_bytes(bad.read_bytes()[:-9])
    assert main(["check-data", "bsds", str(root)]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "BSR/BSDS500/data/groundTruth/train/000001.mat: is a damaged MATLAB file" in said
    assert main(["check-data", "bsds", str(root), "--fix", str(out)]) == 3
    assert main(["check-data", "bsds", str(out)]) == 0
    assert names_in(opened(out)) == ["000000"]
