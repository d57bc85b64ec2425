"""What every layer of ours must stand: copies, pickles, export, bfloat16 and the meta device."""

import copy
import pickle

import pytest
import torch
from torch import nn

from foveal.backbones import layers
from foveal.backbones.layers import (
    ConditionalInstanceNorm2d,
    DepthwiseSeparableConv2d,
    DropConnectConv2d,
    DropConnectLinear,
    LocalContrastNorm,
    LocallyConnected2d,
    LocalResponseNorm,
    LpPool2d,
    MixedPool2d,
    PartiallyConnectedConv2d,
    ScaledTanh,
    SpatialPyramidPool2d,
    SpectralPool2d,
    StochasticPool2d,
    Subsampling,
    TiledConv2d,
)

# Each reads maps of (4, 9, 8).
LAYERS = {
    "conditional_instance_norm": lambda: ConditionalInstanceNorm2d(4, 3),
    "depthwise_separable": lambda: DepthwiseSeparableConv2d(4, 6, between=nn.ReLU()),
    "drop_connect_conv": lambda: DropConnectConv2d(4, 6, 3),
    "drop_connect_linear": lambda: DropConnectLinear(8, 6),
    "local_contrast_norm": lambda: LocalContrastNorm(5),
    "locally_connected": lambda: LocallyConnected2d(4, 6, (9, 8), 3),
    "local_response_norm": lambda: LocalResponseNorm(),
    "lp_pool": lambda: LpPool2d(3, 2, 1, ceil_mode=True),
    "mixed_pool": lambda: MixedPool2d(3, 2, 1),
    "mixed_pool_learned": lambda: MixedPool2d(3, 2, mixing="learned"),
    "mixed_pool_random": lambda: MixedPool2d(3, 2, mixing="random"),
    "partially_connected": lambda: PartiallyConnectedConv2d(4, ((0, 1), (1, 2, 3)), 3),
    "scaled_tanh": lambda: ScaledTanh(),
    "spatial_pyramid_pool": lambda: SpatialPyramidPool2d((1, 2, 3)),
    "spectral_pool": lambda: SpectralPool2d((4, 5)),
    "stochastic_pool": lambda: StochasticPool2d(3, 2, 1),
    "subsampling": lambda: Subsampling(4),
    "tiled": lambda: TiledConv2d(4, 6, 3, 2),
}


@pytest.fixture(params=LAYERS)
def layer(request) -> nn.Module:
    torch.manual_seed(0)
    return LAYERS[request.param]()


def inputs(layer: nn.Module) -> tuple[torch.Tensor, ...]:
    maps = torch.randn(2, 4, 9, 8, generator=torch.Generator().manual_seed(0))
    return (maps, torch.tensor([2, 0])) if isinstance(layer, ConditionalInstanceNorm2d) else (maps,)


def test_copies_and_pickles(layer):
    layer.eval()
    expected = layer(*inputs(layer))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(twin(*inputs(layer)), expected, rtol=0, atol=0)


def test_export(layer):
    layer.eval()
    exported = torch.export.export(layer, inputs(layer)).module()
    torch.testing.assert_close(exported(*inputs(layer)), layer(*inputs(layer)))


@pytest.mark.parametrize("training", [False, True])
def test_mixed_precision(layer, training):
    layer.train(training)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(0)
        half = layer(*inputs(layer))
    torch.manual_seed(0)
    torch.testing.assert_close(half.float(), layer(*inputs(layer)), atol=0.05, rtol=0.05)


def test_maps_of_bfloat16(layer):
    """Under autocast what comes out of a convolution is bfloat16."""
    layer.eval()
    maps, *style = inputs(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(maps.bfloat16(), *style)
    torch.testing.assert_close(half.float(), layer(maps, *style), atol=0.05, rtol=0.05)


def test_meta_device(layer):
    expected = layer(*inputs(layer)).shape
    assert layer.to("meta")(*(tensor.to("meta") for tensor in inputs(layer))).shape == expected


def test_gradients_are_finite(layer):
    maps, *style = inputs(layer)
    for image in (maps, torch.zeros_like(maps)):
        image.requires_grad_()
        layer(image, *style).sum().backward()
        assert image.grad.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_the_front_door_is_sorted_and_complete():
    names = [name for name in layers.__all__ if not name.isupper()]
    assert names == sorted(names)
    assert all(hasattr(layers, name) for name in layers.__all__)
    built = {type(build()).__name__ for build in LAYERS.values()}
    assert built <= set(layers.__all__)
