"""Search finds what a scan in float64 finds, whatever it rounds."""

import numpy as np
import pytest
import torch

from foveal.core.errors import NumericalError
from foveal.tasks.faces import search
from foveal.tasks.faces.search import SCANS, Search, quickest_scan

every_scan = pytest.mark.parametrize("scan", SCANS)


def brute(embeddings, queries, k):
    """All products in float64 as float32; of equal ones the earlier row first."""
    products = (queries.double() @ embeddings.double().T).float().numpy()
    rows = np.stack([np.lexsort((np.arange(products.shape[1]), -each))[:k] for each in products])
    return torch.from_numpy(np.take_along_axis(products, rows, axis=1)), torch.from_numpy(rows)


def drawn(rows, width=64, seed=0):
    """Embeddings of unit length in all directions."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, width, generator=generator), dim=1)


def assert_found(embeddings, queries, k, scan):
    similarities, rows = Search(embeddings, scan=scan).nearest(queries, k)
    wanted, wanted_rows = brute(embeddings, queries, k)
    assert torch.equal(rows, wanted_rows)
    assert torch.equal(similarities, wanted)
    assert similarities.dtype == torch.float32 and rows.dtype == torch.int64


@every_scan
@pytest.mark.parametrize("rows", [1, 3, 16, 17, 1000, 8192, 8193, 20_000])
def test_the_answer_is_that_of_all_products(scan, rows):
    assert_found(drawn(rows), drawn(70, seed=1), min(rows, 10), scan)


@every_scan
def test_people_who_are_alike(scan):
    """Many pictures that are nearer to each other than rounding tells apart."""
    centres, noise = drawn(20), drawn(3000, seed=1)
    assert_found(torch.nn.functional.normalize(centres.repeat(150, 1) + 1e-3 * noise, dim=1), centres, 25, scan)


@every_scan
def test_of_equal_embeddings_the_earlier_comes_first(scan):
    one = drawn(1)
    similarities, rows = Search(one.repeat(9000, 1), scan=scan).nearest(one, 5)
    assert rows.tolist() == [[0, 1, 2, 3, 4]]
    assert similarities.tolist() == [[pytest.approx(1, abs=1e-6)] * 5]


@every_scan
def test_embeddings_of_other_lengths_and_hostile_ones(scan):
    """One entry that takes all steps of eight bits, rows of zeros, and very long and very short ones."""
    embeddings = drawn(2000)
    embeddings[:300] = 1e-3 * embeddings[:300]
    embeddings[:300, 5] = 1
    embeddings[300:320] = 0
    embeddings[400:500] *= torch.logspace(-20, 3, 100)[:, None]
    queries = drawn(40, seed=1)
    queries[:10, 5] *= 30
    queries[10] = 0
    assert_found(embeddings, queries, 10, scan)


@every_scan
def test_products_of_low_precision_do_not_change_the_answer(scan):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert_found(drawn(3000), drawn(20, seed=1), 10, scan)
    finally:
        torch.set_float32_matmul_precision(before)


@every_scan
def test_bounds_are_above_what_they_bound(scan):
    """For each row by itself, and not by much: what the whole search rests on."""
    rows, queries = drawn(500, 128) * torch.linspace(0.1, 4, 500)[:, None], drawn(30, 128, seed=1)
    encoded, asked = search._encoded(rows, scan), search._encoded(queries, scan)
    products = search._products(encoded, asked, scan)
    bounds = search._raised(products, encoded.lengths, encoded.errors, asked, scan).double()
    excess = (bounds - queries.double() @ rows.double().T) / rows.double().norm(dim=1)
    assert excess.min() > 0 and excess.max() < 0.04


# The first number takes all steps there are; of each of the others nearly half a step is rounded away.
@pytest.mark.parametrize(("scan", "first", "other"), [("int8", 127, 3.49), ("bfloat16", 1, 1 + 0.49 / 128)])
@pytest.mark.parametrize("rounded", ["rows", "queries", "both"])
def test_bounds_hold_where_all_that_is_rounded_away_points_the_same_way(scan, first, other, rounded, monkeypatch):
    monkeypatch.setitem(search._ROUNDING, scan, 2.0**-20)  # these sums are exact
    hard = torch.tensor([[first] + 63 * [other]], dtype=torch.float32)
    rows, queries = (hard if rounded in (name, "both") else torch.ones(1, 64) for name in ("rows", "queries"))
    encoded, asked = search._encoded(rows, scan), search._encoded(queries, scan)
    products = search._products(encoded, asked, scan).float()
    bound = search._raised(products, encoded.lengths, encoded.errors, asked, scan)
    true, seen = float(rows.double() @ queries.double().T), float(products * asked.scales)
    assert seen < true <= float(bound)


def test_nobody_enrolled_and_nothing_asked():
    similarities, rows = Search(torch.zeros(0, 8)).nearest(torch.ones(3, 8), 5)
    assert similarities.shape == rows.shape == (3, 0)
    assert Search(drawn(5, 8)).nearest(torch.zeros(0, 8), 2)[1].shape == (0, 2)


def test_arrays_are_taken_too():
    similarities, rows = Search(np.eye(4)).nearest(np.array([[0, 3, 2, 1]]), 2)
    assert rows.tolist() == [[1, 2]] and similarities.tolist() == [[3, 2]]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_embeddings_that_are_no_numbers_are_said(bad):
    embeddings = drawn(20)
    embeddings[3, 5] = embeddings[9, 0] = bad
    with pytest.raises(NumericalError, match="2 of 20 embeddings enrolled"):
        Search(embeddings)
    with pytest.raises(NumericalError, match="2 of 20 embeddings asked for"):
        Search(drawn(5)).nearest(embeddings, 1)


def test_the_quickest_scan_is_one_that_multiplies_right(monkeypatch):
    assert quickest_scan(64) in SCANS
    seconds = {"int8": 1.0, "bfloat16": 3.0, "float32": 2.0}
    monkeypatch.setattr(search, "_probed", lambda rows, queries, scan: seconds[scan])
    assert quickest_scan.__wrapped__(64) == "int8"
    seconds["int8"] = float("inf")
    assert quickest_scan.__wrapped__(64) == "float32"


def test_eight_bits_that_saturate_or_are_missing_are_not_chosen(monkeypatch):
    rows, queries = drawn(64), drawn(16)
    assert search._probed(rows, queries, "int8") < float("inf")
    monkeypatch.setattr(search, "_multiplies_right", lambda width: False)
    assert search._probed(rows, queries, "int8") == float("inf")

    def missing(width):
        raise RuntimeError("no such product on this machine")

    monkeypatch.setattr(search, "_multiplies_right", missing)
    assert search._probed(rows, queries, "int8") == float("inf")


def test_many_rows_are_rounded_and_few_are_not(monkeypatch):
    monkeypatch.setattr(search, "quickest_scan", lambda width: "int8")
    assert Search(torch.ones(16_383, 2)).scan == "float32"
    assert Search(torch.ones(16_384, 2)).scan == "int8"
