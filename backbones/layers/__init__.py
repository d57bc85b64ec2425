"""Layers that torch and torchvision lack, one module a kind, and dicts of those that can replace one another."""

from .activation import ACTIVATIONS, ScaledTanh
from .convolution import (
    DepthwiseSeparableConv2d,
    LocallyConnected2d,
    PartiallyConnectedConv2d,
    TiledConv2d,
    set_in_channels,
)
from .dropout import DropConnectConv2d, DropConnectLinear
from .inception import (
    Branches,
    InceptionResidual,
    asymmetric_inception,
    expanded_inception,
    grid_reduction,
    inception_resnet_a,
    inception_resnet_b,
    inception_resnet_c,
    inception_resnet_reduction_b,
    inception_v1,
    inception_v2,
    inception_v4_a,
    inception_v4_b,
    inception_v4_c,
    inception_v4_reduction_b,
    naive_inception,
    reduction_a,
)
from .initialise import initialise_for_relu
from .normalisation import NORMS, ConditionalInstanceNorm2d, LocalContrastNorm, LocalResponseNorm
from .pooling import (
    POOLINGS,
    LpPool2d,
    MixedPool2d,
    SpatialPyramidPool2d,
    SpectralPool2d,
    StochasticPool2d,
    Subsampling,
)
from .renormalise import Renormalise

__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "POOLINGS",
    "Branches",
    "ConditionalInstanceNorm2d",
    "DepthwiseSeparableConv2d",
    "DropConnectConv2d",
    "DropConnectLinear",
    "InceptionResidual",
    "LocalContrastNorm",
    "LocalResponseNorm",
    "LocallyConnected2d",
    "LpPool2d",
    "MixedPool2d",
    "PartiallyConnectedConv2d",
    "Renormalise",
    "ScaledTanh",
    "SpatialPyramidPool2d",
    "SpectralPool2d",
    "StochasticPool2d",
    "Subsampling",
    "TiledConv2d",
    "asymmetric_inception",
    "expanded_inception",
    "grid_reduction",
    "inception_resnet_a",
    "inception_resnet_b",
    "inception_resnet_c",
    "inception_resnet_reduction_b",
    "inception_v1",
    "inception_v2",
    "inception_v4_a",
    "inception_v4_b",
    "inception_v4_c",
    "inception_v4_reduction_b",
    "initialise_for_relu",
    "naive_inception",
    "reduction_a",
    "set_in_channels",
]
