"""Which backbones exist: one entry per family, so that adding one is a file and a word here.

Imports the standard library alone: the command line lists and checks names without paying for torch.
"""

import re
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Literal, NamedTuple

from .timm_package import TIMM, list_timm

GROUP = "foveal.backbones"  # of the entry points by which other packages add networks

# What `vary_layers` can put in place of a network's own: the keys of ACTIVATIONS, NORMS and POOLINGS in `layers/`.
Activation = Literal[
    "relu",
    "relu6",
    "leaky_relu",
    "prelu",
    "rrelu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "hardswish",
    "mish",
    "softplus",
    "sigmoid",
    "tanh",
    "scaled_tanh",
]
Norm = Literal["batch", "instance", "group", "none"]
Pooling = Literal["max", "average", "lp", "mixed", "stochastic"]


class Family(NamedTuple):
    """Networks that one module of this package builds."""

    module: str  # "resnet" is resnet.py
    names: tuple[str, ...]
    paper: str
    # "torchvision" and "timm" publish ImageNet weights, "ours" has none; "plugin" comes from another package.
    source: Literal["torchvision", "timm", "ours", "plugin"]
    dilates: bool = False  # whether output_stride 16 and 8 are possible


FAMILIES: tuple[Family, ...] = (
    Family("alexnet", ("alexnet",), "Krizhevsky, One weird trick for parallelizing CNNs, 2014", "torchvision"),
    Family(
        "alexnet",
        ("alexnet_grouped",),
        "Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional neural networks, 2012",
        "ours",
    ),
    Family(
        "all_cnn",
        ("all_cnn_c",),
        "Springenberg, Dosovitskiy, Brox, Riedmiller, Striving for simplicity: the all convolutional net, 2015",
        "ours",
    ),
    Family(
        "cifar_resnet",
        ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110"),
        "He, Zhang, Ren, Sun, Deep residual learning for image recognition, 2016",
        "ours",
        dilates=True,
    ),
    Family("bn_inception", ("bn_inception",), "Ioffe, Szegedy, Batch normalization, 2015", "ours"),
    Family(
        "convnext",
        ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
        "Liu et al., A ConvNet for the 2020s, 2022",
        "torchvision",
    ),
    Family(
        "densenet",
        ("densenet121", "densenet161", "densenet169", "densenet201"),
        "Huang, Liu, van der Maaten, Weinberger, Densely connected convolutional networks, 2017",
        "torchvision",
    ),
    Family(
        "densenet",
        ("densenet_bc_100_12",),
        "Huang, Liu, van der Maaten, Weinberger, Densely connected convolutional networks, 2017",
        "ours",
    ),
    Family(
        "efficientnet",
        tuple(f"efficientnet_b{size}" for size in range(8)),
        "Tan, Le, EfficientNet: rethinking model scaling for convolutional neural networks, 2019",
        "torchvision",
        dilates=True,
    ),
    Family(
        "efficientnet",
        ("efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l"),
        "Tan, Le, EfficientNetV2: smaller models and faster training, 2021",
        "torchvision",
        dilates=True,
    ),
    Family("googlenet", ("googlenet",), "Szegedy et al., Going deeper with convolutions, 2015", "ours"),
    Family("googlenet", ("googlenet_bn",), "Szegedy et al., Going deeper with convolutions, 2015", "torchvision"),
    Family(
        "highway",
        ("highway11", "highway19", "highway32"),
        "Srivastava, Greff, Schmidhuber, Training very deep networks, 2015",
        "ours",
    ),
    Family(
        "inception_resnet_v1",
        ("inception_resnet_v1",),
        "Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, Inception-ResNet, 2017",
        "ours",
    ),
    Family(
        "inception_v3",
        ("inception_v3",),
        "Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the Inception architecture, 2016",
        "torchvision",
    ),
    Family(
        "inception_v4",
        ("inception_v4", "inception_resnet_v2"),
        "Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, Inception-ResNet, 2017",
        "timm",
    ),
    Family(
        "lenet",
        ("lenet1989",),
        "LeCun et al., Backpropagation applied to handwritten zip code recognition, 1989",
        "ours",
    ),
    Family(
        "lenet",
        ("lenet1990",),
        "LeCun et al., Handwritten digit recognition with a back-propagation network, 1990",
        "ours",
    ),
    Family(
        "lenet",
        ("lenet5", "lenet5_modern"),
        "LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, 1998",
        "ours",
    ),
    Family(
        "mobilefacenet",
        ("mobilefacenet",),
        "Chen, Liu, Gao, Han, MobileFaceNets: efficient CNNs for accurate real-time face verification, 2018",
        "ours",
    ),
    Family(
        "mobilenet",
        ("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"),
        "Sandler et al., MobileNetV2, 2018; Howard et al., Searching for MobileNetV3, 2019",
        "torchvision",
        dilates=True,
    ),
    Family(
        "mobilenet_v1",
        ("mobilenet_v1", "mobilenet_v1_075", "mobilenet_v1_050", "mobilenet_v1_025"),
        "Howard et al., MobileNets: efficient convolutional neural networks for mobile vision applications, 2017",
        "ours",
        dilates=True,
    ),
    Family("nin", ("nin", "nin_cifar"), "Lin, Chen, Yan, Network in network, 2014", "ours"),
    Family(
        "plain",
        ("plain18", "plain20", "plain32", "plain34", "plain44", "plain56"),
        "He, Zhang, Ren, Sun, Deep residual learning for image recognition, 2016",
        "ours",
        dilates=True,
    ),
    Family(
        "preact_resnet",
        (
            *("preact_resnet18", "preact_resnet34", "preact_resnet50", "preact_resnet101", "preact_resnet152"),
            *("preact_resnet20", "preact_resnet32", "preact_resnet44", "preact_resnet56", "preact_resnet110"),
            "preact_resnet164",
        ),
        "He, Zhang, Ren, Sun, Identity mappings in deep residual networks, 2016",
        "ours",
        dilates=True,
    ),
    Family(
        "nasnet",
        ("nasnet_mobile",),
        "Zoph, Vasudevan, Shlens, Le, Learning transferable architectures for scalable image recognition, 2018",
        "ours",
    ),
    Family(
        "regnet",
        (
            *("regnet_x_400mf", "regnet_x_800mf", "regnet_x_1_6gf", "regnet_x_3_2gf", "regnet_x_8gf"),
            *("regnet_x_16gf", "regnet_x_32gf"),
            *("regnet_y_400mf", "regnet_y_800mf", "regnet_y_1_6gf", "regnet_y_3_2gf", "regnet_y_8gf"),
            *("regnet_y_16gf", "regnet_y_32gf"),
        ),
        "Radosavovic, Kosaraju, Girshick, He, Dollár, Designing network design spaces, 2020",
        "torchvision",
        dilates=True,
    ),
    Family(
        "resnet",
        ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        "He, Zhang, Ren, Sun, Deep residual learning for image recognition, 2016",
        "torchvision",
        dilates=True,
    ),
    Family(
        "resnet",
        ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
        "Xie, Girshick, Dollár, Tu, He, Aggregated residual transformations for deep neural networks, 2017",
        "torchvision",
        dilates=True,
    ),
    Family(
        "resnet",
        ("wide_resnet50_2", "wide_resnet101_2"),
        "Zagoruyko, Komodakis, Wide residual networks, 2016",
        "torchvision",
        dilates=True,
    ),
    Family(
        "rir",
        ("rir",),
        "Targ, Almeida, Lyman, Resnet in Resnet: generalizing residual architectures, 2016",
        "ours",
        dilates=True,
    ),
    Family(
        "shufflenet",
        ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"),
        "Ma, Zhang, Zheng, Sun, ShuffleNet V2: practical guidelines for efficient CNN architecture design, 2018",
        "torchvision",
    ),
    Family(
        "sphereface",
        ("sphereface20",),
        "Liu, Wen, Yu, Li, Raj, Song, SphereFace: deep hypersphere embedding for face recognition, 2017",
        "ours",
    ),
    Family(
        "squeezenet",
        ("squeezenet1_0", "squeezenet1_1"),
        "Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, 2016",
        "torchvision",
    ),
    Family(
        "swin",
        ("swin_t", "swin_s", "swin_b"),
        "Liu et al., Swin Transformer: hierarchical vision transformer using shifted windows, 2021",
        "torchvision",
    ),
    Family(
        "unet",
        ("unet",),
        "Ronneberger, Fischer, Brox, U-Net: convolutional networks for biomedical image segmentation, 2015",
        "ours",
    ),
    Family(
        "vgg",
        ("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
        "Simonyan, Zisserman, Very deep convolutional networks for large-scale image recognition, 2015",
        "torchvision",
        dilates=True,
    ),
    Family(
        "vgg",
        ("vgg11_lrn", "vgg16_c"),
        "Simonyan, Zisserman, Very deep convolutional networks for large-scale image recognition, 2015",
        "ours",
        dilates=True,
    ),
    Family(
        "timm_networks",
        ("nasnet_large",),
        "Zoph, Vasudevan, Shlens, Le, Learning transferable architectures for scalable image recognition, 2018",
        "timm",
    ),
    Family(
        "wide_resnet",
        ("wrn_16_8", "wrn_28_10", "wrn_40_4"),
        "Zagoruyko, Komodakis, Wide residual networks, 2016",
        "ours",
        dilates=True,
    ),
    Family("xception", ("xception",), "Chollet, Xception, 2017", "timm", dilates=True),
    Family("zfnet", ("zfnet",), "Zeiler, Fergus, Visualizing and understanding convolutional networks, 2014", "ours"),
)


class UnknownBackboneError(ValueError):
    """A name that no family has; the message offers the nearest that exist."""


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the backbones that match a shell pattern such as `"resnet*"`, numbers in counting order.

    Those that other installed packages add are among them. timm's are listed for a pattern that begins with `timm/`.
    """
    if pattern.startswith(TIMM):
        return list_timm(pattern)
    names = {name for family in FAMILIES for name in family.names} | plugins().keys()
    return sorted((name for name in names if fnmatchcase(name, pattern)), key=_natural)


def find_family(name: str) -> Family:
    """The family of the backbone `name`. Raises `UnknownBackboneError`."""
    for family in FAMILIES:
        if name in family.names:
            return family
    if name.startswith(TIMM):
        return Family("timm_networks", (name,), f"see timm's documentation of {name.removeprefix(TIMM)}", "timm", True)
    if name in plugins():
        return Family(plugins()[name].value, (name,), f"from {plugins()[name].value}", "plugin")
    known = list_backbones()
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    offer = f"the nearest are {', '.join(near)}" if near else f"list_backbones() names the {len(known)} there are"
    raise UnknownBackboneError(f"There is no backbone '{name}'; {offer}.")


@cache
def plugins() -> dict[str, EntryPoint]:
    """Networks of other installed packages: entry points of the group `foveal.backbones`.

    Each names a function as `build` in the modules here: from the network's name and the number of input channels to a
    `Network`. A name that foveal has itself stays foveal's, and those that begin with `timm/` are timm's.
    """
    ours = {name for family in FAMILIES for name in family.names}
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in ours}


def _natural(name: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
