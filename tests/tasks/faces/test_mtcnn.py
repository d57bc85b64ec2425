"""MTCNN: its networks' sizes, its pyramid, boxes and suppression by hand, and the published weights where they are."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from foveal.core.errors import ModelFileError, UsageError
from foveal.tasks.faces.align import align, reference_landmarks, similarity
from foveal.tasks.faces.detector import DETECTORS, build_detector
from foveal.tasks.faces.mtcnn import (
    Mtcnn,
    MtcnnNetworks,
    OutputNetwork,
    ProposalNetwork,
    RefinementNetwork,
    crops,
    moved,
    nms_by_smaller,
    pyramid,
    squared,
)
from foveal.tasks.faces.mtcnn_weights import load_mtcnn, our_weights, save_mtcnn


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_sizes_of_the_networks():
    """Weights by hand, P-Net: 270 + 10 + 10, 1440 + 16 + 16, 4608 + 32 + 32, 66, 132 (figure 2, with PReLUs)."""
    counts = [sum(p.numel() for p in net().parameters()) for net in (ProposalNetwork, RefinementNetwork, OutputNetwork)]
    assert counts == [6632, 100178, 389040]
    maps = ProposalNetwork(landmarks=True)(torch.zeros(2, 3, 12, 20))
    assert [each.shape for each in maps] == [(2, 2, 1, 5), (2, 4, 1, 5), (2, 10, 1, 5)]
    found = OutputNetwork()(torch.zeros(2, 3, 48, 48))
    assert [each.shape for each in found] == [(2, 2), (2, 4), (2, 10)]
    assert RefinementNetwork()(torch.zeros(2, 3, 24, 24)).landmarks is None


def test_the_pyramid_begins_with_the_smallest_face_and_ends_with_a_cell():
    """Faces of 24 pixels are 12 in an image of half the size; the next is 0.709 of that, and so on down to 12."""
    assert pyramid((100, 200), 24) == [(50, 100), (35, 71), (25, 50), (18, 36), (13, 25)]
    assert pyramid((23, 200), 24) == []


def test_squares_and_moved_edges():
    assert squared(boxes((0, 0, 10, 20))).tolist() == [[-5, 0, 15, 20]]
    assert moved(boxes((10, 10, 30, 20)), boxes((0.1, -0.1, 0.5, 0))).tolist() == [[12, 9, 40, 20]]


def test_a_crop_is_the_mean_of_its_pixels_and_black_outside():
    pixels = torch.arange(64.0).view(1, 1, 8, 8).expand(1, 3, 8, 8).contiguous()
    cut = crops(pixels, boxes((2, 2, 6, 6), (-10, 0, -2, 8), (4, 4, 12, 8)), 2)
    assert cut[0, 0].tolist() == [[22.5, 24.5], [38.5, 40.5]]  # of 18, 19, 26, 27 and so on
    assert not cut[1].any()
    # Of four columns beyond the border the first repeats it, and three are black.
    assert cut[2, 0].tolist() == [[41.5, (39 + 47) / 2 / 4], [57.5, (55 + 63) / 2 / 4]]


def test_of_two_boxes_of_which_one_holds_the_other_the_surer_stays():
    """Their IoU is 0.25: the usual suppression would keep both. The third shares half of itself with the first."""
    both = boxes((0, 0, 10, 10), (0, 0, 5, 5), (5, 0, 15, 10))
    assert nms_by_smaller(both, torch.tensor([0.8, 0.9, 0.7]), 0.7).tolist() == [1, 2]
    assert nms_by_smaller(both, torch.tensor([0.8, 0.9, 0.7]), 0.4).tolist() == [1, 2]
    assert nms_by_smaller(both[[0, 2]], torch.tensor([0.8, 0.7]), 0.4).tolist() == [0]
    assert nms_by_smaller(both[:0], torch.zeros(0), 0.7).tolist() == []


def certain(networks, *, face=True):
    """Networks that take everything, or nothing, for a face exactly in its square, with all landmarks in the middle."""
    for network in (networks.proposal, networks.refinement, networks.output):
        for parameter in network.parameters():
            torch.nn.init.zeros_(parameter)
        network.face.bias.data = torch.tensor([0.0, 5.0 if face else -5.0])
    torch.nn.init.constant_(networks.output.landmarks.bias, 0.5)
    return networks


def test_the_cascade_gives_pixels_of_the_image():
    """An image of one cell, five times as large: one face, as large as the image, and landmarks in its middle."""
    detector = Mtcnn(certain(MtcnnNetworks()), min_face=60)
    (face,) = detector.detect(np.zeros((60, 60, 3), np.uint8))
    assert face.box.tolist() == [0, 0, 60, 60]
    assert face.score == pytest.approx(1 / (1 + np.exp(-5)))
    assert face.landmarks.tolist() == [[30, 30]] * 5
    assert face.box.dtype == face.landmarks.dtype == np.float32


def test_boxes_end_at_the_image():
    """Its refinement moves the right edge far out; the box that is returned is cut."""
    networks = certain(MtcnnNetworks())
    networks.output.box.bias.data = torch.tensor([0.25, 0, 9.0, 0])
    (face,) = Mtcnn(networks, min_face=60).detect(np.zeros((60, 60, 3), np.uint8))
    assert face.box.tolist() == [15, 0, 60, 60]


@pytest.mark.parametrize("size", [(60, 60), (8, 8), (1, 300)])
def test_no_face_is_an_empty_list(size):
    assert Mtcnn(certain(MtcnnNetworks(), face=False)).detect(np.zeros((*size, 3), np.uint8)) == []


# --- files ------------------------------------------------------------------------------------------------------------


def test_weights_come_back_from_our_file(tmp_path):
    networks = MtcnnNetworks()
    save_mtcnn(networks, tmp_path / "mtcnn.safetensors")
    read = load_mtcnn(tmp_path / "mtcnn.safetensors").state_dict()
    assert read.keys() == networks.state_dict().keys()
    assert all(torch.equal(read[key], value) for key, value in networks.state_dict().items())


def published(folder):
    """Files as facenet-pytorch has them, with weights of chance: theirs for ours by the map, backwards."""
    torch.manual_seed(1)
    networks = MtcnnNetworks()
    theirs = {
        "proposal": ("pnet", "conv4_", ""),
        "refinement": ("rnet", "dense5_", "dense4"),
        "output": ("onet", "dense6_", "dense5"),
    }
    for name, (file, heads, dense) in theirs.items():
        state = {}
        for key, value in getattr(networks, name).state_dict().items():
            for ours, other in (("features.dense", dense), ("face", f"{heads}1"), ("box", f"{heads}2")):
                key = key.replace(ours, other) if key.startswith(ours) else key
            key = key.replace("landmarks", f"{heads}3").removeprefix("features.")
            state[key] = value
        torch.save(state, folder / f"{file}.pt")
    return networks


def test_published_names_fit(tmp_path):
    networks = published(tmp_path)
    read = load_mtcnn(tmp_path)
    assert torch.equal(read.output.features[0].weight, networks.output.features[0].weight)
    assert torch.equal(read.refinement.box.bias, networks.refinement.box.bias)
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as wheel:
        for file in tmp_path.glob("*.pt"):
            wheel.write(file, f"facenet_pytorch/data/{file.name}")
    from_wheel = load_mtcnn(tmp_path / "some.whl").state_dict()
    assert all(torch.equal(from_wheel[key], value) for key, value in read.state_dict().items())


def test_published_order_of_columns_and_landmarks():
    """Theirs counts the cells of a map down its columns, and has all x of the landmarks before all y."""
    column = torch.arange(576.0)[None]  # theirs: cell (row 0, column 1) of channel 5 is number (1 * 3 + 0) * 64 + 5
    ours = our_weights("refinement", {"dense4.weight": column})["features.dense.weight"]
    assert ours[0, 5 * 9 + 0 * 3 + 1] == 197
    points = our_weights("output", {"dense6_3.bias": torch.arange(10.0)})["landmarks.bias"]
    assert points.tolist() == [0, 5, 1, 6, 2, 7, 3, 8, 4, 9]


def test_files_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="no file"):
        load_mtcnn(tmp_path / "no.safetensors")
    with pytest.raises(ModelFileError, match=r"pnet\.pt"):
        load_mtcnn(tmp_path)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="safetensors"):
        load_mtcnn(tmp_path / "bad.safetensors")
    published(tmp_path)
    state = torch.load(tmp_path / "rnet.pt")
    torch.save({**state, "other": torch.zeros(1)}, tmp_path / "rnet.pt")
    with pytest.raises(ModelFileError, match="other is not known"):
        load_mtcnn(tmp_path)
    state["conv1.bias"][0] = torch.nan
    torch.save(state, tmp_path / "rnet.pt")
    with pytest.raises(ModelFileError, match="NaN"):
        load_mtcnn(tmp_path)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    published(tmp_path)
    (tmp_path / "pnet.pt").write_bytes(pickle.dumps(Path, protocol=2))
    with pytest.raises(ModelFileError, match="could run code"):
        load_mtcnn(tmp_path)


# --- the choice -------------------------------------------------------------------------------------------------------


def test_detectors_by_name(tmp_path):
    save_mtcnn(certain(MtcnnNetworks()), tmp_path / "mtcnn.safetensors")
    detector = build_detector("mtcnn", tmp_path / "mtcnn.safetensors", min_face=60, score=0.999)
    assert detector.detect(np.zeros((60, 60, 3), np.uint8)) == []  # its only face has 0.993
    (face,) = build_detector("none").detect(np.zeros((40, 30, 3), np.uint8))
    assert (face.box.tolist(), face.score, face.landmarks) == ([0, 0, 30, 40], 1.0, None)
    with pytest.raises(UsageError, match="mtcnn"):
        build_detector("mtcn")
    for name in DETECTORS.keys() - {"none"}:
        with pytest.raises(UsageError, match="give the"):
            build_detector(name)
    with pytest.raises(UsageError, match="smallest face"):
        build_detector("mtcnn", tmp_path, min_face=0)
    with pytest.raises(UsageError, match="least score"):
        build_detector("mtcnn", tmp_path, score=1.5)


# --- published weights ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_weights():
    """What FOVEAL_TEST_MTCNN names, or the wheel of facenet-pytorch in FOVEAL_TEST_DATA/weights."""
    if named := os.environ.get("FOVEAL_TEST_MTCNN"):
        return Path(named)
    folder = Path(os.environ.get("FOVEAL_TEST_DATA", "/nonexistent"), "weights")
    if wheels := sorted(folder.glob("facenet_pytorch-*.whl")):
        return wheels[-1]
    pytest.skip(
        "needs MTCNN's published weights: pip download --no-deps facenet-pytorch==2.6.0, and set FOVEAL_TEST_MTCNN to "
        "the wheel, or put it into FOVEAL_TEST_DATA/weights"
    )


def test_published_weights_find_the_astronaut(real_weights):
    """Landmarks read off the photograph, of 512 x 512 pixels, by eye."""
    from skimage.data import astronaut

    (face,) = build_detector("mtcnn", real_weights).detect(astronaut())
    seen = np.array([(205, 102), (247, 104), (226, 129), (203, 139), (245, 141)])
    assert face.score > 0.99
    assert np.abs(face.landmarks - seen).max() < 6
    assert face.box == pytest.approx([177, 60, 268, 173], abs=12)
    fit = similarity(face.landmarks, reference_landmarks())
    residual = face.landmarks @ fit[:, :2].T + fit[:, 2] - reference_landmarks()
    assert np.linalg.norm(residual, axis=1).max() < 9  # pixels of 112: seen from the front
    assert align(astronaut(), face.landmarks).std() > 30
