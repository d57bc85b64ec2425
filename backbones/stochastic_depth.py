"""Stochastic depth: training leaves out residual branches at random, the later ones more often.

Huang, Sun, Liu, Sedra, Weinberger, Deep networks with stochastic depth, 2016.
"""

from torch import nn
from torchvision.ops import StochasticDepth


def spread_stochastic_depth(network: nn.Module, rate: float, name: str) -> None:
    """Set how often training leaves out each residual branch of `network`: the l-th of L at `rate` times l / L.

    `rate`, from 0 to 1, is that of the last branch; the branches count in the order in which the network has them
    (section 3, equation 4: the linear rule). `name` is for the error message.

    torchvision's layer divides a branch that stays by its survival rate in training, where the paper multiplies it by
    that in evaluation. That is the same network up to a factor in the weights of the branch; this way published weights
    keep their meaning. It also draws anew for every image, the paper for every batch.

    Raises ValueError for a rate outside of [0, 1] and for a network without residual branches of this kind.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"stochastic_depth is {rate}, but it is a probability: choose from 0 to 1.")
    branches = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    if not branches:
        raise ValueError(f"{name} has no residual branches to drop: leave stochastic_depth out.")
    for number, branch in enumerate(branches, start=1):
        branch.p = rate * number / len(branches)
