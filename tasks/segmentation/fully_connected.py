"""fc6 and fc7 of a classification network as convolutions, in which FCN and the first two DeepLabs end."""

from collections.abc import Sequence

from torch import nn

from ...backbones.layers import initialise_for_relu
from ...backbones.weights import Weights
from ...core.errors import UsageError
from ..build import read_weights
from .options import SegmentationOptions

_SIDE, _WIDTH = 7, 4096  # of VGG's fc6: the side of the map that it reads, and its outputs


def fully_connected(channels: int, width: int, *, kernel: int, rate: int = 1) -> nn.Sequential:
    """fc6, of `kernel` x `kernel` cells that are `rate` apart, and fc7, with VGG's ReLUs and dropout: (N, channels, h,
    w) to (N, width, h, w).

    The map is padded with zeros to keep its size, where Long et al. 2015 pad the image by 100 pixels instead.
    """
    layers = nn.Sequential(
        nn.Conv2d(channels, width, kernel, padding=rate * (kernel // 2), dilation=rate),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Conv2d(width, width, 1),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
    )
    initialise_for_relu(layers)
    return layers


def fill_from_vgg(parts: Sequence[nn.Module], options: SegmentationOptions) -> None:
    """Start each of `parts`, made by `fully_connected`, from the classifier in the weights that a recipe names.

    Narrower layers take every so manieth output, and smaller kernels as many cells of the 7 x 7, evenly spread (Chen et
    al., Semantic image segmentation with deep convolutional nets and fully connected CRFs, 2015, section 3.2). Without
    weights, or with those of a backbone alone, `parts` stay as they are.

    Raises UsageError for a width that does not divide 4096, ModelFileError for a file that can't be used.
    """
    if options.weights is None:
        return
    read = read_weights(options.weights, options.backbone)
    if "classifier.0.weight" in read and "classifier.3.weight" in read:
        for layers in parts:
            _fill(layers, read)


def _fill(layers: nn.Module, read: Weights) -> None:
    fc6 = layers.get_submodule("0")
    assert isinstance(fc6, nn.Conv2d)
    width, kernel = fc6.out_channels, fc6.kernel_size[0]
    if _WIDTH % width:
        raise UsageError(
            f"model.channels is {width}; fc6 and fc7 of a VGG with weights have {_WIDTH} outputs or every so manieth "
            f"of them: give a divisor of {_WIDTH}, or leave it out."
        )
    every, cells = _WIDTH // width, (_SIDE - 1) // (kernel - 1)
    first = read["classifier.0.weight"].unflatten(1, (-1, _SIDE, _SIDE))
    layers.load_state_dict(
        {
            "0.weight": first[::every, :, ::cells, ::cells],
            "0.bias": read["classifier.0.bias"][::every],
            "3.weight": read["classifier.3.weight"][::every, ::every, None, None],
            "3.bias": read["classifier.3.bias"][::every],
        }
    )
