"""The options of a backbone where they are chosen wrongly, and what may be done to one afterwards."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from foveal.backbones import UnknownBackboneError, WeightsError, create_backbone


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def shapeless(name: str, **options):
    with torch.device("meta"):
        return create_backbone(name, **options)


@pytest.mark.parametrize("levels", [(5,), (-6,), (0, 7), ()])
def test_levels_that_do_not_exist_are_refused(levels):
    with pytest.raises(ValueError, match=r"this backbone has 5 levels: choose from 0 to 4, or from -5 to -1\.$"):
        shapeless("resnet18", levels=levels)


def test_fresh_input_channels_get_numbers():
    weight = create_backbone("resnet18", in_channels=4).state_dict()["conv1.weight"]
    # He et al.: variance 2 / (64 maps * 7 * 7).
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 3136), rel=0.05)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11_bn"])
def test_frozen_batch_norms_keep_their_statistics(name):
    backbone = create_backbone(name, frozen_stages=2).eval().train()
    before = {key: value.clone() for key, value in backbone.named_buffers()}
    frozen = {key for key in shapeless(name, levels=(1,)).state_dict()}
    backbone(torch.randn(2, 3, 64, 64))
    changed = {key for key, value in backbone.named_buffers() if not torch.equal(value, before[key])}
    assert changed == set(before) - frozen
    assert changed and set(before) & frozen


@pytest.mark.parametrize("count", [-1, 6])
def test_more_frozen_stages_than_there_are_is_refused(count):
    with pytest.raises(
        ValueError,
        match=rf"frozen_stages is {count}, but this backbone has 5 stages .*: choose from 0 to 5\.$",
    ):
        shapeless("resnet18", frozen_stages=count)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "resnet18", "output_stride": 7}, r"output_stride is 7, but it must be one of 32, 16, 8\.$"),
        ({"name": "alexnet", "output_stride": 16}, r"alexnet can't be dilated: leave output_stride at 32"),
        ({"name": "lenet5", "output_stride": 8}, r"lenet5 can't be dilated: leave output_stride at 32"),
        ({"name": "resnet18", "in_channels": 0}, r"in_channels is 0, but an image has at least 1 channel\.$"),
        ({"name": "resnet18", "in_channels": "3"}, r"in_channels is '3', but it must be a whole number\.$"),
        ({"name": "resnet18", "output_stride": 8.0}, r"output_stride is 8\.0, but it must be a whole number\.$"),
        ({"name": "resnet18", "frozen_stages": 1.5}, r"frozen_stages is 1\.5, but it must be a whole number\.$"),
        ({"name": "resnet18", "levels": 3}, r"levels is 3, but it must be a list of whole numbers"),
        ({"name": "resnet18", "levels": "12"}, r"levels is '12', but it must be a list of whole numbers"),
        ({"name": "resnet18", "stochastic_depth": -0.1}, r"stochastic_depth is -0\.1, but it is a probability"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        create_backbone(**options)


def test_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownBackboneError, match=r"^There is no backbone 'resnet5'; the nearest are .*resnet50"):
        create_backbone("resnet5")


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "vgg11_bn"])
def test_copies_give_the_same_maps(name):
    backbone = create_backbone(name, frozen_stages=1).eval()
    images = torch.randn(1, 3, 64, 64)
    for twin in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        for got, expected in zip(twin(images), backbone(images), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_replaced_layers_are_seen_and_stay_frozen():
    backbone = create_backbone("resnet18", frozen_stages=1).eval()
    images = torch.randn(1, 3, 64, 64)
    expected = backbone(images)
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(backbone).train()
    assert isinstance(synchronised.get_submodule("bn1"), nn.SyncBatchNorm)
    assert not synchronised.get_submodule("bn1").training
    assert synchronised.get_submodule("layer1.0.bn1").training
    torch.testing.assert_close(synchronised.eval()(images), expected)


def test_dilated_networks_can_be_exported():
    for name, output_stride in (("resnet18", 8), ("vgg11", 16)):
        backbone = create_backbone(name, output_stride=output_stride).eval()
        images = torch.randn(2, 3, 64, 64)
        exported = torch.export.export(backbone, (images,)).module()
        torch.testing.assert_close(exported(images), backbone(images))


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        ("vgg16", (20, 300), "The images are 20 x 300 pixels, but this backbone needs 32 x 32 or more"),
        ("inception_v3", (299, 74), "The images are 299 x 74 pixels, but this backbone needs 75 x 75 or more"),
        ("alexnet", (62, 62), "The images are 62 x 62 pixels, but this backbone needs 63 x 63 or more"),
    ],
)
def test_an_image_that_is_too_small_is_refused_with_numbers(name, size, sentence):
    backbone = shapeless(name).eval()
    with pytest.raises(ValueError, match=sentence):
        backbone(torch.empty(1, 3, *size, device="meta"))
    smallest = int(sentence.split(" x ")[-1].split()[0])
    assert backbone(torch.empty(1, 3, smallest, smallest, device="meta"))


def test_images_of_other_channels_are_refused_with_numbers():
    with pytest.raises(
        ValueError, match=r"shape \(1, 4, 64, 64\), but this backbone reads \(N, 3, H, W\): give in_channels"
    ):
        shapeless("resnet18")(torch.empty(1, 4, 64, 64, device="meta"))
    with pytest.raises(ValueError, match=r"shape \(64, 64\), but this backbone reads \(N, 3, H, W\)"):
        shapeless("resnet18")(torch.empty(64, 64, device="meta"))


def test_weights_of_another_network_are_refused_with_numbers(tmp_path):
    torch.save(create_backbone("resnet18").state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(WeightsError, match=r"do not fit resnet50: \d+ keys missing \(.*\d+ keys of another shape"):
        create_backbone("resnet50", weights=tmp_path / "resnet18.pth")


@pytest.mark.parametrize(
    "name", ["densenet121", "inception_v3", "convnext_tiny", "swin_t", "googlenet", "nasnet_mobile"]
)
def test_networks_that_can_not_be_dilated_say_so(name):
    for output_stride in (8, 16):
        with pytest.raises(ValueError, match=rf"output_stride is {output_stride}, but {name} can't be dilated: leave"):
            create_backbone(name, output_stride=output_stride)


def test_stochastic_depth_is_for_networks_with_residual_branches():
    rates = [m.p for m in shapeless("resnet18", stochastic_depth=0.4).modules() if hasattr(m, "p")]
    assert rates == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4])
    with pytest.raises(ValueError, match="vgg16"):
        create_backbone("vgg16", stochastic_depth=0.2)


def test_layers_can_be_tapped_beside_the_maps():
    backbone = create_backbone("vgg19", levels=(2,)).eval()
    images = torch.randn(1, 3, 64, 64)
    maps, taps = backbone.forward_with(images, ["features.1", "features.6"])
    assert [backbone.layers[path][1:] for path in ("features.1", "features.6")] == [(64, 1), (128, 2)]
    assert [tuple(tap.shape) for tap in taps] == [(1, 64, 64, 64), (1, 128, 32, 32)]
    assert torch.equal(maps[0], backbone(images)[0]) and len(maps) == 1
    first = backbone.get_submodule("features.1")(backbone.get_submodule("features.0")(images))
    assert torch.equal(taps[0], first)
    with pytest.raises(ValueError, match=r"This backbone has no layer 'features\.99'; the nearest are features\.\d"):
        backbone.forward_with(images, ["features.99"])


def test_networks_can_be_compiled_and_exported_for_any_size():
    backbone, images = create_backbone("resnet18").eval(), torch.randn(2, 3, 64, 96)
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    assert all(torch.equal(got, want) for got, want in zip(compiled(images), backbone(images), strict=True))
    side = [torch.export.Dim(name, min=64, max=1024) for name in ("height", "width")]
    exported = torch.export.export(
        backbone, (images,), dynamic_shapes=({0: torch.export.Dim("n"), 2: side[0], 3: side[1]},)
    )
    others = torch.randn(3, 3, 81, 130)
    torch.testing.assert_close(exported.module()(others), backbone(others))


def test_images_that_are_not_normalised_are_refused():
    with pytest.raises(
        ValueError, match=r"images are torch\.uint8, but this backbone reads torch\.float32: scale them"
    ):
        create_backbone("resnet20")(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_a_single_cell_can_not_be_trained():
    with pytest.raises(ValueError, match="give more or larger images, or call eval"):
        create_backbone("resnet18").train()(torch.randn(1, 3, 32, 32))
