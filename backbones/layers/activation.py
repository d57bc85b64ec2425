"""Activations by name, and the one that torch lacks."""

import torch
from torch import nn


class ScaledTanh(nn.Module):
    """LeNet's squashing function 1.7159 tanh(2x / 3): it passes through (1, 1) and (-1, -1), where it bends most.

    Any shape. LeCun, Bottou, Bengio, Haffner, 1998, equation 6 and appendix A.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape, values within ±1.7159."""
        return 1.7159 * torch.tanh(x * (2 / 3))


# Each can be built without arguments, and then has its paper's constants.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,  # Nair, Hinton, 2010
    "relu6": nn.ReLU6,  # Krizhevsky, 2010; MobileNet's
    "leaky_relu": nn.LeakyReLU,  # Maas, Hannun, Ng, 2013: slope 0.01
    "prelu": nn.PReLU,  # He et al., 2015: one learned slope, 0.25 at the start
    "rrelu": nn.RReLU,  # Xu et al., 2015: slope drawn from 1/8 to 1/3 in training, their mean afterwards
    "elu": nn.ELU,  # Clevert, Unterthiner, Hochreiter, 2016
    "selu": nn.SELU,  # Klambauer et al., 2017
    "gelu": nn.GELU,  # Hendrycks, Gimpel, 2016
    "silu": nn.SiLU,  # Elfwing et al., 2018; swish in Ramachandran et al., 2017
    "hardswish": nn.Hardswish,  # Howard et al., 2019: MobileNetV3's
    "mish": nn.Mish,  # Misra, 2020
    "softplus": nn.Softplus,  # Dugas et al., 2001
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "scaled_tanh": ScaledTanh,
}
