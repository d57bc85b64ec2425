"""From a data set to batches: one DataModule for all tasks.

The augmentation of a sample is a function of (seed, epoch, index), as the order of an epoch (`sampling.py`) is one of
(seed, epoch): neither depends on the number of workers, and no state has to be saved to repeat them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from .cores import number_of_cores
from .errors import DataError, FovealError, UsageError
from .options import DataOptions
from .sampling import Draw, EpochBatches, EpochOrder, PeopleBatches, aspect_buckets, balanced_weights
from .transforms import Transform, sample_seed
from .types import Batch, Preprocessing

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

    def truth(self, index: int) -> dict[str, Any]:
        """What is known about an image, without reading it."""
        ...

    def fingerprint(self) -> str:
        """A digest that is another one when an image is added, removed, renamed or labelled anew."""
        ...


class DataModule(pl.LightningDataModule):
    """Loaders for train, val and test; says the classes, so that nobody has to.

    `open_split` gives the data set of a split. `transform`, set before a loader is asked for, gives the task's
    transform for a kind of augmentation (`none` for val and test); `training_data` what training sees of a data set
    under a kind of augmentation, by default its images one by one. Raises what `open_split` raises.
    """

    transform: Callable[[str | list[str]], Transform]

    def __init__(self, open_split: Callable[[Split], Dataset], options: DataOptions, *, seed: int = 0) -> None:
        super().__init__()
        self.options = options
        self.seed = seed
        self.start: tuple[int, int] = (0, 0)  # of a resumed run: its epoch, and the batches of it that were used
        self.pin_memory = False  # worth it where batches go to a GPU
        self._open_split = open_split
        self._datasets: dict[str, Dataset] = {}
        self.training_data: Callable[[Dataset, str | list[str]], Dataset] = lambda dataset, augment: dataset

    def dataset(self, split: Split) -> Dataset:
        """The raw data set of `split`, opened once."""
        if split not in self._datasets:
            self._datasets[split] = self._open_split(split)
        return self._datasets[split]

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, by class number."""
        return self.dataset("train").class_names

    def fingerprints(self) -> dict[str, str]:
        """Digests of the images and labels of train and val: what tells a run's data from any other."""
        return {split: self.dataset(split).fingerprint() for split in ("train", "val")}

    def train_dataloader(self) -> DataLoader:
        """Shuffled and augmented; a resumed epoch goes on behind the batches that it has already had."""
        options = self.options
        dataset = self.training_data(self.dataset("train"), options.augment)
        batches = self._batches_of_people(dataset) if options.sampling == "people" else self._batches(dataset)
        prepared = _Prepared(dataset, self.transform(options.augment), self.seed, options.on_error, replace=True)
        return self._loader(prepared, batch_sampler=batches)

    def val_dataloader(self) -> DataLoader:
        """In the data set's order, without changes."""
        return self.evaluation_loader("val")

    def test_dataloader(self) -> DataLoader:
        """The same for test."""
        return self.evaluation_loader("test")

    def evaluation_loader(self, split: Split) -> DataLoader:
        """The images of `split` in their order, prepared as for prediction."""
        dataset, transform = self.dataset(split), self.transform("none")
        prepared = _Prepared(dataset, transform, self.seed, self.options.on_error, keep_truth=True)
        return self._loader(prepared, batch_size=self.options.batch_size)

    def _batches(self, dataset: Dataset) -> EpochBatches:
        options = self.options
        epoch, used = self.start
        weights = _balanced(dataset) if options.sampling == "balanced" else None
        buckets = _shapes(dataset, options.aspect_buckets) if options.aspect_buckets > 1 else None
        order = EpochOrder(len(dataset), self.seed, epoch, weights)
        return EpochBatches(order, options.batch_size, skip=used, buckets=buckets)

    def _batches_of_people(self, dataset: Dataset) -> PeopleBatches:
        size, images = self.options.batch_size, self.options.images_per_person
        if len(dataset.labels) != len(dataset):
            raise UsageError("data.sampling people needs one person an image, and this data set has none.")
        if self.options.aspect_buckets > 1:
            raise UsageError("data.sampling people and data.aspect_buckets both say what makes a batch; leave out one.")
        if size < 2 * images:
            raise UsageError(
                f"data.batch_size is {size}, too small for two people with data.images_per_person {images} each; raise "
                "it, or lower that."
            )
        epoch, used = self.start
        people = size // images
        return PeopleBatches(dataset.labels, people=people, images=images, seed=self.seed, epoch=epoch, skip=used)

    def _loader(self, dataset: "_Prepared", **batches: Any) -> DataLoader:
        workers = number_of_workers(self.options.num_workers)
        return DataLoader(
            dataset,  # type: ignore[arg-type]  # a Dataset by its two methods
            num_workers=workers,
            collate_fn=_collate_or_error,
            persistent_workers=workers > 0,
            pin_memory=self.pin_memory,
            worker_init_fn=limit_threads,
            **batches,
        )


def _balanced(dataset: Dataset) -> np.ndarray:
    counts = getattr(dataset, "counts", np.ones(len(dataset), np.int64))
    if counts.sum() != len(dataset.labels):
        raise UsageError("data.sampling balanced needs classes of images or boxes, and this data set has none.")
    return balanced_weights(dataset.labels, counts)


def _shapes(dataset: Dataset, number: int) -> np.ndarray:
    size = getattr(dataset, "size", None)
    if size is None:
        raise UsageError("data.aspect_buckets needs images of different shapes; this data set's are all alike.")
    return aspect_buckets([size(index) for index in range(len(dataset))], number)


