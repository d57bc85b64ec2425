"""The `model` section of a depth recipe. Imports no torch: the command line checks a recipe against it."""

from dataclasses import dataclass, field
from typing import Literal

from ...backbones.catalogue import Activation, Norm, Pooling
from .. import Demo

HeadName = Literal["unet", "fcrn", "eigen2014", "eigen2015"]


@dataclass
class DepthOptions:
    """The network, its start, its losses, and what its numbers count.

    Args:
        backbone: the network from image to feature maps; `foveal list backbones` shows the choices.
        weights: where the backbone starts: random (null), imagenet or a file (.pth, .safetensors, .ckpt).
        frozen_stages: the first stages of the backbone that stay as they are, with their normalisation.
        head: unet, a decoder with skip connections; fcrn, up-projections (Laina et al. 2016); eigen2014, a coarse and a
            fine network (Eigen, Puhrsch, Fergus 2014); eigen2015, three scales (Eigen & Fergus 2015). Both of Eigen's
            have fully connected layers, and read images of `data.size` alone.
        output: log, the network says logarithms of metres; linear, metres; bins, which of `bins` ranges a pixel is in.
        bins: number of ranges of the output bins.
        min_depth: metres, the least depth that is said and counted.
        max_depth: metres, the most that is said.
        output_stride: pixels of the image from one cell of the backbone's coarsest map to the next, 8 or 16; null for
            the network's own.
        activation: relu, prelu, elu, ... in place of the network's ReLUs; null for its own.
        norm: batch, instance, group or none in place of its batch norms; null for its own.
        pooling: max, average, lp, mixed or stochastic in place of its max pools; null for its own.
        loss: a weight for each loss by name: scale_invariant, l1, l2, log_l1, berhu, gradient (at several scales, of
            logarithms), gradient_squared.
        scale_invariant: its lambda, 0 (the squared logarithmic error) to 1 (no scale counts); the paper's is 0.5.
        root: take the square root of the scale-invariant loss of each image.
        factor: by which the scale-invariant loss is multiplied; BTS has lambda 0.85, root, and a factor of 10.
        normals: weight of the loss of surface normals, which follow from depth and `focal`; 0 for a network without.
        labels: weight of the loss of labels; 0 for a network without them.
        classes: of the labels: how many there are in the data's masks (the drawn world has 9).
        focal: of the camera, its focal length in pixels of the image files, for the normals of their depths; null for
            half of height and width together, where the data does not say it, as the drawn world does.
        crop: the part of each image that is evaluated: none, or as on NYU (nyu) and KITTI (garg, eigen).
        cap: metres; depths beyond are not evaluated: 10 on NYU, 80 on KITTI; null for all.
    """

    backbone: str = "resnet50"
    weights: str | None = None
    frozen_stages: int = 0
    head: HeadName = "unet"
    output: Literal["log", "linear", "bins"] = "log"
    bins: int = 80
    min_depth: float = 0.1
    max_depth: float = 100.0
    output_stride: Literal[8, 16] | None = None
    activation: Activation | None = None
    norm: Norm | None = None
    pooling: Pooling | None = None
    loss: dict[str, float] = field(default_factory=lambda: {"scale_invariant": 1.0})
    scale_invariant: float = 0.5
    root: bool = False
    factor: float = 1.0
    normals: float = 0.0
    labels: float = 0.0
    classes: int = 9
    focal: float | None = None
    crop: Literal["none", "eigen", "garg", "nyu"] = "none"
    cap: float | None = None


OPTIONS = DepthOptions
RANGES = {  # lowest and highest
    "frozen_stages": (0, 1000),
    "bins": (2, 1000),
    "min_depth": (1e-6, 1e6),
    "max_depth": (1e-6, 1e6),
    "scale_invariant": (0, 1),
    "factor": (1e-6, 1e6),
    "normals": (0, 1000),
    "labels": (0, 1000),
    "classes": (2, 255),
    "focal": (1e-3, 1e6),
    "cap": (1e-3, 1e6),
}
DEMO = Demo(
    recipe="depth/fcrn_resnet18_shapes",
    format="depth_folder",
    images=12000,
    size=96,
    level=True,
    next="foveal train depth/unet_resnet50_folder --data.root DIR  (DIR: images/ and depth/)",
)
AUGMENTATIONS = ("none", "photos", "zoom", "crops")  # made in transforms.py
