"""Which images make an epoch and which a batch."""

from collections import Counter

import numpy as np
import pytest
from lightning.fabric.utilities.data import _set_sampler_epoch
from torch.utils.data import DataLoader

from foveal.core.data import DataModule
from foveal.core.errors import DataError, UsageError
from foveal.core.options import DataOptions
from foveal.core.sampling import EpochBatches, EpochOrder, PeopleBatches, aspect_buckets, balanced_weights
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


# Person 0 in ten images, 1 in five, 2 to 5 in four, 6 in two, 7 in one: 34 images.
LABELS = np.random.default_rng(0).permutation([0] * 10 + [1] * 5 + [2, 3, 4, 5] * 4 + [6] * 2 + [7])


def of_people(labels=LABELS, *, people=3, images=4, **options):
    found = PeopleBatches(labels, people=people, images=images, seed=options.pop("seed", 0), **options)
    return [[draw.index for draw in batch] for batch in found]


@pytest.mark.parametrize(("people", "images"), [(3, 4), (8, 2), (1, 3), (7, 1), (2, 10)])
def test_a_batch_has_so_many_people_and_so_many_images_of_each(people, images):
    found = of_people(people=people, images=images)
    assert len(found) == round(len(LABELS) / (people * images))
    for batch in found:
        counts = Counter(LABELS[batch].tolist())
        assert len(counts) == people and set(counts.values()) == {images}


def test_images_repeat_only_where_a_person_has_too_few():
    for epoch in range(5):
        for batch in of_people(images=4, epoch=epoch):
            for person, times in ((person, Counter(i for i in batch if LABELS[i] == person)) for person in range(8)):
                if times:
                    expected = {6: {2}, 7: {4}}.get(person, {1})  # of two images each twice, one four times
                    assert set(times.values()) == expected


@pytest.mark.parametrize("people", [2, 3, 5, 8])
def test_everybody_is_seen_about_as_often_and_so_are_the_images_of_each(people):
    labels = np.repeat(np.arange(9), 30)
    drawn = flat(of_people(labels, people=people, images=4))
    slots = Counter(labels[drawn].tolist())
    assert len(slots) == 9 and max(slots.values()) - min(slots.values()) <= 4  # one slot is four images
    of_images = Counter(drawn)
    for person in range(9):
        counts = [of_images[index] for index in np.flatnonzero(labels == person)]
        assert max(counts) - min(counts) <= 1


def test_people_of_many_images_are_seen_no_more_often():
    labels = np.tile(LABELS, 20)
    slots = Counter(labels[flat(of_people(labels))].tolist())
    assert max(slots.values()) - min(slots.values()) <= 4


def test_over_many_epochs_all_are_seen_alike():
    # One batch of three people of eight an epoch: each in 3/8 of 400 epochs.
    labels = np.repeat(np.arange(8), 2)
    slots = Counter(labels[flat(flat(of_people(labels, images=6, epoch=epoch) for epoch in range(400)))].tolist())
    assert all(725 < count < 1075 for count in slots.values())  # 900 is expected, with a deviation of 58


def test_people_with_too_few_images_are_left_out():
    assert not {7, 6} & set(LABELS[flat(of_people(least_images=4))].tolist())
    assert 6 in LABELS[flat(of_people(people=7, least_images=2))]
    with pytest.raises(DataError, match="None of the 3 people has 2 images"):
        of_people(np.arange(3), least_images=2)


def test_fewer_people_than_a_batch_wants():
    found = of_people(np.array([4, 4, 4, 4, 9, 9, 9, 9]), people=32, images=2)
    assert [len(batch) for batch in found] == [4, 4]
    assert len(of_people(np.array([0, 1]), people=32, images=8)) == 1  # and an epoch has one batch at least


def test_batches_of_people_are_a_function_of_seed_and_epoch():
    assert of_people(epoch=3) == of_people(epoch=3)
    assert len({str(of_people(seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_a_resumed_run_goes_on_with_the_batch_it_has_not_had():
    whole, resumed = (PeopleBatches(LABELS, people=3, images=4, seed=1, epoch=2, skip=skip) for skip in (0, 2))
    assert list(resumed) == list(whole)[2:] and len(resumed) == len(whole) == 3
    resumed.set_epoch(3)
    whole.set_epoch(3)
    assert list(resumed) == list(whole)
    assert {draw.epoch for batch in whole for draw in batch} == {3}


def test_lightning_sets_the_epoch_of_batches_of_people():
    batches = PeopleBatches(LABELS, people=3, images=4, seed=0)
    _set_sampler_epoch(DataLoader(range(len(LABELS)), batch_sampler=batches), 5)
    assert [[draw.index for draw in batch] for batch in batches] == of_people(epoch=5)
