"""What a network costs and sees: parameters, multiply-adds, receptive fields."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from .backbone import Backbone
from .probe import PROBE, blank_image, shapeless_maps


def receptive_field(backbone: Backbone) -> list[float]:
    """How many pixels of the image, along one side, each cell of each map of `backbone` depends on.

    Infinite where a layer looks at the whole map (squeeze-and-excitation, instance and group norm) or attends. Followed
    through every operation of a forward pass: a kernel of k pixels with dilation d, on a map whose cells are j pixels
    of the image apart, adds (k - 1) d j (Araujo, Norris, Sim, Computing receptive fields of convolutional neural
    networks, 2019, equation 2).
    Where branches meet, the largest counts.
    """
    image = blank_image(backbone, PROBE)
    with _FieldTracker(image) as tracker:
        maps = shapeless_maps(backbone, image)
    return [tracker.field(x) for x in maps]


def cell_centres(backbone: Backbone) -> list[float]:
    """Where in the image, in pixels from the middle of the first one on, the first cell of each map of `backbone` lies:
    cell i stands for the place `centre` + i * stride, the middle of the pixels that it depends on.

    That is (stride - 1) / 2 behind pools of 2 x 2, as in VGG, and 0 behind strided kernels with a middle, as in a
    ResNet. Followed as `receptive_field` does; where branches meet, the one of the largest field counts, and where the
    way can't be followed (Swin's patches are taken apart by indexing), the cells are thought to cover the image evenly.
    """
    image = blank_image(backbone, PROBE)
    with _FieldTracker(image) as tracker:
        maps = shapeless_maps(backbone, image)
    return [tracker.centre(x, stride) for x, stride in zip(maps, backbone.strides, strict=True)]


def count_parameters(module: nn.Module, *, trainable: bool = False) -> int:
    """The number of parameters of any module, with their biases and the scale and shift of its normalisation.

    `trainable`: of those alone that are not frozen.
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def count_multiply_adds(backbone: Backbone, size: int | tuple[int, int] = 224) -> int:
    """Multiplications of convolutions and matrix products for one image of `size` (side, or height and width, pixels).

    One multiplication with its addition counts as one; torch's counter, which this halves, counts two.
    """
    with FlopCounterMode(display=False) as counter:
        shapeless_maps(backbone, blank_image(backbone, size))
    return counter.get_total_flops() // 2


class _FieldTracker(TorchDispatchMode):
    """Carries receptive field and distance of cells, each (vertical, horizontal), from operation to operation."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        # With the tensors, so that their ids stay their own.
        self._found: dict[int, tuple[torch.Tensor, _Field]] = {id(image): (image, _Field((1, 1), (1, 1), (0, 0)))}

    def field(self, x: torch.Tensor) -> float:
        return max(self._found[id(x)][1].size)

    def centre(self, x: torch.Tensor, stride: int) -> float:
        field = self._found[id(x)][1]
        return field.start[0] if field.jump[0] == stride else (stride - 1) / 2

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
    start: tuple[float, float]  # where the middle of the first cell is, from the middle of the first pixel on


def _meet(fields: Sequence[_Field]) -> _Field:
    sizes, jumps = [f.size for f in fields], [f.jump for f in fields]
    return _Field(
        (max(s[0] for s in sizes), max(s[1] for s in sizes)),
        (max(j[0] for j in jumps), max(j[1] for j in jumps)),
        max(fields, key=lambda f: f.size).start,
    )


def _widen(operation: Any, args: Sequence[Any], field: _Field, sources: int) -> _Field:
    """The field behind one operation of torch on maps with `field`."""
    if operation is aten.convolution:
        return _slide(field, args[1].shape[2:], args[3], args[4], args[5])
    if operation is aten.max_pool2d_with_indices:
        given = [*args[1:], *([], 0, 1)[len(args) - 2 :]] if len(args) < 5 else args[1:]
        return _slide(field, given[0], given[1] or given[0], given[2], given[3])
    if operation is aten.avg_pool2d:
        stride = args[2] if len(args) > 2 and args[2] else args[1]
        return _slide(field, args[1], stride, args[3] if len(args) > 3 else 0, 1)
    name = operation.__name__
    if name in _PADS and len(args[1]) >= 4:
        (down, across), (left, top) = field.jump, args[1][0:4:2]
        return field._replace(start=(field.start[0] - top * down, field.start[1] - left * across))
    if name.startswith(("upsample", "_upsample")):
        return _enlarge(field, args[0].shape, args[1] or args[2])
    if _looks_everywhere(name, args) or (name in _PRODUCTS and sources > 1):
        return field._replace(size=(math.inf, math.inf))
    return field


def _looks_everywhere(name: str, args: Sequence[Any]) -> bool:
    """Whether an operation mixes the cells of a whole map: statistics of it, its frequencies."""
    if "batch_norm" in name:
        return any(argument is True for argument in args)  # with statistics of the map: instance norm
    if name in _STATISTICS:
        axes = next((given for given in args[1:] if isinstance(given, list | tuple)), None)
        ndim = args[0].ndim
        return ndim > 2 and (axes is None or not {axis % ndim for axis in axes} <= {1} | {ndim - 1})
    return name.startswith("_fft") or name in _OF_WHOLE_MAPS


def _enlarge(field: _Field, shape: Sequence[int], wanted: Sequence[float]) -> _Field:
    """Of the finer cells in one coarse cell each sees as far; those beside it see as far from the next coarse one."""
    ratios = [wanted[i] / shape[2 + i] if isinstance(wanted[i], int) else wanted[i] for i in (0, 1)]
    jumps = [field.jump[i] / ratios[i] for i in (0, 1)]
    sizes = [field.size[i] + field.jump[i] - jumps[i] for i in (0, 1)]
    starts = [field.start[i] - (field.jump[i] - jumps[i]) / 2 for i in (0, 1)]
    return _Field((sizes[0], sizes[1]), (jumps[0], jumps[1]), (starts[0], starts[1]))


def _slide(
    field: _Field,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int] | int,
    dilation: Sequence[int] | int,
) -> _Field:
    kernel, stride, padding, dilation = (_pair(value) for value in (kernel, stride, padding, dilation))
    reach = [(kernel[i] - 1) * dilation[i] for i in (0, 1)]
    sizes = [field.size[i] + reach[i] * field.jump[i] for i in (0, 1)]
    starts = [field.start[i] + (reach[i] / 2 - padding[i]) * field.jump[i] for i in (0, 1)]
    jumps = (field.jump[0] * stride[0], field.jump[1] * stride[1])
    return _Field((sizes[0], sizes[1]), jumps, (starts[0], starts[1]))


def _pair(value: Sequence[int] | int) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


aten = torch.ops.aten
_PADS = ("constant_pad_nd", "replication_pad2d", "reflection_pad2d")
_PRODUCTS = ("mm", "bmm", "baddbmm", "_scaled_dot_product_attention_math", "scaled_dot_product_attention")
_STATISTICS = ("mean", "sum", "var", "std", "var_mean", "amax", "amin", "norm", "linalg_vector_norm")
_OF_WHOLE_MAPS = ("native_group_norm", "_adaptive_avg_pool2d", "adaptive_max_pool2d")
