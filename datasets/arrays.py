"""Data sets whose images lie in one array in memory: those that come as one file, like MNIST."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .mixed import class_numbers
from .splits import digest


class ImageArrays:
    """Grey images of one size with one label each; see the package for what a data set is.

    `images`: uint8 (N, H, W); `labels`: int64 (N,). An image is called "SOURCE:NUMBER", its number in `images`.
    """

    def __init__(self, source: str, images: np.ndarray, labels: np.ndarray, class_names: list[str]):
        self.class_names = class_names
        self.labels = labels.astype(np.int64)
        self._source, self._images = source, images
        self._numbers = np.arange(len(images))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The image, uint8 (H, W, 3) with three equal channels, its path, size (H, W) and label."""
        grey = self._images[index]
        image = np.repeat(grey[:, :, None], 3, axis=2)
        return {"image": image, "path": self.path(index), "size": grey.shape, **self.truth(index)}

    def path(self, index: int) -> str:
        """What the image is called: there is no file of its own."""
        return f"{self._source}:{self._numbers[index]}"

    def truth(self, index: int) -> dict[str, Any]:
        """`label`, the number of the image's class."""
        return {"label": int(self.labels[index])}

    def fingerprint(self) -> str:
        """A digest of pixels, numbers and labels: another one when any of them changes."""
        return digest([self._images.tobytes(), self._numbers.tobytes()], self.labels)

    def subset(self, indices: np.ndarray) -> "ImageArrays":
        """The same data set with the images at `indices` alone, under their old names."""
        part = ImageArrays(self._source, self._images[indices], self.labels[indices], self.class_names)
        part._numbers = self._numbers[indices]
        return part

    def with_classes(self, classes: Mapping[str, str]) -> "ImageArrays":
        """The images of the classes that are keys of `classes`, under the names that are its values."""
        numbers, names = class_numbers(self.class_names, classes)
        part = self.subset(np.flatnonzero(numbers[self.labels] >= 0))
        part.class_names, part.labels = names, numbers[part.labels]
        return part
