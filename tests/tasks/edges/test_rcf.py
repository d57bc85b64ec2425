"""RCF: the convolutions that it reads, and that its outputs are those of the released network."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from foveal.backbones import create_backbone
from foveal.tasks.build import build_backbone
from foveal.tasks.edges.head import detect_edges
from foveal.tasks.edges.heads import HEADS
from foveal.tasks.edges.rcf import stage_layers


def made(name: str, **options):
    torch.manual_seed(0)
    return HEADS["rcf"](partial(build_backbone, name, weights=None), name, **options)


def test_every_convolution_of_vgg16_is_read_behind_its_relu():
    backbone, head = made("vgg16")
    assert [len(stage) for stage in stage_layers(backbone)] == [2, 2, 3, 3, 3]
    assert all(isinstance(backbone.get_submodule(layer), nn.ReLU) for layer in head.layers)
    assert backbone.strides == (1, 2, 4, 8, 8)  # pool4 by single cells
    conv5 = [backbone.get_submodule(f"features.{number}") for number in (24, 26, 28)]
    assert [conv.dilation for conv in conv5] == [(2, 2)] * 3
    assert [[conv.out_channels for conv in stage] for stage in head.reductions] == [[21] * n for n in (2, 2, 3, 3, 3)]


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        # Norms and activations belong to what they follow; a pool in front of a stage to nothing.
        ("resnet18", [["relu"], *([f"layer{n}.0", f"layer{n}.1"] for n in (1, 2, 3, 4))]),
        ("alexnet", [["features.1"], ["features.4"], ["features.7", "features.9", "features.11"]]),
        ("vgg11_bn", [["features.2"], ["features.6"], ["features.10", "features.13"], ["features.17", "features.20"]]),
    ],
)
def test_the_layers_of_each_stage(name, stages):
    levels = tuple(range(len(stages)))
    assert stage_layers(create_backbone(name, levels=levels)) == stages


def test_the_first_weights_are_the_papers():
    _, head = made("vgg16")
    weights = torch.cat([conv.weight.flatten() for stage in head.reductions for conv in stage])
    assert weights.std().item() == pytest.approx(0.01, rel=0.02) and abs(weights.mean().item()) < 1e-4
    assert head.fuse.weight.flatten().tolist() == pytest.approx([1 / 5] * 5)
    assert all(conv.bias.abs().max() == 0 for conv in [*head.sides, head.fuse])


def released(image, backbone, head):
    """The released network: pool4 of stride 1, conv5 dilated by 2, transposed convolutions, crops 0, 1, 2, 4 and 0."""
    x, sides = image, []
    weights = [backbone.get_submodule(f"features.{n}") for n in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
    convolutions, outputs = iter(weights), []
    for stage, count in enumerate((2, 2, 3, 3, 3)):
        if stage:
            x = F.max_pool2d(x, 2, 1 if stage == 4 else 2)
        spread = 2 if stage == 4 else 1
        for _ in range(count):
            conv = next(convolutions)
            x = F.relu(F.conv2d(x, conv.weight, conv.bias, padding=spread, dilation=spread))
            outputs.append(x)
    outputs = iter(outputs)
    for reductions, side, factor, crop in zip(
        head.reductions, head.sides, (1, 2, 4, 8, 8), (0, 1, 2, 4, 0), strict=True
    ):
        score = side(sum(reduce(next(outputs)) for reduce in reductions))
        if factor > 1:
            ramp = 1 - (torch.arange(2 * factor) - factor + 0.5).abs() / factor
            score = F.conv_transpose2d(score, torch.outer(ramp, ramp)[None, None], stride=factor)
        sides.append(score[:, :, crop : crop + image.shape[2], crop : crop + image.shape[3]])
    return [*sides, head.fuse(torch.cat(sides, dim=1))]


def test_outputs_are_those_of_the_released_network():
    backbone, head = made("vgg16")
    image = torch.randn(1, 3, 192, 208, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = detect_edges(backbone, head, image), released(image, backbone, head)
    for stage, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        # Their pool4 loses the last row and column, ours copies them: equal before conv5 can see that, 4 + 3 * 16
        # pixels and the reach of a cell from the end; the borders of transposed convolutions mix in zeros.
        near, end = (8, 8) if stage < 4 else (8, 72)
        inside = (..., slice(near, -end), slice(near, -end))
        assert torch.allclose(a[inside], b[inside], atol=1e-5), stage
