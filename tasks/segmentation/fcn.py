"""FCN (Long, Shelhamer, Darrell, Fully convolutional networks for semantic segmentation, 2015), and what torchvision
calls so.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ...backbones import Backbone
from ..levels import levels_of_strides
from .fully_connected import fill_from_vgg, fully_connected
from .head import MakeBackbone, SegmentationHead, make_dilated_backbone, refuse
from .options import SegmentationOptions

_FC_CHANNELS = 4096  # of VGG's fc6 and fc7


class BilinearDeconvolution(nn.ConvTranspose2d):
    """A transposed convolution that starts as bilinear upsampling by `factor`, an even number, and may learn another.

    At the border it reads copies of the map's edge, so that it starts as `interpolate` there too. `dense`: each channel
    may learn to read all of them; else it stays by itself.
    """

    def __init__(self, channels: int, factor: int, *, dense: bool) -> None:
        assert factor % 2 == 0, "the kernel of an odd factor has a middle"
        groups = 1 if dense else channels
        edge = factor  # the copies of the edge, to be cut off again
        super().__init__(channels, channels, 2 * factor, factor, factor // 2 + edge, groups=groups, bias=False)

    def reset_parameters(self) -> None:
        """Long et al. 2015, section 3.3."""
        factor = self.stride[0]
        places = torch.arange(2 * factor, dtype=self.weight.dtype, device=self.weight.device)
        ramp = 1 - (places - factor + 0.5).abs() / factor
        own = torch.eye(self.weight.shape[1], device=self.weight.device)[:, :, None, None]
        with torch.no_grad():
            self.weight.copy_(own * torch.outer(ramp, ramp))

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """(N, C, h, w) to (N, C, h * factor, w * factor)."""
        return super().forward(F.pad(input, (1, 1, 1, 1), mode="replicate"), output_size)


class SkipFCNHead(SegmentationHead):
    """FCN-32s, FCN-16s and FCN-8s: class scores of the coarsest map, upsampled and added to those of 0, 1 or 2 finer
    ones; then upsampled to the image.

    `classifier` stands before the coarsest map's scores and gives `width` channels. `pooled`: finer maps are the last
    ones before a max pool, and the scores are to read what comes out of it, as the paper's of pool3 and pool4.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        skips: int,
        classifier: nn.Module | None = None,
        width: int | None = None,
        pooled: bool = False,
    ) -> None:
        super().__init__(strides)
        self.skips = skips
        self.classifier = classifier or nn.Identity()
        self.pool = nn.MaxPool2d(2) if pooled else nn.Identity()
        *finer, coarsest = channels[-1 - skips :]
        self.scores = nn.ModuleList(nn.Conv2d(count, num_classes, 1) for count in (width or coarsest, *finer[::-1]))
        for score in self.scores:
            _start_at_zero(score)
        *steps, coarsest_stride = strides[-1 - skips :]
        steps = [coarsest_stride, *(stride * (2 if pooled else 1) for stride in steps[::-1])]
        self.upsamplings = nn.ModuleList(
            BilinearDeconvolution(num_classes, coarse // fine, dense=True) for coarse, fine in pairwise(steps)
        )
        # Section 4.3: the last one stays bilinear, so that its dense weights would be zeros for good.
        self.last_upsampling = BilinearDeconvolution(num_classes, steps[-1], dense=False).requires_grad_(False)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, H, W), finest first, to logits (N, num_classes, h, w), of stride 1."""
        *finer, coarsest = features[-1 - self.skips :]
        logits = self.scores[0](self.classifier(coarsest))
        for x, score, upsample in zip(finer[::-1], list(self.scores)[1:], self.upsamplings, strict=True):
            scores = score(self.pool(x))
            logits = _fit(upsample(logits), scores.shape[2:]) + scores
        return self.last_upsampling(logits)


class DilatedFCNHead(SegmentationHead):
    """torchvision's FCN: a 3 x 3 convolution to a quarter of the channels, or to `width`, and a 1 x 1 for the scores.

    `level`: the map that it reads.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        width: int | None = None,
        level: int = -1,
    ) -> None:
        super().__init__(strides)
        self.level = level
        width = width or max(1, channels[level] // 4)
        self.layers = nn.Sequential(
            nn.Conv2d(channels[level], width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(width, num_classes, 1),
        )

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps (N, C, H, W), finest first, to logits (N, num_classes, h, w) of the size of the map that it reads."""
        return self.layers(features[self.level])


class AuxiliaryHead(DilatedFCNHead):
    """A second head, on the map before the last, for training alone: the lower layers get a gradient of their own (Zhao
    et al., Pyramid scene parsing network, 2017, section 4).
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int) -> None:
        super().__init__(channels, strides, num_classes, level=-2)


def build_fcn32s(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, SkipFCNHead]:
    """On the map of stride 32."""
    return _build_skip_fcn(make_backbone, options, num_classes, skips=0)


def build_fcn16s(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, SkipFCNHead]:
    """On the maps of strides 16 and 32."""
    return _build_skip_fcn(make_backbone, options, num_classes, skips=1)


def build_fcn8s(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, SkipFCNHead]:
    """On the maps of strides 8, 16 and 32."""
    return _build_skip_fcn(make_backbone, options, num_classes, skips=2)


def build_fcn(
    make_backbone: MakeBackbone, options: SegmentationOptions, *, num_classes: int
) -> tuple[Backbone, DilatedFCNHead]:
    """On the last map, of stride 8 if the options name no other."""
    refuse(options, "multi_grid")
    backbone = make_dilated_backbone(make_backbone, options, output_stride=8)
    return backbone, DilatedFCNHead(backbone.channels, backbone.strides, num_classes, width=options.channels)


def _build_skip_fcn(
    make_backbone: MakeBackbone, options: SegmentationOptions, num_classes: int, *, skips: int
) -> tuple[Backbone, SkipFCNHead]:
    """The paper's network on a VGG: fc6 and fc7 in front of the scores, and pool3 and pool4 for the skips, which are
    made of the maps before them, of strides 4 and 8. On other networks the scores are of the last maps of each stride.
    """
    refuse(options, "output_stride", "multi_grid")
    is_vgg = options.backbone.startswith("vgg")
    if not is_vgg:
        refuse(options, "channels")
    finer = ((16,), (8,), (4, 8)) if is_vgg else ((16,), (16,), (8, 16))  # one at least, for an auxiliary head
    backbone = make_backbone(levels=levels_of_strides(options.backbone, (*finer[skips], 32)))
    width = (options.channels or _FC_CHANNELS) if is_vgg else None
    classifier = fully_connected(backbone.channels[-1], width, kernel=7) if width else None
    if classifier is not None:
        fill_from_vgg([classifier], options)
    head = SkipFCNHead(
        backbone.channels,
        backbone.strides,
        num_classes,
        skips=skips,
        classifier=classifier,
        width=width,
        pooled=is_vgg,
    )
    return backbone, head


def _start_at_zero(score: nn.Module) -> None:
    """Long et al. 2015, section 4.3."""
    assert isinstance(score, nn.Conv2d) and score.bias is not None
    nn.init.zeros_(score.weight)
    nn.init.zeros_(score.bias)


def _fit(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Cut `x` (N, C, h, w) on the right and below to `size`, or go on with copies of its edge."""
    height, width = size
    x = x[:, :, :height, :width]
    missing = (0, width - x.shape[3], 0, height - x.shape[2])
    return F.pad(x, missing, mode="replicate") if any(missing) else x
