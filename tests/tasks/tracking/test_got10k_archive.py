"""The archive of a submission to GOT-10k, byte by byte against what the toolkit writes."""

import io
import zipfile

import numpy as np
import pytest

from foveal.core.errors import DataError, MachineError
from foveal.tasks.tracking.got10k_archive import Got10kArchive, write_archive

NAME = "GOT-10k_Test_000001"
BOXES = np.array([[0, 10, 20, 40], [0.5, 10.25, 20.25, 40.1239]])
SECONDS = np.array([0.5, 0.0123456789])


def files(path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode("ascii") for name in archive.namelist()}


def test_a_folder_for_each_sequence_with_boxes_and_seconds(tmp_path):
    write_archive(tmp_path / "mine.zip", [(NAME, BOXES, SECONDS), ("GOT-10k_Test_000002", BOXES[:1], SECONDS[:1])])
    assert files(tmp_path / "mine.zip") == {
        f"{NAME}/{NAME}_001.txt": "1.000,11.000,20.000,30.000\n1.500,11.250,19.750,29.874\n",
        f"{NAME}/{NAME}_time.txt": "0.50000000\n0.01234568\n",
        "GOT-10k_Test_000002/GOT-10k_Test_000002_001.txt": "1.000,11.000,20.000,30.000\n",
        "GOT-10k_Test_000002/GOT-10k_Test_000002_time.txt": "0.50000000\n",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["mine.zip"]


def test_the_lines_are_those_of_the_toolkit(tmp_path):
    # got10k 0.1.3, experiments/got10k.py: numpy.savetxt with fmt "%.3f" and "%.8f" and commas.
    rng = np.random.default_rng(0)
    corners, seconds = rng.uniform(-5, 500, (50, 2)), rng.random(50)
    boxes = np.concatenate([corners, corners + rng.uniform(1, 90, (50, 2))], axis=1)
    theirs = np.concatenate([boxes[:, :2] + 1, boxes[:, 2:] - boxes[:, :2]], axis=1)
    write_archive(tmp_path / "mine.zip", [(NAME, boxes, seconds)])
    for file, values, form in (("001", theirs, "%.3f"), ("time", seconds[:, None], "%.8f")):
        expected = io.StringIO()
        np.savetxt(expected, values, fmt=form, delimiter=",")
        assert files(tmp_path / "mine.zip")[f"{NAME}/{NAME}_{file}.txt"] == expected.getvalue()


def test_frames_without_a_box_have_the_last_one_and_unknown_times_are_0(tmp_path):
    boxes = np.array([[0.0, 0, 2, 2], [np.nan] * 4, [1, 1, np.inf, 3], [5, 5, 7, 7]])
    write_archive(tmp_path / "mine.zip", [(NAME, boxes, np.array([np.nan, 1, 1, 1]))])
    lines = files(tmp_path / "mine.zip")[f"{NAME}/{NAME}_001.txt"].split()
    assert lines == ["1.000,1.000,2.000,2.000"] * 3 + ["6.000,6.000,2.000,2.000"]
    assert files(tmp_path / "mine.zip")[f"{NAME}/{NAME}_time.txt"].startswith("0.00000000\n1.0")


def test_the_same_results_are_the_same_bytes(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_archive(tmp_path / name, [(NAME, BOXES, SECONDS)])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_run_that_ends_early_leaves_the_old_archive(tmp_path):
    write_archive(tmp_path / "mine.zip", [(NAME, BOXES, SECONDS)])
    before = (tmp_path / "mine.zip").read_bytes()
    with pytest.raises(KeyboardInterrupt), Got10kArchive(tmp_path / "mine.zip") as archive:
        archive.add("other", BOXES, SECONDS)
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["mine.zip"]
    assert (tmp_path / "mine.zip").read_bytes() == before


@pytest.mark.parametrize("name", ["", "../up", "a/b", "/root", ".."])
def test_names_that_are_no_folder_are_refused(name, tmp_path):
    with pytest.raises(DataError, match="can't be a folder"):
        write_archive(tmp_path / "mine.zip", [(name, BOXES, SECONDS)])
    assert list(tmp_path.iterdir()) == []


def test_what_else_is_refused(tmp_path):
    with pytest.raises(DataError, match="comes twice"):
        write_archive(tmp_path / "mine.zip", [(NAME, BOXES, SECONDS)] * 2)
    with pytest.raises(DataError, match=f"first frame of '{NAME}' has no box"):
        write_archive(tmp_path / "mine.zip", [(NAME, BOXES * np.nan, SECONDS)])
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"mine.zip' can't be written \(.+\)"):
        write_archive(tmp_path / "file" / "mine.zip", [])
