"""The nearest of many embeddings: a cheap look at all of them, and an exact one at those that it cannot rule out.

The scan multiplies rounded numbers, 8-bit integers or bfloat16, which takes a fraction of the time of float32. How far
a similarity may be off by that is bounded by the lengths of what was rounded away (Cauchy and Schwarz): for a row x and
a query q that became x' and q', |x.q - x'.q'| <= |x - x'| |q| + |x'| |q - q'|. The k-th best of a few rows, exactly
computed, is at most the k-th best of all; whatever has an upper bound from there on is computed exactly too, and the
best of these are the answer: that of a scan in float64, however much was rounded. No index, and nothing to tune.
"""

import time
from functools import cache
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch

from ...core.errors import NumericalError

ScanName = Literal["int8", "bfloat16", "float32"]
SCANS: tuple[ScanName, ...] = get_args(ScanName)
_FEW = 16_384  # rows: below, nothing is worth rounding
_BLOCK = 8_192  # rows that are multiplied at a time: with _QUERIES queries the products stay in the processor's caches
_QUERIES = 64
_STRIPES = 16  # rows of a group, which share an upper bound
# What a sum of products may be off by, in shares of |x'| |q'|. Sums of 8-bit products are exact, their scaling is not.
# bfloat16's result is rounded to 8 binary digits, and so may be the factors of float32, where a program has called
# torch.set_float32_matmul_precision.
_ROUNDING: dict[ScanName, float] = {"int8": 2.0**-20, "bfloat16": 2.0**-7, "float32": 2.0**-7}
_ROOM = 1 + 2.0**-10  # lengths and errors are themselves computed in float32


