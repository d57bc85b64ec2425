"""What all losses of embeddings have in common: how they are called, and that they are computed in float32."""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable


class EmbeddingLoss(nn.Module):
    """A loss of `embeddings` float (N, D), of any length, whose people are `identities` int64 (N,): a scalar.

    It is computed in float32, of float64 embeddings in that, under autocast too: bfloat16 has steps of 0.004 below a
    cosine of 1, which with a scale of 64 are steps of 0.25 in a logit.
    """

    def forward(self, embeddings: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """The loss of a batch."""
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.loss(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), identities)

    def loss(self, embeddings: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """The same, of embeddings of float32 or float64."""
        raise NotImplementedError


def unit_length(vectors: torch.Tensor) -> torch.Tensor:
    """`vectors` (N, D) over their lengths; those of length 0 stay 0, with a gradient that is finite."""
    unit = _UnitLength.apply(vectors)
    assert isinstance(unit, torch.Tensor)
    return unit


class _UnitLength(torch.autograd.Function):
    """With its gradient written out. Autograd's own makes three times as many passes over (N, D), and those over the
    directions of 10,000 people cost more than half as much as all their products with a batch.
    """

    @staticmethod
    def forward(ctx: Any, vectors: torch.Tensor) -> torch.Tensor:
        lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        lengths = torch.where(lengths > torch.finfo(vectors.dtype).tiny, lengths, 1)
        unit = vectors / lengths
        ctx.save_for_backward(unit, lengths)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        unit, lengths = ctx.saved_tensors
        along = (gradient * unit).sum(dim=1, keepdim=True)
        return torch.addcmul(gradient, unit, along, value=-1).div_(lengths)
