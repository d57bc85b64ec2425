"""Files of weights: found, read without running anything in them, and fitted to a backbone or refused.

Nothing is skipped in silence: a key that is missing, foreign or of another shape is an error that lists it.
"imagenet" means torchvision's IMAGENET1K_V1 weights, because its own Faster R-CNN, FCN and DeepLab start from them.
"""

import contextlib
import pickle
import re
import sys
from collections.abc import Collection, Iterator
from http.client import HTTPException
from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision.models import WeightsEnum

from .backbone import Backbone
from .catalogue import find_family

Weights = dict[str, torch.Tensor]

_TORCHVISION_NAMES = {"googlenet_bn": "googlenet"}  # where torchvision calls them otherwise
_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")  # names in the published files of DenseNets


class WeightsError(RuntimeError):
    """Weights that can't be had, or do not belong to this backbone; the message says in one sentence what to do."""


class DownloadError(WeightsError):
    """Published weights that are not here, and that the network does not give."""


def load_weights(backbone: Backbone, source: str | Path, name: str, *, ignored: Collection[str] = ()) -> None:
    """Copy weights into `backbone`, the network called `name`.

    `source`: "imagenet" or a path. `ignored`: keys of the published network that this backbone lacks (classifier,
    trimmed layers). A file of a 3-channel (or 1-channel) network fits any number of input channels: see `_adapt_input`.
    Raises `WeightsError`, and then leaves the backbone as it was.
    """
    read = read_state_dict(source, name)
    own = backbone.own_keys(read)
    found = {own[key]: value for key, value in read.items() if own[key] not in ignored}
    wanted = backbone.state_dict()
    first = next(path for path, module in backbone.named_modules() if isinstance(module, nn.Conv2d)) + ".weight"
    if first in found:
        found[first] = _adapt_input(found[first], wanted[first].shape)
    # Files older than torch 0.4.1 do not count the batches; nothing but a cumulative average reads the count.
    wanted = {key: value for key, value in wanted.items() if key in found or not key.endswith(".num_batches_tracked")}
    _check(found, wanted, f"The weights {source} do not fit {name}")
    for key, value in found.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise WeightsError(
                f"{source}: {key} holds NaN or infinite values; its training has failed, use an earlier file."
            )
    backbone.load_state_dict(found, strict=False)


def read_state_dict(source: str | Path, name: str) -> Weights:
    """All tensors of "imagenet" (the published file of the network `name`) or of a path, on the CPU.

    A state dict may lie under "state_dict", "model" or "net", its keys may begin with "module." (DDP); if any begin
    with "backbone.", as in foveal's checkpoints, they alone are taken, without it. Raises `WeightsError`.
    """
    if source == "imagenet":
        return _imagenet(name)
    held = read_file(source)
    ours = {key.removeprefix("backbone."): value for key, value in held.items() if key.startswith("backbone.")}
    return ours or held


def read_file(source: str | Path) -> Weights:
    """All tensors of a file under their own keys, on the CPU; as `read_state_dict`, but with "backbone." left."""
    return _unwrap(_read(Path(source)), source)


