"""What every depth head does, on every kind of backbone."""

from functools import partial

import pytest
import torch

from foveal.core.errors import UsageError
from foveal.tasks.build import build_backbone
from foveal.tasks.depth.head import estimate
from foveal.tasks.depth.heads import HEADS
from foveal.tasks.depth.outputs import make_output

BACKBONES = ("resnet18", "vgg16", "alexnet", "mobilenet_v2", "convnext_tiny", "inception_v3", "swin_t", "resnet20")
STRIDES = {"unet": 1, "fcrn": 2, "eigen2014": 4, "eigen2015": 2}
MORE = {"normals": True, "labels": 5}  # what eigen2014 does not give


def made(head, backbone, *, device="cpu", channels=1, size=96, **options):
    with torch.device(device):
        return HEADS[head](
            partial(build_backbone, backbone, weights=None), backbone, channels=channels, size=size, **options
        )


def more(head):
    return {} if head == "eigen2014" else MORE


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", HEADS)
def test_every_output_has_the_size_of_the_images_on_any_backbone(head, backbone):
    size = (99, 130)
    network, module = made(head, backbone, device="meta", size=size, **more(head))
    with torch.device("meta"):
        found = estimate(network, module, torch.zeros(2, 3, *size), make_output("log", min_depth=0.5, max_depth=60))
    assert tuple(found.pop("depth").shape) == (2, *size)
    coarse = {name: found.pop(name) for name in list(found) if name.startswith("coarse_")}
    assert {name: tuple(x.shape) for name, x in found.items()} == (
        {} if head == "eigen2014" else {"normals": (2, 3, *size), "labels": (2, 5, *size)}
    )
    assert set(coarse) == {
        "eigen2014": {"coarse_depth"},
        "eigen2015": {"coarse_depth", "coarse_normals", "coarse_labels"},
    }.get(head, set())


@pytest.mark.parametrize("head", HEADS)
def test_the_resolution_of_the_outputs_is_the_one_that_the_head_states(head):
    backbone, module = made(head, "resnet18", device="meta", **more(head))
    with torch.device("meta"):
        images = torch.zeros(1, 3, 96, 96)
        raw = module(backbone(images), images)
    assert module.stride == STRIDES[head]
    side = 96 // STRIDES[head]
    assert {tuple(x.shape[2:]) for name, x in raw.items() if "coarse" not in name} == {(side, side)}
    assert {tuple(x.shape[2:]) for name, x in raw.items() if "coarse" in name} <= {(24, 24)}


@pytest.mark.parametrize("head", HEADS)
def test_everything_that_may_learn_gets_a_gradient(head):
    backbone, module = made(head, "resnet18", size=64, **more(head), **({"width": 64} if "eigen" in head else {}))
    output = make_output("log", min_depth=0.5, max_depth=60)
    found = estimate(backbone, module, torch.randn(2, 3, 64, 64), output)
    sum((x - torch.randn_like(x)).square().mean() for x in found.values()).backward()
    for part in (backbone, module):
        silent = [name for name, p in part.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not silent


@pytest.mark.parametrize("head", HEADS)
def test_at_the_start_depths_are_about_the_middle_of_the_range_and_normals_face_the_camera(head):
    backbone, module = made(head, "resnet18", size=64, **more(head), **({"width": 64} if "eigen" in head else {}))
    backbone.eval(), module.eval()
    with torch.no_grad():
        found = estimate(backbone, module, torch.randn(2, 3, 64, 64), make_output("log", min_depth=1, max_depth=16))
    assert 2.5 < found["depth"].median() < 6.5  # the middle, of logarithms, is 4
    if "normals" in found:
        assert found["normals"].norm(dim=1).sub(1).abs().max() < 1e-5
        assert found["normals"][:, 2].median() < -0.8


@pytest.mark.parametrize("head", ["unet", "fcrn", "eigen2015"])
def test_a_head_has_as_many_channels_of_depth_as_its_output_reads(head):
    output = make_output("bins", min_depth=0.5, max_depth=60, bins=7)
    backbone, module = made(head, "resnet18", device="meta", channels=output.channels)
    with torch.device("meta"):
        images = torch.zeros(1, 3, 96, 96)
        assert module(backbone(images), images)["depth"].shape[1] == 7


@pytest.mark.parametrize("head", ["unet", "fcrn"])
def test_what_an_image_is_padded_with_is_cut_off(head):
    # An image that ends in its mean colour, 0, anyway: whether it is part of the image must make no difference.
    backbone, module = made(head, "resnet18")
    backbone.eval(), module.eval()
    images = torch.randn(1, 3, 64, 64)
    images[:, :, 50:], images[:, :, :, 40:] = 0, 0
    output = make_output("linear", min_depth=0.5, max_depth=60)
    with torch.no_grad():
        whole = estimate(backbone, module, images, output)["depth"]
        cut = estimate(backbone, module, images[:, :, :50, :40], output)["depth"]
    assert cut.shape == (1, 50, 40)
    assert torch.allclose(cut, whole[:, :50, :40], atol=1e-4)


@pytest.mark.parametrize("head", ["eigen2014", "eigen2015"])
def test_fully_connected_layers_refuse_images_of_another_size(head):
    backbone, module = made(head, "resnet18", device="meta", size=(96, 128))
    images = torch.zeros(1, 3, 128, 96, device="meta")
    words = (
        r"128 x 96 pixels, but this network's fully connected layers read 96 x 128 alone: set data.resize to squash, or"
    )
    with pytest.raises(UsageError, match=words):  # not crop, which the task refuses
        module(backbone(images), images)


@pytest.mark.parametrize("head", ["eigen2014", "eigen2015"])
def test_images_too_small_for_the_backbone_are_refused_with_the_least_size(head):
    with pytest.raises(
        UsageError, match=r"16 x 16 pixels, from which alexnet makes no map; set data.size to 63 or more"
    ):
        made(head, "alexnet", device="meta", size=16)


@pytest.mark.parametrize("head", ["eigen2014", "eigen2015", "fcrn", "unet"])
def test_grey_images(head):
    make = partial(build_backbone, "resnet18", weights=None, in_channels=1)
    with torch.device("meta"):
        backbone, module = HEADS[head](make, "resnet18", channels=1, size=64)
        images = torch.zeros(1, 1, 64, 64)
        assert module(backbone(images), images)["depth"].shape[:2] == (1, 1)


@pytest.mark.parametrize("head", ["fcrn", "unet"])
def test_a_dilated_backbone_has_fewer_steps_to_go_up(head):
    backbone, module = made(head, "resnet18", device="meta", output_stride=8)
    images = torch.zeros(1, 3, 64, 64, device="meta")
    assert backbone.strides[-1] == module.divisor == 8
    assert module(backbone(images), images)["depth"].shape[2] == 64 // STRIDES[head]
