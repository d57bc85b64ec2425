"""Masks as palette PNG: VOC's colours, the numbers in them, and the memory that writing takes."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from foveal.core.errors import MachineError
from foveal.core.masks import voc_colors, write_mask
from foveal.datasets.masks import read_values


def test_the_palette_of_voc():
    colors = voc_colors()
    assert [tuple(colors[index]) for index in (0, 1, 2, 3, 4, 15, 20, 255)] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (192, 128, 128), (0, 64, 128), (224, 224, 192),
    ]  # fmt: skip
    assert len(np.unique(colors, axis=0)) == 256


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_what_is_written_is_seen_in_colour_and_read_as_numbers(tmp_path, kind):
    mask = np.arange(256, dtype=kind).reshape(8, 32)
    write_mask(tmp_path / "mask.png", mask)
    assert (read_values(tmp_path / "mask.png") == mask).all()
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P" and (np.asarray(picture.convert("RGB")) == voc_colors()[mask]).all()


def test_a_part_of_a_mask_is_written_as_it_looks(tmp_path):
    mask = np.arange(256, dtype=np.uint8).reshape(8, 32)[1:7, 3:30:2]
    write_mask(tmp_path / "mask.png", mask)
    assert (read_values(tmp_path / "mask.png") == mask).all()


@pytest.mark.parametrize("place", ["missing/mask.png", "/dev/full"])
def test_a_mask_that_cannot_be_written_is_one_sentence(tmp_path, place):
    with pytest.raises(MachineError, match=r"' cannot be written: No s"):  # such directory; space left
        write_mask(tmp_path / place, np.zeros((9, 9), np.uint8))


# In a process of its own, and by its own high-water mark: getrusage's is that of the process that started it, too.
_GROWTH = """
import re, sys
from pathlib import Path
import numpy as np
from foveal.core.masks import write_mask

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024  # MB

write_mask(sys.argv[1], np.zeros((9, 9), np.uint8))  # what is loaded on first use
mask = np.repeat(np.random.default_rng(0).integers(0, 21, (8000, 40), np.uint8), 200, axis=1)
before = peak()
write_mask(sys.argv[1], mask)
print(peak() - before)
"""


def test_a_large_mask_is_written_without_a_copy(tmp_path):
    line = [sys.executable, "-c", _GROWTH, str(tmp_path / "mask.png")]
    grown = float(subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, cwd="/").stdout)
    assert grown < 16  # MB; the mask has 61
    assert (tmp_path / "mask.png").stat().st_size > 100_000
