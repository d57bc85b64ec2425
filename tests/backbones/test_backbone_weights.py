"""Weights from files: the right ones fit exactly, all others are refused in a sentence, and none runs code."""

import math
import os
import pickle
import re
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from foveal.backbones import WeightsError, create_backbone
from foveal.backbones.weights import read_linear_classifier

# The layers after which torchvision's networks have the map of each level.
TAPS = {
    "alexnet": (1, 4, 11, 12),
    "vgg11": (1, 4, 9, 14, 19, 20),
    "vgg16_bn": (5, 12, 22, 32, 42, 43),
    "mobilenet_v2": (1, 3, 6, 13, 18),
    "mobilenet_v3_large": (1, 3, 6, 12, 16),
    "mobilenet_v3_small": (0, 1, 3, 8, 12),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def published(name: str) -> torch.nn.Module:
    """The network of torchvision with random numbers in every tensor; of AlexNet and VGG not the classifier."""
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    small = name.startswith(("resnet", "mobilenet"))
    part = network if small else network.features
    part.to_empty(device="cpu")
    for tensor in (*part.parameters(), *part.buffers()):
        if tensor.ndim > 1:
            tensor.data.normal_(std=math.sqrt(2 / tensor[0].numel()))
        elif tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    return network.eval()


def state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Its state dict; what is left on the meta device becomes a single number."""
    return {key: torch.zeros(1) if t.is_meta else t.clone() for key, t in network.state_dict().items()}


def piecewise(network: torch.nn.Module, name: str, x: torch.Tensor) -> list[torch.Tensor]:
    if name.startswith("resnet"):
        maps = [network.relu(network.bn1(network.conv1(x)))]
        maps.append(network.layer1(network.maxpool(maps[0])))
        return [*maps, *((x2 := network.layer2(maps[1])), (x3 := network.layer3(x2)), network.layer4(x3))]
    maps = []
    for index, layer in enumerate(network.features):
        x = layer(x)
        if index in TAPS[name]:
            maps.append(x)
    return maps


def assert_same(got: list[torch.Tensor], expected: list[torch.Tensor], **tolerance: float) -> None:
    torch.testing.assert_close(list(got), list(expected), **tolerance or {"rtol": 0, "atol": 0})


@pytest.fixture
def resnet18_file(tmp_path) -> Path:
    path = tmp_path / "resnet18.pth"
    torch.save(state(published("resnet18")), path)
    return path


@pytest.mark.parametrize("name", [*TAPS, "resnet18", "resnet50"])
@torch.no_grad()
def test_published_weights_give_the_published_features(name, tmp_path):
    network, images = published(name), torch.randn(1, 3, 64, 64)
    expected = piecewise(network, name, images)
    torch.save(state(network), tmp_path / "weights.pth")
    save_file(state(network), tmp_path / "weights.safetensors")
    for file in ("weights.pth", "weights.safetensors"):
        backbone = create_backbone(name, weights=tmp_path / file).eval()
        assert_same(backbone(images), expected)
    back = network.load_state_dict(backbone.state_dict(), strict=False)
    assert back.unexpected_keys == []
    assert all(key.startswith(("fc.", "classifier.")) for key in back.missing_keys)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: {"model": weights},
        lambda weights: {f"module.{key}": value for key, value in weights.items()},
        lambda weights: (
            {f"backbone.{key}": value for key, value in weights.items() if not key.startswith("fc.")}
            | {"head.fc.weight": torch.zeros(3)}
        ),
    ],
)
@torch.no_grad()
def test_wrappings_are_opened(wrap, tmp_path):
    weights = state(published("resnet18"))
    torch.save(wrap(weights), tmp_path / "wrapped.ckpt")
    loaded = create_backbone("resnet18", weights=str(tmp_path / "wrapped.ckpt")).state_dict()
    assert all(torch.equal(loaded[key], weights[key]) for key in loaded)


@torch.no_grad()
def test_layers_that_levels_drop_are_no_error(resnet18_file):
    part = create_backbone("resnet18", weights=resnet18_file, levels=(0, 1)).eval()
    whole = create_backbone("resnet18", weights=resnet18_file).eval()
    images = torch.randn(1, 3, 64, 64)
    assert_same(part(images), whole(images)[:2])


def test_files_that_do_not_count_batches_load(resnet18_file):
    weights = {k: v for k, v in torch.load(resnet18_file).items() if not k.endswith("num_batches_tracked")}
    torch.save(weights, resnet18_file)
    assert torch.equal(
        create_backbone("resnet18", weights=resnet18_file).state_dict()["conv1.weight"], weights["conv1.weight"]
    )


@torch.no_grad()
def test_grey_image_gives_what_it_gave_as_rgb(resnet18_file):
    grey = torch.randn(1, 1, 64, 64)
    one = create_backbone("resnet18", weights=resnet18_file, in_channels=1).eval()
    three = create_backbone("resnet18", weights=resnet18_file).eval()
    assert_same(one(grey), three(grey.expand(1, 3, 64, 64)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_rgb_image_given_twice_gives_what_it_gave_once(resnet18_file):
    images = torch.randn(1, 3, 64, 64)
    six = create_backbone("resnet18", weights=resnet18_file, in_channels=6).eval()
    three = create_backbone("resnet18", weights=resnet18_file).eval()
    assert_same(six(images.repeat(1, 2, 1, 1)), three(images), rtol=1e-4, atol=1e-4)


def test_a_fourth_channel_gets_the_mean_of_the_three(resnet18_file):
    weight = torch.load(resnet18_file)["conv1.weight"]
    four = create_backbone("resnet18", weights=resnet18_file, in_channels=4).state_dict()["conv1.weight"]
    torch.testing.assert_close(four, torch.cat([weight, weight.mean(dim=1, keepdim=True)], dim=1) * 0.75)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6])
@torch.no_grad()
def test_a_grey_image_gives_what_it_gave_as_rgb(resnet18_file, channels):
    grey = torch.randn(1, 1, 64, 64)
    three = create_backbone("resnet18", weights=resnet18_file).eval()
    other = create_backbone("resnet18", weights=resnet18_file, in_channels=channels).eval()
    got, want = other(grey.expand(1, channels, 64, 64)), three(grey.expand(1, 3, 64, 64))
    for ours, theirs in zip(got, want, strict=True):  # numbers up to 90: sums in another order
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_file_with_the_wanted_channels_is_taken_as_it_is(tmp_path):
    first = create_backbone("resnet18", in_channels=4)
    torch.save(first.state_dict(), tmp_path / "four.pt")
    second = create_backbone("resnet18", in_channels=4, weights=tmp_path / "four.pt")
    assert torch.equal(first.state_dict()["conv1.weight"], second.state_dict()["conv1.weight"])
    with pytest.raises(WeightsError, match=r"1 key of another shape \(conv1.weight 64×4×7×7 instead of 64×3×7×7\)"):
        create_backbone("resnet18", weights=tmp_path / "four.pt")


def test_keys_that_do_not_fit_are_listed(tmp_path):
    weights = state(published("resnet18"))
    del weights["bn1.weight"]
    weights["bn1.bias"] = torch.zeros(3)
    weights |= {f"extra.{index}": torch.zeros(2, 5) for index in range(7)}
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(WeightsError) as caught:
        create_backbone("resnet18", weights=tmp_path / "other.pth")
    sentence = str(caught.value)
    assert "other.pth do not fit resnet18: 1 key missing (bn1.weight 64)" in sentence
    assert "7 keys unexpected (extra.0 2×5, extra.1 2×5, extra.2 2×5, extra.3 2×5, extra.4 2×5, ...)" in sentence
    assert "1 key of another shape (bn1.bias 3 instead of 64)" in sentence


def test_weights_of_another_network_are_refused(resnet18_file):
    with pytest.raises(WeightsError, match=r"do not fit resnet34: \d+ keys missing \(layer1\.2\.conv1"):
        create_backbone("resnet34", weights=resnet18_file)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value, resnet18_file):
    weights = torch.load(resnet18_file)
    weights["layer4.1.conv2.weight"][3, 2, 1, 0] = value
    torch.save(weights, resnet18_file)
    with pytest.raises(WeightsError, match=r"resnet18.pth: layer4\.1\.conv2\.weight holds NaN or infinite values"):
        create_backbone("resnet18", weights=resnet18_file)


class Hostile:
    """Unpickled, it would leave a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_is_refused_unrun(force, legacy, tmp_path, monkeypatch):
    canary, path = tmp_path / "canary", tmp_path / "hostile.pth"
    torch.save({"conv1.weight": Hostile(canary)}, path, _use_new_zipfile_serialization=not legacy)
    if force:  # torch's switch for people who trust all their files is not for files from elsewhere
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(WeightsError, match=r"hostile\.pth was refused"):
        create_backbone("resnet18", weights=path)
    assert not canary.exists()
    torch.load(path, weights_only=False)
    assert canary.exists()  # the file was a real danger


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0, 0.5])
def test_cut_files_are_refused(suffix, share, tmp_path):
    path = tmp_path / f"cut{suffix}"
    weights = create_backbone("lenet5").state_dict()
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(WeightsError, match=rf"cut{suffix} (is damaged or cut short|was refused)"):
        create_backbone("lenet5", weights=path)


