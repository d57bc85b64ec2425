"""SegNet and DeconvNet: decoders that put each value back where the encoder's max pool found it.

SegNet: Badrinarayanan, Kendall, Cipolla, SegNet: a deep convolutional encoder-decoder architecture for image
segmentation, 2017. DeconvNet: Noh, Hong, Han, Learning deconvolution network for semantic segmentation, 2015.

Both have VGG-16 with batch norm as their encoder: the backbone `vgg16_bn`, with its ImageNet weights if wanted. Its
maps are those before each max pool, so that the heads find the indices of the pools again, and the encoder stays an
ordinary backbone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ...backbones import Backbone
from ...backbones.layers import initialise_for_relu
from ...core.errors import UsageError
from ..build import read_weights
from .head import MakeBackbone, SegmentationHead, refuse
from .options import SegmentationOptions

# Of VGG-16, for each of its stages: the decoders mirror them.
_CONVOLUTIONS = (2, 2, 3, 3, 3)

MakeLayer = Callable[[int, int], nn.Module]


class SegNetHead(SegmentationHead):
    """SegNet's decoder: unpooling, then the encoder's convolutions in reverse, down to one channel a class.

    The upsampling learns nothing; the convolutions behind it fill the gaps (section 3). `channels` and `strides` are
    those of a VGG network, all six levels, or the last ones: UsageError otherwise. `convolutions`: how many the encoder
    has a stage, (2, 2, 3, 3, 3) in VGG-16; the decoder's last one gives the logits.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        convolutions: Sequence[int] = _CONVOLUTIONS,
    ) -> None:
        super().__init__(strides)
        _check_pools(channels, strides, "SegNet")
        self.stages = nn.ModuleList(_stages(channels, convolutions, _convolution))
        finest = self.stages[-1]
        assert isinstance(finest, nn.Sequential)
        finest[-1] = nn.Conv2d(channels[0], num_classes, 3, padding=1)
        initialise_for_relu(self)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """The backbone's maps, finest first, to logits (N, `num_classes`, h, w) at the finest map's resolution."""
        return _unpool_through(self.stages, features, features[-1])


class DeconvNetHead(SegmentationHead):
    """DeconvNet's upper half: VGG-16's fully connected layers as convolutions, then unpooling and deconvolutions.

    fc6 is a 7 x 7 convolution, fc7 a 1 x 1 one; a 7 x 7 transposed convolution leads back to the size of pool5. Then
    come VGG-16's stages in reverse, of 3 x 3 transposed convolutions, and a 1 x 1 convolution to the classes. A batch
    norm follows each layer but the last (section 4.1).

    `channels`, `strides`, `convolutions`: as in `SegNetHead`. `fc_channels`: of fc6 and fc7.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        convolutions: Sequence[int] = _CONVOLUTIONS,
        fc_channels: int = 4096,
        fc_kernel: int = 7,
    ) -> None:
        super().__init__(strides)
        _check_pools(channels, strides, "DeconvNet")
        self.fc_kernel = fc_kernel
        self.smallest = fc_kernel * strides[-1]  # pixels
        self.fc6 = _normed(nn.Conv2d(channels[-1], fc_channels, fc_kernel), fc_channels)
        self.fc7 = _normed(nn.Conv2d(fc_channels, fc_channels, 1), fc_channels)
        self.back = _normed(nn.ConvTranspose2d(fc_channels, channels[-1], fc_kernel), channels[-1])
        self.stages = nn.ModuleList(_stages(channels, convolutions, _deconvolution))
        self.classifier = nn.Conv2d(channels[0], num_classes, 1)
        initialise_for_relu(self)
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                _initialise_deconvolution(module)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """The backbone's maps, finest first, to logits (N, `num_classes`, h, w) at the finest map's resolution.

        Raises UsageError for images that are too small for fc6: VGG-16 needs 224 x 224.
        """
        coarsest = features[-1]
        if min(coarsest.shape[2:]) < self.fc_kernel:
            raise UsageError(
                f"The coarsest map has {coarsest.shape[2]} x {coarsest.shape[3]} cells, but DeconvNet's fc6 reads "
                f"{self.fc_kernel} x {self.fc_kernel}: enlarge the images to {self.smallest} x {self.smallest} pixels "
                "or more."
            )
        x = self.back(self.fc7(self.fc6(coarsest)))
        return self.classifier(_unpool_through(self.stages, features, x))

    def load_fully_connected(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take fc6 and fc7 from a classification network: `classifier.0` and `classifier.3` of torchvision's VGGs.

        A fully connected layer on a map is a convolution as large as the map, so that only the shape changes (Long et
        al., Fully convolutional networks, 2015, section 3.1). Raises UsageError where a key or a shape does not fit.
        """
        for name, path in (("classifier.0", "fc6.0"), ("classifier.3", "fc7.0")):
            for kind, own in self.get_submodule(path).named_parameters():
                given = weights.get(f"{name}.{kind}")
                if given is None or given.numel() != own.numel() or len(given) != len(own):
                    came = "nothing" if given is None else f"{tuple(given.shape)}"
                    raise UsageError(
                        f"{name}.{kind} is {came}, but DeconvNet needs {own.numel()} numbers for {len(own)} channels: "
                        "give the state dict of torchvision's vgg16_bn."
                    )
                with torch.no_grad():
                    own.copy_(given.reshape(own.shape))


