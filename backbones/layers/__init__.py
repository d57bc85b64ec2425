"""Layers that torch and torchvision lack, one module a kind."""

from .activation import ScaledTanh
from .convolution import PartiallyConnectedConv2d, set_in_channels
from .pooling import Subsampling

__all__ = [
    "PartiallyConnectedConv2d",
    "ScaledTanh",
    "Subsampling",
    "set_in_channels",
]
