"""torchvision's own ImageNet weights of MobileNetV2 through `weights=PATH`: photographs get their right classes."""

import os
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from torchvision.models import MobileNet_V2_Weights

from foveal.cli.main import main
from foveal.core.data import preprocessing, to_tensor
from foveal.core.images import read_image
from foveal.core.options import DataOptions
from foveal.tasks.classification.options import ClassificationOptions
from foveal.tasks.classification.task import ClassificationTask

PUBLISHED = MobileNet_V2_Weights.IMAGENET1K_V1
PHOTOGRAPHS = Path(skimage.__file__).parent / "data"


@pytest.fixture(scope="module")
def weights() -> Path:
    name = PUBLISHED.url.rsplit("/", 1)[-1]
    folders = (Path(os.environ.get("FOVEAL_TEST_DATA", "-")) / "weights", Path(torch.hub.get_dir()) / "checkpoints")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"needs {name} in FOVEAL_TEST_DATA/weights or in torch's cache")


@pytest.fixture(scope="module")
def classifier(weights) -> ClassificationTask:
    """The published network with its thousand classes: the file's classifier becomes the linear head."""
    options = ClassificationOptions(backbone="mobilenet_v2", weights=str(weights))
    crop = preprocessing(DataOptions(size=224, resize="crop"))
    return ClassificationTask(options, class_names=PUBLISHED.meta["categories"], preprocessing=crop).eval()


def prepared(image: np.ndarray, classifier: ClassificationTask) -> torch.Tensor:
    return to_tensor(classifier.transform()({"image": image}, seed=0)["image"])[None]


@pytest.mark.parametrize(
    ("file", "right"),
    [
        ("chelsea.png", {"Egyptian cat", "tabby", "tiger cat"}),
        ("coffee.png", {"espresso", "cup"}),
        ("rocket.jpg", {"missile", "projectile"}),
        ("motorcycle_left.png", {"moped", "motor scooter"}),
        ("camera.png", {"tripod"}),
    ],
)
def test_a_photograph_has_its_class_among_the_first_five(file, right, classifier):
    image = read_image(PHOTOGRAPHS / file)
    batch = {"image": prepared(image, classifier), "path": [file], "size": [image.shape[:2]]}
    with torch.inference_mode():
        (prediction,) = classifier.predict(batch)
    assert right & set(prediction["names"])


def test_the_logits_are_those_of_torchvision(classifier, weights):
    from torchvision.models import mobilenet_v2

    network = mobilenet_v2().eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    image = prepared(read_image(PHOTOGRAPHS / "chelsea.png"), classifier)
    with torch.inference_mode():
        torch.testing.assert_close(classifier(image), network(classifier.normalise(image)), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_fine_tuning_beats_the_same_run_from_random_numbers(weights, real_data, tmp_path, capsys):
    import json

    scores = {}
    for name, start in (("file", str(weights)), ("random", "null")):
        line = ["train", "classification/mobilenet_v2_folder", "--data.root", str(real_data / "att_faces")]
        line += ["--model.weights", start, "--data.size", "64", "--data.resize", "squash", "--data.num_workers", "0"]
        line += ["--trainer.max_epochs", "6", "--trainer.accelerator", "cpu", "--out", str(tmp_path / name)]
        assert main(line) == 0
        capsys.readouterr()
        assert main(["evaluate", str(tmp_path / name), "--json"]) == 0
        scores[name] = json.loads(capsys.readouterr().out)["top1"]
    assert scores["file"] > scores["random"] + 0.2
