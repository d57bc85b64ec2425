"""How networks of rectified linear units begin, where their papers don't say or rely on another scale of images."""

from torch import nn


def initialise_for_relu(network: nn.Module) -> None:
    """Every convolution of `network` anew: the signal keeps its strength from ReLU to ReLU; biases are 0.

    He, Zhang, Ren, Sun, Delving deep into rectifiers, 2015, equation 10.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
