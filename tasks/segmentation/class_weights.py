"""How often each class is there: what weights of classes are made of."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ...core.bars import progress_bar
from ...core.data import Dataset, number_of_workers
from ...core.errors import FovealError


def count_pixels(dataset: Dataset, num_classes: int) -> tuple[list[int], list[int]]:
    """Of each class its pixels, and the known pixels of all images that have it, in the masks of `dataset`.

    A mask that cannot be used is left out: the training that follows stops at it, or skips it, as its recipe says.
    """
    pixels, of_images = (np.zeros(num_classes, np.int64) for _ in range(2))

    def count(index: int) -> np.ndarray:
        try:
            mask = dataset.truth(index)["mask"]
        except FovealError:
            return np.zeros(num_classes, np.int64)
        return np.bincount(mask.ravel(), minlength=256)[:num_classes]

    with progress_bar() as bar, ThreadPoolExecutor(number_of_workers(None) or 1) as threads:
        line = bar.add_task("count pixels of classes", total=len(dataset), rate="")
        for counts in threads.map(count, range(len(dataset))):
            pixels += counts
            of_images[counts > 0] += counts.sum()
            bar.advance(line)
    return pixels.tolist(), of_images.tolist()
