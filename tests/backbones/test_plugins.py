"""Networks of other packages, by entry point: a package is installed, and a task trained with its network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "tinynets"
version = "1"
[project.entry-points."foveal.backbones"]
tinynet = "tinynets:build"
resnet18 = "tinynets:build"
gone = "nomodule:build"
wrong = "tinynets:wrong"
[tool.setuptools]
py-modules = ["tinynets"]
"""
MODULE = '''
from collections import OrderedDict

from foveal.backbones import Network
from torch import nn


def build(name, in_channels):
    """Two convolutions."""
    layers = OrderedDict(
        first=nn.Conv2d(in_channels, 8, 3, stride=2, padding=1), relu=nn.ReLU(), last=nn.Conv2d(8, 24, 3, stride=2)
    )
    return Network(nn.Sequential(layers), list(layers))


def wrong(name, in_channels):
    return nn.Conv2d(in_channels, 8, 3)
'''


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Variables under which Python sees the package, installed by pip as a user would."""
    source, target = tmp_path_factory.mktemp("tinynets"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "tinynets.py").write_text(MODULE)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)
    return {**os.environ, "PYTHONPATH": str(target)}


def run(environment: dict[str, str], *command: str, cwd: Path | None = None) -> str:
    done = subprocess.run([sys.executable, *command], env=environment, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_listed_and_built(environment):
    code = (
        "from foveal.backbones import create_backbone, list_backbones\n"
        "backbone = create_backbone('tinynet', in_channels=1, levels=(0, 1))\n"
        "print(backbone.channels, backbone.strides, list_backbones('tiny*'))\n"
        "print(create_backbone('resnet18').channels[-1])"
    )
    # A name that foveal has stays foveal's.
    assert run(environment, "-c", code).splitlines() == ["(8, 24) (2, 4) ['tinynet']", "512"]
    listed = run(environment, "-m", "foveal", "list", "backbones", "tiny*").splitlines()
    assert listed[1].split() == ["tinynet", "plugin", "from", "tinynets:build"]


def test_a_task_trains_with_it_by_name(environment, tmp_path):
    options = ["--model.backbone", "tinynet", "--trainer.max_epochs", "1", "--out", "run"]
    run(environment, "-m", "foveal", "train", "classification/lenet5_digits", *options, cwd=tmp_path)
    assert "tinynet" in run(environment, "-m", "foveal", "info", "run/best.ckpt", cwd=tmp_path)


def test_it_can_not_be_dilated(environment):
    code = "from foveal.backbones import create_backbone\ntry: create_backbone('tinynet', output_stride=8)\n"
    code += "except ValueError as error: print(error)"
    assert "tinynet can't be dilated: leave output_stride at 32" in run(environment, "-c", code)


@pytest.mark.parametrize(
    ("name", "cause"), [("gone", "ModuleNotFoundError: No module named 'nomodule'"), ("wrong", "")]
)
def test_a_broken_package_is_named(environment, name, cause, tmp_path):
    options = ["train", "classification/lenet5_digits", "--model.backbone", name, "--out", "run"]
    command = [sys.executable, "-m", "foveal", *options]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"The backbone {name} comes from tinynets (" in done.stderr and "mend or remove the package" in done.stderr
    assert cause in done.stderr
