"""The file of people who are enrolled: what is in it, and what is refused."""

import json
import os
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from foveal.core.errors import MachineError, ModelFileError, UsageError
from foveal.tasks.faces.gallery import Gallery, model_fingerprint

NAMES = ["Ann", "Bo\nb", "Ann", "李"]


def gallery(fingerprint="abc"):
    """Four embeddings of three people."""
    return Gallery(NAMES, torch.nn.functional.normalize(torch.randn(4, 8), dim=1), fingerprint)


def test_it_comes_back_as_it_was(tmp_path):
    one = gallery()
    one.write(tmp_path / "new" / "a.safetensors")
    found = Gallery.read(tmp_path / "new" / "a.safetensors", fingerprint="abc")
    assert found.names == NAMES and found.fingerprint == "abc"
    assert torch.equal(found.embeddings, one.embeddings)
    assert found.people() == {"Ann": 2, "Bo\nb": 1, "李": 1}


def test_nothing_else_is_in_the_file(tmp_path):
    gallery().write(tmp_path / "a.safetensors")
    assert set(load_file(tmp_path / "a.safetensors")) == {"embeddings", "names"}
    data = (tmp_path / "a.safetensors").read_bytes()
    head = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    assert json.loads(head["__metadata__"].pop("foveal_gallery")) == {"format": 1, "fingerprint": "abc"}
    assert head.pop("__metadata__") == {} and set(head) == {"embeddings", "names"}
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_an_empty_gallery_can_be_kept(tmp_path):
    Gallery([], torch.zeros(0, 8), "abc").write(tmp_path / "a.safetensors")
    assert Gallery.read(tmp_path / "a.safetensors").names == []


def test_that_of_another_model_is_refused(tmp_path):
    gallery("0123456789abcdef").write(tmp_path / "a.safetensors")
    with pytest.raises(ModelFileError, match=r"another model, .*\(fingerprint 0123456789ab, .* is fedcba987654\)"):
        Gallery.read(tmp_path / "a.safetensors", fingerprint="fedcba9876543210")
    assert Gallery.read(tmp_path / "a.safetensors").names == NAMES


@pytest.mark.parametrize("end", [0, 7, 60, -1])
def test_a_cut_file_is_refused(tmp_path, end):
    gallery().write(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:end])
    with pytest.raises(ModelFileError, match=r"b\.safetensors: not a readable gallery"):
        Gallery.read(tmp_path / "b.safetensors")


def test_other_files_are_refused(tmp_path):
    save_file({"embeddings": torch.ones(1, 8)}, tmp_path / "weights.safetensors")
    with pytest.raises(ModelFileError, match="no gallery of foveal's"):
        Gallery.read(tmp_path / "weights.safetensors")
    save_file(gallery_tensors(), tmp_path / "newer.safetensors", {"foveal_gallery": '{"format": 2}'})
    with pytest.raises(ModelFileError, match="its format is 2"):
        Gallery.read(tmp_path / "newer.safetensors")
    with pytest.raises(UsageError, match="no such file"):
        Gallery.read(tmp_path / "none.safetensors")


def gallery_tensors(**changed):
    """What a file of two people holds."""
    names = torch.frombuffer(bytearray(b'["a", "b"]'), dtype=torch.uint8)
    return {"embeddings": torch.eye(2), "names": names, **changed}


@pytest.mark.parametrize(
    "changed",
    [
        {"embeddings": torch.eye(3)},  # more than names
        {"embeddings": torch.eye(2).double()},
        {"embeddings": torch.ones(2, 2)},  # of length 1.41
        {"embeddings": torch.full((2, 2), torch.nan)},
        {"embeddings": torch.ones(2)},
        {"names": torch.zeros(5, dtype=torch.uint8)},
        {"names": torch.frombuffer(bytearray(b"[1, 2]"), dtype=torch.uint8)},
        {"names": torch.frombuffer(bytearray(b"7"), dtype=torch.uint8)},
    ],
)
def test_damaged_contents_are_refused(tmp_path, changed):
    about = {"foveal_gallery": '{"format": 1, "fingerprint": "abc"}'}
    save_file(gallery_tensors(), tmp_path / "good.safetensors", about)
    assert Gallery.read(tmp_path / "good.safetensors").names == ["a", "b"]
    save_file(gallery_tensors(**changed), tmp_path / "bad.safetensors", about)
    with pytest.raises(ModelFileError, match=r"bad\.safetensors"):
        Gallery.read(tmp_path / "bad.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    gallery("old").write(tmp_path / "a.safetensors")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="No space left"):
        gallery("new").write(tmp_path / "a.safetensors")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["a.safetensors"]
    assert Gallery.read(tmp_path / "a.safetensors").fingerprint == "old"


def test_its_owner_alone_can_read_it(tmp_path):
    gallery().write(tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o600


def test_the_fingerprint_is_of_all_that_embeddings_depend_on():
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(True), "c": torch.ones(2, dtype=torch.bfloat16)}
    one = model_fingerprint(state, {"size": 112, "mean": [0.5]})
    assert len(one) == 32 and int(one, 16) >= 0
    assert model_fingerprint(dict(reversed(state.items())), {"mean": [0.5], "size": 112}) == one
    others = [
        ({**state, "a": state["a"] + torch.tensor([0, 0, 1e-6])}, {}),
        ({**state, "a": state["a"].view(3, 2)}, {}),
        ({**state, "a": state["a"].view(torch.int32)}, {}),  # the same bits
        ({"A" if name == "a" else name: value for name, value in state.items()}, {}),
        (state, {"size": 160}),
    ]
    assert len({one, *(model_fingerprint(s, {"size": 112, "mean": [0.5], **p}) for s, p in others)}) == 6