class Search:
    """Finds the rows of `embeddings` (M, D), floats, that have the largest dot products with queries.

    Their lengths need not be 1, but 0 or between 1e-15 and 1e15: squares of others leave the range of float32.
    `scan`: how all rows are looked at first; by default what is quickest here, which is measured once (0.1 s), or
    float32 for few rows. It changes the time and never the answer. Beside the embeddings, int8 takes a quarter of their
    memory, bfloat16 half, float32 none. Raises NumericalError for embeddings that are NaN or infinite.
    """

    def __init__(self, embeddings: torch.Tensor | np.ndarray, *, scan: ScanName | None = None) -> None:
        self.embeddings = _checked(embeddings, "enrolled")
        rows, width = self.embeddings.shape
        self.scan: ScanName = scan or ("float32" if rows < _FEW else quickest_scan(width))
        self._rows = _encoded(self.embeddings, self.scan)
        self._members = _grouped(torch.arange(rows)[None], -1)[0].T  # int64 (G, 16): rows of each group, or -1
        self._lengths, self._errors = (
            _grouped(values[None], 0.0).amax(dim=1) for values in (self._rows.lengths, self._rows.errors)
        )

    def nearest(self, queries: torch.Tensor | np.ndarray, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The `k` best rows for each query (Q, D): similarities float32 (Q, K), falling, and rows int64 (Q, K).

        K is `k`, or M if that is less. A similarity is the float64 dot product as float32, the cosine where both are of
        unit length; of equal ones the earlier row comes first. Raises NumericalError as above.
        """
        assert k > 0, k
        queries = _checked(queries, "asked for")
        assert queries.shape[1] == self.embeddings.shape[1], (queries.shape, self.embeddings.shape)
        k = min(k, len(self.embeddings))
        similarities = torch.zeros(len(queries), k)
        rows = torch.zeros(len(queries), k, dtype=torch.int64)
        for first in range(0, len(queries) if k else 0, _QUERIES):
            batch = slice(first, first + _QUERIES)
            self._scan(queries[batch], similarities[batch], rows[batch])
        return similarities, rows

    def _scan(self, queries: torch.Tensor, similarities: torch.Tensor, rows: torch.Tensor) -> None:
        """Fill in the best rows of each query."""
        encoded, k = _encoded(queries, self.scan), similarities.shape[1]
        parts = [
            _grouped(_products(self._rows.part(slice(first, first + _BLOCK)), encoded, self.scan), -torch.inf).amax(1)
            for first in range(0, len(self.embeddings), _BLOCK)
        ]
        bounds = _raised(torch.cat(parts, dim=1), self._lengths, self._errors, encoded, self.scan)
        tops = bounds.topk(min(2 * k, bounds.shape[1]), dim=1).indices
        for place, query in enumerate(queries.double()):
            own = encoded.part(slice(place, place + 1))
            some, upper = self._looked_at(tops[place], own)
            found = self._similarities(some[upper.topk(min(2 * k, len(some))).indices], query)
            least = np.nextafter(np.float32(found.topk(k).values[-1]), -np.float32(np.inf))
            some, upper = self._looked_at((bounds[place] >= least).nonzero()[:, 0], own)
            some = some[upper >= least]
            similarities[place], rows[place] = _best(self._similarities(some, query), some, k)

    def _looked_at(self, groups: torch.Tensor, query: "_Encoded") -> tuple[torch.Tensor, torch.Tensor]:
        """The rows of some groups, int64 (R,), and an upper bound of the similarity of each, float32 (R,)."""
        rows = self._members[groups].flatten()
        rows = rows[rows >= 0]
        bounds = [torch.zeros(0)]
        for some in rows.split(_BLOCK):
            part = self._rows.part(some)
            bounds.append(_raised(_products(part, query, self.scan), part.lengths, part.errors, query, self.scan)[0])
        return rows, torch.cat(bounds)

    def _similarities(self, rows: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """Float32 (R,), of a query float64 (D,)."""
        parts = [self.embeddings.index_select(0, some).double() @ query for some in rows.split(_BLOCK)]
        return torch.cat(parts).float()


@cache
def quickest_scan(width: int) -> ScanName:
    """What multiplies rows of `width` numbers quickest on this processor, of what multiplies right.

    Measured, for no list of instructions tells it: bfloat16 is several times as fast as float32 where a processor has
    AMX, and half as fast where it has not even AVX512-BF16.
    """
    generator = torch.Generator().manual_seed(0)
    rows, queries = (torch.randn(count, width, generator=generator) for count in (_BLOCK // 2, _QUERIES))
    seconds = {scan: _probed(rows, queries, scan) for scan in SCANS}
    return min(SCANS, key=lambda scan: seconds[scan])


class _Encoded(NamedTuple):
    """Rows as the scan sees them: x' = codes * scales."""

    codes: torch.Tensor  # (N, D)
    scales: torch.Tensor  # float32 (N,)
    lengths: torch.Tensor  # float32 (N,), at least |x'|
    errors: torch.Tensor  # float32 (N,), at least |x - x'|

    def part(self, rows: slice | torch.Tensor) -> "_Encoded":
        if isinstance(rows, slice):
            return _Encoded(*(values[rows] for values in self))
        return _Encoded(*(values.index_select(0, rows) for values in self))  # of bytes five times as fast as [rows]


def _encoded(rows: torch.Tensor, scan: ScanName) -> _Encoded:
    codes = rows if scan == "float32" else torch.empty(rows.shape, dtype=getattr(torch, scan))
    scales, lengths, errors = torch.ones(len(rows)), torch.zeros(len(rows)), torch.zeros(len(rows))
    for first in range(0, len(rows), _BLOCK):
        block = slice(first, first + _BLOCK)
        asked, seen = rows[block], rows[block]
        if scan == "int8":
            scales[block] = asked.abs().amax(dim=1).clamp(min=1e-30) / 127
            codes[block] = (asked / scales[block, None]).round().to(torch.int8)
            seen = codes[block] * scales[block, None]
        elif scan == "bfloat16":
            codes[block] = asked.bfloat16()
            seen = codes[block].float()
        lengths[block] = seen.norm(dim=1) * _ROOM
        errors[block] = (asked - seen).norm(dim=1) * _ROOM
    return _Encoded(codes, scales, lengths, errors)


def _products(rows: _Encoded, queries: _Encoded, scan: ScanName) -> torch.Tensor:
    """Of each query with each row, but for the scales of the queries: float32 (Q, N).

    torch multiplies 8-bit matrices under no public name: whether it can, and does it right, is tried before.
    """
    if scan == "int8":
        return torch.ops.aten._int_mm(queries.codes, rows.codes.T).float().mul_(rows.scales)
    return (queries.codes @ rows.codes.T).float()


def _raised(
    products: torch.Tensor, lengths: torch.Tensor, errors: torch.Tensor, queries: _Encoded, scan: ScanName
) -> torch.Tensor:
    """Upper bounds of similarities, float32 (Q, N): `products` of rows of `lengths` and `errors` at most, (N,)."""
    length, error = queries.lengths[:, None], queries.errors[:, None]
    bounds = products * queries.scales[:, None]
    bounds += errors * (length + error)  # |q| <= |q'| + |q - q'|
    return bounds.add_(lengths * (error + _ROUNDING[scan] * length))


def _grouped(values: torch.Tensor, filling: float) -> torch.Tensor:
    """(Q, N) as (Q, 16, G), filled up; of a block of rows, group g has g, g + G, g + 2 G, ...

    A maximum over rows that lie apart takes an eighth of the time of one over neighbours.
    """
    if values.shape[1] > _BLOCK:
        return torch.cat([_grouped(block, filling) for block in values.split(_BLOCK, dim=1)], dim=2)
    missing = -values.shape[1] % _STRIPES
    if missing:
        values = torch.nn.functional.pad(values, (0, missing), value=filling)
    return values.reshape(len(values), _STRIPES, -1)


def _best(similarities: torch.Tensor, rows: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `k` largest, falling, the earlier row first of equal ones."""
    order = torch.from_numpy(np.lexsort((rows.numpy(), -similarities.numpy()))[:k])
    return similarities[order], rows[order]


def _probed(rows: torch.Tensor, queries: torch.Tensor, scan: ScanName) -> float:
    """Seconds, the least of five rounds; infinite where torch lacks the product or gets it wrong."""
    encoded, asked, seconds = _encoded(rows, scan), _encoded(queries, scan), []
    try:
        if scan == "int8" and not _multiplies_right(rows.shape[1]):
            return float("inf")
        for _ in range(5):
            began = time.perf_counter()
            _grouped(_products(encoded, asked, scan), -torch.inf).amax(dim=1)
            seconds.append(time.perf_counter() - began)
    except (RuntimeError, AttributeError):
        return float("inf")
    return min(seconds)


def _multiplies_right(width: int) -> bool:
    """Whether 8-bit products are exact: for processors without VNNI, libraries add pairs of them in 16 bits."""
    largest = torch.full((_STRIPES, width), 127, dtype=torch.int8)
    found = torch.ops.aten._int_mm(largest, torch.cat((largest, -largest)).T)
    return bool((found.abs() == 127 * 127 * width).all() and (found[:, _STRIPES:] < 0).all())


def _checked(embeddings: torch.Tensor | np.ndarray, what: str) -> torch.Tensor:
    rows = torch.as_tensor(embeddings).detach().to("cpu", torch.float32).contiguous()
    assert rows.ndim == 2, rows.shape
    bad = int((~torch.isfinite(rows.sum(dim=1))).sum())  # a fifth of the time of looking at each number
    if bad:
        raise NumericalError(f"{bad} of {len(rows)} embeddings {what} are NaN or infinite; the network has diverged.")
    return rows
