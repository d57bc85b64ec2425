"""What is dropped, and that evaluation keeps all of it."""

import pytest
import torch
from torch import nn

from foveal.backbones.layers import DropConnectConv2d, DropConnectLinear


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_dropout_keeps_the_expectation_and_is_the_identity_in_evaluation():
    x = torch.ones(100_000)
    dropped = nn.Dropout(0.4)(x)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    assert nn.Dropout(0.4).eval()(x) is x


def test_spatial_dropout_drops_whole_maps():
    maps = nn.Dropout2d(0.25)(torch.ones(8, 500, 3, 3)).flatten(2)
    assert (maps == maps[..., :1]).all()
    assert maps.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (maps[..., 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_drop_connect_draws_a_mask_of_the_weights_shape():
    layer = DropConnectLinear(300, 200, bias=False, p=0.25)
    nn.init.ones_(layer.weight)
    used = layer(torch.eye(300)).T  # row by row the weights of this pass
    assert used.shape == layer.weight.shape
    assert used.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (used == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert not (used == layer(torch.eye(300)).T).all()


def test_drop_connect_is_an_ordinary_layer_in_evaluation():
    x, image = torch.randn(5, 6), torch.randn(2, 6, 7, 7)
    linear, plain = DropConnectLinear(6, 4).eval(), nn.Linear(6, 4)
    plain.load_state_dict(linear.state_dict())
    torch.testing.assert_close(linear(x), plain(x), rtol=0, atol=0)
    conv = DropConnectConv2d(6, 4, 3, stride=2, padding=1).eval()
    twin = nn.Conv2d(6, 4, 3, stride=2, padding=1)
    twin.load_state_dict(conv.state_dict())
    torch.testing.assert_close(conv(image), twin(image), rtol=0, atol=0)


def test_drop_connect_keeps_the_expectation():
    layer, x = DropConnectLinear(20, 3, p=0.5), torch.randn(1, 20)
    mean = torch.stack([layer(x) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, layer.eval()(x), atol=0.05, rtol=0)


def test_a_convolution_drops_the_same_weights_at_every_pixel():
    conv = DropConnectConv2d(1, 1, 5, p=0.5, bias=False)
    nn.init.ones_(conv.weight)
    out = conv(torch.ones(2, 1, 9, 9))
    assert len(out.unique()) == 1 and out.unique().item() % 2 == 0 and 0 < out.unique().item() < 50


def test_only_the_weights_that_were_used_get_a_gradient():
    layer = DropConnectLinear(50, 1, bias=False, p=0.5)
    layer(torch.ones(1, 50)).sum().backward()
    assert sorted(layer.weight.grad.unique().tolist()) == [0, 2]
