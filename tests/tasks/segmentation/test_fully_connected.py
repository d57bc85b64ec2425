"""fc6 and fc7 as convolutions start from the classifier in a VGG's file."""

import pytest
import torch
from torch import nn

from foveal.core.errors import ModelFileError, UsageError
from foveal.tasks.build import build_backbone
from foveal.tasks.segmentation.fully_connected import fill_from_vgg, fully_connected
from foveal.tasks.segmentation.options import SegmentationOptions


def fill(layers, path):
    fill_from_vgg([layers], SegmentationOptions(backbone="vgg11", weights=str(path)))
    return layers


def test_on_a_map_of_7_x_7_the_middle_is_what_the_classifier_gives(tmp_path):
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(2 * 49, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU())
    keys = {"1": "classifier.0", "3": "classifier.3"}
    state = {f"{keys[key[0]]}{key[1:]}": value for key, value in classifier.state_dict().items()}
    torch.save(state, tmp_path / "vgg.pth")
    layers = fill(fully_connected(2, 4096, kernel=7), tmp_path / "vgg.pth").eval()
    x = torch.randn(1, 2, 7, 7)
    with torch.no_grad():
        torch.testing.assert_close(layers(x)[:, :, 3, 3], classifier(x), atol=1e-5, rtol=0)


@pytest.fixture
def numbered(tmp_path):
    """A file whose weights are the numbers of their columns, and whose biases are those of their rows."""
    state = {
        "classifier.0.weight": torch.arange(98.0).expand(4096, 98),  # two channels of 7 x 7
        "classifier.3.weight": torch.arange(4096.0).expand(4096, 4096),
        "classifier.0.bias": torch.arange(4096.0),
        "classifier.3.bias": torch.arange(4096.0),
    }
    torch.save(state, tmp_path / "vgg.pth")
    return tmp_path / "vgg.pth"


def test_a_kernel_of_3_x_3_takes_the_corners_and_middles_of_7_x_7(numbered):
    fc6 = fill(fully_connected(2, 1024, kernel=3, rate=12), numbered)[0]
    expected = torch.tensor([[0.0, 3.0, 6.0], [21.0, 24.0, 27.0], [42.0, 45.0, 48.0]])
    assert torch.equal(fc6.weight[5], torch.stack([expected, 49 + expected]))


def test_of_4096_outputs_1024_layers_take_every_fourth(numbered):
    layers = fill(fully_connected(2, 1024, kernel=3), numbered)
    assert layers[0].bias[:3].tolist() == layers[3].bias[:3].tolist() == [0, 4, 8]
    assert layers[3].weight[7, :3, 0, 0].tolist() == [0, 4, 8]


def test_a_width_that_does_not_divide_4096_is_refused(numbered):
    with pytest.raises(UsageError, match=r"model.channels is 1000; .*give a divisor of 4096"):
        fill(fully_connected(2, 1000, kernel=3), numbered)


def test_a_file_of_a_backbone_alone_leaves_them_as_they_are(tmp_path):
    torch.save(build_backbone("vgg11", weights=None).state_dict(), tmp_path / "vgg.pth")
    layers = fully_connected(2, 8, kernel=3)
    before = layers[0].weight.clone()
    assert torch.equal(fill(layers, tmp_path / "vgg.pth")[0].weight, before)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"There is no file of weights .*vgg.pth"):
        fill(fully_connected(2, 8, kernel=3), tmp_path / "vgg.pth")
