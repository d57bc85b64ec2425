"""What a recipe may change in a network: auxiliary classifiers, stochastic depth, other layers."""

from typing import get_args

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from foveal.backbones import catalogue, count_parameters
from foveal.backbones.layers import ACTIVATIONS, NORMS, POOLINGS
from foveal.core.data import preprocessing
from foveal.core.errors import UsageError
from foveal.core.options import DataOptions
from foveal.tasks.classification.heads import AuxiliaryHead
from foveal.tasks.classification.losses import cross_entropy
from foveal.tasks.classification.options import ClassificationOptions, MixOptions
from foveal.tasks.classification.task import ClassificationTask

COLOUR = preprocessing(DataOptions(size=64))


def build(backbone: str, classes: int = 4, **options) -> ClassificationTask:
    names = [f"class {number}" for number in range(classes)]
    return ClassificationTask(
        ClassificationOptions(backbone=backbone, **options), class_names=names, preprocessing=COLOUR
    )


def batch(size: int = 64):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=generator)
    return {"image": image, "label": torch.tensor([1, 3]), "path": ["a", "b"], "size": [(9, 9)] * 2}


@pytest.mark.parametrize(("channels", "parameters"), [(512, 3_188_840), (528, 3_190_888)])
def test_googlenets_branches_by_the_numbers_of_the_paper(channels, parameters):
    # 1 x 1 to 128 maps, 4 x 4 cells into 1,024, these into 1,000 classes; biases too.
    hand = (channels + 1) * 128 + (128 * 16 + 1) * 1024 + 1025 * 1000
    head = AuxiliaryHead(channels, 1000)
    assert count_parameters(head) == hand == parameters
    maps = torch.randn(1, channels, 14, 14)
    assert head.pool(maps).shape[2:] == (4, 4)
    assert torch.equal(head.fit(head.pool(maps)), head.pool(maps))  # of the paper's size nothing is averaged again
    assert head.dropout.p == 0.7
    assert all(head(torch.randn(1, channels, *size)).shape == (1, 1000) for size in ((4, 4), (7, 9), (1, 1)))


def test_googlenet_has_13_378_280_parameters_with_its_branches():
    with torch.device("meta"):
        task = build("googlenet", classes=1000)
    assert count_parameters(task) == 13_378_280
    assert count_parameters(task.backbone) + count_parameters(task.head) == 6_998_552


def test_auxiliary_losses_are_added_in_training_alone():
    torch.manual_seed(0)
    task = build("googlenet").train()
    for module in task.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    losses = task.losses(batch())
    images, labels = task.normalise(batch()["image"]), batch()["label"]
    maps, taps = task.backbone.forward_with(images, ["inception4a", "inception4d"])
    branches = [cross_entropy(head(x), labels) for head, x in zip(task.auxiliary_heads, taps, strict=True)]
    assert losses["cross_entropy"].item() == pytest.approx(cross_entropy(task.head(maps), labels).item(), rel=1e-5)
    assert losses["auxiliary"].item() == pytest.approx(0.3 * sum(branches).item(), rel=1e-5)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in task.parameters())
    assert list(task.eval().losses(batch())) == ["cross_entropy"]


def test_auxiliary_classifiers_can_be_left_out():
    assert len(build("googlenet", auxiliary=0.0).auxiliary_heads) == 0
    assert len(build("resnet20").auxiliary_heads) == 0
    assert len(build("googlenet_bn").auxiliary_heads) == 2


def test_mixed_images_reach_the_auxiliary_classifiers():
    task = build("googlenet", mix=MixOptions(mixup=0.2)).train()
    assert set(task.losses(task.mix(batch()))) == {"cross_entropy", "auxiliary"}


def test_stochastic_depth_comes_from_the_recipe():
    task = build("resnet18", stochastic_depth=0.8)
    assert [m.p for m in task.modules() if isinstance(m, StochasticDepth)] == pytest.approx(
        [k / 10 for k in range(1, 9)]
    )
    with pytest.raises(UsageError, match="vgg11"):
        build("vgg11", stochastic_depth=0.8)


def test_layers_are_varied_by_the_recipe():
    task = build("resnet20", activation="prelu", norm="group")
    kinds = {type(module) for module in task.backbone.modules()}
    assert nn.PReLU in kinds and nn.GroupNorm in kinds and not kinds & {nn.ReLU, nn.BatchNorm2d}
    pooled = build("vgg11", pooling="lp")
    assert sum(isinstance(m, POOLINGS["lp"]) for m in pooled.modules()) == 5
    with pytest.raises(UsageError, match="This network has no batch norm to replace"):
        build("vgg11", norm="group")


def test_a_recipe_may_name_all_that_there_is():
    assert get_args(catalogue.Activation) == tuple(ACTIVATIONS)
    assert get_args(catalogue.Norm) == tuple(NORMS)
    assert get_args(catalogue.Pooling) == tuple(POOLINGS)
