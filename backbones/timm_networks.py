"""Networks of timm, an optional package: `timm/NAME` for any that gives feature maps, and `nasnet_large`.

They run as timm's own extractors (`features_only`), which keep timm's layers under slightly other names.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from .backbone import Backbone, FeatureInfo, resolve_levels
from .catalogue import UnknownBackboneError
from .layers import Renormalise
from .layers.renormalise import IMAGENET_MEAN, IMAGENET_STD
from .timm_package import require_timm, timm_name


class TimmBackbone(Backbone):
    """The contract of `Backbone` over one of timm's extractors; `layers` and `forward_with` know its levels alone."""

    def __init__(
        self,
        name: str,
        *,
        in_channels: int = 3,
        output_stride: int = 32,
        levels: Sequence[int] | None = None,
        frozen_stages: int = 0,
        stochastic_depth: float | None = None,
    ) -> None:
        """Build timm's network; the options are those of `create_backbone`."""
        nn.Module.__init__(self)
        self._name = timm_name(name)
        _check_name(name)
        options: dict[str, Any] = {"in_chans": in_channels}
        options |= {} if output_stride == 32 else {"output_stride": output_stride}
        options |= {} if stochastic_depth is None else {"drop_path_rate": stochastic_depth}
        options |= _any_size(name)
        with torch.device("meta"):
            stages = _create(name, options).feature_info
        self._layout = "NCHW"
        self._levels = resolve_levels(levels, len(stages.out_indices))
        indices = [stages.out_indices[level] for level in range(self._levels[-1] + 1)]
        self.renormalise = Renormalise(in_channels, *_statistics(name))
        self.network = _create(name, {**options, "out_indices": indices})
        self._stages = [[info["module"]] for info in self.network.feature_info.get_dicts()]
        infos = zip(
            self._stages, self.network.feature_info.channels(), self.network.feature_info.reduction(), strict=True
        )
        self.layers = {path: FeatureInfo(path, channels, stride) for [path], channels, stride in infos}
        self.auxiliary = ()
        self.channels = tuple(info.channels for info in self.feature_info())
        self.strides = tuple(info.stride for info in self.feature_info())
        self._frozen = self._freeze(frozen_stages)

    def run(self, images: torch.Tensor, layers: Sequence[str]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """As in `Backbone`; `layers` may be those that end a level."""
        maps = self.network(self.renormalise(images))
        if getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            maps = [x.permute(0, 3, 1, 2) for x in maps]
        outputs = dict(zip(self.layers, maps, strict=True))
        return [maps[level] for level in self._levels], [outputs[path] for path in layers]

    def own_keys(self, keys: Iterable[str]) -> dict[str, str]:
        """For keys of timm's network those of this module, which are the same names with other separators.

        Bare, without separators, where this module has none such.
        """
        own = {_bare(key): key for key in self.state_dict()}
        return {key: own.get(_bare(key), _bare(key)) for key in keys}

    def _explain(self, images: torch.Tensor, error: Exception) -> None:
        super()._explain(images, error)
        if isinstance(error, AssertionError):  # so timm refuses sizes
            size = " x ".join(map(str, images.shape[2:]))
            raise ValueError(f"timm's {self._name} does not take images of {size} pixels ({error}).") from error

    def _freeze(self, count: int) -> list[str]:
        self._check_frozen(count)
        if count == 0:
            return []
        modules = dict(self.network.named_modules())
        last = next((path for path in modules if _bare(path) == _bare(self._stages[count - 1][0])), None)
        if last is None:
            raise ValueError(
                f"frozen_stages is {count}, but timm's {self._name} can't be frozen by stages: leave it at 0."
            )
        frozen = []
        for path, module in _until(modules, last):
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
            if not list(module.children()):
                frozen.append(f"network.{path}")
                module.eval()
        return frozen


def _check_name(name: str) -> None:
    """Raise UnknownBackboneError for a network, or a tag of its weights (resnet18.a1_in1k), that timm has not."""
    timm, known = require_timm(name), timm_name(name)
    network, _, tag = known.partition(".")
    choices = timm.list_pretrained(f"{network}.*") if tag and timm.is_model(network) else timm.list_models()
    if known not in choices:
        near = get_close_matches(known, choices, n=3, cutoff=0.5)
        offer = f"the nearest are {', '.join(near)}" if near else "list_backbones('timm/*') names those there are"
        raise UnknownBackboneError(f"timm has no network '{known}'; {offer}.")


def _create(name: str, options: dict[str, Any]) -> Any:
    """An extractor of timm's; its errors become sentences."""
    try:
        return require_timm(name).create_model(timm_name(name), features_only=True, **options)
    except (TypeError, AssertionError, NotImplementedError, RuntimeError, AttributeError, IndexError) as error:
        if "drop_path_rate" in str(error):
            raise ValueError(f"{name} has no residual branches to drop: leave stochastic_depth out.") from error
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise ValueError(f"timm can't build {timm_name(name)} with feature maps and {given} ({error}).") from error


def _any_size(name: str) -> dict[str, Any]:
    """The option, if there is one, by which a network made for one size takes others: transformers have it."""
    timm = require_timm(name)
    settings = timm.models.get_pretrained_cfg(timm_name(name))
    if settings is None or not settings.fixed_input_size:
        return {}
    for option in ({"dynamic_img_size": True}, {"strict_img_size": False}):
        with suppress(TypeError), torch.device("meta"):
            timm.create_model(timm_name(name), **option)
            return option
    return {}


def _statistics(name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation that the published weights expect; without such, ImageNet's."""
    settings = require_timm(name).models.get_pretrained_cfg(timm_name(name))
    return (settings.mean, settings.std) if settings else (IMAGENET_MEAN, IMAGENET_STD)


def _bare(key: str) -> str:
    """A path without the prefixes and separators in which an extractor differs from the network."""
    return key.removeprefix("network.").removeprefix("body.").removeprefix("model.").replace(".", "_")


def _until(modules: dict[str, nn.Module], last: str) -> Iterator[tuple[str, nn.Module]]:
    """Modules in the order of their registration, up to the parts of the one called `last`."""
    passed = False
    for path, module in modules.items():
        inside = path == last or path.startswith(f"{last}.")
        if passed and not inside:
            return
        passed = passed or inside
        yield path, module
