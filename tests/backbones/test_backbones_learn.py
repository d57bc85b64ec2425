"""Every network that is our own learns: a few images by heart, from its own fresh weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foveal.backbones import create_backbone
from foveal.backbones.catalogue import FAMILIES
from foveal.backbones.figures import figures

NAMES = [name for family in FAMILIES if family.source == "ours" for name in family.names]
# The deeper and wider ones of a family whose smallest is here anyway.
DEEPER = ("19", "32", "44", "56", "101", "110", "152", "164", "28_10", "40_4")
NAMES = [name for name in NAMES if not name.endswith(DEEPER)]
RATES = {"lenet1989": 1e-2, "lenet1990": 1e-2, "vgg16_c": 1e-4, "vgg11_lrn": 3e-4, "alexnet_grouped": 3e-4}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_learns_eight_images_by_heart(name):
    torch.manual_seed(0)
    backbone = create_backbone(name)
    size = max(figures()[name].smallest_image, 32)
    coarse = torch.randn(8, 3, 8, 8)
    images, labels = F.interpolate(coarse, size=size, mode="bilinear"), torch.arange(8) % 4
    head = nn.Linear(backbone.channels[-1], 4)
    parameters = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=RATES.get(name, 1e-3))
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for _step in range(80):
        loss = F.cross_entropy(head(backbone(images)[-1].mean(dim=(2, 3))), labels)
        if loss.item() < 0.1:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError(f"after 80 steps the loss is {loss.item():.2f}; by chance it would be 1.39")
