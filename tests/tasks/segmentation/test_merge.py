"""From probabilities to masks: by hand, and tiles against the whole image."""

import errno

import pytest
import torch
import torch.nn.functional as F

from foveal.core import maps
from foveal.core.errors import MachineError
from foveal.core.maps import TileBlender, enlarged, probabilities_augmented, tile_prediction, tiling
from foveal.core.tiles import Tile, Tiling
from foveal.core.types import Prediction
from foveal.tasks.segmentation import merge
from foveal.tasks.segmentation.merge import MaskBuilder, to_prediction

NAMES = ["sky", "road", "tree"]


# --- the whole image --------------------------------------------------------------------------------------------------


def test_a_prediction_by_hand():
    # Two pixels of road, surest 0.75 and 0.5, one of sky, none of tree.
    probabilities = torch.tensor([[[0.25, 0.625, 0.25]], [[0.75, 0.25, 0.5]], [[0.0, 0.125, 0.25]]])
    found = to_prediction(probabilities, "a.jpg", (1, 3), NAMES)
    assert (found["path"], found["size"], found["names"]) == ("a.jpg", (1, 3), ["road", "sky"])
    assert found["labels"].tolist() == [1, 0] and found["pixels"].tolist() == [2, 1]
    assert found["scores"].tolist() == [0.625, 0.625] and found["scores"].dtype == torch.float32
    assert found["mask"].tolist() == [[1, 0, 1]] and found["mask"].dtype == torch.uint8
    assert "probabilities" not in found


def test_a_mask_has_the_size_of_the_file():
    # From 2 columns to 4, bilinear: 0, 1/4, 3/4, 1.
    first = torch.tensor([[[0.0, 1.0]]])
    found = to_prediction(torch.cat((first, 1 - first)), "a.jpg", (3, 4), NAMES[:2], keep=True)
    assert found["mask"].tolist() == [[1, 1, 0, 0]] * 3
    assert found["probabilities"][0].tolist() == [[0, 0.25, 0.75, 1]] * 3
    assert found["probabilities"].dtype == torch.float16
    assert found["scores"].tolist() == [0.875, 0.875] and found["pixels"].tolist() == [6, 6]


@pytest.mark.parametrize(
    ("before", "size"),
    [((33, 21), (900, 70)), ((512, 8), (9000, 4)), ((64, 64), (40, 50)), ((1, 1), (7, 5)), ((16, 9), (16, 9))],
)
def test_strips_together_are_what_interpolate_gives(monkeypatch, before, size):
    monkeypatch.setattr(maps, "_STRIP", 2000)
    probabilities = torch.rand(3, *before)  # neighbours differ by up to 1, so that no place may be off
    strips = list(enlarged(probabilities, size))
    assert [top for top, _ in strips] == [sum(each.shape[1] for _, each in strips[:n]) for n in range(len(strips))]
    assert all(each.numel() <= 2000 for _, each in strips)
    expected = F.interpolate(probabilities[None], size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(torch.cat([each for _, each in strips], dim=1), expected, atol=1e-6, rtol=0)


def test_many_probabilities_are_kept_in_a_file(monkeypatch, tmp_path):
    probabilities = torch.rand(3, 20, 30)
    expected = to_prediction(probabilities, "a.jpg", (40, 60), NAMES, keep=True)
    monkeypatch.setattr(merge, "_IN_MEMORY", 3 * 40 * 60 * 2 - 1)
    monkeypatch.setattr(merge.tempfile, "tempdir", str(tmp_path))
    found = to_prediction(probabilities, "a.jpg", (40, 60), NAMES, keep=True)
    assert found["probabilities"].equal(expected["probabilities"])
    assert list(tmp_path.iterdir()) == []  # it has no name, so that nothing can be left


def test_no_room_for_probabilities_is_said(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(merge, "_IN_MEMORY", 0)
    monkeypatch.setattr(merge.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(merge.os, "posix_fallocate", full)
    with pytest.raises(MachineError, match=r"3 classes for 60 x 40 pixels .* 0.0 GB, .* \(No space left on device\)"):
        MaskBuilder((40, 60), NAMES, keep=True)


# --- looks ------------------------------------------------------------------------------------------------------------


def brightness(images: torch.Tensor) -> torch.Tensor:
    """Says class 1 where it is bright: (N, 2, H, W)."""
    bright = images[:, :1].float() / 255
    return torch.cat((1 - bright, bright), dim=1)


def test_looks_are_averaged_by_hand():
    def first_column(images):
        found = torch.zeros(len(images), 2, *images.shape[2:])
        found[:, 1] = images[:, 0] / 255
        found[:, 1, :, 0] = 1  # of the image as it is seen: mirrored, that is the last column
        return found

    images = torch.zeros(1, 3, 1, 4, dtype=torch.uint8)
    found = probabilities_augmented(first_column, images, flip=True, scales=[1.0])
    assert found[0, 1].tolist() == [[0.5, 0, 0, 0.5]]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5,), (0.5, 1.0, 2.0)])
