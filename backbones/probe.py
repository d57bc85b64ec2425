"""A network asked for its shapes on the meta device, where a forward pass costs no arithmetic."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, cast

import torch
from torch import nn
from torch.func import functional_call

PROBE = 512  # pixels: so large that unpadded convolutions do not hide the stride


class LayerShape(NamedTuple):
    """What a layer gives."""

    layer: str
    channels: int
    stride: int  # of all layers up to this one, relative to the image


def measure_layers(module: nn.Module, layers: Sequence[str], layout: Literal["NCHW", "NHWC"]) -> list[LayerShape]:
    """Channels and stride behind each of `layers` (paths in `module`, in the order of execution)."""
    rows, channels = (2, 1) if layout == "NCHW" else (1, 3)
    shapes, x = [], blank_image(module, PROBE)
    for path in layers:
        x = _run_shapeless(module.get_submodule(path), x)
        shape = (x if isinstance(x, torch.Tensor) else x[0]).shape
        shapes.append(LayerShape(path, shape[channels], 2 ** round(math.log2(PROBE / shape[rows]))))
    return shapes


def smallest_image(backbone: nn.Module) -> int | None:
    """The smallest height and width, in pixels, of an image from which a `Backbone` can make all its maps.

    None for a network that does not take any larger one (but, say, multiples of 32).
    """
    found = bisect_left(range(1, PROBE), True, key=lambda size: _takes(backbone, size)) + 1
    return found if all(_takes(backbone, found + more) for more in (1, 2, 3, 5, 8, 13)) else None


def blank_image(module: nn.Module, size: int | tuple[int, int]) -> torch.Tensor:
    """An image without numbers for a network, of `size` pixels (side, or height and width)."""
    conv = next(part for part in module.modules() if isinstance(part, nn.Conv2d))
    height, width = (size, size) if isinstance(size, int) else size
    return torch.empty(1, conv.in_channels, height, width, device="meta", dtype=conv.weight.dtype)


def shapeless_maps(backbone: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    """What a `Backbone` gives for an image without numbers; errors are torch's."""
    return _run_shapeless(_Raw(backbone), image)


class _Runs(Protocol):
    def run(self, images: torch.Tensor, layers: Sequence[str]) -> tuple[list[torch.Tensor], list[torch.Tensor]]: ...


class _Raw(nn.Module):
    """A backbone whose errors are not explained, because explaining asks for the smallest image."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return cast(_Runs, self.backbone).run(images, ())[0]


def _takes(backbone: nn.Module, size: int) -> bool:
    try:
        return all(x.numel() for x in shapeless_maps(backbone, blank_image(backbone, size)))
    except (RuntimeError, ValueError, AssertionError):
        return False


def _run_shapeless(module: nn.Module, x: Any) -> Any:
    """The output of a module in evaluation mode on the meta device, whatever device its weights are on."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        with torch.no_grad():
            return functional_call(module, {key: value.to("meta") for key, value in tensors.items()}, (x,))
    finally:
        for part in training:
            part.training = True
