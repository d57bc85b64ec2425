"""What all losses of embeddings have in common: how they are called, and that they are computed in float32."""

import torch
from torch import nn


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
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / torch.where(lengths > torch.finfo(vectors.dtype).tiny, lengths, 1)
