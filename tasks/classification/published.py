"""torchvision's networks with their weights of ImageNet's 1,000 classes, ready to use."""

from collections.abc import Mapping

import torch
from torch import nn
from torchvision.models import WeightsEnum

from ...backbones.catalogue import FAMILIES
from ...backbones.weights import Weights, torchvision_name
from ...core.data import IMAGENET_MEAN, IMAGENET_STD
from ...core.errors import ModelFileError
from ...core.types import Preprocessing
from .heads import has_published_head
from .options import ClassificationOptions


def networks() -> dict[str, ClassificationOptions]:
    """What composes torchvision's networks here, by its names."""
    names = [name for family in FAMILIES if family.source == "torchvision" for name in family.names]
    return {
        torchvision_name(name): ClassificationOptions(
            backbone=name, head="published" if has_published_head(name) else "linear", auxiliary=0.0
        )
        for name in names
    }


def class_names(entry: WeightsEnum) -> list[str]:
    """The classes of published weights, by class number."""
    return list(entry.meta["categories"])


def preprocessing(entry: WeightsEnum, options: ClassificationOptions) -> Preprocessing:
    """What published weights were evaluated with.

    Every backbone reads images normalised by ImageNet's mean and deviation, and changes them where its weights want
    others.
    """
    transforms = entry.transforms()
    return Preprocessing(
        size=transforms.crop_size[0],
        resize="crop",
        crop_from=transforms.resize_size[0],
        filter=transforms.interpolation.value,
        grey=False,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def fill(model: nn.Module, weights: Weights, options: ClassificationOptions, names: list[str]) -> None:
    """Fill `model`, with its parts `backbone` and `head`, with the weights of the whole network under torchvision's
    keys.

    Raises ModelFileError for weights of another network.
    """
    own = {key: value for key, value in model.state_dict().items() if key.startswith(("backbone.", "head."))}
    wanted = {key for key in own if not key.endswith(".num_batches_tracked")}  # absent in old files; nothing reads it
    keys = {key: f"{'backbone' if f'backbone.{key}' in own else 'head'}.{key}" for key in weights}
    keys |= _linear_keys(weights, own)
    found = {keys[key]: value for key, value in weights.items() if not key.lower().startswith("aux")}
    wrong = [key for key in wanted if key not in found or found[key].shape != own[key].shape]
    wrong += [key for key in found if key not in own]
    if wrong:
        raise ModelFileError(
            f"The weights do not fit torchvision's {torchvision_name(options.backbone)} with {len(names):,} classes "
            f"({len(wrong)} keys, the first: {min(wrong)}); give the file of this very network, with its classifier."
        )
    model.load_state_dict(found, strict=False)


def _linear_keys(weights: Weights, own: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """From torchvision's keys of a linear layer on the pooled map, whatever it is called, to ours."""
    if "head.linear.weight" not in own:
        return {}
    last = [key for key in weights if f"backbone.{key}" not in own and not key.lower().startswith("aux")]
    return {key: f"head.linear.{key.rpartition('.')[2]}" for key in last} if len(last) == 2 else {}
