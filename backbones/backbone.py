"""The contract that heads and tasks build on, and the one adapter that fulfils it for every network."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import torch
from torch import nn

from .dilate import dilate, layer_stride


class Backbone(nn.Module):
    """A network without its classifier, from images to feature maps, so that one network can serve many heads.

    One map per level. A level is a stage of the network, its map the last one before the resolution halves again: for a
    ResNet the stem before its max pool (stride 2) and the four groups of blocks (4, 8, 16, 32). Before the first
    forward pass `channels` and `strides` say what the maps will be.

    The layers keep the names that they have in the published network: `state_dict()` has its keys, less the
    classifier's, so weights travel both ways without renaming. They are looked up by name in every pass; replacing one
    (`SyncBatchNorm`, a quantised layer) is seen.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str],
        *,
        output_stride: int = 32,
        levels: Sequence[int] | None = None,
        frozen_stages: int = 0,
    ) -> None:
        """Take `layers` (paths of submodules, in the order of execution) out of `network`, and leave the rest.

        The options are those of `create_backbone`.
        """
        super().__init__()
        stages = list(_stages((path, layer_stride(network.get_submodule(path))) for path in layers))
        self._levels = _resolve(levels, len(stages))
        self._stages = stages[: self._levels[-1] + 1]
        for path in _flat(self._stages):
            _graft(self, path, network.get_submodule(path))
        dilate(self, _flat(self._stages), output_stride)
        channels, strides = zip(*self._measure(), strict=True)
        self.channels = tuple(channels[level] for level in self._levels)
        self.strides = tuple(strides[level] for level in self._levels)
        self._frozen = self._freeze(frozen_stages)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of images, finest first.

        `images`: float (N, C, H, W), normalised as the weights expect. Map `i` is (N, `channels[i]`, h, w) with h
        between floor(H / `strides[i]`) and ceil(H / `strides[i]`), w likewise; where the convolutions or overlapping
        pools are not padded (AlexNet, LeNet) it is a few pixels smaller.
        """
        maps = []
        for stage in self._stages:
            for path in stage:
                images = self.get_submodule(path)(images)
            maps.append(images)
        return [maps[level] for level in self._levels]

    def train(self, mode: bool = True) -> Self:
        """As in every module, but frozen stages stay in evaluation mode: their batch norms keep their statistics."""
        super().train(mode)
        for path in self._frozen:
            self.get_submodule(path).eval()
        return self

    def _measure(self) -> Iterator[tuple[int, int]]:
        """Channels and stride of every stage, read off its convolutions and pools."""
        channels, stride = 0, 1
        for stage in self._stages:
            for layer in map(self.get_submodule, stage):
                stride *= layer_stride(layer)
                for module in layer.modules():
                    channels = module.out_channels if isinstance(module, nn.Conv2d) else channels
            yield channels, stride

    def _freeze(self, count: int) -> list[str]:
        """Freeze the first `count` stages, and return the paths of their layers."""
        most = len(self._stages)
        if not 0 <= count <= most:
            raise ValueError(f"frozen_stages is {count}, but this backbone has {most} stages: choose from 0 to {most}.")
        frozen = _flat(self._stages[:count])
        for path in frozen:
            self.get_submodule(path).requires_grad_(False).eval()
        return frozen


def _stages(layers: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Cut (path, stride) pairs into stages: a new one begins with each layer that lowers the resolution."""
    stage: list[str] = []
    for path, stride in layers:
        if stride > 1 and stage:
            yield stage
            stage = []
        stage.append(path)
    yield stage


def _resolve(levels: Sequence[int] | None, count: int) -> list[int]:
    """Indices from 0 on, finest first, without repetition."""
    if levels is None:
        return list(range(count))
    wrong = [level for level in levels if not -count <= level < count]
    if wrong or not levels:
        raise ValueError(
            f"levels is {tuple(levels)}, but this backbone has {count} levels: "
            f"choose from 0 to {count - 1}, or from -{count} to -1."
        )
    return sorted({level % count for level in levels})


def _flat(stages: Iterable[Sequence[str]]) -> list[str]:
    return [path for stage in stages for path in stage]


def _graft(root: nn.Module, path: str, layer: nn.Module) -> None:
    """Put `layer` at `path` below `root`, with containers on the way where there are none."""
    *parents, name = path.split(".")
    for parent in parents:
        if parent not in dict(root.named_children()):
            root.add_module(parent, nn.Sequential())
        root = root.get_submodule(parent)
    root.add_module(name, layer)
