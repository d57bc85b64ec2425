"""Which images of a batch are compared: pairs and triples of indices, as pure functions.

`identities` int64 (N,) are the people of a batch, `distances` float (N, N) those between its images; what comes back
are int64 rows of indices into the batch, in rising order. A triple is (anchor, positive, negative): two images of one
person and one of another.
"""

import torch


def pairs(identities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Every pair once, (P, 2) with the smaller index first: those of the same person, and those of different people."""
    same = identities[:, None] == identities
    return same.triu(1).nonzero(), (~same).triu(1).nonzero()


def batch_all(identities: torch.Tensor) -> torch.Tensor:
    """All triples, (T, 3): Hermans, Beyer, Leibe 2017, equation 6."""
    anchors_positives, different = _sides(identities)
    return _triples(anchors_positives, different)


def batch_hard(distances: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
    """Each image as anchor with its farthest positive and its nearest negative, (A, 3): Hermans et al. 2017, equation
    5. Of equally far ones it is any; an image that has no positive or no negative is left out.
    """
    same = identities[:, None] == identities
    itself = torch.eye(len(identities), dtype=torch.bool, device=identities.device)
    positives, negatives = same & ~itself, ~same
    anchors = (positives.any(dim=1) & negatives.any(dim=1)).nonzero().squeeze(1)
    if not len(anchors):
        return identities.new_zeros(0, 3)
    farthest = torch.where(positives, distances, -torch.inf)[anchors].argmax(dim=1)
    nearest = torch.where(negatives, distances, torch.inf)[anchors].argmin(dim=1)
    return torch.stack([anchors, farthest, nearest], dim=1)


def semi_hard(distances: torch.Tensor, identities: torch.Tensor, margin: float) -> torch.Tensor:
    """All triples whose negative is farther from the anchor than the positive, but by less than the margin, (T, 3):
    Schroff, Kalenichenko, Philbin 2015, section 3.2.

    None is added for an anchor and its positive that have no such negative: neither an easier one, which would cost
    nothing, nor a harder one, which the paper found to make all embeddings one.
    """
    anchors_positives, different = _sides(identities)
    anchors, positives = anchors_positives.unbind(dim=1)
    to_positive, to_all = distances[anchors, positives, None], distances[anchors]
    return _triples(anchors_positives, different & (to_positive < to_all) & (to_all < to_positive + margin))


def _sides(identities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Anchors with positives (P, 2), and bool (P, N), which images are negatives to each of them."""
    same = identities[:, None] == identities
    itself = torch.eye(len(identities), dtype=torch.bool, device=identities.device)
    anchors_positives = (same & ~itself).nonzero()
    return anchors_positives, ~same[anchors_positives[:, 0]]


def _triples(anchors_positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    rows, found = negatives.nonzero().unbind(dim=1)
    return torch.cat([anchors_positives[rows], found[:, None]], dim=1)
