"""The `model` section of a classification recipe. Imports no torch: the command line checks a recipe against it."""

from dataclasses import dataclass, field
from typing import Literal

from ...backbones.catalogue import Activation, Norm, Pooling
from .. import Demo


@dataclass
class LossOptions:
    """Cross-entropy and its usual variations.

    Args:
        label_smoothing: this share of each label is spread evenly over all classes (Szegedy et al. 2016, section 7).
        class_weights: balanced weighs a class by images / (classes * images of the class), counted in the training
        split.
    """

    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"


@dataclass
class MixOptions:
    """Mixing two training images and their labels; where both are given, each batch draws one of them.

    Args:
        mixup: alpha of the Beta distribution of the mixing ratio (Zhang et al. 2018); 0 for none.
        cutmix: alpha of the share of the pasted rectangle (Yun et al. 2019); 0 for none.
    """

    mixup: float = 0.0
    cutmix: float = 0.0


@dataclass
class ClassificationOptions:
    """The network, its start and its loss.

    Args:
        backbone: the network from image to feature maps; `foveal list backbones` shows the choices.
        weights: where the backbone starts: random (null), imagenet, or a file (.pth, .safetensors, .ckpt).
        frozen_stages: the first stages that stay as they are, with their normalisation.
        head: linear is global average pooling, dropout and one linear layer; published what the network was published
            with where that is more (AlexNet, VGG, MobileNetV3, ConvNeXt, SqueezeNet), with its weights.
        dropout: share of features that a training step leaves out before the linear layer; of published, 0 for its own.
        stochastic_depth: rate at which a training step leaves out the last residual branch, earlier ones less; null for
        what the network has of itself.
        activation: relu, prelu, elu, ... in place of the network's ReLUs; null for its own.
        norm: batch, instance, group or none in place of its batch norms; null for its own.
        pooling: max, average, lp, mixed or stochastic in place of its max pools; null for its own.
        auxiliary: weight of each auxiliary classifier's loss, for networks that have such (googlenet, inception_v3);
        0 leaves them out.
        loss: the loss.
        mix: mixing of images.
    """

    backbone: str = "resnet18"
    weights: str | None = None
    frozen_stages: int = 0
    head: Literal["linear", "published"] = "linear"
    dropout: float = 0.0
    stochastic_depth: float | None = None
    activation: Activation | None = None
    norm: Norm | None = None
    pooling: Pooling | None = None
    auxiliary: float = 0.3
    loss: LossOptions = field(default_factory=LossOptions)
    mix: MixOptions = field(default_factory=MixOptions)


OPTIONS = ClassificationOptions
RANGES = {  # lowest and highest
    "frozen_stages": (0, 1000),
    "dropout": (0, 0.99),
    "loss.label_smoothing": (0, 0.99),
    "mix.mixup": (0, 100),
    "mix.cutmix": (0, 100),
}
DEMO = Demo(
    recipe="classification/lenet5_shapes",
    format="image_folder",
    images=10000,
    size=96,
    next="foveal train classification/mobilenet_v2_folder --data.root DIR  (DIR: one folder of images a class)",
)
AUGMENTATIONS = ("none", "characters", "photos", "crops")  # made in transforms.py