def build_segnet(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, SegNetHead]:
    """On VGG-16 with or without batch norm."""
    refuse(options, "multi_grid", "output_stride", "channels")
    backbone = make_backbone()
    return backbone, SegNetHead(backbone.channels, backbone.strides, num_classes)


def build_deconvnet(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, DeconvNetHead]:
    """As `build_segnet`; fc6 and fc7 start from the weights too, where their file has them. `options.channels`: of fc6
    and fc7, 4096 without; of another width they start afresh.
    """
    refuse(options, "multi_grid", "output_stride")
    backbone = make_backbone()
    width = options.channels or 4096
    head = DeconvNetHead(backbone.channels, backbone.strides, num_classes, fc_channels=width)
    if options.weights is not None and width == 4096:
        read = read_weights(options.weights, options.backbone)
        if "classifier.0.weight" in read:
            head.load_fully_connected(read)
    return backbone, head


def _stages(channels: Sequence[int], convolutions: Sequence[int], layer: MakeLayer) -> list[nn.Sequential]:
    """The encoder's stages in reverse: the last layer of each has as many channels as the next finer map."""
    if len(convolutions) < len(channels) - 1:
        raise UsageError(
            f"convolutions is {tuple(convolutions)}, but the backbone has {len(channels) - 1} stages before a pool: "
            "give the number of convolutions of each."
        )
    stages = []
    counts = convolutions[len(convolutions) - (len(channels) - 1) :]
    for level in reversed(range(len(channels) - 1)):
        widths = [channels[level]] * counts[level] + [channels[max(level - 1, 0)]]
        stages.append(nn.Sequential(*map(layer, widths, widths[1:])))
    return stages


def _unpool_through(stages: nn.ModuleList, maps: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    for stage, before in zip(stages, reversed(maps[:-1]), strict=True):
        _, indices = F.max_pool2d(before, 2, return_indices=True)
        x = stage(F.max_unpool2d(x, indices, [2, 2], output_size=before.shape[2:]))
    return x


def _check_pools(channels: Sequence[int], strides: Sequence[int], head: str) -> None:
    """The coarsest map has to be the next finer one after a 2 x 2 pool, and so on."""
    halves = all(coarse == 2 * fine for fine, coarse in pairwise(strides))
    if len(channels) < 2 or not halves or channels[-1] != channels[-2]:
        raise UsageError(
            f"{head} unpools with the indices of its encoder's max pools, but this backbone has maps with the channels "
            f"{tuple(channels)} and strides {tuple(strides)}: use a VGG network to its last level, such as vgg16_bn."
        )


def _convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    return _normed(nn.Conv2d(in_channels, out_channels, 3, padding=1), out_channels)


def _deconvolution(in_channels: int, out_channels: int) -> nn.Sequential:
    return _normed(nn.ConvTranspose2d(in_channels, out_channels, 3, padding=1), out_channels)


def _normed(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def _initialise_deconvolution(layer: nn.ConvTranspose2d) -> None:
    """As the convolutions, by the inputs of a unit far from the border."""
    inputs = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
    nn.init.normal_(layer.weight, std=math.sqrt(2 / inputs))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