def test_other_contents_are_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match=r"list\.pt holds a list without tensors"):
        create_backbone("lenet5", weights=tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "number.pt")
    with pytest.raises(WeightsError, match=r"number\.pt holds no state_dict: its entry 'epoch' is no named tensor"):
        create_backbone("lenet5", weights=tmp_path / "number.pt")
    (tmp_path / "text.pth").write_text("<html>404: not found</html>")
    with pytest.raises(WeightsError, match=r"text\.pth (is damaged|was refused)"):
        create_backbone("lenet5", weights=tmp_path / "text.pth")


@pytest.mark.parametrize("source", ["imagenet21k", "weights.onnx", "DEFAULT"])
def test_other_sources_are_refused(source):
    with pytest.raises(
        WeightsError, match=rf"weights is '{source}', but it must be None, 'imagenet' or the path of a file"
    ):
        create_backbone("lenet5", weights=source)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no file of weights .*gone\.pth: check the path\.$"):
        create_backbone("lenet5", weights=tmp_path / "gone.pth")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(WeightsError, match=r"There is no file of weights .*folder\.pth"):
        create_backbone("lenet5", weights=tmp_path / "folder.pth")


def test_linear_classifier_is_found(tmp_path):
    for name, key in (("resnet18", "fc"), ("mobilenet_v2", "classifier.1")):
        weights = state(published(name))
        torch.save(weights, tmp_path / "one.pth")
        weight, bias = read_linear_classifier(tmp_path / "one.pth", name, create_backbone(name))
        assert torch.equal(weight, weights[f"{key}.weight"]) and torch.equal(bias, weights[f"{key}.bias"])
        assert weight.shape == (1000, create_backbone(name).channels[-1])


