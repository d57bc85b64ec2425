"""DenseNet: Huang, Liu, van der Maaten, Weinberger, Densely connected convolutional networks, 2017.

Those for ImageNet are torchvision's. `densenet_bc_100_12` is the paper's for images of 32 x 32 (section 4.2): 100
layers, growth rate 12, three blocks of 16 layers with bottlenecks, and transitions that halve the channels.

A block's map is a concatenation of convolutions that nothing has rectified; each transition begins with batch norm and
ReLU, and so does what follows the last block.
"""

from torch import nn
from torchvision.models import densenet

from .backbone import Network
from .layers import set_in_channels

# Growth rate, layers in each block, channels of the first convolution.
_NETWORKS = {
    "densenet121": (32, (6, 12, 24, 16), 64),
    "densenet161": (48, (6, 12, 36, 24), 96),
    "densenet169": (32, (6, 12, 32, 32), 64),
    "densenet201": (32, (6, 12, 48, 32), 64),
    "densenet_bc_100_12": (12, (16, 16, 16), 24),
}


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights; a layer is a whole dense block, a transition, or one layer of the stem."""
    growth, blocks, width = _NETWORKS[name]
    network = densenet.DenseNet(growth, blocks, width)  # pyright: ignore[reportArgumentType] # any number of blocks
    features = network.features
    if len(blocks) == 3:
        features.conv0 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(features.conv0.weight)
        del features.norm0, features.relu0, features.pool0
    features.add_module("relu5", nn.ReLU(inplace=True))  # torchvision has it in `forward`
    set_in_channels(network, in_channels)
    return Network(network, [f"features.{name}" for name, _ in features.named_children()])
