"""`model.head: published`: the classifier that a network was published with, in a recipe."""

import pytest
import torch
import torchvision
from torch import nn

from foveal.backbones import list_backbones
from foveal.core.data import preprocessing
from foveal.core.errors import UsageError
from foveal.core.options import DataOptions
from foveal.tasks.classification.heads import has_published_head
from foveal.tasks.classification.options import ClassificationOptions
from foveal.tasks.classification.task import ClassificationTask


def build(backbone: str, **options) -> ClassificationTask:
    given = ClassificationOptions(backbone=backbone, head="published", **options)
    return ClassificationTask(given, class_names=["cat", "dog"], preprocessing=preprocessing(DataOptions(size=64)))


def test_only_the_last_layer_begins_anew_where_the_classes_are_others(tmp_path):
    torch.manual_seed(0)
    weights = torchvision.models.mobilenet_v3_small().state_dict()
    torch.save(weights, tmp_path / "published.pth")
    head = build("mobilenet_v3_small", weights=str(tmp_path / "published.pth")).head
    assert torch.equal(head.classifier[0].weight, weights["classifier.0.weight"])
    assert head.classifier[3].weight.shape == (2, 1024)
    assert 0 < head.classifier[3].bias.abs().max() <= 1 / 32  # torch's own draw: 1 / sqrt(1024)


def test_dropout_is_the_networks_own_or_the_recipes():
    dropouts = [
        [layer.p for layer in build("squeezenet1_1", dropout=share).head.modules() if isinstance(layer, nn.Dropout)]
        for share in (0.0, 0.2)
    ]
    assert dropouts == [[0.5], [0.2]]


@pytest.mark.parametrize("backbone", [name for name in list_backbones() if has_published_head(name)])
def test_every_such_head_reads_its_backbones_maps(backbone):
    with torch.device("meta"):
        task = build(backbone)
        assert task.head(task.backbone(torch.zeros(2, 3, 96, 64))).shape == (2, 2)


@pytest.mark.parametrize("backbone", ["resnet18", "vgg16_c", "lenet5"])
def test_other_networks_are_refused(backbone):
    with pytest.raises(UsageError, match=f"model.head is published, but {backbone} was published with a linear layer"):
        build(backbone)
