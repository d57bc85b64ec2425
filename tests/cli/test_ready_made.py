"""`foveal predict imagenet/resnet18 FOLDER`: what torchvision's own network and transforms say."""

import json
import os
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import skimage
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from foveal.cli.main import main
from foveal.core.types import Preprocessing

REAL = Path(os.environ.get("FOVEAL_TEST_DATA", "-"), "weights", "mobilenet_v2-b0353104.pth")


def predict(name: str, path: Path, out: Path, *options: str) -> int:
    return main(["predict", name, str(path), "--out", str(out), "--num-workers", "0", "--device", "cpu", *options])


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def opened(line: dict) -> Image.Image:
    return Image.open(line["path"]).convert("RGB")


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory) -> Path:
    """A file of random weights under which some classes are far likelier than others."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    nn.init.normal_(network.fc.weight, std=1.0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(network.state_dict(), path)
    return path


@torch.no_grad()
def test_a_classifier_says_what_torchvisions_says(resnet18, blobs, tmp_path):
    assert predict("imagenet/resnet18", blobs, tmp_path / "out", "--weights", str(resnet18)) == 0
    network = torchvision.models.resnet18().eval()
    network.load_state_dict(torch.load(resnet18, weights_only=True))
    published = torchvision.models.ResNet18_Weights.DEFAULT
    transforms = published.transforms()
    found = lines(tmp_path / "out")
    assert len(found) == 16
    for line in found:
        expected = network(transforms(opened(line))[None]).softmax(dim=1)[0].topk(5)
        assert line["labels"] == expected.indices.tolist()
        assert line["names"] == [published.meta["categories"][label] for label in line["labels"]]
        assert line["scores"] == pytest.approx(expected.values.tolist(), abs=1e-4)


@torch.no_grad()
def test_a_detector_says_what_torchvisions_says(blobs, tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None).eval()
    for name, weights in network.named_parameters():
        if weights.ndim == 4:
            nn.init.kaiming_normal_(weights) if "head" not in name else nn.init.normal_(weights, std=0.0003)
    categories = torchvision.models.detection.SSD300_VGG16_Weights.COCO_V1.meta["categories"]
    nothing = [number for number, name in enumerate(categories) if name == "N/A"]
    for layer in network.head.classification_head.module_list:
        layer.bias.data.view(-1, 91)[:, nothing] = -30  # as after training: these numbers stand for nothing
    torch.save(network.state_dict(), tmp_path / "ssd.pth")
    (tmp_path / "in").mkdir()
    for path in (blobs / "circle" / "00.png", blobs / "square" / "00.png"):  # resized here: that has a test of its own
        Image.open(path).resize((300, 300)).save(tmp_path / "in" / f"{path.parent.name}.png")
    line = ["--weights", str(tmp_path / "ssd.pth"), "--score", "0.4"]
    assert predict("coco/ssd300_vgg16", tmp_path / "in", tmp_path / "out", *line) == 0
    found = lines(tmp_path / "out")
    assert len(found) == 2
    for line in found:
        expected = network([torch.from_numpy(np.array(opened(line))).permute(2, 0, 1) / 255])[0]
        sure = expected["scores"] >= 0.4
        assert sure.sum() > 4  # no empty comparison
        assert line["names"] == [categories[label] for label in expected["labels"][sure]]
        assert line["scores"] == pytest.approx(expected["scores"][sure].tolist(), abs=1e-4)
        np.testing.assert_allclose(line["boxes"], expected["boxes"][sure], atol=0.01)


@torch.no_grad()
def test_a_segmenter_says_what_torchvisions_says(blobs, tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()(torch.randn(2, 3, 64, 64))  # statistics under which the maps keep their scale
    nn.init.normal_(network.eval().classifier[4].weight, std=0.2)
    save_file(network.state_dict(), tmp_path / "fcn.safetensors")
    image = Image.open(sorted(blobs.rglob("*.png"))[0]).resize((150, 130))
    image.save(tmp_path / "a.png")
    line = ["--weights", str(tmp_path / "fcn.safetensors"), "--probabilities"]
    assert predict("voc/fcn_resnet50", tmp_path / "a.png", tmp_path / "out", *line) == 0
    (found,) = lines(tmp_path / "out")
    published = torchvision.models.segmentation.FCN_ResNet50_Weights.DEFAULT
    expected = network(published.transforms()(image)[None])["out"].softmax(dim=1)
    assert expected.shape == (1, 21, 520, 600)
    expected = nn.functional.interpolate(expected, (130, 150), mode="bilinear")[0].numpy()
    probabilities = np.load(tmp_path / "out" / found["probabilities"])
    np.testing.assert_allclose(probabilities, expected, atol=2e-3)  # float16
    mask = np.asarray(Image.open(tmp_path / "out" / found["mask"]))
    assert len(np.unique(mask)) > 2 and (mask == expected.argmax(axis=0)).mean() > 0.999
    shares = np.bincount(mask.ravel(), minlength=21)
    names = ["background", *published.meta["categories"][1:]]
    assert found["names"] == [names[label] for label in found["labels"]]
    assert found["pixels"] == shares[found["labels"]].tolist()


@pytest.mark.skipif(not REAL.is_file(), reason="needs mobilenet_v2-b0353104.pth in FOVEAL_TEST_DATA/weights")
@torch.no_grad()
def test_real_weights_name_what_is_in_photographs(tmp_path):
    right = {
        "chelsea.png": {"Egyptian cat"},
        "coffee.png": {"espresso"},
        "motorcycle_left.png": {"moped", "motor scooter"},
        "camera.png": {"tripod"},
        "rocket.jpg": {"space shuttle", "missile"},
    }
    (tmp_path / "photographs").mkdir()
    for name in right:
        (tmp_path / "photographs" / name).symlink_to(Path(skimage.__file__).parent / "data" / name)
    line = ["--weights", str(REAL)]
    assert predict("imagenet/mobilenet_v2", tmp_path / "photographs", tmp_path / "out", *line) == 0
    found = {Path(line["path"]).name: line for line in lines(tmp_path / "out")}
    firsts = {name: set(line["names"][: 3 if name == "rocket.jpg" else 1]) for name, line in found.items()}
    assert all(firsts[name] & names for name, names in right.items()) and len(found) == 5
    network = torchvision.models.mobilenet_v2().eval()
    network.load_state_dict(torch.load(REAL, weights_only=True))
    transforms = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()  # the file's own, not the newest
    for line in found.values():
        expected = network(transforms(opened(line))[None]).softmax(dim=1)[0].topk(5)
        assert line["labels"] == expected.indices.tolist()
        assert line["scores"] == pytest.approx(expected.values.tolist(), abs=1e-4)


def test_the_same_command_goes_on_and_other_weights_are_another_run(resnet18, blobs, tmp_path, capsys):
    line = ["--weights", str(resnet18)]
    assert predict("imagenet/resnet18", blobs / "circle", tmp_path / "out", *line) == 0
    capsys.readouterr()
    assert predict("imagenet/resnet18", blobs / "circle", tmp_path / "out", *line) == 0
    assert "Done already" in capsys.readouterr().out
    other = torch.load(resnet18, weights_only=True)
    other["fc.bias"] += 1
    torch.save(other, tmp_path / "other.pth")
    line = ["--weights", str(tmp_path / "other.pth")]
    assert predict("imagenet/resnet18", blobs / "circle", tmp_path / "out", *line) == 2


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """An empty cache of torch's, and no network; the folder in which the cache keeps its files."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def fail(*_args, **_options):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_without_a_network_the_sentence_says_what_to_fetch_and_where_to_put_it(offline, blobs, tmp_path, capsys):
    assert predict("coco/ssd300_vgg16", blobs, tmp_path / "out") == 4
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "weights of coco/ssd300_vgg16 could not be downloaded" in sentence
    assert "https://download.pytorch.org/models/ssd300_vgg16_coco-b556d3b4.pth" in sentence
    assert f"into {offline}, or give the file as --weights FILE." in sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("recipe", "weights", "what"),
    [
        ("classification/resnet18_folder", "imagenet", "ImageNet weights of resnet18"),
        ("detection/fasterrcnn_resnet50_coco", "coco", "COCO weights of fasterrcnn_resnet50_fpn"),
        ("segmentation/fcn_resnet50_voc", "coco", "COCO weights of fcn_resnet50"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_a_training_that_begins_with_published_weights_says_the_same(recipe, weights, what, tmp_path, capsys):
    own = ["--data.format", "shapes", "--data.root", "null", "--data.images", "20", "--data.num_workers", "0"]
    assert main(["train", recipe, "--model.weights", weights, *own, "--out", str(tmp_path / "run")]) == 4
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert f"The {what} could not be downloaded from https://download.pytorch.org/models/" in sentence


def test_weights_in_torchs_cache_are_used(offline, resnet18, blobs, tmp_path, capsys):
    offline.mkdir(parents=True)
    (offline / "resnet18-f37072fd.pth").symlink_to(resnet18)
    assert predict("imagenet/resnet18", blobs / "circle", tmp_path / "out") == 0
    assert len(lines(tmp_path / "out")) == 8
    capsys.readouterr()
    assert main(["list", "models", "imagenet/resnet[13]*"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == [
        "NAME", "imagenet/resnet18", "imagenet/resnet34", "imagenet/resnet101", "imagenet/resnet152",
    ]  # fmt: skip
    assert rows[1][1:] == ["1,000", "11,689,512", "top-1", "69.8", "%", "is", "here", "classification"]
    assert rows[2][1:] == ["1,000", "21,797,672", "top-1", "73.3", "%", "83", "MB", "classification"]


def _without_its_classifier(path: Path) -> None:
    weights = torchvision.models.resnet18().state_dict()
    torch.save({key: value for key, value in weights.items() if not key.startswith("fc.")}, path)


def _of_ten_classes(path: Path) -> None:
    torch.save(torchvision.models.resnet18(num_classes=10).state_dict(), path)


def _of_another_network(path: Path) -> None:
    torch.save(torchvision.models.resnet34().state_dict(), path)


def _of_a_training_that_failed(path: Path) -> None:
    weights = torchvision.models.resnet18().state_dict()
    weights["fc.bias"][3] = torch.nan
    torch.save(weights, path)


def _cut(path: Path) -> None:
    _of_ten_classes(path)
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without_its_classifier, "do not fit torchvision's resnet18 with 1,000 classes (2 keys, the first: head."),
        (_of_ten_classes, "do not fit torchvision's resnet18 with 1,000 classes (2 keys, the first: head."),
        (_of_another_network, "do not fit torchvision's resnet18"),
        (_of_a_training_that_failed, "fc.bias holds NaN or infinite values"),
        (_cut, "is damaged or cut short"),
        (lambda path: None, "There is no file of weights"),
    ],
)
def test_a_wrong_file_is_refused(spoil, said, blobs, tmp_path, capsys):
    spoil(tmp_path / "file.pth")
    assert predict("imagenet/resnet18", blobs, tmp_path / "out", "--weights", str(tmp_path / "file.pth")) == 6
    error = capsys.readouterr().err
    assert said in error and "file.pth" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_weights_of_a_backbone_are_no_detector(resnet18, blobs, tmp_path, capsys):
    assert predict("coco/fcos_resnet50_fpn", blobs, tmp_path / "out", "--weights", str(resnet18)) == 6
    assert "do not fit this detector" in capsys.readouterr().err


def test_a_wrong_name_and_a_file_of_weights_beside_a_checkpoint(resnet18, digits_run, blobs, tmp_path, capsys):
    assert predict("imagenet/resnet181", blobs, tmp_path / "out") == 2
    assert "'imagenet/resnet181'; the nearest are imagenet/resnet18" in capsys.readouterr().err
    assert predict(str(digits_run), blobs, tmp_path / "out", "--weights", str(resnet18)) == 2
    assert "goes with a ready-made model" in capsys.readouterr().err


def test_info_needs_no_weights(offline, capsys):
    assert main(["info", "voc/deeplabv3_resnet50", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert (entry["task"], len(entry["class_names"]), entry["parameters"]) == ("segmentation", 21, 42_004_074)
    assert entry["preprocessing"] == Preprocessing(
        size=520,
        resize="shorter",
        longest=4.0,
        filter="bilinear",
        grey=False,
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
    )
    assert entry["published"]["mIoU"] == "66.4 %"
    assert main(["info", "voc/deeplabv3_resnet50"]) == 0
    assert "(not here yet)" in capsys.readouterr().out.replace("\n", "")
