"""Which of many overlapping boxes stay: against torchvision's NMS, by its properties, and by hand."""

import math

import pytest
import torch
from torchvision.ops import batched_nms, box_iou, nms

from foveal.core.options import PredictionOptions
from foveal.tasks.detection.suppression import Candidates, Suppression

EVERYTHING = Suppression(score=0, iou=0.5, most=10_000)


def crowd(count: int = 300, classes: int = 3) -> Candidates:
    """Boxes that overlap a lot, with scores that all differ."""
    corner = torch.rand(count, 2) * 60
    boxes = torch.cat((corner, corner + 10 + 40 * torch.rand(count, 2)), dim=1)
    return Candidates(boxes, (torch.randperm(count) + 1) / (count + 1), torch.randint(classes, (count,)))


def test_hard_is_torchvisions_nms_of_each_class():
    found = crowd()
    kept = batched_nms(*found, 0.5)
    stays = EVERYTHING(found)
    assert 20 < len(kept) < 280
    for ours, column in zip(stays, found, strict=True):
        assert ours.equal(column[kept])


def test_class_agnostic_is_torchvisions_nms_of_all():
    found = crowd()
    kept = nms(found.boxes, found.scores, 0.5)
    stays = Suppression(score=0, iou=0.5, most=10_000, class_agnostic=True)(found)
    assert stays.boxes.equal(found.boxes[kept]) and stays.labels.equal(found.labels[kept])
    assert len(stays.labels) < len(EVERYTHING(found).labels)


@pytest.mark.parametrize("iou", [0.2, 0.5, 0.8])
def test_what_stays_of_a_class_overlaps_by_no_more_than_the_threshold(iou):
    stays = Suppression(score=0, iou=iou, most=10_000)(crowd())
    for label in range(3):
        overlap = box_iou(*[stays.boxes[stays.labels == label]] * 2).fill_diagonal_(0)
        assert overlap.max() <= iou


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("class_agnostic", [False, True])
def test_the_surest_box_stays_with_its_score_and_scores_fall(kind, class_agnostic):
    found = crowd()
    stays = Suppression(score=0.05, kind=kind, class_agnostic=class_agnostic)(found)
    best = found.scores.argmax()
    assert stays.boxes[0].equal(found.boxes[best]) and stays.scores[0] == found.scores[best]
    assert (stays.scores.diff() <= 0).all()


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_the_order_of_candidates_does_not_matter(kind):
    found = crowd()
    order = torch.randperm(len(found.labels))
    suppression = Suppression(kind=kind)
    shuffled = suppression(Candidates(*(column[order] for column in found)))
    for one, other in zip(suppression(found), shuffled, strict=True):
        torch.testing.assert_close(one, other)


# Three boxes of 10 x 10 in a row. IoU of the first and the second: 50 / 150 = 1/3; of the second and the third the
# same; of the first and the third: 0.
IN_A_ROW = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10]])
DECAY = math.exp(-((1 / 3) ** 2) / 0.5)  # 0.8007


def test_soft_by_hand():
    stays = Suppression(score=0.05, kind="soft")(
        Candidates(IN_A_ROW, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3).long())
    )
    # 0.9 stays; the second falls to 0.8 * 0.8007 = 0.6406, so that the third, untouched, is next; which lowers the
    # second again, to 0.5129.
    assert stays.boxes[:, 0].tolist() == [0, 10, 5]
    assert stays.scores.tolist() == pytest.approx([0.9, 0.7, 0.8 * DECAY**2])


def test_soft_drops_what_falls_below_the_least_score():
    stays = Suppression(score=0.6, kind="soft")(
        Candidates(IN_A_ROW, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3).long())
    )
    assert stays.boxes[:, 0].tolist() == [0, 10]


def test_soft_lowers_nothing_of_another_class_unless_it_is_told_to():
    found = Candidates(IN_A_ROW, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 2]))
    assert Suppression(kind="soft")(found).scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    lowered = Suppression(kind="soft", class_agnostic=True)(found)
    assert lowered.scores.tolist() == pytest.approx([0.9, 0.7, 0.8 * DECAY**2])
    assert lowered.labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_no_more_than_the_most_stay(kind):
    assert len(Suppression(score=0, most=7, kind=kind)(crowd()).labels) == 7


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("scores", [[], [0.01, 0.05, 0.04]])
def test_nothing_sure_enough_is_nothing(kind, scores):
    boxes = IN_A_ROW[: len(scores)].reshape(-1, 4)
    stays = Suppression(kind=kind)(Candidates(boxes, torch.tensor(scores), torch.zeros(len(scores)).long()))
    assert [column.shape for column in stays] == [(0, 4), (0,), (0,)]


def test_a_box_that_is_no_number_goes():
    boxes = IN_A_ROW.clone()
    boxes[0, 2] = torch.nan
    stays = EVERYTHING(Candidates(boxes, torch.tensor([0.9, torch.nan, 0.7]), torch.zeros(3).long()))
    assert stays.boxes.tolist() == [[10, 0, 20, 10]]


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_half_precision_comes_out_as_float32(kind):
    found = crowd()
    stays = Suppression(kind=kind)(Candidates(found.boxes.bfloat16(), found.scores.bfloat16(), found.labels))
    assert stays.boxes.dtype == stays.scores.dtype == torch.float32


def test_what_predict_was_told_takes_the_place_of_the_heads_own():
    own = Suppression(score=0.1, iou=0.4, most=7)
    assert own.with_prediction(PredictionOptions()) == own
    told = own.with_prediction(PredictionOptions(score=0.3, nms_iou=0.6, nms="soft", class_agnostic=True))
    assert told == Suppression(score=0.3, iou=0.6, most=7, kind="soft", class_agnostic=True)
