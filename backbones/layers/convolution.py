"""Convolutions that torch lacks, and the one change that torchvision's networks need."""

import torch
from torch import nn
from torch.nn import functional as F


class PartiallyConnectedConv2d(nn.Conv2d):
    """A convolution whose output maps each read only some of the input maps; an absent link has no parameters.

    `table[i]` lists the input maps that output map `i` reads. `weight` is (links, k, k), in the order of the table.
    LeCun, Bottou, Bengio, Haffner, 1998, table I.
    """

    def __init__(self, in_channels: int, table: tuple[tuple[int, ...], ...], kernel_size: int) -> None:
        super().__init__(in_channels, len(table), kernel_size)
        self.table = table
        targets = [target for target, sources in enumerate(table) for _ in sources]
        sources = [source for sources in table for source in sources]
        self.targets: torch.Tensor
        self.sources: torch.Tensor
        self.register_buffer("targets", torch.tensor(targets), persistent=False)
        self.register_buffer("sources", torch.tensor(sources), persistent=False)
        self.weight = nn.Parameter(self.weight.detach()[targets, sources])

    def dense_weight(self) -> torch.Tensor:
        """The (out, in, k, k) weight of the ordinary convolution that this one equals: 0 where there is no link."""
        dense = self.weight.new_zeros(self.out_channels, self.in_channels, *self.kernel_size)
        return dense.index_put((self.targets, self.sources), self.weight)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) to (N, len(table), H - k + 1, W - k + 1)."""
        return F.conv2d(input, self.dense_weight(), self.bias)


def set_in_channels(network: nn.Module, in_channels: int) -> None:
    """Give a new network's first convolution another number of input channels, with fresh weights (He et al., 2015)."""
    conv = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    if in_channels != conv.in_channels:
        shape = (conv.out_channels, in_channels, *conv.kernel_size)
        conv.in_channels = in_channels
        conv.weight = nn.Parameter(conv.weight.new_empty(shape))
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