def preprocessing(options: DataOptions) -> Preprocessing:
    """What `options` say of the network's input, with the mean and deviation that go with it."""
    mean, std = (GREY_MEAN, GREY_STD) if options.grey else (IMAGENET_MEAN, IMAGENET_STD)
    return Preprocessing(size=options.size, resize=options.resize, grey=options.grey, mean=mean, std=std)


# What fills the room beside an image that is smaller than the largest of its batch.
_PADDING = {"image": 0, "image2": 0, "mask": 255, "edges": -1, "depth": 0, "normals": 0}
_NUMBERS = ("label", "identity", "sequence", "frame")
# What a metric wants in pixels of the file.
_TRUTH = ("boxes", "labels", "crowd", "difficult", "area", "mask", "edges", "annotators", "depth", "camera", "normals")


def collate(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Samples to a batch: images and maps stacked, padded to the largest; numbers in one tensor; all else in lists."""
    batch: dict[str, Any] = {key: [sample[key] for sample in samples] for key in samples[0]}
    batch["shape"] = [tuple(image.shape[-2:]) for image in batch["image"]]
    for key, value in _PADDING.items():
        if key in batch:
            batch[key] = _stack(batch[key], value)
    if "box2" in batch:
        batch["box2"] = torch.stack(batch["box2"])
    for key in _NUMBERS:
        if key in batch:
            batch[key] = torch.tensor(batch[key])
    return Batch(**batch)


def _stack(tensors: Sequence[torch.Tensor], value: int) -> torch.Tensor:
    height, width = (max(tensor.shape[axis] for tensor in tensors) for axis in (-2, -1))
    padded = [_padded(tensor, height, width, value) for tensor in tensors]
    if tensors[0].ndim == 2:
        return torch.stack(padded)
    # An image is (H, W, 3) in memory, as it was decoded: one block of such is copied at once, and is what torch calls
    # channels_last, the faster order for convolutions.
    return torch.stack([image.permute(1, 2, 0) for image in padded]).permute(0, 3, 1, 2)


def _padded(tensor: torch.Tensor, height: int, width: int, value: int) -> torch.Tensor:
    missing = (0, width - tensor.shape[-1], 0, height - tensor.shape[-2])
    return F.pad(tensor, missing, value=value) if any(missing) else tensor


def number_of_workers(wanted: int | None) -> int:
    """`wanted`, or by default one less than the cores this process may use, and at most eight."""
    if wanted is not None:
        if wanted < 0:
            raise UsageError(f"data.num_workers is {wanted}; it must be 0 (read in this process) or more.")
        return wanted
    return min(8, number_of_cores() - 1)


def limit_threads(_worker: int) -> None:
    """One thread a worker: the workers are the parallelism, and OpenCV's own threads would fight them for the cores."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """From (H, W, 3) to (3, H, W), the same memory where it can be."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


# How often a training may look for another image in place of one that cannot be read, before it gives up.
_TRIES = 20


class _Prepared:
    """A data set after its transform: what the loader's workers run.

    With `on_error` skip, an image that cannot be read is left out; with `replace`, the next one that can be takes its
    place, so that batches keep their size. What was wrong goes along under `skipped`. With `keep_truth`, objects and
    maps go along under `truth` as the data set has them: what is small may be lost when its image is made smaller.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: Transform,
        seed: int,
        on_error: str = "stop",
        *,
        replace: bool = False,
        keep_truth: bool = False,
    ) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed
        self._skip = on_error == "skip"
        self._tries = _TRIES if replace else 1
        self._keep_truth = keep_truth
        self._draw = getattr(dataset, "draw", None)  # where a sample is another one each time, as pairs of frames are

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any] | FovealError:
        epoch, index = draw if isinstance(draw, Draw) else (0, draw)
        skipped: list[str] = []
        for _ in range(self._tries):
            seed = sample_seed(self.seed, epoch, index)
            try:
                sample = self._draw(index, seed) if self._draw is not None else self.dataset[index]
            except FovealError as error:
                if not self._skip:
                    return error  # raised in the task: on its way out of a worker, torch would make another one of it
                skipped.append(str(error))
                index = (index + 1) % len(self)
                continue
            changed = self.transform(sample, seed)
            prepared = {**{key: _tensor(key, value) for key, value in changed.items()}, "skipped": skipped}
            if self._keep_truth and any(key in sample for key in _TRUTH):
                prepared["truth"] = {key: torch.from_numpy(sample[key]) for key in _TRUTH if key in sample}
            return prepared
        if self._tries > 1:
            return DataError(f"{_TRIES} images in a row could not be read, the first: {skipped[0]}")
        return {"skipped": skipped}


def _tensor(key: str, value: Any) -> Any:
    if key in ("image", "image2", "normals"):
        return to_tensor(value)
    return torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value


def _collate_or_error(samples: Sequence[Any]) -> Batch | FovealError:
    error = next((sample for sample in samples if isinstance(sample, FovealError)), None)
    if error is not None:
        return error
    skipped = [sentence for sample in samples for sentence in sample.pop("skipped")]
    readable = [sample for sample in samples if sample]
    batch = collate(readable) if readable else Batch(image=torch.zeros(0, 3, 1, 1), path=[], size=[], shape=[])
    return Batch(**{**batch, "skipped": skipped}) if skipped else batch


def require_images(split: Split, dataset: Dataset) -> None:
    """Raise DataError where `split` holds no image: a training without steps must not look like a success."""
    if len(dataset) == 0:
        raise DataError(f"The split '{split}' holds no image; give it some, or change data.splits.")
