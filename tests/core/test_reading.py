"""How files become batches, and what of them is read where."""

import os
import time
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest

from foveal.core import reading, remote
from foveal.core.data import IMAGENET_MEAN, IMAGENET_STD
from foveal.core.images import count_pixels, read_head, write_image
from foveal.core.inputs import Input
from foveal.core.pool import Done, Lost, Pool
from foveal.core.reading import Reading
from foveal.core.tiles import Tiling
from foveal.core.transforms import Transform, resize_steps
from foveal.core.types import Preprocessing


def tiled(batch_size: int = 2) -> Reading:
    prepared = Preprocessing(size=16, resize="squash", grey=False, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return Reading((Transform(resize_steps(prepared)),), Tiling(64, 0.0), batch_size)


def numbered(paths: list[str]) -> list[tuple[Input, int]]:
    return [(Input(path, path), number) for number, path in enumerate(paths)]


def jobs(paths: list[str]) -> list[list[str]]:
    return [[os.path.basename(given.path) for given in job.items] for job, _ in tiled().jobs(numbered(paths))]


@pytest.fixture
def store():
    """Eight images of 40 x 50 at addresses."""
    store = fsspec.filesystem("memory")
    data = cv2.imencode(".png", np.zeros((40, 50, 3), np.uint8))[1].tobytes()
    for number in range(8):
        store.pipe(f"/in/{number}.png", data)
    yield [f"memory://in/{number}.png" for number in range(8)]
    store.rm("/in", recursive=True)


def test_of_tiled_files_at_addresses_the_main_process_reads_none_and_one_that_hangs_is_lost(store, monkeypatch):
    read, here = remote.read, os.getpid()

    def reading_apart(address, most):
        assert os.getpid() != here
        if address.endswith("3.png"):
            time.sleep(100)
        return read(address, most)

    monkeypatch.setattr(remote, "read", reading_apart)
    made = tiled()
    with Pool(made, 2, timeout=0.5) as pool:
        found = [each for each in pool.run(job for job, _ in made.jobs(numbered(store))) if each is not None]
    paths = [path for each in found if isinstance(each, Done) for path in each.value.batches[0]["path"]]
    assert paths == [store[number] for number in (0, 1, 2, 4, 5, 6, 7)]
    assert [each.item.path for each in found if isinstance(each, Lost)] == [store[3]]


def test_what_is_large_by_its_head_is_a_job_of_its_own_and_nothing_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_LARGE", 1000 * 1000)
    for name, side in (("a.png", 1001), ("b.jpg", 1001), ("c.jpg", 1000), ("d.png", 20)):
        write_image(tmp_path / name, np.zeros((side, side, 3), np.uint8))
    os.mkfifo(tmp_path / "e.png")  # nobody will ever write into it
    (tmp_path / "f.png").mkdir()
    paths = [str(tmp_path / name) for name in ("a.png", "b.jpg", "c.jpg", "d.png", "e.png", "f.png", "none.png", "\0")]
    assert jobs(paths) == [["a.png"], ["b.jpg"], ["c.jpg", "d.png"], ["e.png", "f.png"], ["none.png", "\0"]]


def test_a_head_has_128_kilobytes_and_says_the_size(tmp_path):
    data = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (600, 500, 3), np.uint8))[1].tobytes()
    noise = b"\xff\xe2\xff\xff" + bytes(2**16 - 3)  # a segment of 65,537 bytes, as of a profile
    for name, segments, pixels in (("one.jpg", 1, 600 * 500), ("two.jpg", 2, 0)):
        Path(tmp_path / name).write_bytes(data[:2] + noise * segments + data[2:])
        head = read_head(str(tmp_path / name))
        assert len(head) == 131_072 and count_pixels(head) == pixels


def test_large_images_are_held_one_at_a_time_wherever_they_lie(store, monkeypatch, tmp_path):
    """Of two processes, each would decode a large one of its group before the other is done."""
    monkeypatch.setattr(reading, "_LARGE", 40 * 50 - 1)
    decode, made = reading.decode_image, tiled()

    def marked(*given):
        (tmp_path / f"{time.monotonic():020.6f}").touch()
        return decode(*given)

    monkeypatch.setattr(reading, "decode_image", marked)
    ends = []
    with Pool(made, 2, timeout=60) as pool:
        for result in pool.run(job for job, _ in made.jobs(numbered(store))):
            if result is None:
                time.sleep(0.1)  # long enough for the other to go on, if it may
                ends.append(len(list(tmp_path.iterdir())))
    assert ends == [2, 4, 6, 8]  # of each job its two
