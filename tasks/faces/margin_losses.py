"""Softmax over the people of the training set, and what demands more of it: margins and centres.

Each has a `weight` (C, D) of its own, a direction for each of C people, which is of no use once training is done. The
logit of the true person is made smaller, so that the embedding has to come nearer to that person's direction than is
needed to be nearest. theta is the angle between an embedding x and a direction w; nothing here computes it, for the
derivative of the arc cosine is infinite at 0 and at pi, where that of the loss is 0.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .embedding_loss import EmbeddingLoss, unit_length


class Softmax(EmbeddingLoss):
    """The mean cross-entropy of x w + b; without `bias` of x w."""

    def __init__(self, people: int, width: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(people, width))
        nn.init.xavier_uniform_(self.weight)
        self.bias = nn.Parameter(torch.zeros(people)) if bias else None

    def loss(self, embeddings: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """The mean over the batch, in nats."""
        return F.cross_entropy(self.logits(embeddings, identities), identities)

    def logits(self, embeddings: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """Logits float (N, C), that of the true person with its margin."""
        return F.linear(embeddings, self.weight, self.bias)


class CentreLoss(Softmax):
    """Softmax + `centre_weight` / 2 times the mean squared distance of an embedding from its person's centre: Wen,
    Zhang, Li, Qiao 2016, equations 2 and 5, there sums over the batch.

    The centres begin at 0 and no gradient moves them: after each step in training, those whose people were in the batch
    move by `rate` times the sum of their images' differences over 1 + the number of these (equation 4), so that a few
    wrong images don't carry a centre away. A batch is measured from the centres as they were before it.
    """

    centres: torch.Tensor

    def __init__(self, people: int, width: int, *, centre_weight: float = 0.003, rate: float = 0.5) -> None:
        super().__init__(people, width)
        self.centre_weight = centre_weight
        self.rate = rate
        self.register_buffer("centres", torch.zeros(people, width))

    def loss(self, embeddings: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """The weighted sum of both."""
        differences = embeddings - self.centres[identities]
        if self.training:
            self._move(identities, differences.detach())
        distances = differences.square().sum(dim=1).mean() / 2
        return super().loss(embeddings, identities) + self.centre_weight * distances

    def _move(self, identities: torch.Tensor, differences: torch.Tensor) -> None:
        counts = torch.ones_like(self.centres[:, 0]).index_add(0, identities, torch.ones_like(differences[:, 0]))
        self.centres.index_add_(0, identities, self.rate * differences / counts[identities, None])


class LSoftmax(Softmax):
    """L-Softmax: the true logit |w| |x| cos theta becomes |w| |x| psi(theta). Liu, Wen, Yu, Yang 2016, equations 4-6.

    A network hardly learns from psi, which is `multiple_angle` with the factor `margin`, from the start. So it is mixed
    with the cosine, (lambda cos theta + psi) / (1 + lambda), and lambda falls: in step t it is start / (1 + decay t),
    but no less than `end`, which is how this paper and SphereFace's code go from softmax to the margin. A step is a
    call in training; their number is kept with the weights, so that a resumed run goes on.
    """

    steps: torch.Tensor

    def __init__(
        self, people: int, width: int, *, margin: int = 4, start: float = 1500, decay: float = 0.1, end: float = 5
    ) -> None:
        super().__init__(people, width, bias=False)
        self.margin = margin
        self.start, self.decay, self.end = start, decay, end
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def annealing(self) -> torch.Tensor:
        """The lambda of the next step, a scalar."""
        return (self.start / (1 + self.decay * self.steps)).clamp(min=self.end)

    def loss(self, embeddings: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """The mean over the batch, and in training one step more."""
        loss = super().loss(embeddings, identities)
        if self.training:
            self.steps += 1
        return loss

    def logits(self, embeddings: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """Logits float (N, C), that of the true person with its margin."""
        directions = self._directions()
        logits = F.linear(embeddings, directions)
        true = logits.gather(1, identities[:, None])
        lengths = torch.linalg.vector_norm(directions, dim=1)[identities] * torch.linalg.vector_norm(embeddings, dim=1)
        lengths, annealing = lengths[:, None], self.annealing.to(true.dtype)
        cosines = true / torch.where(lengths > torch.finfo(lengths.dtype).tiny, lengths, 1)
        harder = (annealing * true + lengths * multiple_angle(cosines, self.margin)) / (1 + annealing)
        return logits.scatter(1, identities[:, None], harder)

    def _directions(self) -> torch.Tensor:
        return self.weight


class ASoftmax(LSoftmax):
    """A-Softmax, or SphereFace: L-Softmax with directions of length 1, so that the true logit is |x| psi(theta). Liu,
    Wen, Yu, Li, Raj, Song 2017, equations 6 and 7.

    With `margin` 1 it is their modified softmax, that of directions without lengths and biases.
    """

    def _directions(self) -> torch.Tensor:
        return unit_length(self.weight)


def multiple_angle(cosines: torch.Tensor, factor: int) -> torch.Tensor:
    """The psi of the angles of `cosines`, which falls from 1 at 0 to 1 - 2 factor at pi: (-1)^k cos(factor theta) - 2k,
    where theta is between k and k + 1 times pi / factor.

    Liu et al. 2016, equation 6. cos(factor theta) is Chebyshev's polynomial of the cosine, finite with its slope.
    """
    before, multiple = torch.ones_like(cosines), cosines
    for _ in range(factor - 1):
        before, multiple = multiple, 2 * cosines * multiple - before
    folds = sum((cosines < math.cos(math.pi * fold / factor)).to(cosines.dtype) for fold in range(1, factor))
    return (1 - 2 * (folds % 2)) * multiple - 2 * folds


class CosFace(Softmax):
    """Softmax of s cos theta, of the true person of s (cos theta - margin): Wang et al. 2018, equation 4.

    Their s, the `scale`, is 64, and their margin 0.35.
    """

    def __init__(self, people: int, width: int, *, margin: float = 0.35, scale: float = 64.0) -> None:
        super().__init__(people, width, bias=False)
        self.margin = margin
        self.scale = scale

    def logits(self, embeddings: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """Logits float (N, C), that of the true person with its margin."""
        # The scale goes to the embeddings, and only the true logits pass the margin: of what is (N, C), two are made.
        logits = F.linear(self.scale * unit_length(embeddings), unit_length(self.weight))
        cosines = logits.gather(1, identities[:, None]) / self.scale
        return logits.scatter(1, identities[:, None], self.scale * self._harder(cosines))

    def _harder(self, cosines: torch.Tensor) -> torch.Tensor:
        return cosines - self.margin


class ArcFace(CosFace):
    """Softmax of s cos theta, of the true person of s cos(theta + margin): Deng, Guo, Xue, Zafeiriou 2019, equation 3.

    Their s, the `scale`, is 64, and their margin 0.5. See `added_angle` for angles that leave no room for it.
    """

    def __init__(self, people: int, width: int, *, margin: float = 0.5, scale: float = 64.0) -> None:
        super().__init__(people, width, margin=margin, scale=scale)

    def _harder(self, cosines: torch.Tensor) -> torch.Tensor:
        return added_angle(cosines, self.margin)


def added_angle(cosines: torch.Tensor, margin: float) -> torch.Tensor:
    """cos(theta + margin) of the angles of `cosines`, for a margin from 0 to pi / 2.

    Where theta + margin is beyond pi, the cosine would rise again and reward embeddings on the far side. There it is
    cos theta - margin sin(margin), which goes on falling, as in the authors' code; the paper doesn't speak of it.
    """
    squared_sines = (1 - cosines) * (1 + cosines)
    inside = squared_sines > 0  # at 0 the root's slope is infinite, and rounding may put a cosine beyond 1
    sines = torch.where(inside, torch.where(inside, squared_sines, 1).sqrt(), 0)
    added = cosines * math.cos(margin) - sines * math.sin(margin)
    return torch.where(cosines >= -math.cos(margin), added, cosines - margin * math.sin(margin))
