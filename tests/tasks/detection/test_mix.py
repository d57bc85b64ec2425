"""Mosaic and mixup: where a pixel and a box of a small image end up."""

import pytest
import torch

from foveal.core.types import Batch
from foveal.tasks.detection.mix import mixup, mosaic


def batch_of(images: list[torch.Tensor], boxes: list[list[list[float]]]) -> Batch:
    """Images (3, H, W), padded with 0 to the largest; the objects of image i are of class i."""
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    padded = torch.zeros(len(images), 3, height, width, dtype=torch.uint8)
    for target, image in zip(padded, images, strict=True):
        target[:, : image.shape[1], : image.shape[2]] = image
    counts = [len(rows) for rows in boxes]
    return Batch(
        image=padded,
        path=[str(index) for index in range(len(images))],
        size=[(9, 9)] * len(images),
        shape=[tuple(image.shape[1:]) for image in images],
        boxes=[torch.tensor(rows).reshape(-1, 4) for rows in boxes],
        labels=[torch.full((count,), index) for index, count in enumerate(counts)],
        crowd=[torch.zeros(count, dtype=torch.bool) for count in counts],
        difficult=[torch.zeros(count, dtype=torch.bool) for count in counts],
    )


def plain(level: int, height: int = 40, width: int = 40) -> torch.Tensor:
    return torch.full((3, height, width), level, dtype=torch.uint8)


def four_plain() -> Batch:
    """Four images of levels 10, 20, 30, 40 and several shapes, each with a box around the whole of it."""
    shapes = [(40, 40), (30, 50), (60, 20), (40, 60)]
    images = [plain(10 * (index + 1), *shape) for index, shape in enumerate(shapes)]
    return batch_of(images, [[[0.0, 0.0, width, height]] for height, width in shapes])


@pytest.mark.parametrize("seed", range(8))
def test_a_mosaic_is_four_images_that_meet_in_a_point_of_the_middle(seed):
    torch.manual_seed(seed)
    mixed = mosaic(four_plain(), share=1.0)
    assert mixed["image"].shape == (4, 3, 60, 60) and mixed["image"].dtype == torch.uint8
    assert mixed["shape"] == [(60, 60)] * 4
    for image, boxes, labels in zip(mixed["image"], mixed["boxes"], mixed["labels"], strict=True):
        assert image.unique().tolist() == [10, 20, 30, 40]  # four of the batch, each once, and no ground
        x, y = ((line == image[0, 0, 0]).sum().item() for line in (image[0, 0], image[0, :, 0]))
        assert 18 <= x <= 42 and 18 <= y <= 42  # 0.3 and 0.7 of 60
        assert {(box[0], box[1]) for box in boxes.tolist()} <= {(0, 0), (x, 0), (0, y), (x, y)}
        assert {(box[2], box[3]) for box in boxes.tolist()} <= {(x, y), (60, y), (x, 60), (60, 60)}
        for box, label in zip(boxes.int().tolist(), labels.tolist(), strict=True):
            assert (image[:, box[1] : box[3], box[0] : box[2]] == 10 * (label + 1)).all()


def test_a_mosaic_by_hand(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size: torch.full(size, 0.5) if size != ((),) else torch.tensor(0.5))
    image = torch.arange(0, 240, 30, dtype=torch.uint8).expand(3, 8, 8)  # 0, 30, ... 210 from left to right
    boxes = [[2.0, 2.0, 7.0, 7.0], [0.0, 0.0, 4.0, 7.0], [0.0, 0.0, 2.2, 7.0]]
    mixed = mosaic(batch_of([image, image], [boxes, boxes]), share=0.6)
    # The middle is at (4, 4). Half of its size covers a quarter; 1.5 times as large, by 0.75, 5 (5.33) pixels of 8 do.
    # The part begins at 2, the whole of 0.5 * 4, ends at 7, and is scaled by 4 / 5.
    assert mixed["image"][0, 0, 0].tolist()[:4] == mixed["image"][0, 0, 7].tolist()[4:]
    assert 60 <= mixed["image"][0, 0, 0, 0] <= 90 and 150 <= mixed["image"][0, 0, 0, 3] <= 180
    # The first box is the part; of the second the right half is in it; of the third 0.2 of 2.2, less than a tenth.
    expected = [[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 1.6, 4.0]]
    for number, (left, top) in enumerate([(0, 0), (4, 0), (0, 4), (4, 4)]):
        found = mixed["boxes"][0][2 * number : 2 * number + 2] - torch.tensor([left, top, left, top])
        assert found.numpy() == pytest.approx(torch.tensor(expected).numpy(), abs=1e-5)
    assert len(mixed["boxes"][0]) == 8


