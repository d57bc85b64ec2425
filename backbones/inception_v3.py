"""Inception-v3: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the Inception architecture for computer vision,
2016; torchvision's network and weights.

Its stem and its reductions are not padded, so that maps are a few pixels smaller than the image by the stride: 299
pixels give 149, 73, 35, 17 and 8 in the end of each stage. The auxiliary classifier of the paper reads Mixed_6e.
"""

from torchvision.models import Inception3

from .backbone import Network
from .layers import Renormalise, initialise_for_relu, set_in_channels


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights; a layer is a whole Inception module, or one layer of the stem."""
    # With its auxiliary classifier, so that its keys in the published file are known, though no layer of ours.
    network = Inception3(init_weights=False)
    initialise_for_relu(network, "fan_out")
    set_in_channels(network, in_channels)
    network.renormalise = Renormalise(in_channels, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    layers = [name for name, _ in network.named_children() if name.startswith(("Conv2d", "maxpool", "Mixed"))]
    return Network(network, ["renormalise", *layers], auxiliary=("Mixed_6e",))
