"""Accuracy of four images, counted by hand."""

import math

import torch

from foveal.tasks.classification.metrics import ClassificationMetrics, per_class_accuracy

#            truth 0, 0, 1, 2; predicted 0, 1, 1, 1
LOGITS = torch.tensor([[3.0, 1, 0], [1, 3.0, 0], [0, 3.0, 1], [0, 3.0, 1]])
LABELS = torch.tensor([0, 0, 1, 2])


def test_top1_and_the_mean_over_classes():
    metrics = ClassificationMetrics(3)
    metrics.update(LOGITS[:1], LABELS[:1], torch.tensor(4.0), torch.tensor(1.0))
    metrics.update(LOGITS[1:], LABELS[1:], torch.tensor(8.0), torch.tensor(3.0))
    values = metrics.compute()
    assert values["top1"] == 0.5
    assert math.isclose(values["mean_class_accuracy"], (0.5 + 1 + 0) / 3, rel_tol=1e-6)
    assert values["loss"] == 7.0  # (1 * 4 + 3 * 8) / 4: by images, not by batches
    assert values["top5"] == 1.0  # of three classes, all are among the first five
    assert metrics.confusion_matrix().tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_top5_of_six_classes():
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1], [6.0, 5, 4, 3, 2, 1]])
    metrics = ClassificationMetrics(6)
    metrics.update(logits, torch.tensor([4, 5]), torch.tensor(0.0), torch.tensor(2.0))
    assert metrics.compute()["top5"] == 0.5


def test_a_class_without_images_does_not_count():
    shares = per_class_accuracy(torch.tensor([[2, 0], [0, 0]]))
    assert shares[0] == 1 and shares[1].isnan()
    metrics = ClassificationMetrics(2)
    metrics.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), torch.tensor(0.0), torch.tensor(1.0))
    assert metrics.compute()["mean_class_accuracy"] == 1.0


def test_reset_forgets():
    metrics = ClassificationMetrics(3)
    metrics.update(LOGITS, LABELS, torch.tensor(1.0), torch.tensor(4.0))
    metrics.reset()
    metrics.update(LOGITS[:1], LABELS[:1], torch.tensor(2.0), torch.tensor(1.0))
    assert metrics.compute()["top1"] == 1.0 and metrics.compute()["loss"] == 2.0
