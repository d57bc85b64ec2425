"""Images that are too large for the memory as probabilities: what a prediction in tiles holds at once."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from foveal.core.images import write_image

# A task of three classes, the colours, with a network of one convolution; and a writer that keeps the last prediction.
# Says how much more memory the process had for a large image than for a small one at most, by its own mark (getrusage's
# is that of the process that started it, too), and what it found.
PROGRAM = """
import re, sys
from pathlib import Path
import torch
from torch import nn
from foveal.core.data import DataOptions, preprocessing
from foveal.core.input_list import write_list
from foveal.core.inputs import Input
from foveal.core.maps import TileBlender, tile_prediction, tiling
from foveal.core.predict import Running, predict_files
from foveal.core.task import Task
from foveal.tasks.segmentation.merge import MaskBuilder
from foveal.tasks.segmentation.transforms import tile_transform

NAMES = ["red", "green", "blue"]

class Colours(Task):
    def __init__(self, tile, keep):
        super().__init__(
            None, backbone=nn.Identity(), head=nn.Conv2d(3, 3, 3, padding=1), class_names=NAMES,
            preprocessing=preprocessing(DataOptions(size=tile)),
        )
        self.head.bias.data.zero_()
        self.head.weight.data = torch.eye(3)[:, :, None, None].expand(3, 3, 3, 3) / 9
        self.tile, self.keep = tile, keep

    def transform(self, augment="none"):
        return tile_transform(self.preprocessing, self.tile)

    def tiling(self):
        return tiling(self.tile, 0.2, size=self.tile, divisor=1)

    def joiner(self, size):
        return TileBlender(self.tiling().tiles(size), MaskBuilder(size, NAMES, keep=self.keep))

    def predict(self, batch):
        found = self(batch["image"]).softmax(dim=1)
        return [tile_prediction(*each) for each in zip(found, batch["path"], batch["size"])]

class Writer:
    done = offset = 0
    def __init__(self, path):
        self.inputs = write_list(Path(path).with_suffix(".list"), [Input(path, "name")])
    def write(self, prediction, name):
        self.last = prediction
    def fail(self, error):
        raise error
    def finish_inputs(self, count, offset):
        pass

def largest():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024  # MB

small, large, tile, batch, keep = sys.argv[1:]
torch.set_num_threads(1)
running = Running(torch.device("cpu"), batch_size=int(batch), num_workers=0)
task = Colours(int(tile), keep == "keep")
predict_files(task, Writer(small), running)
before = largest()
writer = Writer(large)
predict_files(task, writer, running)
print(largest() - before, *writer.last["pixels"].tolist(), *writer.last["names"], *writer.last["mask"].shape)
"""


def measure(small: Path, large: Path, tile: int, batch: int, keep: str = "") -> tuple[float, list[str]]:
    line = [sys.executable, "-c", PROGRAM, str(small), str(large), str(tile), str(batch), keep]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    grown, *rest = done.stdout.split()
    return float(grown), rest


def test_a_large_image_needs_itself_and_a_byte_a_pixel(tmp_path):
    # 6,000 x 6,000, of 3,600 red squares on green with a blue one in each: of each square its corners, which have 4 of
    # their 9 neighbours in it, go to what is around it.
    square = np.zeros((100, 100, 3), np.uint8)
    square[..., 1] = 255
    square[20:80, 20:80] = [255, 0, 0]
    square[40:60, 40:60] = [0, 0, 255]
    for name, times in (("small", 6), ("large", 60)):
        write_image(tmp_path / f"{name}.png", np.tile(square, (times, times, 1)))
    grown, found = measure(tmp_path / "small.png", tmp_path / "large.png", tile=512, batch=1)
    counts = [3600 * each for each in (6400 + 4, 3200 + 4 - 4, 400 - 4)]
    assert found == [*map(str, counts), "green", "red", "blue", "6000", "6000"]
    # MB; the image has 108, twice that while it is decoded, the mask 36, and all probabilities would have 432.
    assert grown < 300
