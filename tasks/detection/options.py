"""The `model` section of a detection recipe. Imports no torch: the command line checks a recipe against it."""

from dataclasses import dataclass, field
from typing import Literal

from ...backbones.catalogue import Activation, Norm, Pooling
from .. import Demo

HeadName = Literal[
    "fasterrcnn_fpn", "fasterrcnn_fpn_v2", "fasterrcnn_c4", "fasterrcnn_dc5", "ssd", "ssdlite", "retinanet", "fcos"
]


@dataclass
class AnchorOptions:
    """The boxes that a detector starts from; `foveal fit-anchors RECIPE` finds some that fit the data.

    Args:
        sizes: for each map, finest first, a list of sizes: the square root of a box's area, in pixels of the network's
            input; for ssd a pair each, as min_size and max_size in the paper's own files. One list serves all maps.
            null for the paper's, by the strides of the maps.
        ratios: for each map a list of height by width; one list serves all maps. null for the paper's.
    """

    sizes: list[list[float]] | None = None
    ratios: list[list[float]] | None = None


@dataclass
class MixOptions:
    """Training images made of several.

    Args:
        mosaic: share of images that are put together from four (Bochkovskiy et al. 2020); 0 for none.
        mixup: alpha of the Beta distribution by which two images are laid over each other, with the boxes of both
            (Zhang et al. 2019); 0 for none.
    """

    mosaic: float = 0.0
    mixup: float = 0.0


@dataclass
class DetectionOptions:
    """The network, its start and how boxes are chosen.

    Args:
        backbone: the network from image to feature maps; `foveal list backbones` shows the choices.
        weights: where the network starts: random (null), imagenet or a file for the backbone, coco for the whole
            detector as torchvision publishes it.
        frozen_stages: the first stages of the backbone that stay as they are, with their normalisation.
        frozen_norm: whether batch norms of the backbone keep the statistics that they start with, as they should where
            a batch has few images; null for yes with weights, no without.
        head: fasterrcnn_fpn, with a feature pyramid (Lin et al. 2017); fasterrcnn_fpn_v2, the same with batch norms and
            more convolutions (Li et al. 2021), which learns without weights too; fasterrcnn_c4, on a single map, with
            the network's last stage after the pooling of regions (He et al. 2015; for VGG fc6 and fc7, Ren et al.
            2015); fasterrcnn_dc5, on a single dilated map; ssd (Liu et al. 2016; on vgg16 the paper's network); ssdlite
            (Sandler et al. 2018); retinanet (Lin et al. 2017); fcos (Tian et al. 2019).
        channels: width of the feature pyramid and of what reads it.
        regions: of Faster R-CNN, regions of an image that a training step learns to classify, chosen among the four
            times as many best proposals, 2,000 at most; fewer are faster.
        anchors: the boxes to start from.
        score: candidates with a lower score are no detections, in evaluation; null for the head's own.
        nms_iou: of two boxes of a class that overlap by more, the one of lower score goes; null for the head's own.
        most: detections an image at most; null for the head's own.
        activation: relu, prelu, elu, ... in place of the network's ReLUs; null for its own.
        norm: batch, instance, group or none in place of its batch norms; null for its own.
        pooling: max, average, lp, mixed or stochastic in place of its max pools; null for its own.
        mix: training images made of several.
    """

    backbone: str = "resnet50"
    weights: str | None = None
    frozen_stages: int = 0
    frozen_norm: bool | None = None
    head: HeadName = "fasterrcnn_fpn"
    channels: int = 256
    regions: int = 512
    anchors: AnchorOptions = field(default_factory=AnchorOptions)
    score: float | None = None
    nms_iou: float | None = None
    most: int | None = None
    activation: Activation | None = None
    norm: Norm | None = None
    pooling: Pooling | None = None
    mix: MixOptions = field(default_factory=MixOptions)


OPTIONS = DetectionOptions
RANGES = {  # lowest and highest
    "frozen_stages": (0, 1000),
    "channels": (1, 4096),
    "regions": (1, 100_000),
    "score": (0, 1),
    "nms_iou": (0, 1),
    "most": (1, 100_000),
    "mix.mosaic": (0, 1),
    "mix.mixup": (0, 100),
}
DEMO = Demo(
    recipe="detection/fasterrcnn_resnet18_shapes",
    format="coco",
    images=6000,
    size=96,
    next="foveal train detection/fasterrcnn_resnet50_coco --data.root DIR  (DIR: COCO's JSON and images)",
    portraits=True,
    epochs=2,
)
# Made in transforms.py, the steps in the order in which they are done, whatever the order in which they are given.
AUGMENTATION_STEPS = ("photometric", "expand", "iou_crop", "scales", "flip")
AUGMENTATIONS = ("none", "ssd", "photos", *AUGMENTATION_STEPS)
