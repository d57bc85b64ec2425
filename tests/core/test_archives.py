"""Images in archives and at addresses: listed, read, and every fault in one sentence."""

import io
import os
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest

from foveal.core.errors import DataError, UsageError
from foveal.core.images import ImageError, read_image
from foveal.core.input_list import list_inputs


def png(value: int) -> bytes:
    """An image of 4 x 5 pixels, all of one grey value."""
    return cv2.imencode(".png", np.full((4, 5, 3), value, np.uint8))[1].tobytes()


FILES = {"b.png": png(2), "deep/a.png": png(1), ".hidden.png": png(0), "__MACOSX/._b.png": png(0), "notes.txt": b"text"}


def make(path: Path, files: dict[str, bytes] = FILES) -> Path:
    """An archive of the kind that the path's suffix says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w:" + path.suffix[1:].replace("tar", "").replace("tgz", "gz")) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def inputs(tmp_path: Path, *arguments: object) -> list[tuple[str, str]]:
    listed = list_inputs([str(argument) for argument in arguments], tmp_path / "list")
    return [tuple(given) for given, _ in listed.read()]


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.xz", "x.tar.bz2"])
def test_members_are_listed_and_read_where_they_lie(tmp_path, name):
    path = make(tmp_path / name)
    found = inputs(tmp_path, path)
    assert found == [(f"{path}/b.png", "b.png"), (f"{path}/deep/a.png", "deep/a.png")]
    assert [int(read_image(file).max()) for file, _ in found] == [2, 1]
    assert os.listdir(tmp_path) == [name, "list"] or set(os.listdir(tmp_path)) == {name, "list"}


def test_hidden_members_are_counted_and_several_archives_keep_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(Path("one.zip"))
    make(Path("two.zip"))
    listed = list_inputs(["one.zip", "two.zip"], tmp_path / "list")
    assert [given.name for given, _ in listed.read()] == [
        "one.zip/b.png",
        "one.zip/deep/a.png",
        "two.zip/b.png",
        "two.zip/deep/a.png",
    ]
    assert listed.left_out == 4


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_an_archive_that_cannot_be_read_is_named(tmp_path, name):
    data = make(tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=f"{name}: the archive cannot be read .*; copy it again"):
        inputs(tmp_path, tmp_path / name)


def test_a_damaged_member_is_one_error_and_a_missing_one_too(tmp_path):
    path = make(tmp_path / "x.zip", {"a.png": png(7) * 50, "b.png": png(1)})
    data = bytearray(path.read_bytes())
    data[60] ^= 255  # in the first member
    path.write_bytes(data)
    with pytest.raises(ImageError, match="cannot be read from its archive") as said:
        read_image(f"{path}/a.png")
    assert said.value.code == "DAMAGED"
    assert read_image(f"{path}/b.png").max() == 1
    with pytest.raises(ImageError, match="is not in the archive; check the name"):
        read_image(f"{path}/c.png")
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "no.zip" / "a.png")


def test_a_member_that_claims_too_much_is_not_unpacked(tmp_path, monkeypatch):
    path = make(tmp_path / "x.zip", {"bomb.png": bytes(10_000_000)})
    assert path.stat().st_size < 20_000
    monkeypatch.setattr("foveal.core.images._MAX_BYTES", 1_000_000)
    with pytest.raises(ImageError, match="has 10,000,000 bytes unpacked; the decoder takes 1,000,000 at most"):
        read_image(f"{path}/bomb.png")


@pytest.mark.parametrize("times", [1, 2])
def test_names_in_an_archive_lead_nowhere(tmp_path, times):
    evil = {"../../up.png": png(3), "/root.png": png(4), "a/./b//../c.png": png(5), "up.png": png(6)}
    path = make(tmp_path / "x.zip", evil)
    found = inputs(tmp_path, *[path] * times)
    names = [name for _, name in found]
    if times == 1:  # of one archive, the names are those in it
        assert names == ["up.png", "root.png", "a/c.png", "up~2.png"]
    assert len(set(names)) == 4
    assert not any(name.startswith("/") or ".." in name.split("/") for name in names)
    assert [int(read_image(file).max()) for file, _ in found] == [3, 4, 5, 6]


def test_where_an_archive_lies_says_nothing_of_what_is_in_it(tmp_path):
    (tmp_path / ".cache").mkdir()
    path = make(tmp_path / ".cache" / "x.zip")
    assert [name for _, name in inputs(tmp_path, path)] == ["b.png", "deep/a.png"]


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.zip"])
def test_several_threads_read_one_archive(tmp_path, name):
    path = make(tmp_path / name, {f"{value}.png": png(value) for value in range(200)})
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda value: int(read_image(f"{path}/{value}.png").max()), range(200))
        assert list(found) == list(range(200))


def test_a_tar_that_ends_at_a_damaged_header_is_not_a_shorter_one(tmp_path):
    path = make(tmp_path / "x.tar", {f"{value}.png": png(value) for value in range(5)})
    data = bytearray(path.read_bytes())
    data[3 * 1024 + 5] ^= 1  # a name and an image are 1,024 bytes: in the name of the fourth
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"x.tar: the archive cannot be read \(damaged at byte 3072\); copy it again"):
        inputs(tmp_path, path)


def test_a_pattern_finds_archives_and_looks_into_them(tmp_path):
    for name in ("one.zip", "two.tar"):
        make(tmp_path / name, {"a.png": png(1)})
    assert [Path(name).parts[-2:] for _, name in inputs(tmp_path, tmp_path / "*.[tz]*")] == [
        ("one.zip", "a.png"),
        ("two.tar", "a.png"),
    ]
    assert len(inputs(tmp_path, tmp_path / "*.tar")) == 1


@pytest.fixture
def store():
    """A store of files at addresses."""
    files = fsspec.filesystem("memory")
    for name, data in FILES.items():
        files.pipe(f"/bucket/{name}", data)
    yield
    files.rm("/bucket", recursive=True)


def test_addresses_are_searched_and_read(store, tmp_path):
    found = inputs(tmp_path, "memory://bucket")
    assert [name for _, name in found] == ["bucket/b.png", "bucket/deep/a.png"]
    assert [int(read_image(file).max()) for file, _ in found] == [2, 1]
    assert len(inputs(tmp_path, "memory://bucket/*.png")) == 1
    with pytest.raises(UsageError, match="memory://nowhere: there is no such file or folder"):
        inputs(tmp_path, "memory://nowhere")
    with pytest.raises(ImageError, match="does not exist; check the address"):
        read_image("memory://bucket/c.png")
