"""timm's networks behind foveal's contract; timm itself is the reference."""

import sys

import pytest
import timm
import torch

from foveal.backbones import UnknownBackboneError, WeightsError, create_backbone, list_backbones

# A chain, a transformer with channels last, one with hooks, one of another extractor.
SAMPLES = ["timm/resnet18", "timm/swin_tiny_patch4_window7_224", "timm/xception41", "timm/mobilenetv3_small_100"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", SAMPLES)
@torch.no_grad()
def test_maps_are_those_of_timms_extractor(name):
    backbone = create_backbone(name).eval()
    peer = timm.create_model(name.removeprefix("timm/"), features_only=True).eval()
    peer.load_state_dict(backbone.network.state_dict())
    images = torch.randn(1, 3, 224, 224)
    if "xception" in name:  # its weights expect 0.5 and 0.5; the backbone reads ImageNet's normalisation
        pixels = images * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1) + torch.tensor([0.485, 0.456, 0.406]).view(
            3, 1, 1
        )
        expected = peer((pixels - 0.5) / 0.5)
    else:
        expected = peer(images)
    for got, want in zip(backbone(images), expected, strict=True):
        want = want.permute(0, 3, 1, 2) if "swin" in name else want
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4 * want.abs().max().item())


@pytest.mark.parametrize("name", [*SAMPLES, "timm/vit_tiny_patch16_224", "timm/convnextv2_atto"])
def test_the_contract_holds(name):
    backbone = create_backbone(name, in_channels=4, levels=(0, 1), frozen_stages=1).eval()
    infos = backbone.feature_info()
    maps, taps = backbone.forward_with(torch.randn(1, 4, 64, 96), [infos[-1].layer])
    assert [tuple(m.shape[1:]) for m in maps] == [
        (info.channels, -(-64 // info.stride), -(-96 // info.stride)) for info in infos
    ]
    assert torch.equal(taps[0], maps[-1])
    frozen = [key for key, p in backbone.named_parameters() if not p.requires_grad]
    assert frozen and len(frozen) < len(list(backbone.parameters()))
    sum(m.square().mean() for m in maps).backward()
    assert all(p.grad is None for key, p in backbone.named_parameters() if key in frozen)


def test_frozen_batch_norms_stay_in_evaluation():
    backbone = create_backbone("timm/resnet18", frozen_stages=2).train()
    before = {key: value.clone() for key, value in backbone.named_buffers()}
    backbone(torch.randn(2, 3, 64, 64))
    moved = {key.split(".")[1] for key, value in backbone.named_buffers() if not torch.equal(value, before[key])}
    assert moved == {"layer2", "layer3", "layer4"}


def test_dilation_is_timms():
    assert create_backbone("timm/resnet18", output_stride=8).strides == (2, 4, 8, 8, 8)
    with pytest.raises(
        ValueError, match="timm can't build densenet121 with feature maps and in_chans=3, output_stride=8"
    ):
        create_backbone("timm/densenet121", output_stride=8)


def test_stochastic_depth_is_timms():
    rates = [
        m.drop_prob for m in create_backbone("timm/resnet18", stochastic_depth=0.7).modules() if hasattr(m, "drop_prob")
    ]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/xception41", "timm/convnext_atto"])
@torch.no_grad()
def test_files_of_timm_and_of_foveal_load(name, tmp_path):
    published = timm.create_model(name.removeprefix("timm/"))
    torch.save(published.state_dict(), tmp_path / "timm.pth")
    backbone = create_backbone(name, weights=tmp_path / "timm.pth").eval()
    torch.save(backbone.state_dict(), tmp_path / "foveal.pth")
    twin = create_backbone(name, weights=tmp_path / "foveal.pth", levels=(0, 1)).eval()
    images = torch.randn(1, 3, 64, 64)
    for got, want in zip(twin(images), backbone(images), strict=False):
        assert torch.equal(got, want)
    key, value = next(iter(published.state_dict().items()))
    assert torch.equal(backbone.state_dict()[backbone.own_keys([key])[key]], value)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(WeightsError, match=r"do not fit timm/resnet34: \d+ keys missing"):
        create_backbone("timm/resnet34", weights=tmp_path / "resnet18.pth")


def test_without_a_network_the_weights_are_asked_for_as_a_file(monkeypatch):
    def offline(*_args, **options):
        raise OSError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", offline)
    from foveal.backbones.weights import read_state_dict

    with pytest.raises(WeightsError, match=r"weights of timm's inception_v4 could not be downloaded \(Name or service"):
        read_state_dict("imagenet", "inception_v4")


@pytest.mark.parametrize("name", ["timm/resnet18", "inception_v4", "nasnet_large", "xception"])
def test_without_timm_a_name_that_needs_it_says_so(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=rf"{name} is a network of timm, which is not installed: pip install timm\.$"):
        create_backbone(name)
    assert create_backbone("resnet20")
    with pytest.raises(ValueError, match="pip install timm"):
        list_backbones("timm/*")


def test_a_wrong_name_offers_the_nearest():
    with pytest.raises(UnknownBackboneError, match=r"timm has no network 'resnt18'; the nearest are .*resnet18"):
        create_backbone("timm/resnt18")
    with pytest.raises(UnknownBackboneError, match=r"no network 'qqq'; list_backbones\('timm/\*'\) names those"):
        create_backbone("timm/qqq")
    with pytest.raises(UnknownBackboneError, match=r"'resnet18\.a1_in2k'; the nearest are .*resnet18\.a1_in1k"):
        create_backbone("timm/resnet18.a1_in2k")
    assert "timm/resnet18" in list_backbones("timm/resnet*")
    assert create_backbone("timm/resnet18.a1_in1k").channels[-1] == 512


def test_a_network_without_branches_has_none_to_drop():
    with pytest.raises(ValueError, match="timm/vgg11 has no residual branches to drop"):
        create_backbone("timm/vgg11", stochastic_depth=0.1)


def test_a_transformer_of_one_resolution_gives_its_last_maps():
    backbone = create_backbone("timm/vit_tiny_patch16_224").eval()
    assert backbone.strides == (16, 16, 16)
    assert [tuple(m.shape) for m in backbone(torch.randn(1, 3, 64, 96))] == [(1, 192, 4, 6)] * 3


def test_sizes_that_a_network_does_not_take_are_its_own_affair():
    backbone = create_backbone("timm/maxvit_tiny_tf_224", levels=(0, 1)).eval()
    with pytest.raises(ValueError, match="timm's maxvit_tiny_tf_224 does not take images of 224 x 192 pixels"):
        backbone(torch.randn(1, 3, 224, 192))


def test_memory_that_runs_out_stays_what_it_is(monkeypatch):
    backbone = create_backbone("timm/resnet18").eval()

    def run(*_arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(backbone, "run", run)
    with pytest.raises(torch.OutOfMemoryError):
        backbone(torch.randn(1, 3, 64, 64))
