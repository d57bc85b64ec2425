"""What a network is before it sees an image: shapes, receptive fields, parameters, multiply-adds.

Everything is found on the meta device, where a forward pass costs no arithmetic.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from .backbone import Backbone

_PROBE = 512  # pixels: so large that unpadded convolutions do not hide the stride


class LayerShape(NamedTuple):
    """What a layer gives."""

    layer: str
    channels: int
    stride: int  # of all layers up to this one, relative to the image


def measure_layers(module: nn.Module, layers: Sequence[str], layout: Literal["NCHW", "NHWC"]) -> list[LayerShape]:
    """Channels and stride behind each of `layers` (paths in `module`, in the order of execution)."""
    rows, channels = (2, 1) if layout == "NCHW" else (1, 3)
    training, shapes = module.training, []
    module.eval()
    x = _blank(module, _PROBE)
    for path in layers:
        x = _run_shapeless(module.get_submodule(path), x)
        shape = (x if isinstance(x, torch.Tensor) else x[0]).shape
        shapes.append(LayerShape(path, shape[channels], 2 ** round(math.log2(_PROBE / shape[rows]))))
    module.train(training)
    return shapes


def smallest_image(backbone: "Backbone") -> int | None:
    """The smallest height and width, in pixels, of an image from which `backbone` can make all its maps.

    None for a network that does not take any larger one (but, say, multiples of 32).
    """
    found = bisect_left(range(1, _PROBE), True, key=lambda size: _takes(backbone, size)) + 1
    return found if all(_takes(backbone, found + more) for more in (1, 2, 3, 5, 8, 13)) else None


def receptive_field(backbone: "Backbone") -> list[float]:
    """How many pixels of the image, along one side, each cell of each map of `backbone` depends on.

    Infinite where a layer looks at the whole map (squeeze-and-excitation) or attends. Followed through every operation
    of a forward pass: a kernel of k pixels with dilation d, on a map whose cells are j pixels of the image apart, adds
    (k - 1) d j (Araujo, Norris, Sim, Computing receptive fields of convolutional neural networks, 2019, equation 2).
    Where branches meet, the largest counts.
    """
    image = _blank(backbone, _PROBE)
    with _FieldTracker(image) as tracker:
        maps = _maps(backbone, image)
    return [tracker.field(x) for x in maps]


def count_parameters(module: nn.Module, *, trainable: bool = False) -> int:
    """The number of parameters of any module, with their biases and the scale and shift of its normalisation.

    `trainable`: of those alone that are not frozen.
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def count_multiply_adds(backbone: "Backbone", size: int | tuple[int, int] = 224) -> int:
    """Multiplications of convolutions and matrix products for one image of `size` (side, or height and width, pixels).

    One multiplication with its addition counts as one; torch's counter, which this halves, counts two.
    """
    with FlopCounterMode(display=False) as counter:
        _maps(backbone, _blank(backbone, size))
    return counter.get_total_flops() // 2


def _blank(module: nn.Module, size: int | tuple[int, int]) -> torch.Tensor:
    conv = next(part for part in module.modules() if isinstance(part, nn.Conv2d))
    height, width = (size, size) if isinstance(size, int) else size
    return torch.empty(1, conv.in_channels, height, width, device="meta", dtype=conv.weight.dtype)


def _maps(backbone: "Backbone", image: torch.Tensor) -> list[torch.Tensor]:
    """What `backbone` gives in evaluation mode, as shapes alone; errors are torch's."""
    training = backbone.training
    try:
        return _run_shapeless(_Raw(backbone).eval(), image)
    finally:
        backbone.train(training)


class _Raw(nn.Module):
    def __init__(self, backbone: "Backbone") -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return self.backbone.run(images, ())[0]


def _run_shapeless(module: nn.Module, x: Any) -> Any:
    """The output of a module on the meta device, whatever device its weights are on."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with torch.no_grad():
        return functional_call(module, {key: value.to("meta") for key, value in tensors.items()}, (x,))


def _takes(backbone: "Backbone", size: int) -> bool:
    try:
        return all(x.numel() for x in _maps(backbone, _blank(backbone, size)))
    except (RuntimeError, ValueError, AssertionError):
        return False


class _FieldTracker(TorchDispatchMode):
    """Carries receptive field and distance of cells, each (vertical, horizontal), from operation to operation."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        # With the tensors, so that their ids stay their own.
        self._found: dict[int, tuple[torch.Tensor, _Field]] = {id(image): (image, _Field((1, 1), (1, 1)))}

    def field(self, x: torch.Tensor) -> float:
        return max(self._found[id(x)][1].size)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        sources = [self._found[id(x)][1] for x in tensors if id(x) in self._found]
        if sources:
            field = _widen(func.overloadpacket, args, _meet(sources), len(sources))
            for x in tree_leaves(output):
                if isinstance(x, torch.Tensor):
                    self._found[id(x)] = (x, field)
        return output


class _Field(NamedTuple):
    size: tuple[float, float]
    jump: tuple[float, float]


def _meet(fields: Sequence[_Field]) -> _Field:
    sizes, jumps = [f.size for f in fields], [f.jump for f in fields]
    return _Field(
        (max(s[0] for s in sizes), max(s[1] for s in sizes)), (max(j[0] for j in jumps), max(j[1] for j in jumps))
    )


def _widen(operation: Any, args: Sequence[Any], field: _Field, sources: int) -> _Field:
    """The field behind one operation of torch on maps with `field`."""
    everywhere = _Field((math.inf, math.inf), field.jump)
    if operation is aten.convolution:
        return _slide(field, args[1].shape[2:], args[3], args[5])
    if operation is aten.max_pool2d_with_indices:
        given = [*args[1:], *([], 0, 1)[len(args) - 2 :]] if len(args) < 5 else args[1:]
        return _slide(field, given[0], given[1] or given[0], given[3])
    if operation is aten.avg_pool2d:
        return _slide(field, args[1], args[2] if len(args) > 2 and args[2] else args[1], 1)
    if operation is aten.mean and args[0].ndim == 4 and {2, 3} & {axis % 4 for axis in args[1]}:
        return everywhere
    if operation in (aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d) or (operation in _PRODUCTS and sources > 1):
        return everywhere
    return field


def _slide(field: _Field, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int] | int) -> _Field:
    kernel, stride, dilation = (_pair(value) for value in (kernel, stride, dilation))
    sizes = [field.size[i] + (kernel[i] - 1) * dilation[i] * field.jump[i] for i in (0, 1)]
    return _Field((sizes[0], sizes[1]), (field.jump[0] * stride[0], field.jump[1] * stride[1]))


def _pair(value: Sequence[int] | int) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


aten = torch.ops.aten
_PRODUCTS = (
    aten.mm,
    aten.bmm,
    aten.baddbmm,
    aten._scaled_dot_product_attention_math,
    aten.scaled_dot_product_attention,
)
