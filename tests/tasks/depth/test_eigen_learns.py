"""Eigen's two networks learn eight drawn scenes by heart: what is refined, and what it is refined from."""

from functools import partial

import numpy as np
import pytest
import torch

from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.build import build_backbone
from foveal.tasks.depth.head import estimate
from foveal.tasks.depth.heads import HEADS
from foveal.tasks.depth.losses import log_l1, scale_invariant
from foveal.tasks.depth.outputs import make_output


def eight_scenes(size):
    world = ShapesWorld(task="depth", split="train", size=size)
    samples = [world[number] for number in range(8)]
    images = torch.tensor(np.stack([sample["image"] for sample in samples])).permute(0, 3, 1, 2) / 255
    images = (images - images.mean(dim=(0, 2, 3), keepdim=True)) / images.std(dim=(0, 2, 3), keepdim=True)
    return images, torch.tensor(np.stack([sample["depth"] for sample in samples]))


def close(depth, truth):
    """The share of pixels within a factor of 1.25."""
    return (torch.maximum(depth / truth, truth / depth) < 1.25).float().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize(
    "head, name, rate, steps", [("eigen2014", "alexnet", 1e-4, 150), ("eigen2015", "resnet18", 3e-4, 80)]
)
def test_eight_scenes_are_learnt_by_heart(head, name, rate, steps):
    images, truth = eight_scenes(96)
    output = make_output("log", min_depth=0.5, max_depth=60)
    backbone, module = HEADS[head](partial(build_backbone, name, weights=None), name, channels=1, size=96)
    optimizer = torch.optim.Adam([*backbone.parameters(), *module.parameters()], lr=rate)
    for _ in range(steps):
        found = estimate(backbone, module, images, output)
        loss = torch.stack([log_l1(x, truth) + scale_invariant(x, truth) for x in found.values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    backbone.eval(), module.eval()
    with torch.no_grad():
        found = estimate(backbone, module, images, output)
    assert close(torch.full_like(truth, truth.median()), truth) < 0.3  # one depth for all
    assert close(found["coarse_depth"], truth) > 0.8
    assert close(found["depth"], truth) > 0.8
