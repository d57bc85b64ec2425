"""From probabilities to the prediction of an image."""

import numpy as np
import torch

from ...core.types import Prediction


def edge_prediction(edges: torch.Tensor, path: str, *, threshold: float, thin: bool) -> Prediction:
    """The prediction that is `edges`, float32 (H, W), 0 to 1, on the CPU, of which those from `threshold` on are found;
    with `thin`, without all that is not highest across its edge.
    """
    if thin:
        from .thin import suppress_non_maxima

        edges = torch.from_numpy(suppress_non_maxima(np.asarray(edges)))
    found = edges >= threshold
    count = int(found.sum())
    mean = float(edges[found].double().mean()) if count else 0.0
    return Prediction(
        path=path,
        size=(edges.shape[0], edges.shape[1]),
        labels=torch.zeros(1, dtype=torch.int64),
        scores=torch.tensor([mean]),
        names=["edge"],
        pixels=torch.tensor([count]),
        edges=edges,
        threshold=float(threshold),
    )


class EdgeBuilder:
    """The prediction of an image of `size` (H, W) from probabilities that come part by part: a `maps.MapBuilder`."""

    def __init__(self, size: tuple[int, int], *, threshold: float, thin: bool) -> None:
        self._edges = torch.empty(size)
        self._threshold = threshold
        self._thin = thin

    def add(self, probabilities: torch.Tensor, top: int, left: int) -> None:
        """Take the final probabilities, float32 (1, h, w), of a part that no other part overlaps."""
        height, width = probabilities.shape[1:]
        self._edges[top : top + height, left : left + width] = probabilities[0].cpu()

    def prediction(self, path: str) -> Prediction:
        """The prediction, once all parts are there."""
        return edge_prediction(self._edges, path, threshold=self._threshold, thin=self._thin)
