"""The way to timm, an optional package; imports neither it nor torch before they are needed."""

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    import torch

TIMM = "timm/"  # any network of timm that gives feature maps, as timm/NAME
_NAMES = {"nasnet_large": "nasnetalarge", "xception": "legacy_xception"}  # where timm calls them otherwise


def require_timm(name: str) -> "ModuleType":
    """The package timm; raises ValueError where it is not installed, which says what `name` needs it for."""
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"{name} is a network of timm, which is not installed: pip install timm.") from error
    return timm


def timm_name(name: str) -> str:
    """What timm calls the backbone `name`."""
    return _NAMES.get(name, name.removeprefix(TIMM))


def list_timm(pattern: str) -> list[str]:
    """Names, as `timm/NAME`, of timm's networks that match a pattern such as `"timm/resnet*"`."""
    names = (TIMM + name for name in require_timm("timm/NAME").list_models())
    return [name for name in names if fnmatchcase(name, pattern)]


def published_keys(name: str) -> list[str]:
    """The keys of timm's whole network, with its classifier."""
    import torch

    with torch.device("meta"):
        return list(require_timm(name).create_model(timm_name(name)).state_dict())


def published_state(name: str) -> "dict[str, torch.Tensor]":
    """The tensors of timm's published network, downloaded or from its cache. Raises what timm raises."""
    return require_timm(name).create_model(timm_name(name), pretrained=True).state_dict()
