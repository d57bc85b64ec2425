"""Which images make an epoch and which a batch."""

import numpy as np
import pytest

from foveal.core.data import DataModule
from foveal.core.errors import UsageError
from foveal.core.options import DataOptions
from foveal.core.sampling import EpochBatches, EpochOrder, aspect_buckets, balanced_weights
from foveal.core.transforms import Transform
from foveal.datasets.shapes import ShapesWorld


def batches(length, batch_size, buckets=None):
    found = EpochBatches(EpochOrder(length, 0), batch_size, buckets=buckets)
    return [[draw.index for draw in batch] for batch in found]


def flat(batches):
    return [index for batch in batches for index in batch]


def test_batches_hold_every_image_once_and_the_last_is_smaller():
    found = batches(11, 4)
    assert [len(batch) for batch in found] == [4, 4, 3]
    assert sorted(flat(found)) == list(range(11))


def test_a_last_batch_of_one_is_left_out_unless_it_is_the_only_one():
    assert [len(batch) for batch in batches(9, 4)] == [4, 4] and len(EpochBatches(EpochOrder(9, 0), 4)) == 2
    assert [len(batch) for batch in batches(1, 4)] == [1]


def test_images_of_like_shape_come_together_and_the_number_of_batches_stays():
    kinds = np.array([0] * 10 + [1] * 8)
    found = batches(18, 4, kinds)
    assert sorted(flat(found)) == list(range(18))
    assert len(found) == len(EpochBatches(EpochOrder(18, 0), 4, buckets=kinds)) == 5
    assert sum(len({int(kinds[index]) for index in batch}) > 1 for batch in found) <= 1  # what was left over


def test_kinds_of_shape_by_hand():
    # H / W of 1/2, 9/10, 1, 2: two kinds are parted at the square; three at 2 ** -1/3 = 0.79 and 2 ** 1/3 = 1.26.
    sizes = [(50, 100), (90, 100), (100, 100), (200, 100)]
    assert aspect_buckets(sizes, 2).tolist() == [0, 0, 1, 1]
    assert aspect_buckets(sizes, 3).tolist() == [0, 1, 1, 2]
    assert aspect_buckets(sizes, 1).tolist() == [0, 0, 0, 0]


def test_rare_classes_weigh_more():
    # Class 0 is in three images, class 1 in one; the fourth image has no object.
    weights = balanced_weights(labels=np.array([0, 0, 0, 1, 0]), counts=np.array([2, 2, 1, 0]))
    assert weights.tolist() == [1 / 3, 1.0, 1 / 3, 1 / 3]


def test_a_balanced_epoch_draws_both_classes_alike():
    class Skewed:
        class_names, labels = ("common", "rare"), np.array([0] * 900 + [1] * 100)

        def __len__(self):
            return 1000

    data = DataModule(lambda split: Skewed(), DataOptions(sampling="balanced", batch_size=50, num_workers=0))
    data.transform = lambda augment: Transform([])
    loader = data.train_dataloader()
    drawn = [draw.index for batch in loader.batch_sampler for draw in batch]
    assert len(drawn) == 1000
    assert 440 < sum(index >= 900 for index in drawn) < 560


def test_balance_needs_classes():
    data = DataModule(lambda split: ShapesWorld("depth", images=4), DataOptions(sampling="balanced", num_workers=0))
    data.transform = lambda augment: Transform([])
    with pytest.raises(UsageError, match=r"data\.sampling balanced needs classes"):
        data.train_dataloader()


class Shapes:
    """Tall and wide images in turn."""

    class_names, labels = ("a", "b"), np.arange(24) % 2

    def __len__(self):
        return 24

    def size(self, index):
        return (30, 20) if index % 2 else (20, 30)

    def __getitem__(self, index):
        image = np.full((*self.size(index), 3), index, np.uint8)
        boxes = np.array([[0, 0, 5, 5]], np.float32).repeat(index % 3, axis=0)
        return {"image": image, "path": str(index), "size": self.size(index), "boxes": boxes, "label": index}


def loaded(**options):
    data = DataModule(lambda split: Shapes(), DataOptions(batch_size=4, num_workers=0, **options))
    data.transform = lambda augment: Transform([])
    return list(data.train_dataloader())


def test_batches_of_like_shape_need_no_padding():
    assert {tuple(batch["image"].shape) for batch in loaded(aspect_buckets=2)} == {(4, 3, 30, 20), (4, 3, 20, 30)}


def test_unlike_images_are_padded_on_the_right_and_below():
    batch = next(batch for batch in loaded() if len(set(batch["shape"])) == 2)
    assert batch["image"].shape == (4, 3, 30, 30)
    for image, (height, width), label, boxes in zip(
        batch["image"], batch["shape"], batch["label"], batch["boxes"], strict=True
    ):
        assert (image[:, :height, :width] == label).all()
        assert image[:, height:].sum() == 0 and image[:, :, width:].sum() == 0
        assert boxes.shape == (int(label) % 3, 4)
