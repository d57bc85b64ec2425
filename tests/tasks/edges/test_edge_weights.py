"""Files of trained HED and RCF in the layouts of others: loaded, they give what those networks gave."""

import re
from functools import partial

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from foveal.core.data import IMAGENET_MEAN, IMAGENET_STD
from foveal.core.errors import ModelFileError
from foveal.tasks.build import build_backbone
from foveal.tasks.edges.head import detect_edges
from foveal.tasks.edges.heads import HEADS
from foveal.tasks.edges.weights import CAFFE_MEAN, edge_weights, load_edge_weights

CONVOLUTIONS = [(1, 1), (1, 2), (2, 1), (2, 2), *((s, n) for s in (3, 4, 5) for n in (1, 2, 3))]
CHANNELS = (64, 128, 256, 512, 512)


def caffe(*, rcf: bool = False) -> dict[str, torch.Tensor]:
    """A whole network under Caffe's names, for BGR from 0 to 255 less Caffe's mean."""
    random = torch.Generator().manual_seed(0)
    weights, before = {}, 3
    for stage, number in CONVOLUTIONS:
        after = CHANNELS[stage - 1]
        spread = (2 / (9 * before)) ** 0.5 / (100 if (stage, number) == (1, 1) else 1)
        weights[f"conv{stage}_{number}.weight"] = spread * torch.randn(after, before, 3, 3, generator=random)
        weights[f"conv{stage}_{number}.bias"] = 0.1 * torch.randn(after, generator=random)
        before = after
        if rcf:
            weights[f"conv{stage}_{number}_down.weight"] = 0.1 * torch.randn(21, after, 1, 1, generator=random)
            weights[f"conv{stage}_{number}_down.bias"] = torch.randn(21, generator=random)
    for stage, channels in enumerate(CHANNELS, 1):
        weights[f"score_dsn{stage}.weight"] = 0.1 * torch.randn(1, 21 if rcf else channels, 1, 1, generator=random)
        weights[f"score_dsn{stage}.bias"] = torch.randn(1, generator=random)
    fuse = "score_fuse" if rcf else "score_final"
    return weights | {f"{fuse}.weight": torch.rand(1, 5, 1, 1, generator=random), f"{fuse}.bias": torch.zeros(1)}


def bilinear(side: int) -> torch.Tensor:
    ramp = 1 - (torch.arange(side) - (side - 1) / 2).abs() / (side / 2)
    return torch.outer(ramp, ramp)[None, None]


def save_xwjabc(path, weights):
    torch.save({"net": {f"module.{key}": value for key, value in weights.items()}, "epoch": 40, "opt": {}}, path)


def save_prototxt(path, weights):
    named = {key.replace("score_dsn", "score-dsn"): value for key, value in weights.items()}
    named = {key.replace("score_final", "new-score-weighting"): value for key, value in named.items()}
    torch.save(named | {f"upsample_{side // 2}.weight": bilinear(side) for side in (4, 8, 16, 32)}, path)


def sniklaus(weights, prefix):
    stages, named = ("One", "Two", "Thr", "Fou", "Fiv"), {}
    for key, value in weights.items():
        if match := re.fullmatch(r"conv(\d)_(\d)\.(\w+)", key):
            stage, number = int(match[1]), int(match[2])
            index = 2 * (number - 1) + (stage > 1)
            named[f"{prefix}Vgg{stages[stage - 1]}.{index}.{match[3]}"] = value
        elif match := re.fullmatch(r"score_dsn(\d)\.(\w+)", key):
            named[f"{prefix}Score{stages[int(match[1]) - 1]}.{match[2]}"] = value
        else:
            named[key.replace("score_final", f"{prefix}Combine.0")] = value
    return named


def save_net(path, weights):
    torch.save(sniklaus(weights, "net"), path)


def save_module(path, weights):
    torch.save(sniklaus(weights, "module"), path)


