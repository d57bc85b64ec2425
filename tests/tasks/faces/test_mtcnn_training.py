"""What MTCNN learns from: squares and their truth, three losses and the scores of a detector by hand, first steps."""

import math

import numpy as np
import pytest
import torch

from foveal.datasets.world.crowds import Crowd, draw_crowd
from foveal.tasks.faces.detector import Face
from foveal.tasks.faces.mtcnn import MtcnnNetworks, Outputs, ProposalNetwork
from foveal.tasks.faces.mtcnn_training import (
    STAGES,
    Samples,
    _gather,
    fit_mtcnn,
    fit_stage,
    label_squares,
    prepared,
    score_detector,
    stage_losses,
)


def crowd(*boxes):
    """A picture of black pixels, with faces in `boxes`, whose landmarks all lie in their middle."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    return Crowd(np.zeros((100, 100, 3), np.uint8), boxes, np.repeat(middles[:, None], 5, axis=1))


def test_squares_by_their_iou():
    """Squares of 10 x 10 moved by n tenths: IoU (10 - n) / (10 + n), so 1, 0.67, 0.54, 0.33 and 0.25."""
    squares = np.array([(n, 0, 10 + n, 10) for n in (0, 2, 3, 5, 6)], np.float32)
    kinds, offsets, landmarks = label_squares(squares, crowd((0, 0, 10, 10)))
    assert kinds.tolist() == [2, 2, 1, 3, 0]
    assert offsets[1] == pytest.approx([-0.2, 0, -0.2, 0])
    assert landmarks[1] == pytest.approx([0.3, 0.5] * 5)


def test_without_faces_all_squares_are_negatives():
    kinds, offsets, landmarks = label_squares(np.array([(0, 0, 10, 10)], np.float32), crowd())
    assert (kinds.tolist(), offsets.shape, landmarks.shape) == ([0], (1, 4), (1, 10))


def test_the_three_losses_by_hand():
    """Ten faces and others: nine without doubt either way, whose loss is ln 2, and one part, that has only a box.

    Of the nine the seven tenths of the highest losses are six.
    """
    kinds = torch.tensor([0, 0, 0, 0, 0, 0, 0, 2, 2, 1])
    logits = torch.zeros(10, 2)
    logits[0] = torch.tensor([0.0, 2.0])  # the most wrong of all
    logits[1] = torch.tensor([9.0, 0.0])  # easy
    offsets, landmarks = torch.zeros(10, 4), torch.zeros(10, 10)
    offsets[7:] = torch.tensor([0.1, 0, 0, 0.2])
    landmarks[7] = 0.1
    truth = Samples(torch.zeros(10, 3, 12, 12, dtype=torch.uint8), kinds, torch.zeros(10, 4), torch.zeros(10, 10))
    losses = stage_losses(Outputs(logits, offsets, landmarks), truth)
    assert losses["face"].item() == pytest.approx((math.log(1 + math.exp(2)) + 5 * math.log(2)) / 6)
    assert losses["box"].item() == pytest.approx(0.01 + 0.04)
    assert losses["landmarks"].item() == pytest.approx(0.1 / 2)  # of two faces
    assert stage_losses(Outputs(logits, offsets, None), truth).keys() == {"face", "box"}


def test_losses_of_a_map_are_those_of_its_one_cell():
    samples = Samples(torch.zeros(2, 3, 12, 12), torch.tensor([0, 2]), torch.zeros(2, 4), torch.zeros(2, 10))
    outputs = ProposalNetwork(landmarks=True)(samples.crops)
    flat = Outputs(outputs.logits.flatten(1), outputs.offsets.flatten(1), outputs.landmarks.flatten(1))
    of_map, of_flat = stage_losses(outputs, samples), stage_losses(flat, samples)
    assert all(torch.equal(of_map[name], of_flat[name]) for name in of_flat)


def test_weights_of_the_losses_are_the_papers():
    assert STAGES["proposal"].weights == STAGES["refinement"].weights == {"face": 1, "box": 0.5, "landmarks": 0.5}
    assert STAGES["output"].weights == {"face": 1, "box": 0.5, "landmarks": 1}


class Says:
    """A detector that has its answers by heart."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def detect(self, image):
        return self.answers.pop(0)


def test_scores_by_hand():
    """Three faces, two of them found, one twice; and one detection is of nothing. The landmarks of the first are off by
    half the distance of its eyes, those of the second right.
    """
    landmarks = np.array([(10, 10), (20, 10), (15, 15), (10, 20), (20, 20)], np.float32)
    box = np.array([0, 0, 30, 30], np.float32)
    picture = Crowd(np.zeros((99, 99, 3), np.uint8), np.stack([box, box + 40]), np.stack([landmarks, landmarks + 40]))
    first, again = Face(box, 0.9, landmarks + np.float32([5, 0])), Face(box + 1, 0.8, landmarks)
    second, nothing = Face(box + 40, 0.7, landmarks + 40), Face(box + 65, 0.6, landmarks + 65)
    scores = score_detector(Says([first, again, second], [nothing], []), [picture, crowd(), crowd((0, 0, 9, 9))])
    assert scores == (3, pytest.approx(2 / 3), pytest.approx(2 / 4), pytest.approx((0.5 + 0) / 2))
    nobody = score_detector(Says([]), [crowd()])
    assert (nobody.faces, nobody.recall, nobody.precision) == (0, 0, 1)
    assert math.isnan(nobody.landmark_error)


def test_the_first_network_learns_faces_from_others():
    crowds = [draw_crowd(number) for number in range(8)]
    samples = _gather("proposal", MtcnnNetworks(), crowds, np.random.default_rng(0))
    assert samples.crops.shape[1:] == (3, 12, 12)
    torch.manual_seed(0)
    network = prepared(ProposalNetwork(landmarks=True), samples)
    stage = STAGES["proposal"]._replace(batch=70)
    first = fit_stage(network, samples, stage, steps=1)
    last = fit_stage(network, samples, stage, steps=100)
    assert last["face"] < 0.5 * first["face"]
    assert last["landmarks"] < 0.8 * first["landmarks"]


def test_a_network_starts_near_the_means_of_what_it_is_to_learn():
    samples = Samples(torch.zeros(3, 3, 12, 12), torch.tensor([0, 2, 2]), torch.rand(3, 4), torch.rand(3, 10))
    outputs = prepared(ProposalNetwork(landmarks=True), samples)(samples.crops)
    assert torch.allclose(outputs.offsets[0].flatten(), samples.offsets[1:].mean(dim=0), atol=0.1)
    assert torch.allclose(outputs.landmarks[0].flatten(), samples.landmarks[1:].mean(dim=0), atol=0.1)


def test_all_three_are_trained_the_same_way_again(monkeypatch):
    monkeypatch.setattr("foveal.tasks.faces.mtcnn._MOST_CANDIDATES", 40)  # networks this young take much for a face
    lines: list[str] = []
    first, again = (fit_mtcnn(2, seed=1, tell=lines.append).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], value) for key, value in again.items())
    assert [line.split()[0] for line in lines] == [*STAGES, *STAGES]


def test_pictures_without_a_face_teach_nothing():
    """No steps, and no error: one picture in ten is of nobody, and whoever asks for one picture may get it."""
    number = next(number for number in range(50) if not len(draw_crowd(number).boxes))
    samples = _gather("proposal", MtcnnNetworks(), [draw_crowd(number)], np.random.default_rng(0))
    assert fit_stage(ProposalNetwork(landmarks=True), samples, STAGES["proposal"], steps=5) == {}
