"""RegNet: Radosavovic, Kosaraju, Girshick, He, Dollár, Designing network design spaces, 2020.

torchvision's networks: X is the plain design space, Y the one with squeeze-and-excitation.
"""

import torch
import torchvision

from .backbone import Network
from .layers import set_in_channels


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights."""
    device = torch.get_default_device()
    with torch.device("cpu"):  # torchvision works its widths out with tensors, and "meta" has no numbers
        network = torchvision.models.get_model(name).to(device)
    set_in_channels(network, in_channels)
    return Network(network, ["stem", *(f"trunk_output.block{stage}" for stage in (1, 2, 3, 4))])