def keras_arrays(weights) -> dict[str, np.ndarray]:
    arrays = {}
    for key, value in weights.items():
        layer, kind = key.split(".")
        layer = re.sub(r"conv(\d)_(\d)", r"block\1_conv\2", layer)
        layer = re.sub(r"score_dsn(\d)", lambda match: f"conv2d_{int(match[1]) + 5}", layer)  # not the first model
        layer = layer.replace("score_final", "ofuse")
        if (layer, kind) != ("ofuse", "bias"):
            arrays[f"{layer}/{layer}/{'kernel' if kind == 'weight' else 'bias'}:0"] = (
                value.permute(2, 3, 1, 0).numpy() if value.ndim == 4 else value.numpy()
            )
    for number, side in enumerate((4, 8, 16, 32), 1):
        layer = f"conv2d_transpose_{number}"
        arrays[f"{layer}/{layer}/kernel:0"] = bilinear(side).permute(2, 3, 1, 0).numpy()
    return arrays


def save_keras(path, weights, above=""):
    with h5py.File(path, "w") as file:
        for name, array in keras_arrays(weights).items():
            file[above + name] = array
        file["optimizer_weights/SGD/block1_conv1/kernel:0"] = np.zeros((3, 3, 3, 64), np.float32)


def save_keras_model(path, weights):
    save_keras(path, weights, above="model_weights/")


def save_keras_numbered(path, weights):
    with h5py.File(path, "w") as file:
        for name, array in keras_arrays(weights).items():
            file[name.replace("ofuse", "conv2d_11")] = array


def made(head: str, name: str = "vgg16"):
    backbone, module = HEADS[head](partial(build_backbone, name, weights=None), name)
    return backbone.eval(), module.eval()


def originals(weights, image: torch.Tensor) -> list[torch.Tensor]:
    """What the HED of these weights, as released, says of an image, uint8 RGB: see test_hed.py for its geometry."""
    x = image.flip(1).float() - torch.tensor(CAFFE_MEAN).flip(0).view(1, 3, 1, 1)
    x, sides = F.pad(x, (34, 34, 34, 34)), []
    for stage in range(1, 6):
        x = x if stage == 1 else F.max_pool2d(x, 2)
        for _, number in (pair for pair in CONVOLUTIONS if pair[0] == stage):
            name = f"conv{stage}_{number}"
            x = F.relu(F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1))
        score = F.conv2d(x, weights[f"score_dsn{stage}.weight"], weights[f"score_dsn{stage}.bias"])
        size = [side + 68 for side in image.shape[2:]]
        score = F.interpolate(score, size, mode="bilinear", align_corners=False)
        sides.append(score[:, :, 34:-34, 34:-34])
    return [*sides, F.conv2d(torch.cat(sides, dim=1), weights["score_final.weight"], weights["score_final.bias"])]


def normalised(image: torch.Tensor, mean=IMAGENET_MEAN, std=IMAGENET_STD) -> torch.Tensor:
    return (image / 255 - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("save", "suffix"),
    [
        (save_xwjabc, ".pt"),
        (save_prototxt, ".pth"),
        (save_net, ".pth"),
        (save_module, ".pth"),
        (save_keras, ".h5"),
        (save_keras_model, ".hdf5"),
        (save_keras_numbered, ".h5"),
    ],
)
def test_hed_of_each_layout_gives_what_the_original_gives(save, suffix, tmp_path):
    weights, path = caffe(), str(tmp_path / f"hed{suffix}")
    save(path, weights)
    backbone, head = made("hed")
    read = edge_weights(path)
    assert read is not None
    # With Caffe's mean the first convolution is the same at the border too.
    mean = [level / 255 for level in CAFFE_MEAN]
    load_edge_weights(backbone, head, read, source=path, mean=mean, std=IMAGENET_STD)
    image = torch.randint(0, 256, (1, 3, 44, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = detect_edges(backbone, head, normalised(image, mean)), originals(weights, image)
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.std() > 0.01 and torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.std()))


