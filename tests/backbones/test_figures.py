"""The figures that the catalogue prints are those of the networks, and the page of the documentation shows them."""

import importlib.util
from pathlib import Path

import pytest

from foveal.backbones.catalogue import FAMILIES
from foveal.backbones.figures import figures

ROOT = Path(__file__).parents[2]
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


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_the_networks(name):
    assert script().measure(name) == figures()[name], "run `python docs/make_backbones.py`"


def test_the_page_is_what_the_script_writes():
    make = script()
    assert make.PAGE.read_text() == make.page(figures()), "run `python docs/make_backbones.py`"
