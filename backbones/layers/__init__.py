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

__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "POOLINGS",
    "ConditionalInstanceNorm2d",
    "DepthwiseSeparableConv2d",
    "DropConnectConv2d",
    "DropConnectLinear",
    "LocalContrastNorm",
    "LocalResponseNorm",
    "LocallyConnected2d",
    "LpPool2d",
    "MixedPool2d",
    "PartiallyConnectedConv2d",
    "ScaledTanh",
    "SpatialPyramidPool2d",
    "SpectralPool2d",
    "StochasticPool2d",
    "Subsampling",
    "TiledConv2d",
    "set_in_channels",
]
