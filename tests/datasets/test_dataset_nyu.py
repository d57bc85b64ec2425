"""NYU Depth V2: MATLAB's order of axes, official and drawn splits, files that lie, and reading in forked processes."""

import builtins
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from torch.utils.data import DataLoader

from foveal.cli.main import main
from foveal.core.errors import DataError, MissingSplit, UsageError
from foveal.core.images import ImageError
from foveal.datasets import hdf5, open_dataset
from foveal.datasets.findings import Findings
from foveal.datasets.nyu import write_split
from foveal.datasets.shapes import ShapesWorld

LABELLED = "nyu_depth_v2_labeled.mat"


def labelled(path: Path, count: int = 4, scenes=None, **arrays) -> Path:
    """Frames of 2 x 3 pixels (H, W), as MATLAB stores them: frame n is red 10 n + column, green row, blue n, and its
    depth n + row + column / 4 metres.
    """
    number, column, row = (axis.astype(np.uint8) for axis in np.indices((count, 3, 2)))
    images = np.stack([10 * number + column, row, number], axis=1)  # (N, 3, W, H)
    depths = (number + row + column / 4).astype(np.float32)  # (N, W, H)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:  # MATLAB writes a text before the data
        for name, values in ({"images": images, "depths": depths} | arrays).items():
            if values is not None:
                file[name] = values
        if scenes is not None:
            texts = [file.create_dataset(f"#refs#/{at}", data=[[ord(c)] for c in name], dtype=np.uint16)
                     for at, name in enumerate(scenes)]  # fmt: skip
            cells = file.create_dataset("scenes", (1, len(scenes)), h5py.ref_dtype)
            for at, text in enumerate(texts):
                cells[0, at] = text.ref
    return path


