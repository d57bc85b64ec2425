"""Keras' files of weights, HDF5: arrays by the names of their layers, brought to torch's order of dimensions."""

import re
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...backbones.weights import Weights
from ...core.errors import ModelFileError
from ...core.images import ImageError
from ...datasets.hdf5 import lies_elsewhere, opened

KERAS_SUFFIXES = (".h5", ".hdf5")
_MOST_NUMBERS = 2**26  # of an array: ten times conv5's kernel; a small file may unpack to any number
_KINDS = {"kernel": "weight", "W": "weight", "bias": "bias", "b": "bias"}
# layer/layer/kernel:0, of Keras 1 layer/layer_W_1:0, of a whole model below model_weights
_NAME = re.compile(r"(?:^|.*/)(?P<layer>[^/]+)/(?:(?P=layer)_)?(?P<kind>kernel|bias|W|b)(?:_\d+)?(?::0)?")


def read_keras(source: str | Path) -> Weights:
    """The kernels and biases of a file, float32, under `layer.weight` and `layer.bias`; kernels, which Keras has as
    (height, width, in, out), as (out, in, height, width). What else it holds is left out, such as an optimizer's.

    Raises UsageError where h5py is missing, ModelFileError for a file that is not there, is damaged, leads to others or
    holds no such arrays.
    """
    path = Path(source).expanduser()
    if not path.is_file():
        raise ModelFileError(f"There is no file of weights {source}: check the path.")
    weights: Weights = {}
    try:
        with opened(str(path)) as file:
            for name, array in _arrays(file, ""):
                match = None if name.startswith("optimizer_weights/") else _NAME.fullmatch(name)
                if match:
                    weights[f"{match['layer']}.{_KINDS[match['kind']]}"] = _in_torchs_order(name, array, source)
    except ImageError as error:
        raise ModelFileError(str(error)) from error
    if not weights:
        raise ModelFileError(
            f"{source}: no kernels of named layers, as Keras 1 and 2 write them, are in this file; save the model's "
            "weights with save_weights('NAME.h5')."
        )
    return weights


def _arrays(group: Any, above: str) -> Iterator[tuple[str, Any]]:
    """All arrays in the file itself, with their paths; links, by which a file can show what is in others, are left."""
    import h5py

    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        found = group[name]
        if isinstance(found, h5py.Group):
            if above.count("/") < 8:  # a group can hold itself
                yield from _arrays(found, f"{above}{name}/")
        elif isinstance(found, h5py.Dataset) and not lies_elsewhere(found):
            yield above + name, found


def _in_torchs_order(path: str, array: Any, source: str | Path) -> torch.Tensor:
    if array.dtype.kind != "f" or prod(array.shape) > _MOST_NUMBERS:
        raise ModelFileError(
            f"{source}: {path} is {array.dtype} {array.shape}; expected floating-point numbers, at most 67 million."
        )
    numbers = np.asarray(array[()], np.float32)
    return torch.from_numpy(np.ascontiguousarray(numbers.transpose(3, 2, 0, 1) if numbers.ndim == 4 else numbers))
