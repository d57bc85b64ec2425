"""From a data set to batches: one DataModule for all tasks.

The order of an epoch is a function of (seed, epoch), the augmentation of a sample one of (seed, epoch, index): neither
depends on the number of workers, and no state has to be saved to repeat them.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from .errors import DataError, FovealError, UsageError
from .options import DataOptions
from .transforms import Transform, sample_seed
from .types import Batch, Preprocessing, Sample

Split = Literal["train", "val", "test"]

# Of ImageNet's training images scaled to 0..1: what every published network was trained with. Grey: the same, weighted
# as luma.
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
GREY_MEAN, GREY_STD = [0.459], [0.226]


class Dataset(Protocol):
    """What the readers in `datasets/` give: raw images with their truth."""

    class_names: list[str]
    labels: np.ndarray  # int64 (N,)

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A Sample whose image is still uint8 (H, W, 3)."""
        ...

    def fingerprint(self) -> str:
        """A digest that is another one when an image is added, removed, renamed or labelled anew."""
        ...


class DataModule(pl.LightningDataModule):
    """Loaders for train, val and test; says the classes, so that nobody has to.

    `open_split` gives the data set of a split. `transform`, set before a loader is asked for, gives the task's
    transform for a kind of augmentation (`none` for val and test). Raises what `open_split` raises.
    """

    transform: Callable[[str], Transform]

    def __init__(self, open_split: Callable[[Split], Dataset], options: DataOptions, *, seed: int = 0) -> None:
        super().__init__()
        self.options = options
        self.seed = seed
        self.start: tuple[int, int] = (0, 0)  # of a resumed run: its epoch, and the batches of it that were used
        self.pin_memory = False  # worth it where batches go to a GPU
        self._open_split = open_split
        self._datasets: dict[str, Dataset] = {}

    def dataset(self, split: Split) -> Dataset:
        """The raw data set of `split`, opened once."""
        if split not in self._datasets:
            self._datasets[split] = self._open_split(split)
        return self._datasets[split]

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, by class number."""
        return self.dataset("train").class_names

    @property
    def class_counts(self) -> list[int]:
        """Training images of each class."""
        return np.bincount(self.dataset("train").labels, minlength=len(self.class_names)).tolist()

    def fingerprints(self) -> dict[str, str]:
        """Digests of the images and labels of train and val: what tells a run's data from any other."""
        return {split: self.dataset(split).fingerprint() for split in ("train", "val")}

    def train_dataloader(self) -> DataLoader:
        """Shuffled and augmented; a resumed epoch goes on behind the batches that it has already had."""
        dataset = self.dataset("train")
        epoch, batches = self.start
        sampler = _EpochSampler(len(dataset), self.seed, epoch, skip=batches * self.options.batch_size)
        return self._loader(_Prepared(dataset, self.transform(self.options.augment), self.seed), sampler)

    def val_dataloader(self) -> DataLoader:
        """In the data set's order, without changes."""
        return self.evaluation_loader("val")

    def test_dataloader(self) -> DataLoader:
        """The same for test."""
        return self.evaluation_loader("test")

    def evaluation_loader(self, split: Split) -> DataLoader:
        """The images of `split` in their order, prepared as for prediction."""
        return self._loader(_Prepared(self.dataset(split), self.transform("none"), self.seed), None)

    def _loader(self, dataset: "_Prepared", sampler: "_EpochSampler | None") -> DataLoader:
        workers = number_of_workers(self.options.num_workers)
        return DataLoader(
            dataset,  # type: ignore[arg-type]  # a Dataset by its two methods
            batch_size=self.options.batch_size,
            sampler=sampler,
            num_workers=workers,
            # Batch normalisation cannot work on a single image: a last batch of one is left out of an epoch.
            drop_last=sampler is not None and len(dataset) % self.options.batch_size == 1 and len(dataset) > 1,
            collate_fn=_collate_or_error,
            persistent_workers=workers > 0,
            pin_memory=self.pin_memory,
            worker_init_fn=limit_threads,
        )


def preprocessing(options: DataOptions) -> Preprocessing:
    """What `options` say of the network's input, with the mean and deviation that go with it."""
    mean, std = (GREY_MEAN, GREY_STD) if options.grey else (IMAGENET_MEAN, IMAGENET_STD)
    return Preprocessing(size=options.size, resize=options.resize, grey=options.grey, mean=mean, std=std)


def collate(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Samples of one size to a batch: images stacked, labels in one tensor, everything else in lists."""
    batch: dict[str, Any] = {key: [sample[key] for sample in samples] for key in samples[0]}
    batch["image"] = torch.stack(batch["image"])
    if "label" in batch:
        batch["label"] = torch.tensor(batch["label"])
    return Batch(**batch)


def number_of_workers(wanted: int | None) -> int:
    """`wanted`, or by default one less than the cores this process may use, and at most eight."""
    if wanted is not None:
        if wanted < 0:
            raise UsageError(f"data.num_workers is {wanted}; it must be 0 (read in this process) or more.")
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # not on macOS
    return min(8, cores - 1)


def limit_threads(_worker: int) -> None:
    """One thread a worker: the workers are the parallelism, and OpenCV's own threads would fight them for the cores."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """uint8 (H, W, 3) to uint8 (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


class _Draw(NamedTuple):
    """What the training sampler hands to the data set: an epoch's draw of one image."""

    epoch: int
    index: int


class _EpochSampler(Sampler[_Draw]):
    """A permutation that depends on (seed, epoch) alone; the first `skip` images of the first epoch are left out.

    Lightning calls `set_epoch` before each epoch, but in a resumed run only after the workers have begun to read: the
    first epoch must be known from the start.
    """

    def __init__(self, length: int, seed: int, epoch: int = 0, *, skip: int = 0) -> None:
        self.length = length
        self.seed = seed
        self.epoch = epoch
        self._first = (epoch, skip)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[_Draw]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        skip = self._first[1] if self.epoch == self._first[0] else 0
        return (_Draw(self.epoch, int(index)) for index in order[skip:])

    def __len__(self) -> int:
        return self.length


class _Prepared:
    """A data set after its transform: what the loader's workers run."""

    def __init__(self, dataset: Dataset, transform: Transform, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: "_Draw | int") -> Sample | FovealError:
        epoch, index = draw if isinstance(draw, _Draw) else (0, draw)
        try:
            sample = self.dataset[index]
        except FovealError as error:
            return error  # raised in the task: on its way out of a worker, torch would make another error of it
        image = self.transform(sample["image"], sample_seed(self.seed, epoch, index))
        return Sample(**{**sample, "image": to_tensor(image)})


def _collate_or_error(samples: Sequence[Any]) -> Batch | FovealError:
    errors = (sample for sample in samples if isinstance(sample, FovealError))
    return next(errors, None) or collate(samples)


def require_images(split: Split, dataset: Dataset) -> None:
    """Raise DataError where `split` holds no image: a training without steps must not look like a success."""
    if len(dataset) == 0:
        raise DataError(f"The split '{split}' holds no image; give it some, or change data.splits.")
