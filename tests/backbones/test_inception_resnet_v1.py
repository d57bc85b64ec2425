"""Inception-ResNet-v1 by the figures of its paper (Szegedy et al., 2017) and the size of the networks for faces."""

import pytest
import torch

from foveal.backbones import WeightsError, create_backbone
from foveal.backbones.inception_resnet_v1 import facenet_embedding, rename
from foveal.backbones.layers import InceptionResidual
from foveal.backbones.measure import count_parameters

# What facenet-pytorch's release calls its convolutions with batch norm, and the shapes of their weights.
STEM = {
    **{"conv2d_1a": (32, 3, 3, 3), "conv2d_2a": (32, 32, 3, 3), "conv2d_2b": (64, 32, 3, 3)},
    **{"conv2d_3b": (80, 64, 1, 1), "conv2d_4a": (192, 80, 3, 3), "conv2d_4b": (256, 192, 3, 3)},
}
BLOCK35 = {
    **{"branch0": (32, 256, 1, 1), "branch1.0": (32, 256, 1, 1), "branch1.1": (32, 32, 3, 3)},
    **{"branch2.0": (32, 256, 1, 1), "branch2.1": (32, 32, 3, 3), "branch2.2": (32, 32, 3, 3)},
}
BLOCK17 = {
    **{"branch0": (128, 896, 1, 1), "branch1.0": (128, 896, 1, 1)},
    **{"branch1.1": (128, 128, 1, 7), "branch1.2": (128, 128, 7, 1)},
}
BLOCK8 = {
    **{"branch0": (192, 1792, 1, 1), "branch1.0": (192, 1792, 1, 1)},
    **{"branch1.1": (192, 192, 1, 3), "branch1.2": (192, 192, 3, 1)},
}
MIXED_6A = {
    **{"branch0": (384, 256, 3, 3), "branch1.0": (192, 256, 1, 1), "branch1.1": (192, 192, 3, 3)},
    **{"branch1.2": (256, 192, 3, 3)},
}
MIXED_7A = {
    **{"branch0.0": (256, 896, 1, 1), "branch0.1": (384, 256, 3, 3), "branch1.0": (256, 896, 1, 1)},
    **{"branch1.1": (256, 256, 3, 3), "branch2.0": (256, 896, 1, 1), "branch2.1": (256, 256, 3, 3)},
    **{"branch2.2": (256, 256, 3, 3)},
}
PROJECTIONS = {"repeat_1": (256, 96), "repeat_2": (896, 256), "repeat_3": (1792, 384), "block8": (1792, 384)}


def release() -> dict[str, torch.Tensor]:
    """A state dict with the keys and shapes of the release for 10 people, each tensor of one number."""
    units = {
        **STEM,
        **{f"repeat_1.{block}.{key}": shape for block in range(5) for key, shape in BLOCK35.items()},
        **{f"mixed_6a.{key}": shape for key, shape in MIXED_6A.items()},
        **{f"repeat_2.{block}.{key}": shape for block in range(10) for key, shape in BLOCK17.items()},
        **{f"mixed_7a.{key}": shape for key, shape in MIXED_7A.items()},
        **{f"repeat_3.{block}.{key}": shape for block in range(5) for key, shape in BLOCK8.items()},
        **{f"block8.{key}": shape for key, shape in BLOCK8.items()},
    }
    shapes: dict[str, tuple[int, ...]] = {"last_linear.weight": (512, 1792)}
    shapes |= {"logits.weight": (10, 512), "logits.bias": (10,)}
    for path, shape in (*units.items(), ("last", (512,))):
        prefix = "last_" if path == "last" else f"{path}."
        shapes |= {f"{path}.conv.weight": shape} if path != "last" else {}
        names = ("weight", "bias", "running_mean", "running_var")
        shapes |= {f"{prefix}bn.{name}": shape[:1] for name in names} | {f"{prefix}bn.num_batches_tracked": ()}
    for path, (channels, width) in PROJECTIONS.items():
        blocks = {"repeat_2": 10, "block8": 0}.get(path, 5)
        for block in [f"{path}.{number}" for number in range(blocks)] or [path]:
            shapes |= {f"{block}.conv2d.weight": (channels, width, 1, 1), f"{block}.conv2d.bias": (channels,)}
    return {key: torch.tensor(float(number)).expand(shape) for number, (key, shape) in enumerate(shapes.items())}


@pytest.fixture(scope="module")
def shapeless():
    with torch.device("meta"):
        return create_backbone("inception_resnet_v1")