@pytest.mark.parametrize("seed", range(6))
def test_a_marked_object_stays_in_its_box(seed):
    torch.manual_seed(seed)
    images = []
    for index in range(4):
        image = plain(0, 80, 80)
        image[:, 24:56, 20 + 4 * index : 60] = 200
        images.append(image)
    mixed = mosaic(batch_of(images, [[[20.0 + 4 * index, 24.0, 60.0, 56.0]] for index in range(4)]), share=1.0)
    seen = 0
    for image, boxes in zip(mixed["image"], mixed["boxes"], strict=True):
        outside = image[0] > 100
        for left, top, right, below in boxes.tolist():
            inner = image[0, round(top) + 2 : round(below) - 2, round(left) + 2 : round(right) - 2]
            assert (inner > 150).all()
            outside[max(0, round(top) - 2) : round(below) + 2, max(0, round(left) - 2) : round(right) + 2] = False
            seen += 1
        assert outside.sum() <= 0.1 * 4 * 32 * 40  # what was left of objects that went
    assert seen >= 8


def test_share_is_the_share_of_images():
    torch.manual_seed(0)
    images = [plain(level) for level in range(200)]
    mixed = mosaic(batch_of(images, [[] for _ in images]), share=0.3)
    changed = sum(len(image.unique()) > 1 for image in mixed["image"])
    assert 45 <= changed <= 75  # 60 of 200, with a deviation of 6.5


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_gives_the_same_images_and_leaves_the_batch_alone(seed):
    batch = four_plain()
    before = batch["image"].clone()
    torch.manual_seed(seed)
    first = mixup(mosaic(batch, share=0.7), alpha=1.5)
    torch.manual_seed(seed)
    second = mixup(mosaic(batch, share=0.7), alpha=1.5)
    assert torch.equal(first["image"], second["image"])
    assert all(torch.equal(one, other) for one, other in zip(first["boxes"], second["boxes"], strict=True))
    assert torch.equal(batch["image"], before) and [len(boxes) for boxes in batch["boxes"]] == [1, 1, 1, 1]


def test_one_image_has_none_to_be_mixed_with():
    batch = batch_of([plain(7)], [[[1.0, 2.0, 3.0, 4.0]]])
    assert mosaic(batch, share=1.0) is batch and mixup(batch, alpha=1.5) is batch


def test_mixup_by_hand(monkeypatch):
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self, size: torch.full(size, 0.25))
    first, second = plain(40, 4, 2), plain(200, 2, 6)
    mixed = mixup(batch_of([first, second], [[[0.0, 0.0, 2.0, 4.0]], [[1.0, 0.0, 5.0, 2.0]]]), alpha=1.5)
    assert mixed["shape"] == [(4, 6), (4, 6)] and mixed["image"].dtype == torch.uint8
    red = mixed["image"][0, 0].tolist()
    assert red[0][0] == 160  # both images: 0.25 * 40 + 0.75 * 200
    assert red[0][5] == 181  # the second, and the mean colour, 123.93, for the first: 30.98 + 150
    assert red[3][0] == 103  # the first, and the mean colour for the second: 10 + 92.95
    assert red[3][5] == 124  # neither
    assert mixed["image"][1, 0, 0, 0] == 80  # 0.25 * 200 + 0.75 * 40
    assert mixed["boxes"][0].tolist() == [[0, 0, 2, 4], [1, 0, 5, 2]] and mixed["labels"][0].tolist() == [0, 1]
    assert mixed["boxes"][1].tolist() == [[1, 0, 5, 2], [0, 0, 2, 4]] and mixed["labels"][1].tolist() == [1, 0]


@pytest.mark.parametrize("sides", [(1, 1), (1, 300), (300, 1)])
def test_images_of_a_pixel_and_without_objects_can_be_mixed(sides):
    torch.manual_seed(0)
    batch = batch_of([plain(9, *sides), plain(9, *sides)], [[], []])
    mixed = mixup(mosaic(batch, share=1.0), alpha=1.5)
    assert (mixed["image"] == 9).all() and mixed["boxes"][0].shape == (0, 4)