def read_linear_classifier(
    source: str | Path, name: str, backbone: Backbone
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The last layer of a classification network, so that a task can go on with its classes.

    `source` and `name` as for `read_state_dict`; `backbone` has all of the network but its classifier. Returns weight
    (classes, features) and bias (classes,) if what `backbone` lacks is a single linear layer (ResNet, MobileNetV2),
    auxiliary classifiers apart, else None: VGG has three, ConvNeXt normalises before it. Raises `WeightsError`.
    """
    held, read = backbone.state_dict(), read_state_dict(source, name)
    own = backbone.own_keys(read)
    lacking = {key: value for key, value in read.items() if own[key] not in held and not key.lower().startswith("aux")}
    if len(lacking) != 2:
        return None
    weight, bias = sorted(lacking.values(), key=lambda tensor: -tensor.ndim)
    return (weight, bias) if (weight.ndim, bias.ndim) == (2, 1) and len(weight) == len(bias) else None


def torchvision_name(name: str) -> str:
    """What torchvision calls a network of its that is `name` here."""
    return _TORCHVISION_NAMES.get(name, name)


def published_weights(name: str) -> WeightsEnum:
    """The entry of torchvision that "imagenet" stands for."""
    return torchvision.models.get_model_weights(torchvision_name(name))["IMAGENET1K_V1"]


def _imagenet(name: str) -> Weights:
    publisher = find_family(name).source
    if publisher == "timm":
        return _imagenet_of_timm(name)
    if publisher != "torchvision":
        raise WeightsError(f"{name} has no published ImageNet weights: leave weights out, or give weights=PATH.")
    return download(published_weights(name), f"ImageNet weights of {name}")


def download(published: WeightsEnum, what: str) -> Weights:
    """A published file of torchvision's: from its cache, or from the network and then kept there.

    Raises `WeightsError`, which calls the file `what`.
    """
    return read_file(download_file(published, what))


def download_file(published: WeightsEnum, what: str, otherwise: str = "give weights=PATH") -> Path:
    """Where torchvision's cache has a published file, once it was downloaded.

    Raises `DownloadError`, which calls the file `what`, and says what else can be done: `otherwise`.
    """
    file = cached_file(published)
    if file.exists():
        return file
    prefix = torch.hub.HASH_REGEX.search(file.name)
    print(f"Downloading {published.url} to {file}", file=sys.stderr)  # results belong on stdout
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(published.url, str(file), prefix and prefix[1], progress=True)
    except (OSError, HTTPException, RuntimeError) as error:
        raise DownloadError(
            f"The {what} could not be downloaded from {published.url} ({_reason(error)}): "
            f"put the file {file.name} into {file.parent}, or {otherwise}."
        ) from error
    return file


def cached_file(published: WeightsEnum) -> Path:
    """Where torchvision's cache has a published file, or would have it."""
    return Path(torch.hub.get_dir(), "checkpoints", Path(published.url).name)


def _imagenet_of_timm(name: str) -> Weights:
    from .timm_package import published_state, timm_name

    try:
        with contextlib.redirect_stdout(sys.stderr):
            return published_state(name)
    except (OSError, HTTPException, RuntimeError) as error:
        raise DownloadError(
            f"The weights of timm's {timm_name(name)} could not be downloaded ({_reason(error)}): download them on a "
            "machine with a network, and give weights=PATH."
        ) from error


def _read(path: Path) -> object:
    """The content of a file; only tensors and plain values come out of a pickle, anything else is refused unread."""
    path = path.expanduser()
    if path.suffix not in _SUFFIXES:
        raise WeightsError(
            f"weights is '{path}', but it must be None, 'imagenet' or the path of a file "
            f"that ends in {', '.join(_SUFFIXES)}."
        )
    if not path.is_file():
        raise WeightsError(f"There is no file of weights {path}: check the path.")
    with _damage_reported(path):
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)


@contextlib.contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    """Turn what the readers raise into one sentence; safetensors' own error is a plain `Exception`."""
    try:
        yield
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} was refused: it holds more than tensors and plain values, and to read it could run code; "
            "save a state_dict, best as .safetensors."
        ) from error
    except MemoryError:
        raise
    except PermissionError as error:
        raise WeightsError(f"{path} can't be read: permission denied.") from error
    except Exception as error:
        raise WeightsError(
            f"{path} is damaged or cut short ({_reason(error)}): delete it, and copy or download it again."
        ) from error


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def _unwrap(content: object, source: str | Path) -> Weights:
    for nest in ("state_dict", "model", "net"):
        if isinstance(content, dict) and isinstance(content.get(nest), dict):
            content = content[nest]
    if not isinstance(content, dict) or not content:
        raise WeightsError(f"{source} holds a {type(content).__name__} without tensors, but a state_dict is needed.")
    strange = [key for key, value in content.items() if not isinstance(key, str) or not isinstance(value, torch.Tensor)]
    if strange:
        raise WeightsError(
            f"{source} holds no state_dict: its entry {strange[0]!r} is no named tensor; save model.state_dict()."
        )
    if all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): value for key, value in content.items()}
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in content.items()}


def _adapt_input(weight: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Fit a first convolution to another number of input channels without losing what it has learnt.

    A grey image, repeated in all channels, gives what it gave as RGB, and so does an RGB image given twice, as 6
    channels: what a full turn of the file's channels does not cover gets their mean, and all is scaled to keep the sum.
    """
    have, want = weight.shape[1] if weight.ndim == 4 else 0, shape[1]
    if have == want or have not in (1, 3):
        return weight
    turns, rest = divmod(want, have)
    mean = weight.mean(dim=1, keepdim=True)
    return torch.cat([*[weight] * turns, *[mean] * rest], dim=1) * (have / want)


def _check(found: Weights, wanted: Weights, what: str) -> None:
    """Raise one sentence with all that is wrong: how many keys, and the first five of each kind."""
    missing = [f"{key} {_shape(wanted[key])}" for key in wanted if key not in found]
    foreign = [f"{key} {_shape(found[key])}" for key in found if key not in wanted]
    misfits = [
        f"{key} {_shape(found[key])} instead of {_shape(wanted[key])}"
        for key in wanted
        if key in found and found[key].shape != wanted[key].shape
    ]
    kinds = {"missing": missing, "unexpected": foreign, "of another shape": misfits}
    faults = [
        f"{len(keys)} {'key' if len(keys) == 1 else 'keys'} {kind} ({_some(keys)})"
        for kind, keys in kinds.items()
        if keys
    ]
    if faults:
        raise WeightsError(f"{what}: {', '.join(faults)}; give the file of this very network.")


def _shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _count(keys: list[str]) -> str:
    return "1 key" if len(keys) == 1 else f"{len(keys)} keys"


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")
