"""Segmenters that torchvision publishes, trained on COCO's images with the 21 classes of Pascal VOC, as a start for
ours.
"""

from collections.abc import Sequence

import torch
import torchvision
from torch import nn
from torchvision.models import WeightsEnum

from ...backbones.weights import Weights, WeightsError, download, read_file
from ...core.errors import ModelFileError, UsageError
from ...core.types import Preprocessing
from ..build import weights_error
from .options import HeadName, SegmentationOptions

# By head and backbone: torchvision's name.
PUBLISHED: dict[tuple[HeadName, str], str] = {
    ("fcn", "resnet50"): "fcn_resnet50",
    ("fcn", "resnet101"): "fcn_resnet101",
    ("deeplabv3", "resnet50"): "deeplabv3_resnet50",
    ("deeplabv3", "resnet101"): "deeplabv3_resnet101",
}
_ENTRY = "COCO_WITH_VOC_LABELS_V1"
_PARTS = {"classifier.": "head.layers.", "aux_classifier.": "auxiliary.layers."}
_SCORES = ("layers.4.weight", "layers.4.bias")  # of both heads
_SYNONYMS = {"__background__": "background"}
_LONGEST = 4.0  # shorter sides: torchvision sets no limit, but the memory does


def networks() -> dict[str, SegmentationOptions]:
    """What composes torchvision's segmenters here, by its names."""
    return {name: SegmentationOptions(backbone=backbone, head=head) for (head, backbone), name in PUBLISHED.items()}


def class_names(entry: WeightsEnum) -> list[str]:
    """The classes of published weights, the background first."""
    categories: list[str] = entry.meta["categories"]
    return [_SYNONYMS.get(name, name) for name in categories]


def preprocessing(entry: WeightsEnum, options: SegmentationOptions) -> Preprocessing:
    """What published weights were evaluated with, but for images that are more than four times as long as wide."""
    transforms = entry.transforms()
    return Preprocessing(
        size=transforms.resize_size[0],
        resize="shorter",
        longest=_LONGEST,
        filter=transforms.interpolation.value,
        grey=False,
        mean=list(transforms.mean),
        std=list(transforms.std),
    )


def torchvision_keys(key: str) -> str:
    """From torchvision's fcn_resnet50, deeplabv3_resnet50 and their like to ours, with the parts `backbone`, `head` and
    `auxiliary`.
    """
    for theirs, ours in _PARTS.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key  # backbone


def segmenter_weights(options: SegmentationOptions) -> Weights | None:
    """The weights of a whole segmenter that a recipe names, under torchvision's keys; None where it names none, or such
    of a backbone.

    Raises UsageError for `coco` where torchvision has no such segmenter, ModelFileError for a file that can't be used.
    """
    if options.weights in (None, "imagenet"):
        return None
    try:
        if options.weights == "coco":
            name = _published(options)
            return download(torchvision.models.get_model_weights(name)[_ENTRY], f"COCO weights of {name}")
        read = read_file(options.weights)
    except WeightsError as error:
        raise weights_error(error) from error
    whole = any(key.startswith("backbone.") for key in read) and any(key.startswith("classifier.") for key in read)
    return read if whole else None


def load_segmenter(model: nn.Module, weights: Weights, options: SegmentationOptions, names: Sequence[str]) -> None:
    """Fill `model`, with its parts `backbone`, `head` and perhaps `auxiliary`, with a published segmenter's weights.

    Classes that VOC has, by their names, go on with its scores; others begin anew, and so does a second head that the
    file lacks. Raises ModelFileError for weights of another network.
    """
    published = _published(options)
    parts = ("backbone.", "head.", *(["auxiliary."] if getattr(model, "auxiliary", None) is not None else []))
    own = {key: value for key, value in model.state_dict().items() if key.startswith(parts)}
    found = {torchvision_keys(key): value for key, value in weights.items()}
    found = {key: value for key, value in found.items() if key in own or not key.startswith("auxiliary.")}
    categories = torchvision.models.get_model_weights(published)[_ENTRY].meta["categories"]
    for key in found.keys() & own.keys():
        if key.endswith(_SCORES):
            found[key] = _chosen(found[key], own[key], _rows(categories, names), len(categories))
    anew = [key for key in own if key.startswith("auxiliary.") and key not in found]
    wrong = [key for key in own if key not in anew and (key not in found or found[key].shape != own[key].shape)]
    wrong += [key for key in found if key not in own]
    if wrong:
        raise ModelFileError(
            f"The weights of torchvision's {published} do not fit this segmenter ({len(wrong)} keys, the first: "
            f"{wrong[0]}); leave model.channels and model.output_stride as they are, and give the file of this very "
            "network."
        )
    model.load_state_dict(found, strict=False)


fill = load_segmenter  # as the other tasks call it


def _published(options: SegmentationOptions) -> str:
    name = PUBLISHED.get((options.head, options.backbone))
    if name is None:
        there = ", ".join(f"{head} on {backbone}" for head, backbone in PUBLISHED)
        raise UsageError(
            f"model.weights {options.weights}: torchvision publishes no {options.head} on {options.backbone}; there "
            f"are {there}."
        )
    return name


def _rows(categories: Sequence[str], names: Sequence[str]) -> dict[int, int]:
    """Our class number to theirs, for what they know."""
    known = {_SYNONYMS.get(name, name): number for number, name in enumerate(categories)}
    return {number: known[name] for number, name in enumerate(names) if name in known}


def _chosen(theirs: torch.Tensor, own: torch.Tensor, rows: dict[int, int], classes: int) -> torch.Tensor:
    """`own` with the rows of classes that are in `rows` taken from `theirs`."""
    if len(theirs) != classes or theirs.shape[1:] != own.shape[1:]:
        return theirs  # of other classes: taken if it has ours, refused for its shape else
    chosen = own.clone()
    for number, row in rows.items():
        chosen[number] = theirs[row]
    return chosen
