"""The `model` section of a faces recipe. Imports no torch: the command line checks a recipe against it."""

from dataclasses import dataclass, field
from typing import Literal

from ...backbones.catalogue import Activation, Norm, Pooling
from .. import Demo
from .loss_options import RANGES as LOSS_RANGES
from .loss_options import LossOptions

HeadName = Literal["average", "depthwise", "flat"]


@dataclass
class FacesOptions:
    """The network, its start, its loss, and how it is measured.

    Args:
        backbone: the network from image to feature maps; `foveal list backbones` shows the choices, and there are
            deepface (Taigman et al. 2014) and deepid (Sun et al. 2014), which read aligned faces of one size alone.
        weights: where the backbone starts: random (null), imagenet, or a file (.pth, .safetensors, .ckpt).
        frozen_stages: the first stages that stay as they are, with their normalisation.
        patches: of deepid, how many parts of the face have a network of their own: 1, all of it, to 10.
        head: from the coarsest map to an embedding: average, of all cells (FaceNet); depthwise, a weight for each
            channel and cell (MobileFaceNets); flat, all cells one behind another (SphereFace, ArcFace's option E).
        width: numbers of an embedding.
        dropout: share of features that a training step leaves out before the last linear layer.
        loss: the loss.
        far: share of pairs of two people that may be taken for one person's, for which the threshold is chosen that
            `foveal predict` goes by.
        fars: such shares for which the share of pairs of one person that are found (TAR) is told.
        max_pairs: of images with known people, so many pairs of two people are compared at most.
        baseline: in a test, measure the pixels themselves too.
        activation: relu, prelu, elu, ... in place of the network's ReLUs; null for its own.
        norm: batch, instance, group or none in place of its batch norms; null for its own.
        pooling: max, average, lp, mixed or stochastic in place of its max pools; null for its own.
    """

    backbone: str = "mobilefacenet"
    weights: str | None = None
    frozen_stages: int = 0
    patches: int = 1
    head: HeadName = "average"
    width: int = 512
    dropout: float = 0.0
    loss: LossOptions = field(default_factory=LossOptions)
    far: float = 1e-3
    fars: list[float] = field(default_factory=lambda: [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
    max_pairs: int = 1_000_000
    baseline: bool = True
    activation: Activation | None = None
    norm: Norm | None = None
    pooling: Pooling | None = None


OPTIONS = FacesOptions
RANGES = {  # lowest and highest
    "frozen_stages": (0, 1000),
    "patches": (1, 10),
    "width": (2, 8192),
    "dropout": (0, 0.99),
    "far": (1e-9, 0.5),
    "max_pairs": (1, 1_000_000_000),
    **LOSS_RANGES,
}
DEMO = Demo(
    recipe="faces/arcface_resnet18_shapes",
    format="person_folder",
    images=4000,
    size=112,
    next="foveal train faces/arcface_mobilenet_v2_folder --data.root DIR  (DIR: a folder of images a person)",
    epochs=4,
)
BACKBONES = ("deepface", "deepid")  # made in network.py
AUGMENTATIONS = ("none", "photos")  # made in transforms.py
