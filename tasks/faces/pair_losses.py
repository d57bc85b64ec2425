"""Losses of the distances between the embeddings of a batch, which needs several images of a person for them.

A batch in which there is nothing to compare costs 0, with a gradient of 0.
"""

import torch

from .embedding_loss import EmbeddingLoss, unit_length
from .loss_options import Distance, Mining
from .mining import batch_all, batch_hard, pairs, semi_hard


class ContrastiveLoss(EmbeddingLoss):
    """Half the squared distance of two images of a person, and of two people half the square of what it lacks to the
    `margin`: Hadsell, Chopra, LeCun 2006, equation 4.

    It is the mean over the pairs of the same person plus the mean over those of different people: a batch has so many
    more of the latter that one mean over all would hardly pull. With `of_unit_length` distances are from 0 to 2.
    """

    def __init__(self, *, margin: float = 1.0, of_unit_length: bool = True) -> None:
        super().__init__()
        self.margin = margin
        self.of_unit_length = of_unit_length

    def loss(self, embeddings: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """The sum of both means."""
        squared = squared_distances(unit_length(embeddings) if self.of_unit_length else embeddings)
        same, different = (squared[tuple(found.unbind(dim=1))] for found in pairs(identities))
        return _mean(same / 2) + _mean((self.margin - root(different)).clamp(min=0).square() / 2)


class TripletLoss(EmbeddingLoss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), over triples that are mined in each batch.

    `mining`: semi_hard, the mean over all such triples (FaceNet, Schroff et al. 2015, section 3, with a margin of 0.2;
    there one negative is chosen for each anchor and positive); batch_hard, the mean over the anchors; batch_all, the
    mean over those triples that cost something, since most soon cost nothing (both Hermans et al. 2017, equations 5 and
    6, and what they mark with "!= 0"). For the triples, see `mining.py`. d is the euclidean `distance`, or its square;
    None for the square with semi_hard, and else euclidean, as in these papers.
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        mining: Mining = "semi_hard",
        distance: Distance | None = None,
        of_unit_length: bool = True,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.mining: Mining = mining
        self.distance: Distance = distance or ("squared" if mining == "semi_hard" else "euclidean")
        self.of_unit_length = of_unit_length

    def loss(self, embeddings: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """The mean over the triples."""
        distances = squared_distances(unit_length(embeddings) if self.of_unit_length else embeddings)
        if self.distance == "euclidean":
            distances = root(distances)
        anchors, positives, negatives = self.triples(distances.detach(), identities).unbind(dim=1)
        lacking = distances[anchors, positives] - distances[anchors, negatives] + self.margin
        return _mean(lacking[lacking > 0] if self.mining == "batch_all" else lacking.clamp(min=0))

    def triples(self, distances: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """int64 (T, 3): indices of anchors, positives and negatives, given the `distances` (N, N) of a batch."""
        if self.mining == "batch_all":
            return batch_all(identities)
        if self.mining == "batch_hard":
            return batch_hard(distances, identities)
        return semi_hard(distances, identities, self.margin)


def squared_distances(embeddings: torch.Tensor) -> torch.Tensor:
    """The squared euclidean distances between the rows of `embeddings` (N, D), float (N, N) from 0 up.

    From their scalar products, which takes no memory of (N, N, D); near 0 it is right to some 1e-7 of squared lengths.
    """
    products = embeddings @ embeddings.T
    squares = embeddings.square().sum(dim=1)
    return (squares[:, None] + squares - 2 * products).clamp(min=0)


def root(values: torch.Tensor) -> torch.Tensor:
    """The square root of values from 0 up, whose slope at 0 is 0 here and not infinite."""
    above = values > 0
    return torch.where(above, torch.where(above, values, 1).sqrt(), 0)


def _mean(values: torch.Tensor) -> torch.Tensor:
    """The mean, 0 of none."""
    return values.sum() / max(1, len(values))
