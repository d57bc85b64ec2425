"""Trained edge detectors of others as a start for ours: files of weights under other names and in other layouts.

Three layouts of HED on VGG-16 are known: Caffe's names, as in xwjabc/hed, which were converted one by one; those of
sniklaus/pytorch-hed (`netVggOne.0`, formerly `moduleVggOne.0`); and Keras' HDF5 (`block1_conv1/kernel:0`), whose
kernels have their dimensions in another order. RCF on VGG-16 has Caffe's names, as in yun-liu/RCF-PyTorch. All of these
networks read BGR from 0 to 255 less a mean colour, with which Caffe's VGG was trained; here the first convolution takes
that over, so that the images stay as every other network of foveal's has them.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from ...backbones import WeightsError
from ...backbones.weights import Weights, read_file
from ...core.data import IMAGENET_MEAN, IMAGENET_STD
from ...core.errors import ModelFileError
from .keras_file import KERAS_SUFFIXES, read_keras

CAFFE_MEAN = (122.67891434, 116.66876762, 104.00698793)  # of ImageNet's images, red, green and blue
_STAGES = {"one": 1, "two": 2, "thr": 3, "fou": 4, "fiv": 5}  # pytorch-hed's
_SNIKLAUS = re.compile(r"(?:net|module)(Vgg|Score)(One|Two|Thr|Fou|Fiv)\.(?:(\d+)\.)?(weight|bias)")
_CAFFE = re.compile(r"(?:conv|block)(\d)_(?:conv)?(\d)\.(weight|bias)")
_DOWN = re.compile(r"conv(\d)_(\d)_down\.(weight|bias)")
_SIDE = re.compile(r"score[-_]dsn(\d)\.(weight|bias)")
_FUSE = re.compile(
    r"(?:new[-_]score[-_]weighting|score[-_](?:final|fuse)|(?:net|module)Combine\.0|ofuse)\.(weight|bias)"
)
_UPSAMPLING = re.compile(r"(?:upsample|conv2d_transpose|weight_deconv|upscore)")
_NUMBERED = re.compile(r"conv2d(?:_(\d+))?\.(weight|bias)")  # Keras': sides, then the fusion, as they were made


def edge_weights(source: str | None) -> Weights | None:
    """The weights of a whole edge detector in the file `source`, under the names that it has there; None where `source`
    is none, "imagenet", or a file of a backbone or of foveal's.

    Raises ModelFileError for a file that can't be read.
    """
    if source in (None, "imagenet"):
        return None
    if Path(source).suffix.lower() in KERAS_SUFFIXES:
        return read_keras(source)
    try:
        read = read_file(source)
    except WeightsError as error:
        raise ModelFileError(str(error)) from error
    read = {key.removeprefix("module."): value for key, value in read.items()}
    return read if any(_SIDE.fullmatch(key) or key.startswith(("netScore", "moduleScore")) for key in read) else None


def load_edge_weights(
    backbone: nn.Module,
    head: nn.Module,
    weights: Mapping[str, torch.Tensor],
    *,
    source: str,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> None:
    """Fill a VGG-16 without batch norm and its `HEDHead` or `RCFHead` with what `edge_weights` read from `source`.

    `mean` and `std`: those of `preprocessing`, by which our images are normalised. Filters of the upsampling are left
    out where they are bilinear, as ours is. Raises ModelFileError, and then leaves both as they were, for weights of
    another network, for learnt filters of upsampling, and for NaN.
    """
    found: Weights = {}
    for key, value in weights.items():
        if _UPSAMPLING.match(key):
            _require_bilinear(key, value, source)
            continue
        own = our_name(key, convolutions(backbone))
        found[own or key] = value
    _name_numbered(found)
    own = {f"backbone.{key}": value for key, value in backbone.state_dict().items()}
    own |= {f"head.{key}": value for key, value in head.state_dict().items()}
    if "head.fuse.bias" not in found:  # Keras' conversions have none
        found["head.fuse.bias"] = torch.zeros(1)
    stages = convolutions(backbone)
    _check(found, own, stages, source)
    first = stages[0][0]
    _take_over_colours(found, f"backbone.{first}", mean, std)
    for module, part in ((backbone, "backbone."), (head, "head.")):
        module.load_state_dict({k.removeprefix(part): v for k, v in found.items() if k.startswith(part)})


def our_name(key: str, stages: Sequence[Sequence[str]]) -> str | None:
    """For a name in one of the layouts ours, below `backbone.` and `head.`; None for any other. `stages`: the paths of
    the backbone's convolutions.
    """
    if match := _SNIKLAUS.fullmatch(key):
        part, stage, index, kind = match.groups()
        number = _STAGES[stage.lower()]
        if part == "Score":
            return f"head.sides.{number - 1}.{kind}"
        # A ReLU stands behind each convolution, and from the second stage on a pool in front of all.
        return _convolution(stages, number, (int(index or 0) + (number == 1) + 1) // 2, kind)
    if match := _CAFFE.fullmatch(key):
        return _convolution(stages, int(match[1]), int(match[2]), match[3])
    if match := _DOWN.fullmatch(key):
        return f"head.reductions.{int(match[1]) - 1}.{int(match[2]) - 1}.{match[3]}"
    if match := _SIDE.fullmatch(key):
        return f"head.sides.{int(match[1]) - 1}.{match[2]}"
    if match := _FUSE.fullmatch(key):
        return f"head.fuse.{match[1]}"
    return None


def convolutions(backbone: nn.Module) -> list[list[str]]:
    """The paths of a VGG's convolutions, by stages: conv1_1 and conv1_2, conv2_1, ..."""
    stages: list[list[str]] = [[]]
    for path, module in backbone.named_modules():
        if isinstance(module, nn.Conv2d):
            stages[-1].append(path)
        elif isinstance(module, nn.MaxPool2d) and stages[-1]:
            stages.append([])
    return [stage for stage in stages if stage]


