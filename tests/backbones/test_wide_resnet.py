"""Wide ResNet: Zagoruyko, Komodakis, Wide residual networks, 2016."""

import pytest
import torch
from torch import nn

from foveal.backbones import count_parameters, create_backbone

# With a classifier of 10 classes; the paper gives 36.5, 8.9 and 11.0 million (tables 3 and 5).
TOTALS = {"wrn_28_10": 36_479_194, "wrn_40_4": 8_949_210, "wrn_16_8": 10_961_370}


@pytest.mark.parametrize("name", TOTALS)
def test_parameters_widths_and_depth(name):
    depth, factor = map(int, name.split("_")[1:])
    with torch.device("meta"):
        backbone = create_backbone(name)
    assert backbone.channels == (16 * factor, 32 * factor, 64 * factor)
    assert backbone.strides == (1, 2, 4)
    assert count_parameters(backbone) + 64 * factor * 10 + 10 == TOTALS[name]
    # 6 N + 4: two convolutions in each of 3 N blocks, three projections and the first convolution.
    blocks = len(list(backbone.get_submodule("layer1")))
    assert depth == 6 * blocks + 4 == len([module for module in backbone.modules() if isinstance(module, nn.Conv2d)])


def test_the_first_block_of_every_stage_projects():
    with torch.device("meta"):
        backbone = create_backbone("wrn_16_8")
    for stage in (1, 2, 3):
        first, second = backbone.get_submodule(f"layer{stage}")
        assert first.projection is not None and second.projection is None
        assert isinstance(first.activation, nn.Sequential)


def test_dropout_stands_between_the_convolutions_and_is_off():
    torch.manual_seed(0)
    block = create_backbone("wrn_16_8").get_submodule("layer1.1").train()
    x = torch.randn(4, 128, 6, 6)
    torch.testing.assert_close(block(x), block(x), rtol=0, atol=0)
    dropout = next(module for module in block.modules() if isinstance(module, nn.Dropout))
    dropout.p = 0.3
    assert not torch.equal(block(x), block(x))
    dropout.p = 1.0  # nothing reaches the second convolution
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)
