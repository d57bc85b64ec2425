"""Ready-made models: every name stands for torchvision's network, every weight has its place, and with the same weights
comes the same answer.
"""

import warnings

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms.functional import InterpolationMode, center_crop, resize

import foveal
from foveal.core.errors import ModelFileError, UsageError
from foveal.core.transforms import Transform, resize_steps
from foveal.tasks import is_ready_made, published
from foveal.tasks.ready_made import build_ready_made, find_ready_made, list_ready_made

MODELS = list_ready_made()
LARGE = 60_000_000  # parameters, from which building takes seconds
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if model.entry.meta["num_params"] > LARGE else [])
    for name, model in MODELS.items()
]


def theirs(name: str, **options) -> torch.nn.Module:
    """A network of torchvision's, with random weights."""
    data_set, network = name.split("/")
    options |= {} if data_set == "imagenet" else {"weights_backbone": None}
    options |= {"aux_loss": True} if data_set == "voc" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of GoogLeNet's initialisation
        return torchvision.models.get_model(network, weights=None, **options).eval()


def on_meta(name: str) -> torch.nn.Module:
    if "/regnet" in name:  # whose construction computes with tensors
        return theirs(name).to("meta")
    with torch.device("meta"):
        return theirs(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_of_the_published_network_has_a_place(name):
    model, weights = MODELS[name], on_meta(name).state_dict()
    with torch.device("meta"):
        task = build_ready_made(model)
    fill = published(model.task).fill
    fill(task, dict(weights), model.options, model.class_names)
    used = [key for key in weights if not key.lower().startswith("aux") and "num_batches_tracked" not in key]
    for key in (used[0], used[-1]):
        less = {other: value for other, value in weights.items() if other != key}
        with pytest.raises(ModelFileError, match="do not fit"):
            fill(task, less, model.options, model.class_names)
    assert len(task.class_names) == {"imagenet": 1000, "coco": 80, "voc": 21}[name.split("/")[0]]


def test_classes_have_the_names_that_other_files_give_them():
    assert MODELS["imagenet/resnet50"].class_names[:2] == ["tench", "goldfish"]
    assert MODELS["coco/ssd300_vgg16"].class_names[-2:] == ["hair drier", "toothbrush"]
    assert MODELS["voc/fcn_resnet50"].class_names[:2] == ["background", "aeroplane"]


@pytest.mark.parametrize(
    "network",
    [
        "alexnet",
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "googlenet",
        "inception_v3",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "regnet_y_400mf",
        "resnet18",
        "shufflenet_v2_x0_5",
        "squeezenet1_1",
        "swin_t",
        pytest.param("efficientnet_v2_l", marks=pytest.mark.slow),
        pytest.param("vgg11", marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_the_logits_are_torchvisions(network):
    name = f"imagenet/{network}"
    options = {"transform_input": True, "init_weights": False} if network in ("googlenet", "inception_v3") else {}
    reference = theirs(name, **options)
    model = MODELS[name]
    task = build_ready_made(model)
    published("classification").fill(task, reference.state_dict(), model.options, model.class_names)
    images = torch.randint(256, (2, 3, 128, 96), dtype=torch.uint8)
    wanted = model.entry.transforms()
    normalised = torchvision.transforms.functional.normalize(images / 255, wanted.mean, wanted.std)
    expected, found = reference(normalised), task.eval()(images)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4 * float(expected.std()))


PHOTOGRAPH = np.array(
    Image.fromarray(np.random.default_rng(0).integers(256, size=(24, 32, 3), dtype=np.uint8)).resize((451, 300))
)
FIRST_OF_A_KIND = {
    (wanted.crop_size[0], wanted.resize_size[0], wanted.interpolation): model
    for model in reversed(list(list_ready_made("imagenet/*").values()))
    for wanted in [model.entry.transforms()]
}


@pytest.mark.parametrize("model", FIRST_OF_A_KIND.values(), ids=lambda model: model.name)
@pytest.mark.parametrize("turned", [False, True])
def test_an_image_is_resized_and_cut_as_by_torchvisions_transforms(model, turned):
    image = PHOTOGRAPH.transpose(1, 0, 2) if turned else PHOTOGRAPH
    wanted = model.entry.transforms()
    expected = resize(Image.fromarray(image), wanted.resize_size, wanted.interpolation)
    expected = np.asarray(center_crop(expected, wanted.crop_size))
    preprocessing = published("classification").preprocessing(model.entry, model.options)
    found = Transform(resize_steps(preprocessing))({"image": image}, 0)["image"]
    assert np.array_equal(found, expected)


def test_the_middle_of_a_long_image_is_nearly_the_same():
    model = MODELS["imagenet/resnet50"]
    image = np.array(Image.fromarray(PHOTOGRAPH).resize((1800, 300)))  # six times as wide as high
    expected = center_crop(resize(Image.fromarray(image), [232], InterpolationMode.BILINEAR), [224])
    preprocessing = published("classification").preprocessing(model.entry, model.options)
    found = Transform(resize_steps(preprocessing))({"image": image}, 0)["image"]
    difference = np.abs(found - np.asarray(expected, np.int16))
    assert difference.max() <= 2 and difference.mean() < 0.1  # of 255


def test_what_a_crop_throws_away_is_never_made():
    preprocessing = published("classification").preprocessing(MODELS["imagenet/resnet50"].entry, None)
    line = np.zeros((1, 60_000, 3), np.uint8)  # torchvision would make 3.2 billion pixels of it
    assert Transform(resize_steps(preprocessing))({"image": line}, 0)["image"].shape == (224, 224, 3)


@pytest.mark.parametrize("sides", [(300, 451), (451, 300), (97, 120), (1300, 2400)])
def test_an_image_is_resized_as_by_torchvisions_segmenters(sides):
    model = MODELS["voc/fcn_resnet50"]
    image = np.array(Image.fromarray(PHOTOGRAPH).resize(sides[::-1]))
    expected = np.asarray(resize(Image.fromarray(image), [520], InterpolationMode.BILINEAR))
    preprocessing = published("segmentation").preprocessing(model.entry, model.options)
    assert np.array_equal(Transform(resize_steps(preprocessing))({"image": image}, 0)["image"], expected)
    assert Transform(resize_steps(preprocessing))({"image": image[:8]}, 0)["image"].shape[1] == 2080  # 4 x 520


@pytest.mark.parametrize("name", list_ready_made("coco/*"))
@pytest.mark.parametrize("sides", [(60, 90), (480, 640), (1300, 2400)])
@torch.no_grad()
def test_an_image_is_resized_and_normalised_as_by_torchvisions_detectors(name, sides):
    transform = on_meta(name).transform
    with torch.device("cpu"):
        image = np.array(Image.fromarray(PHOTOGRAPH).resize(sides[::-1]))
        given = [torch.from_numpy(image).permute(2, 0, 1) / 255]
        expected = transform(given)[0]
    model = MODELS[name]
    task = build_ready_made(model) if name == "coco/ssd300_vgg16" else None
    preprocessing = published("detection").preprocessing(model.entry, model.options)
    found = torch.from_numpy(Transform(resize_steps(preprocessing))({"image": image}, 0)["image"])
    (height, width) = expected.image_sizes[0]
    assert found.shape[:2] == (height, width)
    mean, std = torch.tensor(preprocessing["mean"]), torch.tensor(preprocessing["std"])
    levels = expected.tensors[0, :, :height, :width].permute(1, 2, 0) * std + mean
    assert (found - 255 * levels).abs().max() < 1.01  # OpenCV rounds to whole levels
    assert task is None or task.preprocessing == preprocessing


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("imagenet/resnet51", "imagenet/resnet50"),
        ("coco/fasterrcnn_resnet50_fpn_v3", "coco/fasterrcnn_resnet50_fpn_v2"),
        ("voc/deeplab_resnet50", "voc/deeplabv3_resnet50"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(name, near):
    with pytest.raises(UsageError, match=f"no checkpoint or ready-made model '{name}'; the nearest are .*{near}"):
        foveal.load(name)


def test_a_file_of_that_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_ready_made("imagenet/resnet50") and not is_ready_made("runs/imagenet/resnet50")
    (tmp_path / "imagenet" / "resnet50").mkdir(parents=True)
    assert not is_ready_made("imagenet/resnet50")


def test_what_was_published_with_is_found_by_the_files_hash(tmp_path, monkeypatch):
    """Of two sets of weights for one network, 256 and 232 pixels are cut to 224."""
    path = tmp_path / "any_name.pth"
    torch.save(theirs("imagenet/mobilenet_v2").state_dict(), path)
    assert foveal.load("imagenet/mobilenet_v2", weights=path).preprocessing["crop_from"] == 232  # the newest

    class Digest:
        def hexdigest(self):
            return "b0353104" + 56 * "0"

    monkeypatch.setattr("foveal.tasks.ready_made.hashlib.file_digest", lambda *_: Digest())
    assert foveal.load("imagenet/mobilenet_v2", weights=path).preprocessing["crop_from"] == 256


def test_names_match_a_pattern():
    assert list(list_ready_made("voc/fcn*")) == ["voc/fcn_resnet50", "voc/fcn_resnet101"]
    assert find_ready_made("imagenet/googlenet").options.backbone == "googlenet_bn"