def _convolution(stages: Sequence[Sequence[str]], stage: int, number: int, kind: str) -> str | None:
    if not (1 <= stage <= len(stages) and 1 <= number <= len(stages[stage - 1])):
        return None
    return f"backbone.{stages[stage - 1][number - 1]}.{kind}"


def _name_numbered(found: Weights) -> None:
    """Give Keras' convolutions without names of their own, in order of their numbers, to the sides and the fusion."""
    numbers = {int(match[1] or 0) for key in found if (match := _NUMBERED.fullmatch(key))}
    names = {number: f"head.sides.{order}" for order, number in enumerate(sorted(numbers))}
    if len(names) > 5 or "head.fuse.weight" not in found:
        names[max(numbers, default=0)] = "head.fuse"
    for key in list(found):
        if match := _NUMBERED.fullmatch(key):
            found[f"{names[int(match[1] or 0)]}.{match[2]}"] = found.pop(key)


def _require_bilinear(key: str, value: torch.Tensor, source: str) -> None:
    side = value.shape[-1]
    ramp = 1 - (torch.arange(side) - (side - 1) / 2).abs() / (side // 2 or 1)
    expected = torch.outer(ramp, ramp) if value.ndim == 4 else torch.zeros(())
    if not torch.allclose(value.float(), expected.expand_as(value), atol=1e-3):
        raise ModelFileError(
            f"{source}: {key} is a learnt filter, but here the upsampling is bilinear and stays so; give a file whose "
            "network was trained with fixed filters, as the released one was."
        )


def _take_over_colours(found: Weights, first: str, mean: Sequence[float], std: Sequence[float]) -> None:
    """Change the first convolution so that of RGB images, less `mean` and over `std`, it makes what it made of BGR from
    0 to 255 less Caffe's mean. Exactly but for the image's border, where its padding with 0 is another colour, by a
    level of 255 at most; with `mean` of CAFFE_MEAN / 255 also there.
    """
    weight = found[f"{first}.weight"].float().flip(1)
    scale = 255 * torch.tensor(std).view(1, -1, 1, 1)
    offset = (255 * torch.tensor(mean) - torch.tensor(CAFFE_MEAN)).view(1, -1, 1, 1)
    found[f"{first}.bias"] = found[f"{first}.bias"].float() + (weight * offset).sum(dim=(1, 2, 3))
    found[f"{first}.weight"] = weight * scale


def _check(
    found: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], stages: Sequence[Sequence[str]], source: str
) -> None:
    wrong = [f"{_theirs(key, stages)} is missing" for key in own if key not in found]
    wrong += [f"{key} is not known" for key in found if key not in own]
    wrong += [
        f"{_theirs(key, stages)} is {tuple(found[key].shape)} instead of {tuple(own[key].shape)}"
        for key in found.keys() & own.keys()
        if found[key].shape != own[key].shape
    ]
    if wrong:
        raise ModelFileError(
            f"{source}: these weights do not fit this edge detector ({len(wrong)} names, the first: {wrong[0]}); such "
            "files are of HED or RCF on vgg16 with three channels: set model.backbone and model.head so."
        )
    bad = next((key for key, value in found.items() if not value.isfinite().all()), None)
    if bad is not None:
        raise ModelFileError(f"{source}: {bad} holds NaN or infinite values; give another file.")


def _theirs(key: str, stages: Sequence[Sequence[str]]) -> str:
    """Our name, with Caffe's where it has one: those of the other layouts are near it, and ours is in no file."""
    module, _, kind = key.rpartition(".")
    names = {
        f"backbone.{path}": f"conv{stage}_{number}"
        for stage, paths in enumerate(stages, 1)
        for number, path in enumerate(paths, 1)
    }
    names |= {f"head.sides.{side}": f"score_dsn{side + 1}" for side in range(5)} | {"head.fuse": "score_final"}
    return f"{key} ({names[module]}.{kind} in Caffe)" if module in names else key
