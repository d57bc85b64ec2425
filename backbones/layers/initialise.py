"""The start of networks with ReLUs, where their papers leave it open, or follow He et al."""

import math
from typing import Literal

from torch import nn

from .convolution import LocallyConnected2d


def initialise_for_relu(network: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """Draw the weights of every convolution anew, and of every layer that is locally connected; biases are 0.

    Normal, of variance 2 / (inputs of a unit), so that the signal keeps its strength from ReLU to ReLU (He, Zhang, Ren,
    Sun, Delving deep into rectifiers, 2015, equation 10); with `fan_out` the gradient does (equation 14).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, LocallyConnected2d):
            _, out_channels, inputs = module.weight.shape
            outputs = out_channels * module.kernel_size**2
            nn.init.normal_(module.weight, std=math.sqrt(2 / (inputs if mode == "fan_in" else outputs)))
            nn.init.zeros_(module.bias)
