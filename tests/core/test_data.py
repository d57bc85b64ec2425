"""Order, augmentation and batches."""

import numpy as np
import pytest
import torch

from foveal.core.data import DataModule, collate, preprocessing
from foveal.core.errors import UsageError
from foveal.core.options import DataOptions
from foveal.core.transforms import A, Transform, sample_seed


class Numbered:
    """Twenty images; image i is all i."""

    class_names = ("even", "odd")
    labels = np.arange(20) % 2

    def __len__(self):
        return 20

    def __getitem__(self, index):
        image = np.full((6, 8, 3), index, np.uint8)
        return {"image": image, "path": f"{index}", "size": (6, 8), "label": int(self.labels[index])}


def module(workers=0, seed=0, transform=None, batch_size=5):
    data = DataModule(lambda split: Numbered(), DataOptions(batch_size=batch_size, num_workers=workers), seed=seed)
    data.transform = lambda augment: transform or Transform([])
    return data


def epoch(loader, number):
    loader.batch_sampler.sampler.set_epoch(number)
    return [batch for batch in loader]


def paths(batches):
    return [path for batch in batches for path in batch["path"]]


def test_a_batch_is_one_uint8_block_with_labels_and_lists():
    batch = next(iter(module().val_dataloader()))
    assert batch["image"].shape == (5, 3, 6, 8) and batch["image"].dtype == torch.uint8
    assert batch["image"][3].unique().tolist() == [3]
    assert batch["label"].tolist() == [0, 1, 0, 1, 0] and batch["label"].dtype == torch.int64
    assert batch["path"] == ["0", "1", "2", "3", "4"] and batch["size"] == [(6, 8)] * 5


def test_every_image_once_an_epoch_in_an_order_of_seed_and_epoch_alone():
    loader = module().train_dataloader()
    first, second = paths(epoch(loader, 0)), paths(epoch(loader, 1))
    assert sorted(map(int, first)) == sorted(map(int, second)) == list(range(20))
    assert first != second
    assert first == paths(epoch(module().train_dataloader(), 0))
    assert first != paths(epoch(module(seed=1).train_dataloader(), 0))


def test_validation_keeps_the_order_of_the_data_set():
    assert paths(module().val_dataloader()) == [str(number) for number in range(20)]


def test_a_resumed_epoch_goes_on_where_it_stopped_and_the_next_is_whole():
    loader = module().train_dataloader()
    whole, following = paths(epoch(loader, 3)), paths(epoch(loader, 4))
    data = module()
    data.start = (3, 2)  # two batches of five
    resumed = data.train_dataloader()
    assert paths(resumed) == whole[10:]  # before Lightning has said which epoch it is
    assert paths(epoch(resumed, 4)) == following


def brightness():
    return Transform([A.RandomBrightnessContrast(brightness_limit=(0.2, 0.9), contrast_limit=0, p=1)])


@pytest.mark.parametrize("workers", [1, 2])
def test_augmentation_depends_on_seed_epoch_and_index_and_not_on_the_workers(workers):
    alone, shared = (
        module(0, transform=brightness()).train_dataloader(),
        module(workers, transform=brightness()).train_dataloader(),
    )
    for number in (0, 1):
        for one, other in zip(epoch(alone, number), epoch(shared, number), strict=True):
            assert one["path"] == other["path"]
            assert torch.equal(one["image"], other["image"])


def test_no_two_samples_or_epochs_share_a_draw():
    seeds = {sample_seed(0, epoch, index) for epoch in range(20) for index in range(500)}
    assert len(seeds) == 20 * 500
    assert sample_seed(1, 0, 0) != sample_seed(0, 0, 0)
    image = np.full((4, 4, 3), 50, np.uint8)
    values = {int(brightness()({"image": image}, sample_seed(0, epoch, 7))["image"][0, 0, 0]) for epoch in range(30)}
    assert len(values) > 20  # of 179 levels


def test_the_classes_come_from_the_data():
    data = module()
    assert data.class_names == ("even", "odd")


def test_preprocessing_follows_the_options():
    assert preprocessing(DataOptions(size=64, grey=True)) == {
        "size": 64,
        "resize": "squash",
        "grey": True,
        "mean": [0.459],
        "std": [0.226],
    }
    assert preprocessing(DataOptions())["mean"] == [0.485, 0.456, 0.406]


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(UsageError, match=r"data\.num_workers is -1"):
        module(workers=-1).val_dataloader()


def test_collate_without_labels():
    sample = {"image": torch.zeros(3, 2, 2, dtype=torch.uint8), "path": "a", "size": (9, 9)}
    assert set(collate([sample, sample])) == {"image", "path", "size", "shape"}


def one_object(index):
    image = np.zeros((64, 64, 3), np.uint8)
    boxes = np.array([[10, 20, 18, 26], [0, 0, 64, 64]], np.float32)
    flags = {"crowd": np.zeros(2, bool), "difficult": np.zeros(2, bool)}
    return {"image": image, "path": "a", "size": (64, 64), "boxes": boxes, "labels": np.array([0, 1]), **flags}


def shrinking(monkeypatch):
    monkeypatch.setattr(Numbered, "__getitem__", lambda self, index: one_object(index))
    return module(transform=Transform([A.Resize(8, 8)]), batch_size=2)


def test_evaluation_keeps_the_objects_that_are_lost_when_an_image_is_made_smaller(monkeypatch):
    batch = next(iter(shrinking(monkeypatch).val_dataloader()))
    assert len(batch["boxes"][0]) == 1  # the other is one by three quarters of a pixel
    assert batch["truth"][0]["boxes"].tolist() == [[10, 20, 18, 26], [0, 0, 64, 64]]
    assert batch["truth"][0]["labels"].tolist() == [0, 1]


def test_training_has_no_use_for_them(monkeypatch):
    assert "truth" not in next(iter(shrinking(monkeypatch).train_dataloader()))
