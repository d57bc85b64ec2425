"""Detectors that torchvision publishes, trained on COCO, as a start for ours."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, cast

import torch
import torchvision
from torch import nn
from torchvision.models import WeightsEnum

from ...backbones.weights import Weights, WeightsError, download, read_file
from ...core.data import IMAGENET_MEAN, IMAGENET_STD
from ...core.errors import ModelFileError, UsageError
from ...core.types import Preprocessing
from ..build import weights_error
from .options import DetectionOptions, HeadName


class Published(NamedTuple):
    """A detector of torchvision's, and how its weights become ours."""

    name: str  # torchvision's
    keys: Callable[[str], str]  # from its keys to ours
    background: bool  # whether class 0 of our head is the background
    no_epsilon: bool = False  # its batch norms divide by the bare deviation
    mean_std: tuple[list[float], list[float]] | None = None  # where the images are normalised otherwise
    size: int = 800
    resize: Literal["shorter", "squash"] = "shorter"


def networks() -> dict[str, DetectionOptions]:
    """What composes torchvision's detectors here, by its names."""
    return {
        published.name: DetectionOptions(backbone=backbone, head=cast(HeadName, head))
        for (head, backbone), published in PUBLISHED.items()
    }


def class_names(entry: WeightsEnum) -> list[str]:
    """The classes of published weights, without the background and without numbers that stand for nothing."""
    return [name for name in entry.meta["categories"][1:] if name != _NOTHING]


def preprocessing(entry: WeightsEnum, options: DetectionOptions) -> Preprocessing:
    """What published weights were evaluated with."""
    published = find_published(options)
    mean, std = published.mean_std or (IMAGENET_MEAN, IMAGENET_STD)
    return Preprocessing(
        size=published.size, resize=published.resize, filter="linear", grey=False, mean=list(mean), std=list(std)
    )


def find_published(options: DetectionOptions) -> Published:
    """The detector that `model.weights coco` means; raises UsageError where torchvision has none such."""
    if (options.head, options.backbone) not in PUBLISHED:
        there = ", ".join(f"{head} on {backbone}" for head, backbone in PUBLISHED)
        raise UsageError(
            f"model.weights coco: torchvision publishes no {options.head} on {options.backbone}; there are {there}."
        )
    return PUBLISHED[options.head, options.backbone]


def published_preprocessing(options: DetectionOptions, preprocessing: Preprocessing) -> Preprocessing:
    """`preprocessing` with the mean and deviation that the weights of a recipe were trained with."""
    mean_std = find_published(options).mean_std if options.weights == "coco" else None
    if mean_std is None:
        return preprocessing
    if preprocessing["grey"]:
        raise UsageError("model.weights coco: these weights read colours; leave out data.grey.")
    return Preprocessing(**{**preprocessing, "mean": mean_std[0], "std": mean_std[1]})


def detector_weights(options: DetectionOptions) -> Weights | None:
    """The weights of a whole detector that a recipe names, under torchvision's keys; None where it names none, or such
    of a backbone. Raises ModelFileError for a file that can't be used.
    """
    if options.weights in (None, "imagenet"):
        return None
    try:
        if options.weights == "coco":
            name = find_published(options).name
            return download(torchvision.models.get_model_weights(name)["COCO_V1"], f"COCO weights of {name}")
        read = read_file(options.weights)
    except WeightsError as error:
        raise weights_error(error) from error
    whole = any(key.startswith(("roi_heads.", "head.classification_head.")) for key in read)
    return read if whole else None


def load_detector(model: nn.Module, weights: Weights, options: DetectionOptions, class_names: Sequence[str]) -> None:
    """Fill `model`, with its parts `backbone` and `head`, with a published detector's weights.

    Classes that COCO has, by name, go on with its rows of the last layers; others begin anew. Raises ModelFileError for
    weights of another network.
    """
    published = find_published(options)
    own = {key: value.clone() for key, value in model.state_dict().items() if key.startswith(("backbone.", "head."))}
    rows = _rows(published, class_names)
    found = {published.keys(key): value for key, value in weights.items()}
    for key in found.keys() & own.keys():
        if any(part in key for part in _OF_CLASSES):
            found[key] = _choose(found[key], own[key], rows, class_major=".bbox_pred." in key)
    wrong = [key for key in own if key not in found or found[key].shape != own[key].shape]
    wrong = [key for key in wrong if not key.endswith("num_batches_tracked")]
    wrong += [key for key in found if key not in own]
    if wrong:
        raise ModelFileError(
            f"The weights of torchvision's {published.name} do not fit this detector ({len(wrong)} keys, the first: "
            f"{wrong[0]}); leave model.channels and model.anchors as they are, and give the file of this very network."
        )
    if published.no_epsilon:
        _fold_epsilon(model, found)
    model.load_state_dict({key: found[key] for key in own if key in found}, strict=False)


fill = load_detector  # as the other tasks call it


_NOTHING = "N/A"
_CATEGORIES = 91  # of the published heads, with gaps and the background
# What has rows of classes, after renaming.
_OF_CLASSES = (
    "box_predictor.cls_score.",
    "box_predictor.bbox_pred.",
    "classification_head.module_list.",
    "classification_head.cls_logits.",
)


