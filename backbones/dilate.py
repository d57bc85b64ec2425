"""Maps of a higher resolution from the same weights: convolution à trous."""

from collections.abc import Iterable

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
    stride, dilation = 1, 1
    for path in layers:
        step = layer_stride(network.get_submodule(path))
        if stride < output_stride:
            stride *= step
        else:
            _dilate_layer(network, path, dilation)
            dilation *= step


def _dilate_layer(network: nn.Module, path: str, dilation: int) -> None:
    """Take the stride out of one layer whose input is spread by `dilation`; what follows is spread further."""
    current = dilation
    for name, module in list(network.get_submodule(path).named_modules(prefix=path)):
        if isinstance(module, nn.Conv2d):
            if max(module.kernel_size) > 1:
                module.dilation = (current, current)
                module.padding = (current * int(module.padding[0]), current * int(module.padding[1]))
            # Not multiplied again by the projection that stands beside a branch with a stride.
            current = max(current, dilation * _single(module.stride))
            module.stride = (1, 1)
        elif isinstance(module, nn.MaxPool2d):
            network.set_submodule(name, _dense_pool(module, dilation))


def _dense_pool(pool: nn.MaxPool2d, dilation: int) -> nn.Module:
    """The pool at every pixel, not every second; at the right and bottom the map goes on with copies of its edge."""
    size = _single(pool.kernel_size)
    assert size == _single(pool.stride) and pool.padding == 0, "only pools that cut the map into tiles are dilated"
    reach = dilation * (size - 1)
    return nn.Sequential(nn.ReplicationPad2d((0, reach, 0, reach)), nn.MaxPool2d(size, stride=1, dilation=dilation))


def _single(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else max(value)