def test_who_is_right_stays_right_however_often_he_looks(flip, scales):
    images = torch.zeros(2, 3, 40, 60, dtype=torch.uint8)
    images[0, :, 8:24, 40:] = 255
    images[1, :, :20, :30] = 204
    found = probabilities_augmented(brightness, images, flip=flip, scales=scales)
    assert found.shape == (2, 2, 40, 60)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, 40, 60))
    for place, expected in (((0, 16, 50), 1.0), ((0, 34, 20), 0.0), ((1, 10, 10), 0.8), ((1, 30, 50), 0.0)):
        assert found[:, 1][place].item() == pytest.approx(expected, abs=1e-6)


def test_an_image_is_looked_at_once_for_each_size_and_side():
    seen = []

    def record(images):
        seen.append((tuple(images.shape), images.dtype, int(images[0, 0, 0, 0])))
        return brightness(images)

    images = torch.full((2, 3, 5, 8), 9, dtype=torch.uint8)
    images[..., 4:] = 7
    probabilities_augmented(record, images, flip=True, scales=(0.5, 1.0))
    half, whole = (2, 3, 2, 4), (2, 3, 5, 8)
    assert seen == [(size, torch.uint8, first) for size in (half, whole) for first in (9, 7)]


def test_one_look_is_left_as_it_is():
    found = torch.rand(1, 2, 3, 4)  # coarser than the image
    images = torch.zeros(1, 3, 12, 16, dtype=torch.uint8)
    assert probabilities_augmented(lambda _: found, images, flip=False, scales=(1.0,)) is found


# --- tiles ------------------------------------------------------------------------------------------------------------


class Recorder(MaskBuilder):
    """Keeps probabilities as float32; each pixel may come once."""

    def __init__(self, size, class_names):
        super().__init__(size, class_names)
        self.probabilities = torch.full((len(class_names), *size), torch.nan)
        self.most = 0  # values at once

    def add(self, probabilities, top, left):
        super().add(probabilities, top, left)
        place = self.probabilities[:, top : top + probabilities.shape[1], left : left + probabilities.shape[2]]
        assert place.isnan().all()
        place.copy_(probabilities)
        self.most = max(self.most, probabilities.numel())


def blended(tiles, size, predict, names=NAMES) -> tuple[Prediction, torch.Tensor]:
    """What the blender makes of `predict` of each tile, and its probabilities."""
    mask = Recorder(size, names)
    blender = TileBlender(tiles, mask)
    for tile in tiles:
        blender.add(tile_prediction(predict(tile), "a.jpg", (tile.height, tile.width)), tile)
    assert not mask.probabilities.isnan().any()
    return blender.result(), mask.probabilities


def crop(values: torch.Tensor, tile: Tile) -> torch.Tensor:
    return values[..., tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]


