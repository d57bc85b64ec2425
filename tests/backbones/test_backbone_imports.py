"""Who takes one part must not pay for the others: names without torch, networks without the training stack."""

import json
import subprocess
import sys

import pytest

from foveal import backbones
from foveal.backbones.catalogue import UnknownBackboneError, find_family, list_backbones


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has imported after `code`."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    return set(json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout))


def test_names_need_no_torch():
    loaded = modules_after("from foveal.backbones.catalogue import list_backbones; list_backbones()")
    assert "foveal" in loaded and "torch" not in loaded
    assert "torch" not in modules_after("from foveal.backbones import list_backbones; list_backbones()")


def test_a_backbone_needs_no_training_stack():
    loaded = modules_after("from foveal.backbones import create_backbone; create_backbone('resnet18')")
    assert "torch" in loaded
    assert not loaded & {"lightning", "albumentations", "cv2", "torchmetrics", "timm", "safetensors"}


def test_every_public_name_is_there():
    assert all(getattr(backbones, name) is not None for name in backbones.__all__)
    with pytest.raises(AttributeError, match="no attribute 'resnet_50'"):
        _ = backbones.resnet_50


def test_names_are_sorted_as_people_count():
    assert list_backbones("resnet*")[:4] == ["resnet18", "resnet20", "resnet32", "resnet34"]
    assert list_backbones("resnet*")[-3:] == ["resnet101", "resnet110", "resnet152"]
    assert list_backbones("vgg1[13]*") == ["vgg11", "vgg11_bn", "vgg11_lrn", "vgg13", "vgg13_bn"]
    assert list_backbones("le*") == ["lenet5", "lenet5_modern", "lenet1989", "lenet1990"]
    assert list_backbones("none*") == []


def test_unknown_names():
    assert find_family("vgg19_bn").module == "vgg"
    with pytest.raises(UnknownBackboneError, match=r"There is no backbone 'mobilnet_v2'; the nearest are mobilenet_v2"):
        find_family("mobilnet_v2")
    with pytest.raises(UnknownBackboneError, match=r"no backbone '@@'; list_backbones\(\) names the \d+ there are\.$"):
        find_family("@@")
