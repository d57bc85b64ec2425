"""Every head learns eight drawn images by heart."""

from typing import NamedTuple

import pytest
import torch
from torch import nn

from foveal.backbones import create_backbone
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.segmentation.head import segment
from foveal.tasks.segmentation.heads import HEADS
from foveal.tasks.segmentation.losses import cross_entropy
from foveal.tasks.segmentation.metrics import SegmentationMetrics
from foveal.tasks.segmentation.segnet import DeconvNetHead
from foveal.tasks.segmentation.unet import UNet

IMAGES = 8


class Case(NamedTuple):
    """Images large enough that a head's cells can follow their outlines, and a backbone small enough for a CPU."""

    size: int
    steps: int
    backbone: str = "mobilenet_v1_050"
    channels: int | None = None
    rate: float = 5e-3


CASES = {
    "fcn32s": Case(640, 120),
    "fcn16s": Case(320, 120),
    "fcn8s": Case(192, 120),
    "fcn": Case(128, 100, channels=64),
    "deeplabv1": Case(128, 100, channels=64),
    "deeplabv2": Case(128, 100),
    "deeplabv3": Case(128, 100, channels=64),
    "deeplabv3plus": Case(128, 100, channels=64),
    "pspnet": Case(128, 100, channels=64),
    "unet": Case(64, 120),
    "unet_padded": Case(64, 150, "unet", rate=2e-3),
    "unet_valid": Case(64, 150, "unet", rate=2e-3),
    "unetpp": Case(64, 120),
    "segnet": Case(64, 120, "vgg11_bn", rate=3e-3),
    "deconvnet": Case(64, 150, "vgg11_bn", rate=3e-3),
}


def test_every_head_is_asked():
    assert CASES.keys() == HEADS.keys()


@pytest.mark.slow  # half a minute to four minutes each on one core
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CASES)
def test_eight_images_by_heart(name, build_segmenter):
    case = CASES[name]
    world = ShapesWorld("segmentation", "train", images=IMAGES, size=case.size, portraits=True)
    samples = [world[number] for number in range(IMAGES)]
    images = torch.stack([torch.from_numpy(sample["image"]) for sample in samples]).permute(0, 3, 1, 2)
    images = ((images / 255 - 0.45) / 0.225).contiguous(memory_format=torch.channels_last)
    masks = torch.stack([torch.from_numpy(sample["mask"]) for sample in samples])

    network = make_network(name, case, len(world.class_names), build_segmenter)
    fit(network, images, masks, case)
    metrics = SegmentationMetrics(world.class_names)
    with torch.no_grad():
        metrics.update(network.eval()(images)[0].argmax(dim=1), masks)
    assert metrics.compute().numbers["miou"] > 0.95


class Segmenter(nn.Module):
    """A backbone and a head, as the task runs them."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images):
        return segment(self.backbone, [self.head], images)


class Whole(nn.Module):
    """UNet as its paper draws it, a quarter as wide."""

    def __init__(self, classes: int, padded: bool) -> None:
        super().__init__()
        self.network = UNet(3, classes, padded=padded, width=16)

    def forward(self, images):
        return [self.network.forward_whole(images)]


def make_network(name, case, classes, build_segmenter) -> nn.Module:
    if name in ("unet_padded", "unet_valid"):
        network = Whole(classes, padded=name == "unet_padded")
    elif name == "deconvnet":  # fc6 reads 7 x 7 cells: 224 pixels; here 2 x 2
        backbone = create_backbone(case.backbone)
        head = DeconvNetHead(backbone.channels, backbone.strides, classes, fc_channels=128, fc_kernel=2)
        network = Segmenter(backbone, head)
    else:
        options = {"channels": case.channels} if case.channels else {}
        network = Segmenter(*build_segmenter(name, case.backbone, num_classes=classes, **options))
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # it keeps from learning by heart
    return network.to(memory_format=torch.channels_last)


def fit(network, images, masks, case) -> None:
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, case.rate, total_steps=case.steps, pct_start=0.1)
    for _ in range(case.steps):
        outputs = network(images)
        loss = torch.stack([cross_entropy(logits, masks) for logits in outputs]).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 5)
        optimizer.step()
        schedule.step()
    # So few steps leave a batch norm's statistics behind its weights: those of these images are taken.
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        network(images)
