"""Outlines of parts: by hand, and against pycocotools, which must decode each to exactly its part's pixels."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as reference

from foveal.core import outlines
from foveal.core.outlines import Part, parts


def pixels(*rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows], np.uint8)


def only(mask: np.ndarray) -> Part:
    """The one part of class 1."""
    (part,) = parts(mask, 1)
    return part


def decoded(part: Part, size: tuple[int, int]) -> np.ndarray:
    """What pycocotools makes of an outline, bool (H, W)."""
    packed = reference.merge(reference.frPyObjects([part.outline.ravel().tolist()], *size))
    return reference.decode(packed).astype(bool)


def corners(part: Part) -> list[tuple[int, int]]:
    return [(x, y) for x, y in part.outline.tolist()]


def enclosed(part: Part) -> float:
    """The outline's area by the shoelace formula, which takes holes off if they run the other way round."""
    x, y = part.outline.T.astype(float)
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def test_a_pixel_has_the_four_corners_of_its_square():
    assert corners(only(pixels("#"))) == [(0, 0), (1, 0), (1, 1), (0, 1)]


def test_an_outline_has_corners_alone():
    assert corners(only(pixels("##.", "##.", "###"))) == [(0, 0), (2, 0), (2, 2), (3, 2), (3, 3), (0, 3)]


def test_pixels_that_touch_at_a_corner_are_one_part():
    part = only(pixels("#..", ".#.", "..#"))
    assert part.area == 3 and (decoded(part, (3, 3)) == np.eye(3, dtype=bool)).all()


def test_a_hole_is_joined_by_a_line_there_and_back():
    part = only(pixels("###", "#.#", "###"))
    hole = [(1, 2), (2, 2), (2, 1), (1, 1), (1, 2)]  # against the clock, and whole again
    assert corners(part) == [(0, 0), (3, 0), (3, 3), (0, 3), *hole, (0, 3)]
    assert enclosed(part) == part.area == 8
    assert (decoded(part, (3, 3)) == pixels("###", "#.#", "###")).all()


def test_parts_have_their_places_in_the_mask():
    mask = np.zeros((9, 12), np.uint8)
    mask[1:3, 2:6], mask[5:9, 10:12], mask[4, 0] = 7, 7, 3
    found = sorted((part.box, part.area, corners(part)) for part in parts(mask, 7))
    assert found == [
        ((2, 1, 4, 2), 8, [(2, 1), (6, 1), (6, 3), (2, 3)]),
        ((10, 5, 2, 4), 8, [(10, 5), (12, 5), (12, 9), (10, 9)]),
    ]
    assert list(parts(mask, 1)) == []


def test_a_part_within_a_hole_is_another():
    found = {part.area: part for part in parts(pixels("#####", "#...#", "#.#.#", "#...#", "#####"), 1)}
    assert {area: part.box for area, part in found.items()} == {16: (0, 0, 5, 5), 1: (2, 2, 1, 1)}
    assert len(found[16].outline) == 10 and len(found[1].outline) == 4


def blobs(seed: int) -> np.ndarray:
    """Class numbers in soft shapes, with holes and islands in them."""
    noise = np.random.default_rng(seed).normal(size=(70, 90)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 0.7 + seed % 4)
    return np.digitize(soft, np.quantile(soft, (0.3, 0.6, 0.8))).astype(np.uint8)


def grains(seed: int) -> np.ndarray:
    """Class numbers as noise: holes, diagonal contacts and single pixels everywhere."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 20, 2)
    return (rng.random((height, width)) < rng.random()).astype(np.uint8)


@pytest.mark.parametrize("band", [1, 50, 2**20])
@pytest.mark.parametrize("mask", [*map(blobs, range(4)), *map(grains, range(60))], ids=lambda mask: str(mask.shape))
def test_every_outline_is_decoded_to_its_part_and_all_parts_make_the_mask(monkeypatch, mask, band):
    monkeypatch.setattr(outlines, "_BAND", band)
    covered = np.zeros(mask.shape, np.int64)
    for label in np.unique(mask).tolist():
        _, places = cv2.connectedComponents((mask == label).astype(np.uint8), connectivity=8)
        for part in parts(mask, label):
            left, top, width, height = part.box
            whole = decoded(part, mask.shape)
            assert len(np.unique(places[whole])) == 1 and (mask[whole] == label).all()
            assert part.area == whole.sum() == enclosed(part)
            rows, columns = whole.nonzero()
            assert (left, top) == (columns.min(), rows.min())
            assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
            covered += whole
    assert (covered == 1).all()
