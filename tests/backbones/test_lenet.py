"""LeNet-5 by the numbers of its paper (LeCun, Bottou, Bengio, Haffner, 1998)."""

import pytest
import torch
from torch import nn

from foveal.backbones import create_backbone
from foveal.backbones.layers import PartiallyConnectedConv2d, ScaledTanh, Subsampling
from foveal.backbones.lenet import C3_TABLE

LAYERS = ("c1", "s2", "c3", "s4", "c5", "f6")


@pytest.fixture
def lenet():
    torch.manual_seed(0)
    return create_backbone("lenet5", in_channels=1)


def shapes(backbone, size: int) -> dict[str, tuple[int, ...]]:
    """The (C, H, W) that each layer gives for a square image."""
    found = {}
    for name in LAYERS:
        backbone.get_submodule(name).register_forward_hook(
            lambda _module, _input, output, name=name: found.__setitem__(name, tuple(output.shape[1:]))
        )
    backbone(torch.randn(1, 1, size, size))
    return found


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_shapes_and_neurons(lenet):
    found = shapes(lenet, 32)
    assert list(found.values()) == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1), (84, 1, 1)]
    neurons = [channels * height * width for channels, height, width in found.values()]
    assert neurons == [4704, 1176, 1600, 400, 120, 84]


def test_parameters(lenet):
    assert [parameters(lenet.get_submodule(name)) for name in LAYERS] == [156, 12, 1516, 32, 48120, 10164]
    assert parameters(lenet) == 60_000


def test_connections(lenet):
    connections = {}
    for name, (channels, height, width) in shapes(lenet, 32).items():
        # A pool's unit has 4 inputs and a bias, a convolution's as many connections as its map has parameters.
        per_pixel = 5 * channels if name in ("s2", "s4") else parameters(lenet.get_submodule(name))
        connections[name] = per_pixel * height * width
    assert list(connections.values()) == [122304, 5880, 151600, 2000, 48120, 10164]
    assert sum(connections.values()) == 340_068
    assert sum(connections.values()) + 84 * 10 == 340_908  # with the ten radial basis functions


def test_levels(lenet):
    assert (lenet.channels, lenet.strides) == ((6, 16, 84), (1, 2, 4))
    assert [tuple(m.shape) for m in lenet(torch.zeros(1, 1, 32, 32))] == [
        (1, 6, 28, 28),
        (1, 16, 10, 10),
        (1, 84, 1, 1),
    ]


def test_larger_image_slides_the_network(lenet):
    assert shapes(lenet, 36)["c5"] == (120, 2, 2)


def test_connection_table():
    assert sum(map(len, C3_TABLE)) == 60
    assert [len(sources) for sources in C3_TABLE] == [3] * 6 + [4] * 9 + [6]
    assert [sum(source in sources for sources in C3_TABLE) for source in range(6)] == [10] * 6
    assert C3_TABLE[:6] == ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5))
    assert C3_TABLE[6:12] == ((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5))
    assert C3_TABLE[12:] == ((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5))


def test_absent_links_stay_absent_in_training(lenet):
    c3 = lenet.get_submodule("c3")
    absent = torch.tensor([[source not in sources for source in range(6)] for sources in C3_TABLE])
    before = c3.dense_weight().detach().clone()
    optimizer = torch.optim.SGD(lenet.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        lenet(torch.randn(4, 1, 32, 32))[-1].square().sum().backward()
        optimizer.step()
    after = c3.dense_weight().detach()
    assert absent.sum() == 36
    assert after[absent].count_nonzero() == 0
    assert (after != before)[~absent].all()


def test_an_input_map_changes_only_the_maps_that_read_it(lenet):
    c3 = lenet.get_submodule("c3")
    maps = torch.zeros(1, 6, 5, 5)
    changed = maps.clone()
    changed[0, 3] = 1
    differs = (c3(changed) != c3(maps)).flatten().tolist()
    assert differs == [3 in sources for sources in C3_TABLE]


def test_full_table_is_an_ordinary_convolution():
    torch.manual_seed(0)
    partial = PartiallyConnectedConv2d(3, ((0, 1, 2), (0, 1, 2)), 3)
    full = nn.Conv2d(3, 2, 3)
    full.load_state_dict({"weight": partial.weight.detach().view(2, 3, 3, 3), "bias": partial.bias.detach()})
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(partial(images), full(images))


def test_subsampling_with_a_quarter_is_average_pooling():
    images = torch.randn(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    pool = Subsampling(3)
    torch.testing.assert_close(pool(images), nn.functional.avg_pool2d(images, 2))
    assert parameters(pool) == 6
    with torch.no_grad():
        pool.weight.copy_(torch.tensor([1.0, 2.0, 0.0]))
        pool.bias.copy_(torch.tensor([0.0, 0.0, 5.0]))
    # Four ones: 4 * 1 + 0, 4 * 2 + 0, 4 * 0 + 5.
    assert pool(torch.ones(1, 3, 2, 2)).flatten().tolist() == [4.0, 8.0, 5.0]


def test_squashing_goes_through_one():
    values = ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 1e6]))
    assert values.tolist() == pytest.approx([-1.0, 0.0, 1.0, 1.7159], abs=1e-4)


def test_initial_weights_lie_within_the_paper_bounds(lenet):
    bounds = {"c1": 2.4 / 25, "s2": 2.4 / 4, "s4": 2.4 / 4, "c5": 2.4 / 400, "f6": 2.4 / 120}
    for name, bound in bounds.items():
        weight = lenet.get_submodule(name).weight.abs().max().item()
        assert weight <= bound
        assert weight > 0.3 * bound
    c3 = lenet.get_submodule("c3")
    for target, sources in enumerate(C3_TABLE):
        assert 0.8 < c3.dense_weight()[target].abs().max().item() * len(sources) * 25 / 2.4 <= 1.0001


def test_modern_lenet():
    modern = create_backbone("lenet5_modern", in_channels=1)
    assert parameters(modern) == 60_856
    assert parameters(modern) + 84 * 10 + 10 == 61_706
    assert parameters(modern.get_submodule("c3")) == 2_416
    assert list(shapes(modern, 32).values())[-1] == (84, 1, 1)
    assert (modern.channels, modern.strides) == ((6, 16, 84), (1, 2, 4))


@pytest.mark.parametrize(("size", "features", "total"), [(28, 256, 44_330), (32, 400, 61_610)])
def test_a_first_kernel_of_3_makes_another_network(size, features, total):
    """Some listings of LeNet-5 have it; `lenet5_modern` with ten classes has 61,706 parameters instead."""
    convolutional = nn.Sequential(nn.Conv2d(1, 6, 3), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.AvgPool2d(2))
    assert convolutional(torch.zeros(1, 1, size, size)).numel() == features
    assert parameters(convolutional) + (features + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 10 == total
