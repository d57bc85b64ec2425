"""The switch of losses by name, and what each needs of the people in a training set."""

import math
import subprocess
import sys
import warnings
from typing import get_args

import numpy as np
import pytest
import torch

from foveal.core.errors import DataError, DataWarning, UsageError
from foveal.tasks.faces.loss_options import LossName, LossOptions
from foveal.tasks.faces.losses import build_loss, check_people, least_images

NAMES = get_args(LossName)
every_name = pytest.mark.parametrize("name", NAMES)


@every_name
def test_every_name_makes_a_loss_of_embeddings(name):
    loss = build_loss(LossOptions(name=name), people=6, width=8)
    embeddings = torch.randn(12, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = loss(embeddings, torch.arange(6).repeat_interleave(2))
    value.backward()
    assert value.shape == () and value.item() > 0 and embeddings.grad.any()
    of_people = [parameter for key, parameter in loss.named_parameters() if key == "weight"]
    assert [tuple(weight.shape) for weight in of_people] == (
        [] if least_images(LossOptions(name=name)) == 2 else [(6, 8)]
    )


def test_the_papers_margins():
    built = {name: build_loss(LossOptions(name=name), people=2, width=2) for name in NAMES}
    margins = {name: loss.margin for name, loss in built.items() if hasattr(loss, "margin")}
    assert margins == {
        "l_softmax": 4,
        "a_softmax": 4,
        "cosface": 0.35,
        "arcface": 0.5,
        "contrastive": 1.0,
        "triplet": 0.2,
    }
    assert built["arcface"].scale == built["cosface"].scale == 64


def test_entries_reach_their_loss():
    def built(**entries):
        return build_loss(LossOptions(**entries), people=2, width=2)

    arcface = built(name="arcface", margin=0.3, scale=16)
    assert (arcface.margin, arcface.scale) == (0.3, 16)
    sphere = built(name="a_softmax", margin=3.0, annealing_start=7, annealing_decay=2, annealing_end=1)
    assert (sphere.margin, sphere.start, sphere.decay, sphere.end) == (3, 7, 2, 1)
    triplet = built(name="triplet", margin=0.4, mining="batch_hard", distance="squared", unit_length=False)
    assert (triplet.margin, triplet.mining, triplet.distance) == (0.4, "batch_hard", "squared")
    assert not triplet.of_unit_length and not built(name="contrastive", unit_length=False).of_unit_length
    centre = built(name="centre", centre_weight=0.1, centre_rate=0.2)
    assert (centre.centre_weight, centre.rate) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("name", "margin", "sentence"),
    [
        ("a_softmax", 2.5, "margin is 2.5, but that of a_softmax must be a whole number from 1 to 16; 4 is usual"),
        ("l_softmax", 0, "a whole number from 1 to 16"),
        ("arcface", 1.6, "that of arcface must be a number from 0 to 1.571; 0.5 is usual"),
        ("cosface", -0.1, "from 0 to 1"),
        ("triplet", 0, "from 0.001 to 100"),
        ("contrastive", math.nan, "margin is nan"),
    ],
)
def test_a_margin_that_a_loss_cannot_have(name, margin, sentence):
    with pytest.raises(UsageError, match=sentence):
        build_loss(LossOptions(name=name, margin=margin), people=2, width=2)


@every_name
def test_one_image_of_each(name):
    labels = np.arange(40)
    if name in ("contrastive", "triplet"):
        with pytest.raises(DataError, match=f"40 people in the training images, none has two .* '{name}' .* arcface"):
            check_people(labels, LossOptions(name=name))
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_people(labels, LossOptions(name=name))


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [([], "show nobody"), ([3, 3, 3], "show one person"), ([0, 0, 1, 2], "Of the 3 people .* one has two images")],
)
def test_too_few_people_to_compare(labels, sentence):
    with pytest.raises(DataError, match=sentence):
        check_people(np.array(labels, np.int64), LossOptions(name="triplet"))


def test_people_of_one_image_are_said_to_be_left_out():
    labels = np.array([0, 0, 1, 5, 5, 5, 7])
    with pytest.warns(DataWarning, match="2 of 4 people have one image in training and are left out"):
        check_people(labels, LossOptions(name="triplet"))


def test_the_options_need_no_torch():
    code = "import sys, foveal.tasks.faces.loss_options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
