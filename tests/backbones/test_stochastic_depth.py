"""Stochastic depth: Huang, Sun, Liu, Sedra, Weinberger, Deep networks with stochastic depth, 2016."""

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from foveal.backbones import create_backbone
from foveal.backbones.catalogue import FAMILIES

OURS = ("resnet", "cifar_resnet", "preact_resnet", "wide_resnet", "rir")
NAMES = [name for family in FAMILIES if family.module in OURS for name in family.names]


def rates(backbone: nn.Module) -> list[float]:
    return [module.p for module in backbone.modules() if isinstance(module, StochasticDepth)]


def test_rates_rise_linearly():
    with torch.device("meta"):
        assert rates(create_backbone("resnet18")) == [0.0] * 8
        assert rates(create_backbone("resnet18", stochastic_depth=0.4)) == pytest.approx(
            [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4]
        )
        # The levels that are left out count: the rate of a block is the same in the whole network and in part of it.
        assert rates(create_backbone("resnet18", stochastic_depth=0.4, levels=(1,))) == pytest.approx([0.05, 0.1])


@pytest.mark.parametrize("name", NAMES)
def test_every_residual_block_has_a_branch_to_drop(name):
    with torch.device("meta"):
        backbone = create_backbone(name, stochastic_depth=1.0)
    blocks = [path for path in backbone.layers if path.startswith("layer")]
    expected = [(index + 1) / len(blocks) for index in range(len(blocks))]
    assert [backbone.get_submodule(path).stochastic_depth.p for path in blocks] == pytest.approx(expected)
    assert len(rates(backbone)) == len(blocks)


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "preact_resnet20", "wrn_16_8", "rir"])
def test_evaluation_is_deterministic_and_untouched(name):
    torch.manual_seed(0)
    plain = create_backbone(name).eval()
    deep = create_backbone(name, stochastic_depth=0.5).eval()
    deep.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        for got, again, expected in zip(deep(images), deep(images), plain(images), strict=True):
            torch.testing.assert_close(got, again, rtol=0, atol=0)
            torch.testing.assert_close(got, expected, rtol=0, atol=0)
        assert not torch.equal(deep.train()(images)[-1], deep(images)[-1])


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20", "preact_resnet20", "wrn_16_8", "rir"])
def test_at_rate_1_the_last_block_is_the_identity_in_training(name):
    torch.manual_seed(0)
    backbone = create_backbone(name, stochastic_depth=1.0)
    last = [path for path in backbone.layers if path.startswith("layer")][-1]
    block = backbone.get_submodule(last)
    x = torch.rand(3, backbone.channels[-1], 5, 7)
    torch.testing.assert_close(block.train()(x), x, rtol=0, atol=0)
    assert not torch.equal(block.eval()(x), x)


def test_training_is_evaluation_on_average():
    torch.manual_seed(0)
    block = create_backbone("preact_resnet20", stochastic_depth=0.5).get_submodule("layer3.2").double().eval()
    block.stochastic_depth.train()  # batch norms keep their statistics
    assert block.stochastic_depth.p == 0.5
    x = torch.randn(1, 64, 2, 2, dtype=torch.float64)
    passes = block(x.expand(5_000, -1, -1, -1).contiguous()) - x
    branch = block.eval()(x) - x
    # A branch that stays is divided by its survival rate 0.5, so each pass has either nothing or twice the branch.
    kept = passes.flatten(1).any(1)
    torch.testing.assert_close(passes[kept], 2 * branch.expand(int(kept.sum()), -1, -1, -1))
    # Their mean is 2 / 5,000 times the number of passes that kept it; four standard errors are 4 / sqrt(5,000) = 0.057.
    torch.testing.assert_close(passes.mean(0, keepdim=True), branch, rtol=0.0567, atol=1e-9)


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_a_rate_is_a_probability(rate):
    with pytest.raises(
        ValueError, match=rf"stochastic_depth is {rate}, but it is a probability: choose from 0 to 1\.$"
    ):
        create_backbone("resnet18", stochastic_depth=rate)


@pytest.mark.parametrize("name", ["vgg16", "plain34", "mobilenet_v1"])
def test_a_network_without_branches_is_refused(name):
    with pytest.raises(ValueError, match=rf"^{name} has no residual branches to drop"), torch.device("meta"):
        create_backbone(name, stochastic_depth=0.2)
