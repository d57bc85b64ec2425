"""The start of networks with ReLUs."""

from torch import nn


def initialise_convolutions(network: nn.Module) -> None:
    """Normal weights of variance 2 / (outputs k²): the gradient keeps its size from layer to layer; biases 0.

    He, Zhang, Ren, Sun, Delving deep into rectifiers, 2015, equation 14.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
