"""NASNet-A: Zoph, Vasudevan, Shlens, Le, Learning transferable architectures for scalable image recognition, 2018.

`nasnet_mobile` is NASNet-A (4 @ 1056): two cells found by search (figure 4), repeated four times in each of three
stages, and 1056 channels in the end. Each cell reads the maps of the two cells before it, so what passes from layer to
layer is a tuple, the current map and the one before.

Padding is the same on all sides. The authors' TensorFlow pads even sizes on one side more than on the other: there its
maps are shifted by a pixel against these.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torchvision.ops import Conv2dNormActivation, StochasticDepth

from .backbone import Network

Maps = tuple[torch.Tensor, torch.Tensor]  # of the last cell, and of the one before it


class Plan(NamedTuple):
    """A cell: blocks that add up what two operations make of two maps.

    Map 0 is the current one, 1 the one before, both brought to the cell's width, 2 that of the first block, and so on.
    """

    blocks: tuple[tuple[str, int, str, int], ...]  # operation, its map, operation, its map
    joined: tuple[int, ...]  # the maps whose concatenation the cell gives
    stride: int  # of the operations on maps 0 and 1


NORMAL = Plan(
    (
        ("separable5", 0, "separable3", 1),
        ("separable5", 1, "separable3", 1),
        ("average", 0, "identity", 1),
        ("average", 1, "average", 1),
        ("separable3", 0, "identity", 0),
    ),
    joined=(1, 2, 3, 4, 5, 6),
    stride=1,
)
REDUCTION = Plan(
    (
        ("separable5", 0, "separable7", 1),
        ("max", 0, "separable7", 1),
        ("average", 0, "separable5", 1),
        ("average", 2, "identity", 3),
        ("separable3", 2, "max", 0),
    ),
    joined=(3, 4, 5, 6),
    stride=2,
)
_norm = partial(nn.BatchNorm2d, eps=0.001)


def build(name: str, in_channels: int) -> Network:
    """The network with fresh weights; a layer is a cell. The auxiliary classifier reads the last cell of stride 16."""
    return build_nasnet(in_channels, repeats=4, filters=44, stem=32)


def build_nasnet(in_channels: int, *, repeats: int, filters: int, stem: int, skips: bool = False) -> Network:
    """NASNet-A (`repeats` @ 24 * `filters`), with `stem` channels of the first convolution (appendix A.4).

    `skips`: whether the cell behind a reduction reads, beside it, the map before the reduction's input, as in the
    authors' large network, and not that input.
    """
    network = nn.Sequential()
    first = Conv2dNormActivation(in_channels, stem, 3, stride=2, padding=0, norm_layer=_norm, activation_layer=None)
    network.add_module("conv0", first)
    channels, before = stem, stem  # of the current map and of the one before it,
    finer = False  # which has twice the size where a reduction is between them
    for name, plan, width in _list_cells(repeats, filters):
        skip = skips and name.startswith("reduction")
        cell = Cell(plan, channels, before, width, finer, projected=name != "cell_stem_0", skip=skip)
        network.add_module(name, cell)
        channels, before = len(plan.joined) * width, before if skip else channels
        finer = plan.stride == 2
    network.add_module("current", _Current())
    network.add_module("relu", nn.ReLU())
    layers = [path for path, _ in network.named_children()]
    return Network(network.apply(_initialise), layers, auxiliary=(f"cell_{2 * repeats - 1}",))


def _list_cells(repeats: int, filters: int) -> list[tuple[str, Plan, int]]:
    """Name, plan and width of all cells, in the order of execution: the width doubles where the size halves."""
    cells = [("cell_stem_0", REDUCTION, filters // 4), ("cell_stem_1", REDUCTION, filters // 2)]
    for stage in range(3):
        if stage:
            cells.append((f"reduction_cell_{stage - 1}", REDUCTION, filters * 2**stage))
        numbers = range(stage * repeats, (stage + 1) * repeats)
        cells += [(f"cell_{number}", NORMAL, filters * 2**stage) for number in numbers]
    return cells


class Cell(nn.Module):
    """One cell: brings the maps of the two cells before to its width, and runs the blocks of its plan on them."""

    def __init__(
        self, plan: Plan, channels: int, before: int, width: int, finer: bool, *, projected: bool, skip: bool
    ) -> None:
        """A cell of `plan` whose operations give `width` channels.

        `channels` and `before` are those of the current map and of the one before it, which has twice the height and
        width if `finer`, and passes as it is unless `projected`. `skip`: see `build_nasnet`.
        """
        super().__init__()
        self.plan = plan
        self.skip = skip
        self.before = (_Halving if finer else _project)(before, width) if projected else nn.Identity()
        self.current = _project(channels, width)
        inputs = (width, width if projected else before)
        self.blocks = nn.ModuleList()
        for left, i, right, j in plan.blocks:
            pair = [_operation(name, inputs, k, width, plan.stride) for name, k in ((left, i), (right, j))]
            self.blocks.append(nn.ModuleList(pair))
        self.stochastic_depth = StochasticDepth(0.0, "row")  # the paper's DropPath: of each operation by itself

    def forward(self, maps: Maps | torch.Tensor) -> Maps:
        """The cell's map, (N, C, H, W) or half of that height and width, and the one that is now before it.

        The first cell gets a single map, which stands for both.
        """
        current, before = maps if isinstance(maps, tuple) else (maps, maps)
        states = [self.current(current), self.before(before)]
        for block, (_, i, _, j) in zip(self.blocks, self.plan.blocks, strict=True):
            left, right = block.children()
            states.append(self.stochastic_depth(left(states[i])) + self.stochastic_depth(right(states[j])))
        output = torch.cat([states[index] for index in self.plan.joined], dim=1)
        return output, before if self.skip else current


class _Current(nn.Module):
    """The end of the chain, where the map before has done its work."""

    def forward(self, maps: Maps) -> torch.Tensor:
        return maps[0]


class _Halving(nn.Module):
    """Brings a map of twice the size to a cell's: its even pixels and its odd ones, each to half the width."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(in_channels, width // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(in_channels, width // 2, 1, stride=2, bias=False)
        self.shift = nn.ZeroPad2d((-1, 1, -1, 1))  # by one pixel up and to the left
        self.norm = _norm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, width, ceil(H / 2), ceil(W / 2))."""
        x = x.relu()
        return self.norm(torch.cat([self.even(x), self.odd(self.shift(x))], dim=1))


def _project(in_channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(in_channels, width, 1, bias=False), _norm(width))


def _operation(name: str, inputs: tuple[int, int], index: int, width: int, stride: int) -> nn.Module:
    """An operation on map `index`; those on the cell's own maps (from 2 on) keep their size."""
    step = stride if index < 2 else 1
    if name == "identity":
        return nn.Identity()
    if name == "average":
        return nn.AvgPool2d(3, step, 1, count_include_pad=False)
    if name == "max":
        return nn.MaxPool2d(3, step, 1)
    in_channels = inputs[index] if index < 2 else width
    return _separable(in_channels, width, int(name.removeprefix("separable")), step)


def _separable(in_channels: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    """Twice ReLU, a depthwise and a 1 x 1 convolution, and batch norm (appendix A.4)."""
    layers = nn.Sequential()
    for channels, step in ((in_channels, stride), (width, 1)):
        depthwise = nn.Conv2d(channels, channels, kernel, step, kernel // 2, groups=channels, bias=False)
        layers.extend([nn.ReLU(), depthwise, nn.Conv2d(channels, width, 1, bias=False), _norm(width)])
    return layers


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
