"""The contract that heads and tasks build on, and the one adapter that fulfils it for every network."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, NamedTuple, Self

import torch
from torch import nn

from .dilate import dilate
from .probe import LayerShape, measure_layers, smallest_image


@dataclass(frozen=True)
class Network:
    """What a family builds, and a package that adds a network: a module, and which of its layers to run.

    `layers` are paths of submodules of `module`. Run one after another they are the network, from the image to what its
    classifier reads; each lowers the resolution once at most. A layer may give a tuple, which the next one takes: the
    first in it is the map (NASNet's cells read two). `auxiliary` names those layers whose outputs feed auxiliary
    classifiers in training. `layout` is the order of dimensions between the layers. `rename`, a function of a module,
    gives for a key of a published file that of `module`, where they differ; other keys it returns as they are.
    """

    module: nn.Module
    layers: Sequence[str]
    auxiliary: Sequence[str] = ()
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    rename: Callable[[str], str] | None = None


class FeatureInfo(NamedTuple):
    """One feature map, before there is one."""

    layer: str  # the path of the layer that gives it
    channels: int
    stride: int  # pixels of the image from one of its cells to the next


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
    layers: dict[str, FeatureInfo]  # all layers in the order of execution: what `forward_with` can give
    auxiliary: tuple[str, ...]  # of them, those that feed auxiliary classifiers in training

    def __init__(
        self,
        network: Network,
        *,
        output_stride: int = 32,
        levels: Sequence[int] | None = None,
        frozen_stages: int = 0,
    ) -> None:
        """Take the layers out of `network.module`, and leave the rest.

        The options are those of `create_backbone`.
        """
        super().__init__()
        shapes = measure_layers(network.module, network.layers, network.layout)
        stages = list(_stages(shapes, network.module))
        self._layout, self._rename = network.layout, network.rename
        self._levels = resolve_levels(levels, len(stages))
        self._stages = [[shape.layer for shape in stage] for stage in stages[: self._levels[-1] + 1]]
        kept = [layer for stage in self._stages for layer in stage]
        for path in kept:
            _graft(self, path, network.module.get_submodule(path))
        dilate(self, kept, output_stride)
        infos = (FeatureInfo(shape.layer, shape.channels, min(shape.stride, output_stride)) for shape in shapes)
        self.layers = {info.layer: info for info in infos if info.layer in kept}
        self.auxiliary = tuple(path for path in network.auxiliary if path in kept)
        self.channels = tuple(info.channels for info in self.feature_info())
        self.strides = tuple(info.stride for info in self.feature_info())
        self._frozen = self._freeze(frozen_stages)

    def feature_info(self) -> list[FeatureInfo]:
        """For each map that `forward` returns the layer that it comes from, its channels and its stride."""
        return [self.layers[self._stages[level][-1]] for level in self._levels]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of images, finest first.

        `images`: float (N, C, H, W), normalised as the weights expect: for published ones by ImageNet's mean and
        standard deviation. Map `i` is (N, `channels[i]`, h, w) with h between floor(H / `strides[i]`) and
        ceil(H / `strides[i]`), w likewise; where the convolutions or overlapping pools are not padded (AlexNet, LeNet,
        Inception) it is a few pixels smaller. Raises ValueError for images that are too small or of a wrong number of
        channels.
        """
        return self.forward_with(images, ())[0]

    def forward_with(
        self, images: torch.Tensor, layers: Sequence[str]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The maps of `forward`, and in the same pass the outputs of `layers`, which are keys of `self.layers`.

        Raises ValueError for other layers, and as `forward` does.
        """
        for path in layers:
            if path not in self.layers:
                near = get_close_matches(path, self.layers, n=3, cutoff=0.0)
                raise ValueError(f"This backbone has no layer '{path}'; the nearest are {', '.join(near)}.")
        try:
            return self.run(images, layers)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, AssertionError) as error:
            self._explain(images, error)
            raise

    def run(self, images: torch.Tensor, layers: Sequence[str]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """As `forward_with`, but errors stay torch's."""
        maps, outputs, x = [], {}, images
        for stage in self._stages:
            for path in stage:
                x = self.get_submodule(path)(x)
                if path in layers:
                    outputs[path] = self._map_of(x).clone()  # the next layer may change it in place
            maps.append(x)
        return [self._map_of(maps[level]) for level in self._levels], [outputs[path] for path in layers]

    def train(self, mode: bool = True) -> Self:
        """As in every module, but frozen stages stay in evaluation mode: their batch norms keep their statistics."""
        super().train(mode)
        for path in self._frozen:
            self.get_submodule(path).eval()
        return self

    def _map_of(self, output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
        first = output if isinstance(output, torch.Tensor) else output[0]
        return first.permute(0, 3, 1, 2) if self._layout == "NHWC" else first

    def own_keys(self, keys: Iterable[str]) -> dict[str, str]:
        """For keys of the published network's `state_dict` those of this module's: the same, if it has no `rename`."""
        return {key: self._rename(key) if self._rename else key for key in keys}

    def _explain(self, images: torch.Tensor, error: Exception) -> None:
        """Raise a sentence in place of `error` where the images are to blame."""
        wanted = next(module.in_channels for module in self.modules() if isinstance(module, nn.Conv2d))
        if images.ndim != 4 or images.shape[1] != wanted:
            raise ValueError(
                f"The images have the shape {tuple(images.shape)}, but this backbone reads (N, {wanted}, H, W): "
                "give in_channels to create_backbone for another number of channels."
            ) from error
        kind = next(self.parameters()).dtype
        if not images.is_floating_point():
            raise ValueError(
                f"The images are {images.dtype}, but this backbone reads {kind}: scale them to 0..1 and normalise them."
            ) from error
        if "more than 1 value per channel" in str(error):
            raise ValueError(
                "In training, batch norm needs more than one value of each channel, but the last map has a single cell "
                "and the batch a single image: give more or larger images, or call eval()."
            ) from error
        height, width = images.shape[2:]
        smallest = smallest_image(self)
        if smallest is not None and min(height, width) < smallest:
            raise ValueError(
                f"The images are {height} x {width} pixels, but this backbone needs {smallest} x {smallest} or more: "
                "enlarge them, or ask for finer levels."
            ) from error

    def _freeze(self, count: int) -> list[str]:
        """Freeze the first `count` stages, and return the paths of their layers."""
        self._check_frozen(count)
        frozen = [layer for stage in self._stages[:count] for layer in stage]
        for path in frozen:
            self.get_submodule(path).requires_grad_(False).eval()
        return frozen

    def _check_frozen(self, count: int) -> None:
        most = len(self._stages)
        if not 0 <= count <= most:
            raise ValueError(
                f"frozen_stages is {count}, but this backbone has {most} stages up to its last level: "
                f"choose from 0 to {most}."
            )


def _stages(shapes: Iterable[LayerShape], module: nn.Module) -> Iterator[list[LayerShape]]:
    """Cut layers into stages: a new one begins with each layer that lowers the resolution.

    Layers in front that learn nothing (`Renormalise`) make no stage: their map would be the image.
    """
    stage: list[LayerShape] = []
    learns = False
    for shape in shapes:
        if learns and shape.stride > stage[-1].stride:
            yield stage
            stage = []
        stage.append(shape)
        learns = learns or any(True for _ in module.get_submodule(shape.layer).parameters())
    yield stage


def resolve_levels(levels: Sequence[int] | None, count: int) -> list[int]:
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


def _graft(root: nn.Module, path: str, layer: nn.Module) -> None:
    """Put `layer` at `path` below `root`, with containers on the way where there are none."""
    *parents, name = path.split(".")
    for parent in parents:
        if parent not in dict(root.named_children()):
            root.add_module(parent, nn.Sequential())
        root = root.get_submodule(parent)
    root.add_module(name, layer)
