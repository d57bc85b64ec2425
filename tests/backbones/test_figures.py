"""The figures that the catalogue prints are those of the networks, and the page of the documentation shows them."""

import importlib.util
from pathlib import Path

import pytest
import torch

from foveal.backbones import Backbone, count_multiply_adds, count_parameters, create_backbone
from foveal.backbones.catalogue import FAMILIES
from foveal.backbones.figures import figures

ROOT = Path(__file__).parents[2]
HINT = "run `python docs/make_backbones.py`"
NAMES = [name for family in FAMILIES for name in family.names]


def script():
    """docs/make_backbones.py as a module."""
    spec = importlib.util.spec_from_file_location("make_backbones", ROOT / "docs" / "make_backbones.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_backbone_has_figures():
    assert sorted(figures()) == sorted(NAMES)


@pytest.fixture(scope="module", params=NAMES)
def shapeless(request) -> tuple[str, Backbone]:
    """The name of a backbone and the backbone without numbers, made once for all of its figures."""
    with torch.device("meta"):
        return request.param, create_backbone(request.param).eval()


def test_figures_are_the_networks(shapeless):
    name, backbone = shapeless
    row = figures()[name]
    assert (row.strides, row.channels) == (backbone.strides, backbone.channels), HINT
    assert row.parameters == count_parameters(backbone), HINT
    assert row.multiply_adds == count_multiply_adds(backbone, 224), HINT
    assert (row.weights, row.licence) == script().describe_weights(name), HINT


@torch.no_grad()
def test_the_smallest_image_is_taken_and_no_smaller_one(shapeless):
    name, backbone = shapeless
    smallest = figures()[name].smallest_image
    assert backbone(torch.empty(1, 3, smallest, smallest, device="meta"))[-1].numel() > 0
    if smallest > 1:
        with pytest.raises((ValueError, RuntimeError)):
            backbone.run(torch.empty(1, 3, smallest - 1, smallest - 1, device="meta"), ())


def test_the_page_is_what_the_script_writes():
    make = script()
    assert make.PAGE.read_text() == make.page(figures()), HINT
