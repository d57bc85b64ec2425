"""Convolutions that torch lacks, and the one change that torchvision's networks need."""

import torch
from torch import nn
from torch.nn import functional as F


class PartiallyConnectedConv2d(nn.Conv2d):
    """A convolution whose output maps each read only some of the input maps; an absent link has no parameters.

    `table[i]` lists the input maps that output map `i` reads. `weight` is (links, k, k), in the order of the table.
    LeCun, Bottou, Bengio, Haffner, 1998, table I.
    """

    def __init__(
        self,
        in_channels: int,
        table: tuple[tuple[int, ...], ...],
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, len(table), kernel_size, stride, padding, bias=bias)
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
        """(N, in_channels, H, W) to (N, len(table), h, w); without padding and stride h is H - k + 1, w likewise."""
        return F.conv2d(input, self.dense_weight(), self.bias, self.stride, self.padding)


class DepthwiseSeparableConv2d(nn.Sequential):
    """A filter for each channel, then a 1 x 1 convolution across channels: a fraction 1 / out_channels + 1 / k^2 of the
    weights of a full convolution.

    `between` stands between the two: nothing in Xception (Chollet, 2017), batch norm and ReLU in MobileNet (Howard et
    al., 2017, figure 3); what follows is the caller's. With odd kernels and stride 1 the map keeps its size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        between: nn.Module | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel_size - 1) // 2
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, stride, padding, dilation, groups=in_channels, bias=bias
        )
        if between is not None:
            self.between = between
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)


class LocallyConnected2d(nn.Module):
    """A convolution that shares nothing: every position has kernels of its own, so the map's size is fixed.

    For images that are aligned, where eyes and mouth need different filters. `size` is (H, W) of the input. `weight` is
    (h * w, out_channels, in_channels * k * k), positions row by row; `bias` is (out_channels, h, w).

    Taigman, Yang, Ranzato, Wolf, DeepFace, 2014, section 3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.size = in_channels, out_channels, size
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        height, width = ((side + 2 * padding - kernel_size) // stride + 1 for side in size)
        fan_in = in_channels * kernel_size**2
        self.weight = nn.Parameter(torch.empty(height * width, out_channels, fan_in))
        self.bias = nn.Parameter(torch.empty(out_channels, height, width))
        for parameter in (self.weight, self.bias):  # as nn.Conv2d starts
            nn.init.uniform_(parameter, -(fan_in**-0.5), fan_in**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, *size) to (N, out_channels, h, w). Raises `ValueError` for a map of another size."""
        if tuple(x.shape[-2:]) != self.size:
            raise ValueError(f"This layer reads maps of {self.size}, and this one has {tuple(x.shape[-2:])}.")
        windows = F.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        return torch.einsum("nkl,lok->nol", windows, self.weight).unflatten(2, self.bias.shape[1:]) + self.bias

    def extra_repr(self) -> str:
        """What `print` shows in the parentheses."""
        return (
            f"{self.in_channels}, {self.out_channels}, size={self.size}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}"
        )


class TiledConv2d(nn.Module):
    """A convolution whose kernels repeat only every `tile` pixels, so that neighbours may learn rotated filters.

    Position (i, j) uses `weight[i % tile, j % tile]`, which is (out_channels, in_channels, k, k). Tile 1 is an ordinary
    convolution, a tile of the map's size a locally connected layer. The bias is shared.

    Le, Ngiam, Chen, Chia, Koh, Ng, Tiled convolutional neural networks, 2010.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, tile: int) -> None:
        super().__init__()
        shape = (tile, tile, out_channels, in_channels, kernel_size, kernel_size)
        bound = (in_channels * kernel_size**2) ** -0.5
        self.tile = tile
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H - k + 1, W - k + 1)."""
        *_, out_channels, _, kernel, _ = self.weight.shape
        out = x.new_empty(len(x), out_channels, x.shape[2] - kernel + 1, x.shape[3] - kernel + 1)
        tile = self.tile
        for row in range(min(tile, out.shape[2])):
            for column in range(min(tile, out.shape[3])):
                part = F.conv2d(x[:, :, row:, column:], self.weight[row, column], self.bias, stride=tile)
                out[:, :, row::tile, column::tile] = part
        return out


def set_in_channels(network: nn.Module, in_channels: int) -> None:
    """Give a new network's first convolution another number of input channels, with fresh weights (He et al., 2015)."""
    conv = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    if in_channels != conv.in_channels:
        shape = (conv.out_channels, in_channels, *conv.kernel_size)
        conv.in_channels = in_channels
        conv.weight = nn.Parameter(conv.weight.new_empty(shape))
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
