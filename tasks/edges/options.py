"""The `model` section of an edge recipe. Imports no torch: the command line checks a recipe against it."""

from dataclasses import dataclass
from typing import Literal

from ...backbones.catalogue import Activation, Norm, Pooling
from .. import Demo

HeadName = Literal["hed", "rcf", "sobel", "laplacian", "canny"]


@dataclass
class EdgesOptions:
    """The network, its start and its loss; or a filter that learns nothing, but the threshold that suits it.

    Args:
        backbone: the network from image to feature maps; `foveal list backbones` shows the choices.
        weights: where the network starts: random (null), imagenet or a file (.pth, .safetensors, .ckpt) for the
            backbone, or a file of a whole edge detector (.pth, .h5) under the names of Caffe, pytorch-hed or Keras.
        frozen_stages: the first stages of the backbone that stay as they are, with their normalisation.
        head: hed, an output a stage and their fusion (Xie & Tu 2015); rcf, outputs of all convolutions (Liu et al.
            2017); or sobel, laplacian or canny, filters without a backbone, to compare with.
        margin: pixels of mean colour around each image; null for the paper's 34 on a VGG, and 0 on others.
        output_stride: pixels of the image from one cell of the backbone's coarsest map to the next, 8 or 16; null for
            the head's own.
        activation: relu, prelu, elu, ... in place of the network's ReLUs; null for its own.
        norm: batch, instance, group or none in place of its batch norms; null for its own.
        pooling: max, average, lp, mixed or stochastic in place of its max pools; null for its own.
        consensus: an edge is what more than this share of annotators marked.
        disputed: what fewer marked: negative, as in HED, or ignored, as in RCF.
        negative_weight: of pixels that are no edges, beside the balance of both classes: 1 in HED, 1.1 in RCF.
        reduction: mean over pixels, or sum, as in the papers, whose learning rates are a million times smaller.
        output_weights: of the losses of the side outputs, finest first, and of the fusion; null for 1 each.
        thresholds: at how many validation looks; a test looks at 99, as published scores do.
        max_distance: how far an edge may be off and still count, as a share of the image's diagonal: 0.0075 for
            BSDS500, 0.011 for NYUD.
    """

    backbone: str = "vgg16"
    weights: str | None = None
    frozen_stages: int = 0
    head: HeadName = "hed"
    margin: int | None = None
    output_stride: Literal[8, 16] | None = None
    activation: Activation | None = None
    norm: Norm | None = None
    pooling: Pooling | None = None
    consensus: float = 0.5
    disputed: Literal["negative", "ignored"] = "negative"
    negative_weight: float = 1.0
    reduction: Literal["mean", "sum"] = "mean"
    output_weights: list[float] | None = None
    thresholds: int = 5
    max_distance: float = 0.0075


OPTIONS = EdgesOptions
RANGES = {  # lowest and highest
    "frozen_stages": (0, 1000),
    "margin": (0, 512),
    "consensus": (0, 0.999),
    "negative_weight": (1e-6, 1000),
    "thresholds": (1, 999),
    "max_distance": (0, 0.5),
}
DEMO = Demo(
    recipe="edges/hed_resnet18_shapes",
    format="bsds",
    images=3000,
    size=160,
    next="foveal train edges/hed_vgg16_bsds500 --data.root DIR  (DIR: BSDS500, or images and their edges)",
)
AUGMENTATIONS = ("none", "crops", "hed", "hed_crops")  # made in transforms.py
