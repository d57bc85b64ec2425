"""How well a classifier does: top-1, top-5 and per-class accuracy, and who is taken for whom."""

import torch
from torch import nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix


class ClassificationMetrics(nn.Module):
    """Gathers batches; right over several processes too, since torchmetrics sums the states before it computes."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.loss = MeanMetric()
        self.confusion = MulticlassConfusionMatrix(num_classes)
        self.top5 = MulticlassAccuracy(num_classes, top_k=min(5, num_classes), average="micro")

    def update(self, logits: torch.Tensor, labels: torch.Tensor, loss: torch.Tensor, weight: torch.Tensor) -> None:
        """`logits` float (N, C), `labels` int64 (N,), `loss` the mean over the images, of total weight `weight`."""
        self.loss.update(loss, weight=weight)
        self.confusion.update(logits, labels)
        self.top5.update(logits, labels)

    def compute(self) -> dict[str, float]:
        """`loss`, and `top1`, `top5`, `mean_class_accuracy` as shares of 1 (the last over the classes that have
        images).
        """
        matrix = self.confusion.compute()
        per_class = per_class_accuracy(matrix)
        return {
            "loss": float(self.loss.compute()),
            "top1": float(matrix.diagonal().sum() / matrix.sum()),
            "top5": float(self.top5.compute()),
            "mean_class_accuracy": float(per_class[~per_class.isnan()].mean()),
        }

    def confusion_matrix(self) -> torch.Tensor:
        """int64 (C, C) on the CPU: images of the row's class that were given the column's."""
        return self.confusion.compute().cpu()

    def reset(self) -> None:
        """Forget everything gathered."""
        for metric in (self.loss, self.confusion, self.top5):
            metric.reset()


def per_class_accuracy(confusion: torch.Tensor) -> torch.Tensor:
    """Of a confusion matrix int64 (C, C): float32 (C,), the share of each row on its diagonal; NaN for a class without
    images.
    """
    return confusion.diagonal() / confusion.sum(dim=1)
