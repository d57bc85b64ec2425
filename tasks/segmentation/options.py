"""The `model` section of a segmentation recipe. Imports no torch: the command line checks a recipe against it."""

from dataclasses import dataclass, field
from typing import Literal

from ...backbones.catalogue import Activation, Norm, Pooling
from .. import Demo

HeadName = Literal[
    "fcn32s",
    "fcn16s",
    "fcn8s",
    "fcn",
    "deeplabv1",
    "deeplabv2",
    "deeplabv3",
    "deeplabv3plus",
    "pspnet",
    "unet",
    "unet_padded",
    "unet_valid",
    "unetpp",
    "segnet",
    "deconvnet",
]


@dataclass
class SegmentationOptions:
    """The network, its start and its losses.

    Args:
        backbone: the network from image to feature maps; `foveal list backbones` shows the choices.
        weights: where the network starts: random (null), imagenet or a file (.pth, .safetensors, .ckpt) for the
            backbone, coco for the whole segmenter as torchvision publishes it, with the classes of Pascal VOC.
        frozen_stages: the first stages of the backbone that stay as they are, with their normalisation.
        head: fcn32s, fcn16s or fcn8s, scores of one, two or three maps, added up (Long et al. 2015; on a VGG with fc6
            and fc7); fcn, two convolutions on a dilated map, as torchvision has it; deeplabv1, with a large field of
            view (Chen et al. 2015); deeplabv2, a sum of four (Chen et al. 2016); deeplabv3, with the mean of the image
            (Chen et al. 2017); deeplabv3plus, with a decoder (Chen et al. 2018); pspnet (Zhao et al. 2017); unet, the
            decoder of Ronneberger et al. 2015 with batch norm on any backbone; unet_padded, their own, on the backbone
            unet or a VGG; unet_valid, their whole network without padding; unetpp, nested (Zhou et al. 2018); segnet
            (Badrinarayanan et al. 2017) and deconvnet (Noh et al. 2015), on a VGG.
        output_stride: pixels of the image from one cell of the backbone's coarsest map to the next; 8 is finer and
            slower than 16, and 32 leaves the network undilated; null for the head's own.
        channels: width of the head; null for the paper's.
        multi_grid: of deeplabv3 and deeplabv3plus, by how much each block of the last stage is dilated beyond its
            output stride, [1, 2, 4] in the paper; null for no more.
        auxiliary: weight of the loss of a second head, on the map before the last, in training, or for unetpp of its
            shallower networks; 0 for none.
        activation: relu, prelu, elu, ... in place of the network's ReLUs; null for its own.
        norm: batch, instance, group or none in place of its batch norms; null for its own.
        pooling: max, average, lp, mixed or stochastic in place of its max pools; null for its own.
        loss: names of losses with their weights in the sum, {cross_entropy: 1.0, dice: 0.5}; there are cross_entropy,
            focal, ohem, dice, jaccard, tversky, lovasz and boundary.
        class_weights: median_frequency weighs a class in the first three of them by the median of all classes'
            frequencies over its own (Eigen & Fergus 2015), counted in the training split.
        boundary_tolerance: evaluate outlines too, by F1, which may be off by this share of the image's diagonal (0.0075
            in Csurka et al. 2013); null for not.
        trimap_width: evaluate within so many pixels of the true outlines too; null for not.
    """

    backbone: str = "resnet50"
    weights: str | None = None
    frozen_stages: int = 0
    head: HeadName = "deeplabv3"
    output_stride: Literal[8, 16, 32] | None = None
    channels: int | None = None
    multi_grid: list[int] | None = None
    auxiliary: float = 0.0
    activation: Activation | None = None
    norm: Norm | None = None
    pooling: Pooling | None = None
    loss: dict[str, float] = field(default_factory=lambda: {"cross_entropy": 1.0})
    class_weights: Literal["none", "median_frequency"] = "none"
    boundary_tolerance: float | None = None
    trimap_width: int | None = None


OPTIONS = SegmentationOptions
RANGES = {  # lowest and highest
    "frozen_stages": (0, 1000),
    "channels": (1, 4096),
    "auxiliary": (0, 100),
    "boundary_tolerance": (1e-6, 0.5),
    "trimap_width": (1, 1000),
}
DEMO = Demo(
    recipe="segmentation/unet_resnet18_shapes",
    format="mask_folder",
    images=12000,
    size=96,
    next="foveal train segmentation/unet_resnet34_folder --data.root DIR  (DIR: images and their masks)",
    portraits=True,
    epochs=2,
)
AUGMENTATIONS = ("none", "flip", "photos", "microscope")  # made in transforms.py
