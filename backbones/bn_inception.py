"""BN-Inception, which the Inception-v4 paper calls v2: Ioffe, Szegedy, Batch normalization: accelerating deep network
training by reducing internal covariate shift, 2015.

GoogLeNet with batch norm, two 3 x 3 convolutions in place of each 5 x 5, average pools inside most modules, and strides
inside modules 3c and 4e in place of the pools between modules (appendix, figure 5). As in the conversions that others
know, the first convolution is an ordinary one: the paper's is separable, which saves a little time.

4c and 4d give 608 channels and 4e gives 1056: the sums of the branches in figure 5, as in those conversions.
"""

from torch import nn
from torchvision.ops import Conv2dNormActivation

from .backbone import Network
from .layers import grid_reduction, inception_v2, initialise_for_relu
from .layers.inception import BATCH_NORM, Pooling

# Figure 5: channels of the input, 1 x 1, (3 x 3 reduction, 3 x 3), (double reduction, double), pool, pool projection.
_MODULES: dict[str, tuple[int, int, tuple[int, int], tuple[int, int], Pooling, int]] = {
    "inception3a": (192, 64, (64, 64), (64, 96), "average", 32),
    "inception3b": (256, 64, (64, 96), (64, 96), "average", 64),
    "inception4a": (576, 224, (64, 96), (96, 128), "average", 128),
    "inception4b": (576, 192, (96, 128), (96, 128), "average", 128),
    "inception4c": (576, 160, (128, 160), (128, 160), "average", 128),
    "inception4d": (608, 96, (128, 192), (160, 192), "average", 128),
    "inception5a": (1056, 352, (192, 320), (160, 224), "average", 128),
    "inception5b": (1024, 352, (192, 320), (192, 224), "max", 128),
}
# Those with stride 2, which have no 1 x 1 branch and pass on what they pool.
_REDUCTIONS = {"inception3c": (320, (128, 160), (64, 96)), "inception4e": (608, (128, 192), (192, 256))}
_ORDER = ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights; a layer is a whole Inception module, or one layer of the stem.

    Auxiliary classifiers read 4a and 4d, as GoogLeNet's do: the paper leaves theirs open.
    """
    layers: dict[str, nn.Module] = {
        "conv1": Conv2dNormActivation(in_channels, 64, 7, stride=2, norm_layer=BATCH_NORM),
        "maxpool1": nn.MaxPool2d(3, stride=2, ceil_mode=True),
        "conv2": Conv2dNormActivation(64, 64, 1, norm_layer=BATCH_NORM),
        "conv3": Conv2dNormActivation(64, 192, 3, norm_layer=BATCH_NORM),
        "maxpool2": nn.MaxPool2d(3, stride=2, ceil_mode=True),
    }
    for module in (f"inception{key}" for key in _ORDER):
        layers[module] = _reduction(module) if module in _REDUCTIONS else inception_v2(*_MODULES[module])
    network = nn.Sequential()
    for path, layer in layers.items():
        network.add_module(path, layer)
    initialise_for_relu(network, "fan_out")
    return Network(network, list(layers), auxiliary=("inception4a", "inception4d"))


def _reduction(module: str) -> nn.Module:
    in_channels, (reduced, threes), (thin, double) = _REDUCTIONS[module]
    return grid_reduction(in_channels, ((reduced, 1), (threes, 3)), ((thin, 1), (double, 3), (double, 3)), padding=1)