def test_with_imagenets_mean_the_difference_is_a_level_at_the_border(tmp_path):
    weights, path = caffe(), str(tmp_path / "hed.pth")
    save_prototxt(path, weights)
    backbone, head = made("hed")
    load_edge_weights(backbone, head, edge_weights(path), source=path)
    image = torch.randint(0, 256, (1, 3, 44, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = detect_edges(backbone, head, normalised(image)), originals(weights, image)
    inside = (..., slice(2, -2), slice(2, -2))  # conv1_2 sees 5 x 5 pixels, and there none of the margin
    assert torch.allclose(found[0][inside], expected[0][inside], rtol=1e-3, atol=1e-3)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().mean() < 0.02 * theirs.std()


def test_rcf_is_loaded_with_all_of_its_convolutions(tmp_path):
    weights, path = caffe(rcf=True), str(tmp_path / "rcf.pth")
    torch.save(weights, path)
    backbone, head = made("rcf")
    load_edge_weights(backbone, head, edge_weights(path), source=path)
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    for (stage, number), conv in list(zip(CONVOLUTIONS, convolutions, strict=True))[1:]:
        assert conv.weight.equal(weights[f"conv{stage}_{number}.weight"])
        assert head.reductions[stage - 1][number - 1].weight.equal(weights[f"conv{stage}_{number}_down.weight"])
    assert head.sides[4].bias.equal(weights["score_dsn5.bias"]) and head.fuse.weight.equal(weights["score_fuse.weight"])


def test_files_that_are_no_edge_detectors_are_left_to_the_backbone(tmp_path):
    torch.save(nn.Conv2d(1, 1, 1).state_dict(), tmp_path / "other.pth")
    assert edge_weights(str(tmp_path / "other.pth")) is edge_weights("imagenet") is edge_weights(None) is None


def changed(weights, **changes):
    weights = dict(weights)
    for key, value in changes.items():
        weights[key.replace("__", ".")] = value
    return {key: value for key, value in weights.items() if value is not None}


@pytest.mark.parametrize(
    ("weights", "head", "name", "sentence"),
    [
        (lambda: changed(caffe(), conv3_2__bias=None), "hed", "vgg16", r"12.bias \(conv3_2.bias in Caffe\) is missing"),
        (lambda: changed(caffe(), conv6_1__bias=torch.zeros(3)), "hed", "vgg16", "conv6_1.bias is not known"),
        (lambda: changed(caffe(), score_dsn2__bias=torch.zeros(2)), "hed", "vgg16", r"is \(2,\) instead of \(1,\)"),
        (lambda: changed(caffe(), upsample_2__weight=torch.ones(1, 1, 4, 4)), "hed", "vgg16", "is a learnt filter"),
        (lambda: changed(caffe(), conv2_1__bias=torch.full((128,), torch.nan)), "hed", "vgg16", "holds NaN"),
        (caffe, "rcf", "vgg16", "do not fit this edge detector"),
        (caffe, "hed", "vgg19", "do not fit this edge detector"),
        (caffe, "hed", "resnet18", "do not fit this edge detector"),
    ],
)
def test_other_weights_are_refused_and_change_nothing(weights, head, name, sentence):
    backbone, module = made(head, name)
    before = {key: value.clone() for part in (backbone, module) for key, value in part.state_dict().items()}
    with pytest.raises(ModelFileError, match=sentence):
        load_edge_weights(backbone, module, weights(), source="a.pth")
    after = {key: value for part in (backbone, module) for key, value in part.state_dict().items()}
    assert all(value.equal(after[key]) for key, value in before.items())


def test_a_keras_file_may_not_lead_out_of_itself(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["kernel:0"] = np.zeros((3, 3, 3, 64), np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["block1_conv1/block1_conv1/kernel:0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/kernel:0")
        file["itself"] = file["/"]
    with pytest.raises(ModelFileError, match="no kernels of named layers"):
        edge_weights(str(tmp_path / "a.h5"))


def test_a_keras_file_with_an_array_that_unpacks_to_gigabytes(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a/a/kernel:0", (2**14, 2**14), np.float32, chunks=(2**10, 2**10))
    with pytest.raises(ModelFileError, match="at most 67 million"):
        edge_weights(str(tmp_path / "a.h5"))


def test_a_keras_file_is_found_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.h5").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelFileError, match="is no HDF5 file"):
        edge_weights("~/a.h5")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelFileError, match="is no HDF5 file"):
        edge_weights(str(tmp_path / "a.h5"))
    for name in ("b.h5", "b.pth"):
        with pytest.raises(ModelFileError, match="There is no file of weights"):
            edge_weights(str(tmp_path / name))
    (tmp_path / "a.pth").write_bytes(b"PK\x03\x04 a zip, cut short")
    with pytest.raises(ModelFileError, match="damaged or cut short"):
        edge_weights(str(tmp_path / "a.pth"))