def test_one_tile_fades_into_the_next_by_hand():
    # Tiles of 8 that share 4: a margin of one counts for nothing, and over two the weights are (1 - cos 60°) / 2 = 1/4
    # and 3/4. Class 0 is what the first tile says, class 1 what the second does.
    tiles = [Tile(0, 0, 1, 8), Tile(0, 4, 1, 8)]
    says = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])]
    found, probabilities = blended(
        tiles, (1, 12), lambda tile: says[tile.left // 4][:, None, None].expand(2, 1, 8), "ab"
    )
    expected = torch.tensor([1, 1, 1, 1, 1, 0.75, 0.25, 0, 0, 0, 0, 0])
    torch.testing.assert_close(probabilities[0, 0], expected)
    torch.testing.assert_close(probabilities[1, 0], 1 - expected)
    assert found["mask"].tolist() == [[0] * 6 + [1] * 6] and found["pixels"].tolist() == [6, 6]
    assert found["scores"].tolist() == pytest.approx([5.75 / 6, 5.75 / 6])
    assert (found["path"], found["size"], found["names"]) == ("a.jpg", (1, 12), ["a", "b"])


@pytest.mark.parametrize("overlap", [0.0, 0.02, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("size", [(64, 64), (30, 200), (131, 97), (65, 65), (1, 70)])
@pytest.mark.parametrize("grid", [1, 8])
def test_tiles_that_agree_are_the_whole_whatever_they_overlap(overlap, size, grid):
    whole = torch.rand(3, *size).softmax(dim=0)
    found, probabilities = blended(Tiling(64, overlap, grid).tiles(size), size, lambda tile: crop(whole, tile))
    torch.testing.assert_close(probabilities, whole, atol=1e-6, rtol=0)
    assert found["mask"].equal(probabilities.argmax(dim=0).byte())
    expected = to_prediction(probabilities, "a.jpg", size, NAMES)
    assert found["pixels"].equal(expected["pixels"]) and found["names"] == expected["names"]
    torch.testing.assert_close(found["scores"], expected["scores"])


def test_the_margin_of_a_tile_counts_for_nothing_but_at_borders_of_the_image():
    # Tiles of 64 share 32: each says nonsense (0, 0, 1) in the outer 8 pixels inside of the image.
    size = (160, 160)
    inner = torch.tensor([0.7, 0.2, 0.1])[:, None, None]

    def predict(tile):
        found = inner.repeat(1, tile.height, tile.width)
        nonsense = torch.zeros(tile.height, tile.width, dtype=torch.bool)
        nonsense[: 8 if tile.top else 0] = nonsense[:, : 8 if tile.left else 0] = True
        if tile.top + tile.height < size[0]:
            nonsense[-8:] = True
        if tile.left + tile.width < size[1]:
            nonsense[:, -8:] = True
        found[:, nonsense] = torch.tensor([0.0, 0, 1])[:, None]
        return found

    _, probabilities = blended(Tiling(64, 0.5).tiles(size), size, predict)
    torch.testing.assert_close(probabilities, inner.expand(3, *size))


def test_a_tile_may_come_at_the_networks_resolution():
    size = (96, 160)
    coarse = torch.rand(3, 24, 40).softmax(dim=0)  # a quarter, and tiles of 64 begin at multiples of 4
    found, probabilities = blended(
        Tiling(64, 0.5, grid=4).tiles(size), size, lambda tile: crop(coarse, Tile(*(side // 4 for side in tile)))
    )
    expected = F.interpolate(coarse[None], size, mode="bilinear")[0]
    torch.testing.assert_close(probabilities, expected, atol=1e-6, rtol=0)
    assert found["mask"].shape == size


def test_tiles_begin_where_the_cells_of_the_network_do():
    assert tiling(640, 0.2, size=640, divisor=32) == Tiling(640, 0.2, grid=32)
    assert tiling(640, 0.2, size=512, divisor=32).grid == 40  # 32 pixels of the input
    assert tiling(1000, 0.2, size=512, divisor=32).grid == 125  # 62.5 pixels of the file are no whole number; 64 of 512
    assert tiling(640, 0.2, size=1280, divisor=32).grid == 16


class WholeNumbers(torch.nn.Module):
    """A fully convolutional network of whole numbers, which add up alike in any order: two convolutions of 3 x 3, of
    which the second halves the resolution if `stride` is 2. A pixel depends on others at most 2, or 4, away.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.stride = stride
        shapes = [(4, 3, 3, 3), (3, 4, 3, 3)]
        self.weights = [torch.randint(-1, 2, shape, generator=generator).float() for shape in shapes]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Probabilities (3, H, W) of an image (3, H, W) of 0 to 15, padded to a multiple of the stride with 0."""
        height, width = image.shape[1:]
        x = F.pad(image, (0, -width % self.stride, 0, -height % self.stride))[None]
        size = x.shape[2:]
        for number, weight in enumerate(self.weights):
            x = F.conv2d(x, weight, padding=1, stride=self.stride if number == 1 else 1)
            if number < len(self.weights) - 1:
                x = x.clamp(0, 255)  # so that all sums stay below 2**24
        x = F.interpolate(x, size, mode="bilinear") if self.stride > 1 else x
        return (x[0, :, :height, :width] / 256).softmax(dim=0)


def compare_with_whole(size, side, overlap, stride) -> Prediction:
    network = WholeNumbers(stride)
    image = torch.randint(0, 16, (3, *size), generator=torch.Generator().manual_seed(1)).float()
    whole = network(image)
    tiles = tiling(side, overlap, size=side, divisor=stride).tiles(size)
    found, probabilities = blended(tiles, size, lambda tile: network(crop(image, tile)))
    assert len(tiles) > 10
    assert (probabilities - whole).abs().max() < 1e-5
    assert found["mask"].equal(whole.max(dim=0).indices.byte())
    return found


def test_tiles_of_a_large_image_are_seamless():
    found = compare_with_whole((3000, 4000), 1000, 0.1, stride=1)
    assert found["pixels"].sum() == 12_000_000 and found["pixels"].min() > 100_000  # there are borders to get wrong


@pytest.mark.parametrize("size", [(300, 420), (301, 423)])
def test_tiles_of_a_network_that_halves_are_seamless(size):
    assert compare_with_whole(size, 128, 0.4, stride=2)["mask"].shape == size
