"""The one place that imports albumentations, and the rule by which it draws its random numbers.

albumentations 2.0.8 copies its generator into every worker, so that by itself all workers, and all epochs, see the same
"random" changes. Here the draw is a function of a number that the caller gives for each image, and of nothing else.
"""

import os
from collections.abc import Sequence

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or its import asks a package index for a newer version

import albumentations as A
import numpy as np

__all__ = ["A", "Transform", "sample_seed"]


class Transform:
    """A sequence of albumentations transforms on the image of a sample."""

    def __init__(self, steps: Sequence[A.BasicTransform | A.BaseCompose]) -> None:
        self._compose = A.Compose(list(steps))

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """uint8 (H, W, 3) to uint8 (H', W', 3); the same `seed` (below 2**32) gives the same result in any process."""
        self._compose.set_random_seed(seed)
        return self._compose(image=image)["image"]


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """The number from which the augmentation of one sample in one epoch of one run is drawn: 0 to 2**32 - 1."""
    return int(np.random.SeedSequence((seed, epoch, index)).generate_state(1)[0])
