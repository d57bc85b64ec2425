"""DenseNet: Huang, Liu, van der Maaten, Weinberger, 2017; torchvision is the reference."""

import pytest
import torch
import torchvision
from torch import nn

from foveal.backbones import count_parameters, create_backbone

# Growth rate, layers in each block, parameters with a classifier of 1000 classes.
NETWORKS = {
    "densenet121": (32, (6, 12, 24, 16), 7_978_856),
    "densenet161": (48, (6, 12, 36, 24), 28_681_000),
    "densenet169": (32, (6, 12, 32, 32), 14_149_480),
    "densenet201": (32, (6, 12, 48, 32), 20_013_928),
}


def shapeless(name: str):
    with torch.device("meta"):
        return create_backbone(name)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_with_a_classifier_of_1000(name):
    backbone = shapeless(name)
    assert count_parameters(backbone) + backbone.channels[-1] * 1000 + 1000 == NETWORKS[name][2]
    assert backbone.strides == (2, 4, 8, 16, 32)


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_shapes_are_those_of_torchvision(name):
    with torch.device("meta"):
        published = torchvision.models.get_model(name).state_dict()
    expected = [(key, value.shape) for key, value in published.items() if not key.startswith("classifier.")]
    assert [(key, value.shape) for key, value in shapeless(name).state_dict().items()] == expected


def test_the_last_map_is_what_the_classifier_of_torchvision_averages():
    torch.manual_seed(0)
    reference = torchvision.models.densenet121().eval()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.normal_(module.bias, std=0.1)
    backbone = create_backbone("densenet121").eval()
    backbone.load_state_dict({k: v for k, v in reference.state_dict().items() if not k.startswith("classifier.")})
    images = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        scores = reference.classifier(backbone(images)[-1].mean((2, 3)))
        torch.testing.assert_close(scores, reference(images))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_reads_all_before_it_in_its_block(name):
    growth, blocks, _ = NETWORKS[name]
    assert growth < 100
    features = shapeless(name).get_submodule("features")
    for number, count in enumerate(blocks, start=1):
        layers = list(features.get_submodule(f"denseblock{number}").values())
        read = [layer.conv1.in_channels for layer in layers]
        assert read == [read[0] + index * growth for index in range(count)]
        assert {layer.conv2.out_channels for layer in layers} == {growth}
        # Each layer reads the input of the block and every layer before it: L (L + 1) / 2 connections.
        assert sum((channels - read[0]) // growth + 1 for channels in read) == count * (count + 1) // 2


def test_a_block_gives_its_input_and_the_outputs_of_its_layers():
    torch.manual_seed(0)
    block = create_backbone("densenet_bc_100_12").get_submodule("features.denseblock1").eval()
    x = torch.randn(1, 24, 5, 7)
    maps = [x]
    for layer in block.values():
        hidden = layer.conv1(layer.norm1(torch.cat(maps, 1)).relu())
        maps.append(layer.conv2(layer.norm2(hidden).relu()))
    torch.testing.assert_close(block(x), torch.cat(maps, 1))


def test_densenet_bc_for_small_images():
    backbone = shapeless("densenet_bc_100_12")
    assert backbone.strides == (1, 2, 4)
    # 24 + 16 * 12 = 216, halved to 108; 108 + 192 = 300, halved to 150; 150 + 192 = 342.
    assert backbone.channels == (216, 300, 342)
    assert count_parameters(backbone) + 342 * 10 + 10 == 769_162  # the paper gives 0.8 million (table 2)
    assert len([module for module in backbone.modules() if isinstance(module, nn.Conv2d)]) + 1 == 100
    maps = backbone(torch.empty(1, 3, 32, 32, device="meta"))
    assert [tuple(m.shape[2:]) for m in maps] == [(32, 32), (16, 16), (8, 8)]