def frame(path: Path, rgb=None, depth=None) -> Path:
    """A file of one frame, 2 x 3 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["rgb"] = np.arange(18, dtype=np.uint8).reshape(3, 2, 3) if rgb is None else rgb
        file["depth"] = np.float32([[1, 2, 3], [0, np.nan, -1]]) if depth is None else depth
    return path


def opened(root: Path, split: str = "train", fractions=(1, 0, 0), findings=None, seed: int = 0):
    return open_dataset("nyu", root, split=split, fractions=fractions, findings=findings, seed=seed)


def names_of(dataset, root: Path) -> list[str]:
    return [os.path.relpath(dataset.path(index), root) for index in range(len(dataset))]


def numbers_of(dataset) -> list[int]:
    return [int(dataset.path(index).rpartition("#")[2]) for index in range(len(dataset))]


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_a_frame_of_the_labelled_file_is_turned_upright(tmp_path):
    labelled(tmp_path / LABELLED)
    dataset = opened(tmp_path)
    assert names_of(dataset, tmp_path)[3] == f"{LABELLED}#000003"
    sample = dataset[3]
    assert set(sample) == {"image", "path", "size", "depth"}
    assert sample["path"] == f"{tmp_path}/{LABELLED}#000003" and sample["size"] == dataset.size(3) == (2, 3)
    assert sample["image"].dtype == np.uint8
    assert sample["image"].tolist() == [
        [[30, 0, 3], [31, 0, 3], [32, 0, 3]],
        [[30, 1, 3], [31, 1, 3], [32, 1, 3]],
    ]
    assert sample["depth"].dtype == np.float32
    assert sample["depth"].tolist() == [[3.0, 3.25, 3.5], [4.0, 4.25, 4.5]]
    assert dataset.truth(3)["depth"].tolist() == sample["depth"].tolist()
    assert sample["image"].flags.c_contiguous and sample["depth"].flags.c_contiguous
    assert opened(tmp_path / LABELLED).truth(0)["depth"].tolist() == [[0.0, 0.25, 0.5], [1.0, 1.25, 1.5]]


@pytest.mark.parametrize("channels", ["first", "last"])
def test_a_file_of_one_frame(tmp_path, channels):
    rgb = np.arange(18, dtype=np.uint8).reshape(3, 2, 3)
    file = frame(tmp_path / "rooms/1.h5", rgb if channels == "first" else rgb.transpose(1, 2, 0))
    dataset = opened(tmp_path)
    sample = dataset[0]
    assert sample["path"] == str(file) and sample["size"] == dataset.size(0) == (2, 3)
    assert sample["image"].tolist() == [[[0, 6, 12], [1, 7, 13], [2, 8, 14]], [[3, 9, 15], [4, 10, 16], [5, 11, 17]]]
    assert sample["depth"].dtype == np.float32
    assert sample["depth"].tolist() == dataset.truth(0)["depth"].tolist() == [[1, 2, 3], [0, 0, 0]]


def test_one_file_of_many_may_end_in_h5(tmp_path):
    labelled(tmp_path / "all.h5")
    assert names_of(opened(tmp_path), tmp_path) == [f"all.h5#{number:06d}" for number in range(4)]


# --- splits -----------------------------------------------------------------------------------------------------------


def test_the_official_split(tmp_path):
    labelled(tmp_path / LABELLED, 10)
    numbers = {"trainNdxs": [[3], [1], [4], [10], [2], [6]], "testNdxs": [[5], [7], [8], [9]]}  # from 1
    scipy.io.savemat(tmp_path / "splits.mat", numbers)
    assert numbers_of(opened(tmp_path, "test")) == [4, 6, 7, 8]
    assert numbers_of(opened(tmp_path / LABELLED, "train")) == [0, 1, 2, 3, 5, 9]
    findings = Findings()
    parts = [numbers_of(opened(tmp_path, split, (0.6, 0.3, 0.1), findings)) for split in ("train", "val")]
    assert parts == [[0, 1, 2, 3], [5, 9]]  # without scenes: one part behind another
    assert {finding.code for finding in findings} == {"FEW_SCENES"}


def test_scenes_of_the_labelled_file_stay_together(tmp_path):
    scenes = ["kitchen_0001", "kitchen_0002", "bath_0001", "office_0003"]
    labelled(tmp_path / LABELLED, 12, scenes=[name for name in scenes for _ in range(3)])
    findings = Findings()
    parts = [numbers_of(opened(tmp_path, split, (0.5, 0.25, 0.25), findings)) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [6, 3, 3]
    assert sorted(number for part in parts for number in part) == list(range(12))
    scene_of = [{number // 3 for number in part} for part in parts]
    assert sum(map(len, scene_of)) == 4 and not findings
    others = [numbers_of(opened(tmp_path, "val", (0.5, 0.25, 0.25), seed=seed)) for seed in range(8)]
    assert len(set(map(tuple, others))) > 1


def test_scenes_of_the_official_split_stay_together(tmp_path):
    labelled(tmp_path / LABELLED, 6, scenes=["a", "b", "a", "b", "a", "c"])
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": np.arange(1, 6), "testNdxs": np.array([6])})
    parts = sorted(numbers_of(opened(tmp_path, split, (0.5, 0.5, 0))) for split in ("train", "val"))
    assert parts == [[0, 2, 4], [1, 3]]


def test_folders_of_frames(tmp_path):
    for name in ("train/a/1", "train/a/2", "train/b/1", "val/official/1"):
        frame(tmp_path / f"{name}.h5")
    assert names_of(opened(tmp_path), tmp_path) == ["train/a/1.h5", "train/a/2.h5", "train/b/1.h5"]
    assert names_of(opened(tmp_path, "val"), tmp_path) == ["val/official/1.h5"]
    with pytest.raises(MissingSplit):
        opened(tmp_path, "test")
    (tmp_path / "val").rename(tmp_path / "other")
    parts = sorted(names_of(opened(tmp_path, split, (0.5, 0.5, 0)), tmp_path) for split in ("train", "val"))
    assert parts == [["train/a/1.h5", "train/a/2.h5"], ["train/b/1.h5"]]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"trainNdxs": [0, 1], "testNdxs": [2]}, "names images from 0 to 2: expected whole numbers, 1 to 4"),
        ({"trainNdxs": [1, 5], "testNdxs": [2]}, "names images from 1 to 5: expected whole numbers, 1 to 4"),
        ({"trainNdxs": [1.5], "testNdxs": [2.0]}, "expected whole numbers"),
        ({"trainNdxs": [1, 2], "testNdxs": [2, 3]}, "has images that are both for train and for test"),
        ({"trainNdxs": "abc", "testNdxs": [2]}, "has no numbers in trainNdxs"),
        ({"trainNdxs": [1]}, "has no variable testNdxs"),
    ],
)
def test_official_splits_that_are_none(tmp_path, numbers, said):
    labelled(tmp_path / LABELLED)
    scipy.io.savemat(tmp_path / "splits.mat", numbers)
    with pytest.raises(DataError, match=f"splits.mat' .*{said}"):
        opened(tmp_path)


# --- what is wrong ----------------------------------------------------------------------------------------------------


def fault_of(path: Path) -> str:
    """What is said of a file of one frame, less its name."""
    with pytest.raises(ImageError) as caught:
        opened(path.parent)[0]
    text = str(caught.value)
    assert text.startswith(f"'{path}' ") and "\n" not in text
    with pytest.raises(ImageError):
        opened(path.parent).truth(0)
    return text.removeprefix(f"'{path}' ")


def test_files_that_are_no_hdf5(tmp_path):
    file = frame(tmp_path / "1.h5")
    frame(tmp_path / "2.h5")
    data = file.read_bytes()
    for content, said in (
        (b"", "is empty (0 bytes); copy it again or leave it out."),
        (b"PK\x03\x04" + bytes(5000), "is no HDF5 file, as .h5 and MATLAB's of version 7.3 are; copy it again."),
        (data[:-100], "is cut off: its HDF5 data end before the picture does; copy it again."),
        (
            data[:60] + b"\xff" * 200 + data[260:],
            "is damaged: its HDF5 data cannot be decoded; copy it again or leave it out.",
        ),
    ):
        file.write_bytes(content)
        assert fault_of(file) == said
    dataset = opened(tmp_path)
    file.unlink()
    with pytest.raises(ImageError, match="does not exist"):
        dataset[0]
    assert dataset[1]["size"] == (2, 3)


def test_a_labelled_file_that_cannot_be_read(tmp_path):
    file = labelled(tmp_path / LABELLED)
    data = file.read_bytes()
    file.write_bytes(data[:-50])
    with pytest.raises(DataError, match="is cut off: its HDF5 data end before"):
        opened(tmp_path)
    scipy.io.savemat(file, {"images": np.zeros((2, 2))})
    with pytest.raises(DataError, match=r"is no HDF5 file, as \.h5 and MATLAB's of version 7.3 are"):
        opened(tmp_path)
    labelled(tmp_path / "other.mat")
    with pytest.raises(
        DataError, match=r"holds 2 files .mat, 'nyu_depth_v2_labeled.mat' and others: pass the one with"
    ):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"depths": None}, "has no array 'depths', but 'images'"),
        ({"images": np.zeros((4, 2, 3, 3), np.uint8)}, r"which do not go together: expected \(N, 3, W, H\) and"),
        ({"depths": np.zeros((3, 3, 2), np.float32)}, r"has arrays 'images' \(4, 3, 3, 2\) and 'depths' \(3, 3, 2\)"),
        ({"depths": np.zeros((4, 3, 2), np.int16)}, "has an array 'depths' of int16"),
        ({"images": np.zeros((4, 3, 3, 2), np.uint16)}, "has images of uint16: expected uint8"),
        ({"images": np.zeros((0, 3, 3, 2), np.uint8), "depths": np.zeros((0, 3, 2), np.float32)}, "of the shape"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, arrays, said):
    labelled(tmp_path / LABELLED, **arrays)
    with pytest.raises(DataError, match=said):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("rgb", "depth", "said"),
    [
        (np.zeros((3, 2, 4), np.uint8), None, "'rgb' (3, 2, 4) and 'depth' (2, 3), which do not go together"),
        (np.zeros((4, 2, 4), np.uint8), None, "expected (3, H, W) and (H, W)"),
        (
            np.zeros((2, 3), np.uint8),
            None,
            "has an array 'rgb' of uint8 (2, 3): expected 3 dimensions of whole numbers",
        ),
        (None, np.full((2, 3), "x", h5py.string_dtype()), "has an array 'depth' of object (2, 3)"),
    ],
)
def test_frames_that_are_none(tmp_path, rgb, depth, said):
    frame(tmp_path / "other.h5")
    assert said in fault_of(frame(tmp_path / "1.h5", rgb, depth))


def secret(tmp_path: Path) -> Path:
    return frame(tmp_path / "secret.h5", depth=np.full((2, 3), 42, np.float32))


def by_link(file, other):
    file["depth"] = h5py.ExternalLink(str(other), "/depth")


def by_link_to_a_link(file, other):
    file["outer"] = h5py.ExternalLink(str(other), "/")
    file["depth"] = h5py.SoftLink("/outer/depth")


def by_storage(file, other):
    file.create_dataset("depth", (2, 3), np.float32, external=[(str(other), 0, 24)])


def by_virtual_data(file, other):
    layout = h5py.VirtualLayout((2, 3), np.float32)
    layout[:] = h5py.VirtualSource(str(other), "depth", (2, 3))
    file.create_virtual_dataset("depth", layout)


@pytest.mark.parametrize("hidden", [by_link, by_link_to_a_link, by_storage, by_virtual_data])
def test_nothing_is_read_from_other_files(tmp_path, hidden):
    other = secret(tmp_path)
    file = frame(tmp_path / "set/1.h5")
    frame(tmp_path / "set/2.h5")
    with h5py.File(file, "a") as changed:
        del changed["depth"]
        hidden(changed, other)
    with h5py.File(file) as shown:  # a reader that asks nothing gets it
        assert shown["depth"].shape == (2, 3)
    assert fault_of(file) == "has as 'depth' no array of its own, but a group or a link, which may lead elsewhere."


def test_a_folder_without_frames(tmp_path):
    (tmp_path / "1.png").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    assert str(caught.value) == (
        f"There is no file .h5 in '{tmp_path}', only 1 file (1 .png): expected nyu_depth_v2_labeled.mat, or .h5 files "
        "with `rgb` and `depth` of a frame each."
    )
    with pytest.raises(UsageError, match="There is no folder"):
        opened(tmp_path / "nowhere")


def test_without_h5py_one_sentence_says_how_to_install_it(tmp_path, monkeypatch):
    labelled(tmp_path / LABELLED)
    original = builtins.__import__

    def without(name, *rest):
        if name == "h5py":
            raise ModuleNotFoundError("No module named 'h5py'", name="h5py")
        return original(name, *rest)

    hdf5.require_h5py.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError) as caught:
        opened(tmp_path)
    assert str(caught.value) == 'HDF5 files need h5py: install it with pip install "foveal[nyu]".'
    monkeypatch.undo()
    assert len(opened(tmp_path)) == 4


def test_damaged_frames_are_found_and_left_out_of_a_copy(tmp_path, capsys):
    for name in ("train/a/1", "train/a/2", "val/b/1", "test/c/1"):
        frame(tmp_path / f"set/{name}.h5")
    with (tmp_path / "set/train/a/2.h5").open("r+b") as file:
        file.truncate(1000)
    assert main(["check-data", "nyu", str(tmp_path / "set"), "--fix", str(tmp_path / "mended")]) == 3
    out = capsys.readouterr().out
    assert "TRUNCATED (1)" in out and "train/a/2.h5: is cut off" in out
    assert main(["check-data", "nyu", str(tmp_path / "mended")]) == 0
    assert names_of(opened(tmp_path / "mended"), tmp_path / "mended") == ["train/a/1.h5"]


# --- processes --------------------------------------------------------------------------------------------------------


def as_lists(batches) -> list:
    return [(batch["path"], batch["image"].tolist(), batch["depth"].tolist()) for batch in batches]


@pytest.mark.parametrize("many", [True, False])
def test_workers_read_what_one_process_reads(tmp_path, many):
    if many:
        labelled(tmp_path / LABELLED, 24)
    else:
        for number in range(24):
            frame(tmp_path / f"{number:02d}.h5", depth=np.full((2, 3), number + 1, np.float32))
    dataset = opened(tmp_path)
    alone = as_lists(DataLoader(dataset, batch_size=2))  # the file is open here when the workers are forked
    assert len({str(depth) for _, _, depth in alone}) == 12
    for _ in range(3):
        workers = DataLoader(dataset, batch_size=2, num_workers=2, multiprocessing_context="fork")
        assert as_lists(workers) == alone
        assert dataset[5]["size"] == (2, 3)


def test_no_process_inherits_an_open_file(tmp_path):
    file = labelled(tmp_path / LABELLED)
    dataset = opened(tmp_path)
    assert dataset[0]["size"] == (2, 3)
    opened_here = [os.path.realpath(f"/proc/self/fd/{entry}") for entry in os.listdir("/proc/self/fd")]
    assert str(file) in opened_here
    child = os.fork()
    if not child:
        inherited = [os.path.realpath(f"/proc/self/fd/{entry}") for entry in os.listdir("/proc/self/fd")]
        os._exit(str(file) in inherited or dataset[1]["size"] != (2, 3))
    assert os.waitpid(child, 0)[1] == 0
    assert dataset[2]["image"][0, 0].tolist() == [20, 0, 2]


def test_it_can_be_sent_to_another_process(tmp_path):
    labelled(tmp_path / LABELLED)
    dataset = opened(tmp_path)
    first = dataset[1]["image"].tolist()
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy[1]["image"].tolist() == first
    assert copy.fingerprint() == dataset.fingerprint()
    assert numbers_of(copy.subset(np.array([3, 0]))) == [3, 0]
    assert copy.subset(np.array([3, 0])).fingerprint() != dataset.fingerprint()


# --- writing ----------------------------------------------------------------------------------------------------------


def test_the_drawn_world_comes_back_exactly(tmp_path):
    for split in ("train", "val", "test"):
        world = ShapesWorld("depth", split, images=3, size=(48, 64))
        write_split((world[index] for index in range(3)), tmp_path, split=split, class_names=[])
    for split in ("train", "val", "test"):
        world, dataset = ShapesWorld("depth", split, images=3, size=(48, 64)), opened(tmp_path, split)
        assert len(dataset) == 3
        for index in range(3):
            sample, drawn = dataset[index], world[index]
            assert (sample["image"] == drawn["image"]).all() and (sample["depth"] == drawn["depth"]).all()
    assert names_of(dataset, tmp_path)[0] == "test/drawn/00000.h5"