def test_no_classifier_or_several_are_none(tmp_path):
    torch.save(state(published("mobilenet_v3_small")), tmp_path / "two.pth")
    assert (
        read_linear_classifier(tmp_path / "two.pth", "mobilenet_v3_small", create_backbone("mobilenet_v3_small"))
        is None
    )
    # ConvNeXt normalises between pooling and its linear layer.
    torch.save(torchvision.models.get_model("convnext_tiny").state_dict(), tmp_path / "norm.pth")
    assert read_linear_classifier(tmp_path / "norm.pth", "convnext_tiny", create_backbone("convnext_tiny")) is None
    backbone = create_backbone("resnet18")
    torch.save(backbone.state_dict(), tmp_path / "none.pth")
    assert read_linear_classifier(tmp_path / "none.pth", "resnet18", backbone) is None


def test_imagenet_offline_says_which_file_is_wanted_where(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def offline(*_args, **_options):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(WeightsError) as caught:
        create_backbone("resnet18", weights="imagenet")
    sentence = str(caught.value)
    assert "The ImageNet weights of resnet18 could not be downloaded from https://download.pytorch.org" in sentence
    assert "Name or service not known" in sentence
    folder = tmp_path / "hub" / "checkpoints"
    assert f"put the file resnet18-f37072fd.pth into {folder}, or give weights=PATH." in sentence


def test_imagenet_checks_the_hash_and_reads_only_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    weights, seen = state(published("resnet18")), {}

    def download(url, destination, hash_prefix, progress):
        seen.update(url=url, hash_prefix=hash_prefix)
        torch.save(weights, destination)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    backbone = create_backbone("resnet18", weights="imagenet")
    assert torch.equal(backbone.state_dict()["conv1.weight"], weights["conv1.weight"])
    assert seen == {"url": "https://download.pytorch.org/models/resnet18-f37072fd.pth", "hash_prefix": "f37072fd"}
    assert capsys.readouterr().out == ""

    seen.clear()
    weight, _ = read_linear_classifier("imagenet", "resnet18", backbone)
    assert torch.equal(weight, weights["fc.weight"])
    assert seen == {}  # kept in the cache


def test_imagenet_download_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def download(url, destination, *_hash, progress):
        Path(destination).write_bytes(pickle.dumps(Hostile(tmp_path / "canary"), protocol=2))

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(WeightsError, match=r"resnet18-f37072fd\.pth"):
        create_backbone("resnet18", weights="imagenet")
    assert not (tmp_path / "canary").exists()


def test_the_published_densenets_have_names_with_dots(tmp_path):
    weights = state(torchvision.models.densenet121())
    old = {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", key): value for key, value in weights.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "densenet121-a639ec97.pth")
    backbone = create_backbone("densenet121", weights=tmp_path / "densenet121-a639ec97.pth")
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, weights[key])


def test_networks_without_published_weights_say_so():
    with pytest.raises(WeightsError, match="lenet5 has no published ImageNet weights"):
        create_backbone("lenet5", weights="imagenet")


@torch.no_grad()
def test_real_mobilenet_weights():
    folder = os.environ.get("FOVEAL_TEST_DATA")
    path = Path(folder or "", "weights", "mobilenet_v2-b0353104.pth")
    if not folder or not path.is_file():
        pytest.skip("FOVEAL_TEST_DATA names no folder with weights/mobilenet_v2-b0353104.pth")
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict(torch.load(path, weights_only=True))
    backbone = create_backbone("mobilenet_v2", weights=path).eval()
    grey = torch.randn(2, 1, 64, 64)
    features = backbone(grey.expand(2, 3, 64, 64))[-1]
    weight, bias = read_linear_classifier(path, "mobilenet_v2", backbone)
    logits = torch.nn.functional.linear(features.mean(dim=(2, 3)), weight, bias)
    torch.testing.assert_close(logits, network.eval()(grey.expand(2, 3, 64, 64)), rtol=1e-4, atol=1e-4)
    one = create_backbone("mobilenet_v2", weights=path, in_channels=1).eval()
    torch.testing.assert_close(one(grey)[-1], features, rtol=1e-4, atol=1e-4)