def test_parameters(shapeless):
    """23,482,624 in facenet-pytorch's InceptionResnetV1 with its embedding of 512, a linear layer with batch norm.

    27,910,327 with the classifier of the 8631 people of VGGFace2.
    """
    assert count_parameters(shapeless) == 22_564_096
    assert count_parameters(shapeless) + 1792 * 512 + 2 * 512 == 23_482_624
    assert count_parameters(shapeless) + 1792 * 512 + 2 * 512 + 513 * 8631 == 27_910_327


def test_stages(shapeless):
    assert (shapeless.channels, shapeless.strides) == ((64, 192, 256, 896, 1792), (2, 4, 8, 16, 32))
    maps = shapeless(torch.empty(1, 3, 299, 299, device="meta"))
    assert [m.shape[2] for m in maps] == [147, 71, 35, 17, 8]
    faces = shapeless(torch.empty(1, 3, 160, 160, device="meta"))
    assert tuple(faces[-1].shape) == (1, 1792, 3, 3)


def test_blocks_and_their_scales(shapeless):
    blocks = [module for module in shapeless.modules() if isinstance(module, InceptionResidual)]
    assert [block.scale for block in blocks] == [0.17] * 5 + [0.10] * 10 + [0.20] * 5 + [1.0]
    assert [isinstance(block.activation, torch.nn.ReLU) for block in blocks] == [True] * 20 + [False]


def test_auxiliary_classifier(shapeless):
    _, (read,) = shapeless.forward_with(torch.empty(1, 3, 299, 299, device="meta"), shapeless.auxiliary)
    assert tuple(read.shape) == (1, 896, 17, 17)


def test_stochastic_depth_rises():
    with torch.device("meta"):
        backbone = create_backbone("inception_resnet_v1", stochastic_depth=0.21)
    rates = [module.stochastic_depth.p for module in backbone.modules() if isinstance(module, InceptionResidual)]
    assert rates == pytest.approx([0.01 * number for number in range(1, 22)])


def test_signal_and_gradient_in_training():
    torch.manual_seed(0)
    backbone = create_backbone("inception_resnet_v1")
    maps = backbone(torch.randn(4, 3, 96, 107))
    assert all(0.1 < feature_map.std() < 10 for feature_map in maps)
    sum((m * torch.randn_like(m)).mean() for m in maps).backward()
    assert all(parameter.grad.count_nonzero() for parameter in backbone.parameters())


def test_files_of_the_release_are_read(tmp_path):
    held, path = release(), tmp_path / "20180402-114759-vggface2.pt"
    torch.save(held, path)
    got = create_backbone("inception_resnet_v1", weights=path).state_dict()
    trunk = {key: value for key, value in held.items() if not key.startswith(("last_", "logits."))}
    assert sorted(map(rename, trunk)) == sorted(got)  # each key once, and all of ours
    assert all(torch.equal(got[rename(key)].float(), value) for key, value in trunk.items())
    del held["repeat_2.9.branch1.2.conv.weight"]
    torch.save(held, path)
    missing = r"1 key missing \(block17_9\.branches\.1\.2\.0\.weight 128×128×7×1\)"
    with torch.device("meta"), pytest.raises(WeightsError, match=missing):
        create_backbone("inception_resnet_v1", weights=path)


def test_the_embedding_of_the_release():
    held = release()
    embedding = facenet_embedding(held)
    assert embedding is not None
    torch.nn.Linear(1792, 512, bias=False, device="meta").load_state_dict(embedding.linear, assign=True)
    torch.nn.BatchNorm1d(512, device="meta").load_state_dict(embedding.norm, assign=True)
    assert facenet_embedding({key: value for key, value in held.items() if not key.startswith("last_")}) is None


def test_own_and_foreign_keys_keep_their_names(shapeless):
    keys = [*shapeless.state_dict(), "logits.weight", "conv2d_1a.weight", "fc.weight", "block8."]
    assert [rename(key) for key in keys] == keys


def test_maps_are_those_of_the_release():
    """Of pixels from 0 to 255 it reads (pixel - 127.5) / 128."""
    released = pytest.importorskip("facenet_pytorch.models.inception_resnet_v1", reason="facenet-pytorch is not here")
    torch.manual_seed(0)
    reference, backbone = released.InceptionResnetV1().eval(), create_backbone("inception_resnet_v1").eval()
    state = {rename(key): value for key, value in reference.state_dict().items() if not key.startswith("last_")}
    backbone.load_state_dict(state)
    read = []
    reference.avgpool_1a.register_forward_hook(lambda _module, given, _output: read.append(given[0]))
    pixels = torch.randint(0, 256, (1, 3, 80, 80)).float()
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    with torch.no_grad():
        reference((pixels - 127.5) / 128)
        torch.testing.assert_close(backbone((pixels / 255 - mean) / std)[-1], read[0], rtol=1e-4, atol=1e-4)