def _rows(published: Published, class_names: Sequence[str]) -> dict[int, int]:
    """Our row to COCO's, for what COCO knows."""
    categories = torchvision.models.get_model_weights(published.name)["COCO_V1"].meta["categories"]
    shift = int(published.background)
    known = {name: number for number, name in reversed(list(enumerate(categories))) if name != _NOTHING}
    if list(class_names) == categories[1:]:  # all of them, with the gaps
        known_rows = {number + shift: number + 1 for number in range(len(class_names))}
    else:
        known_rows = {number + shift: known[name] for number, name in enumerate(class_names) if name in known}
    return {0: 0, **known_rows} if published.background else known_rows


def _choose(theirs: torch.Tensor, own: torch.Tensor, rows: Mapping[int, int], class_major: bool) -> torch.Tensor:
    """`own` with the rows of classes that are in `rows` taken from `theirs`; both (A * K, ...), or (K * 4, ...)."""
    groups = 1 if class_major else len(theirs) // _CATEGORIES
    if len(theirs) % _CATEGORIES or len(own) % groups or theirs.shape[1:] != own.shape[1:]:
        return theirs  # of another network: refused for its shape
    inner = 4 if class_major else 1
    result = own.clone()
    view = result.view(groups, -1, inner, *own.shape[1:])
    source = theirs.view(groups, _CATEGORIES, inner, *own.shape[1:])
    for ours, coco in rows.items():
        view[:, ours] = source[:, coco]
    return result


def _fold_epsilon(model: nn.Module, found: Weights) -> None:
    # Published for batch norms that add nothing to the variance. A variance less what ours add is the same network.
    for path, module in model.named_modules():
        key = f"{path}.running_var"
        if isinstance(module, nn.BatchNorm2d) and key in found:
            found[key] = found[key] - module.eps


def faster_rcnn_keys(key: str) -> str:
    """From torchvision's fasterrcnn_resnet50_fpn to ours; also from the names before torchvision 0.13, which its
    published file has.
    """
    key = _current_pyramid_key(key)
    key = re.sub(r"(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2", key)
    for theirs, ours in (("backbone.body.", "backbone."), ("backbone.fpn.", "head.neck.")):
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return f"head.{key}"  # rpn and roi_heads


def retinanet_keys(key: str) -> str:
    """From torchvision's retinanet_resnet50_fpn to ours; also from the names before torchvision 0.13, which its
    published file has.
    """
    old = re.fullmatch(r"(head\.\w+_head\.conv)\.(\d)\.(weight|bias)", key)  # every second layer is a ReLU
    return _dense_key(f"{old[1]}.{int(old[2]) // 2}.0.{old[3]}" if old else key)


def fcos_keys(key: str) -> str:
    """From torchvision's fcos_resnet50_fpn to ours; also from the names of pyramids before torchvision 0.13."""
    return _dense_key(key)


def _dense_key(key: str) -> str:
    key = _current_pyramid_key(key)
    parts = {"backbone.body.": "backbone.", "backbone.fpn.": "head.pyramid.", "head.": "head.subnets."}
    for theirs, ours in parts.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def _current_pyramid_key(key: str) -> str:
    return re.sub(r"(fpn\.\w+_blocks\.\d)\.(weight|bias)$", r"\1.0.\2", key)


def ssd300_vgg16_keys(key: str) -> str:
    """From torchvision's ssd300_vgg16 to ours."""
    if key.startswith("backbone.extra.0.") and not key.startswith("backbone.extra.0.7."):
        number, kind = key.split(".")[3:]
        return f"backbone.features.{int(number) + 23}.{kind}"  # from pool4 to conv5_3
    if key.startswith("backbone.extra.") and not key.startswith("backbone.extra.0."):
        number, rest = key.removeprefix("backbone.extra.").split(".", 1)
        return f"head.maps.extra.{int(number) - 1}.{rest}"
    parts = {
        "backbone.scale_weight": "head.maps.first.weight",
        "backbone.extra.0.7.": "head.maps.last.",  # fc6 and fc7
        "head.": "head.predictor.",
    }
    for theirs, ours in parts.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key  # backbone.features


# By head and backbone. SSD's images are scaled to 0..1, less a mean and times 255: torchvision's ssd.py.
PUBLISHED = {
    ("fasterrcnn_fpn", "resnet50"): Published("fasterrcnn_resnet50_fpn", faster_rcnn_keys, True, no_epsilon=True),
    ("fasterrcnn_fpn_v2", "resnet50"): Published("fasterrcnn_resnet50_fpn_v2", faster_rcnn_keys, True),
    ("retinanet", "resnet50"): Published("retinanet_resnet50_fpn", retinanet_keys, False, no_epsilon=True),
    ("fcos", "resnet50"): Published("fcos_resnet50_fpn", fcos_keys, False),
    ("ssd", "vgg16"): Published(
        "ssd300_vgg16",
        ssd300_vgg16_keys,
        True,
        mean_std=([0.48235, 0.45882, 0.40784], [1 / 255] * 3),
        size=300,
        resize="squash",
    ),
}
