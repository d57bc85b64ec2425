"""Outlines of parts: by hand, and against pycocotools, which must decode each to exactly its part's pixels."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as reference

from foveal.core.outlines import outline, parts


def pixels(*rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows])


def decoded(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What pycocotools makes of a polygon, bool (H, W)."""
    packed = reference.merge(reference.frPyObjects([polygon.ravel().tolist()], *size))
    return reference.decode(packed).astype(bool)


def corners(polygon: np.ndarray) -> set[tuple[int, int]]:
    return {(x, y) for x, y in polygon.tolist()}


def area(polygon: np.ndarray) -> float:
    """The shoelace formula, which takes holes off if they run the other way round."""
    x, y = polygon.T.astype(float)
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def test_a_pixel_has_the_four_corners_of_its_square():
    polygon = outline(pixels("#"))
    assert len(polygon) == 4 and corners(polygon) == {(0, 0), (1, 0), (1, 1), (0, 1)}


def test_only_corners_are_in_the_outline():
    polygon = outline(pixels("##.", "##.", "###"))
    assert len(polygon) == 6 and corners(polygon) == {(0, 0), (2, 0), (2, 2), (3, 2), (3, 3), (0, 3)}


def test_pixels_that_touch_at_a_corner_are_one_part():
    (part,) = parts(pixels("#..", ".#.", "..#").astype(np.uint8), 1)
    assert part.area == 3
    assert (decoded(outline(part.pixels), (3, 3)) == np.eye(3, dtype=bool)).all()


def test_a_hole_is_joined_by_a_line_there_and_back():
    ring = pixels("###", "#.#", "###")
    polygon = outline(ring)
    # Four corners outside and four inside, and where the line begins and ends once more.
    assert len(polygon) == 10
    assert corners(polygon) == {(0, 0), (3, 0), (3, 3), (0, 3), (1, 1), (2, 1), (2, 2), (1, 2)}
    assert area(polygon) == 8
    assert (decoded(polygon, (3, 3)) == ring).all()


def test_parts_of_a_class_are_cut_out_with_their_places():
    mask = np.zeros((9, 12), np.uint8)
    mask[1:3, 2:6], mask[5:9, 10:12], mask[4, 0] = 7, 7, 3
    found = [(part.left, part.top, part.pixels.shape, part.area) for part in parts(mask, 7)]
    assert found == [(2, 1, (2, 4), 8), (10, 5, (4, 2), 8)]
    assert list(parts(mask, 1)) == []


def test_a_part_holds_nothing_of_another_within_its_box():
    mask = pixels("#####", "#...#", "#.#.#", "#...#", "#####").astype(np.uint8)
    ring, dot = parts(mask, 1)
    assert (ring.area, dot.area) == (16, 1) and ring.pixels.sum() == 16 and not ring.pixels[2, 2]


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


@pytest.mark.parametrize("mask", [*map(blobs, range(12)), *map(grains, range(100))], ids=lambda mask: str(mask.shape))
def test_every_outline_is_decoded_to_its_part_and_all_parts_make_the_mask(mask):
    covered = np.zeros(mask.shape, np.int64)
    for label in np.unique(mask).tolist():
        for part in parts(mask, label):
            height, width = part.pixels.shape
            whole = np.zeros(mask.shape, bool)
            whole[part.top : part.top + height, part.left : part.left + width] = part.pixels
            polygon = outline(part.pixels) + np.array((part.left, part.top))
            assert (decoded(polygon, mask.shape) == whole).all()
            assert part.area == whole.sum() == area(polygon) and (mask[whole] == label).all()
            covered += whole
    assert (covered == 1).all()
