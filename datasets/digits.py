"""The first data set: 1,797 handwritten digits of 8 x 8 pixels, which come with scikit-learn. Needs no download.

From E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (its
test set).
"""

from collections.abc import Sequence
from os import PathLike

import numpy as np

from .arrays import ImageArrays
from .findings import Findings
from .splits import stratified_split


def open_split(
    root: str | PathLike | None, *, split: str, fractions: Sequence[float], seed: int, findings: Findings
) -> ImageArrays:
    """One split of the digits; `root` is ignored, for they are in the package."""
    from sklearn.datasets import load_digits  # two seconds that other formats need not wait for

    values, labels = map(np.asarray, load_digits(return_X_y=True))  # float (1797, 64)
    images = np.round(values.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)  # 0..16, the pixels set in a block of 4 x 4
    dataset = ImageArrays("digits", images, labels, [str(digit) for digit in range(10)])
    return dataset.subset(stratified_split(dataset.labels, fractions, seed, dataset.class_names)[split])
