"""Maps of a higher resolution from the same weights: convolution à trous."""

import math
from collections.abc import Iterable, Sequence

from torch import nn


def layer_stride(layer: nn.Module) -> int:
    """By how much a layer lowers the resolution: the largest stride among its convolutions and pools.

    Within one layer of ours (a block, a group of ResNet blocks, a single convolution) the resolution falls at most
    once; modules with a stride stand beside each other, as a residual block's branch and its projection do.
    """
    spatial = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
    return max((_single(module.stride) for module in layer.modules() if isinstance(module, spatial)), default=1)


def dilate(network: nn.Module, layers: Iterable[str], output_stride: int) -> None:
    """Change `layers` (paths in `network`, in the order of execution) so that no map is coarser than `output_stride`.

    From there on strides become 1 and the kernels are spread over the same pixels that they would have seen: where `f`
    is the gain in resolution, `dilated[..., ::f, ::f]` equals the plain map exactly, for an image whose sides the plain
    strides divide. That holds for all layers but those that average over the whole map, as MobileNetV3's
    squeeze-and-excitation does: there the average has more pixels.

    Chen, Papandreou, Kokkinos, Murphy, Yuille, DeepLab, 2017, section 3.1; Yu, Koltun, Multi-scale context aggregation
    by dilated convolutions, 2016.
    """
    if output_stride == 32:
        return  # no network here is coarser
    stride, dilation = 1, 1
    for path in layers:
        step = layer_stride(network.get_submodule(path))
        if stride < output_stride:
            stride *= step
        elif dilation * step > 1:
            _dilate_layer(network, path, dilation)
            dilation *= step


def _dilate_layer(network: nn.Module, path: str, dilation: int) -> None:
    """Take the stride out of one layer whose input is spread by `dilation`; what follows is spread further."""
    modules = list(network.get_submodule(path).named_modules(prefix=path))
    halving, current = _find_halving(module for _, module in modules), dilation
    for name, module in modules:
        if not isinstance(module, (nn.Conv2d, nn.MaxPool2d)):
            continue
        step = _single(module.stride) if module in halving else 1
        if isinstance(module, nn.MaxPool2d):
            network.set_submodule(name, _dense_pool(module, current))
        else:
            _spread(module, current)
        current = max(current, dilation * step)


def _find_halving(modules: Iterable[nn.Module]) -> Sequence[nn.Module]:
    """Those of a layer's modules behind which its map is smaller: not the 1 x 1 projections that stand beside them.

    A projection comes before the branch in some networks (Xception) and must not spread the branch's kernels. But where
    all strides are on 1 x 1 convolutions (the first ResNet), what follows one in the branch is spread.
    """
    strided = [m for m in modules if isinstance(m, (nn.Conv2d, nn.MaxPool2d)) and _single(m.stride) > 1]
    return [module for module in strided if _single(module.kernel_size) > 1] or strided


def _spread(conv: nn.Conv2d, dilation: int) -> None:
    if max(conv.kernel_size) > 1:
        conv.dilation = (dilation, dilation)
        conv.padding = (dilation * int(conv.padding[0]), dilation * int(conv.padding[1]))
    conv.stride = (1, 1)


def _dense_pool(pool: nn.MaxPool2d, dilation: int) -> nn.Module:
    """The pool at every pixel, not every second; where it has no padding the map goes on with copies of its edge."""
    size, padding = _single(pool.kernel_size), _single(pool.padding)
    reach = dilation * (size - 1)
    if size == 2 * padding + 1:
        pad = nn.ConstantPad2d(reach // 2, -math.inf)  # as the pool itself pads, but torch allows it half a kernel only
    else:
        assert size == _single(pool.stride) and padding == 0, "a pool is padded to its middle, or cuts a map into tiles"
        pad = nn.ReplicationPad2d((0, reach, 0, reach))
    return nn.Sequential(pad, nn.MaxPool2d(size, stride=1, dilation=dilation))


def _single(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else max(value)
