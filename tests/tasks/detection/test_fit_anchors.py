"""Fitted anchors: boxes of known kinds give those kinds back."""

import numpy as np
import pytest

from foveal.core.errors import DataError, UsageError
from foveal.core.options import DataOptions
from foveal.tasks.detection.anchors import Anchors, default_anchors
from foveal.tasks.detection.fit_anchors import boxes_at_input, fit_anchors
from foveal.tasks.detection.options import DetectionOptions

FPN, C4, RETINANET = (
    default_anchors(DetectionOptions(head=head), 640) for head in ("fasterrcnn_fpn", "fasterrcnn_c4", "retinanet")
)
SSD = Anchors([[30.0, 60.0], [60.0, 111.0], [111.0, 162.0]], [[2.0], [2.0, 3.0], [2.0]], (8, 16, 32))


def made(sizes, ratios=(1.0,), number=40, spread=0.02, places=512):
    """Boxes of every size with every ratio of height by width, their middles anywhere, sides wavering by a few per
    cent.
    """
    rng = np.random.default_rng(0)
    kinds = np.array([(size / ratio**0.5, size * ratio**0.5) for size in sizes for ratio in ratios])
    sides = np.repeat(kinds, number, axis=0) * np.exp(rng.normal(0, spread, (len(kinds) * number, 2)))
    middles = rng.uniform(0, places, sides.shape)
    return np.concatenate([middles - sides / 2, middles + sides / 2], axis=1)


def test_five_sizes_on_five_maps_are_found():
    boxes = made([20, 45, 90, 180, 400], [0.4, 1.0, 1.8])
    anchors, default, fitted = fit_anchors(boxes, FPN)
    assert [len(of_map) for of_map in anchors.sizes] == [1] * 5
    assert np.ravel(anchors.sizes) == pytest.approx([20, 45, 90, 180, 400], rel=0.02)
    assert anchors.ratios[0] == pytest.approx([0.4, 1.0, 1.8], rel=0.03)
    assert fitted.mean_iou > default.mean_iou + 0.05


def test_three_sizes_on_one_map_are_found():
    anchors = fit_anchors(made([60, 130, 300], [0.5, 1.0, 3.0]), C4).anchors
    assert len(anchors.sizes) == 1
    assert anchors.sizes[0] == pytest.approx([60, 130, 300], rel=0.02)
    assert anchors.ratios[0] == pytest.approx([0.5, 1.0, 3.0], rel=0.03)


def test_a_map_too_coarse_for_all_boxes_keeps_large_sizes():
    # Boxes of 20 pixels: of the maps from stride 4 on the finest alone has a place near each.
    anchors = fit_anchors(made([20]), FPN).anchors
    assert anchors.sizes[0] == pytest.approx([20], rel=0.02)
    assert min(anchors.sizes[3:]) > [40]


def test_pairs_rise_from_map_to_map_and_serve_reciprocals():
    anchors = fit_anchors(made([20, 50, 90], [0.4, 1.0, 2.5]), SSD, pairs=True).anchors
    assert [len(of_map) for of_map in anchors.ratios] == [1, 2, 1]
    assert anchors.ratios[0] == anchors.ratios[2] == anchors.ratios[1][:1]
    least, largest = zip(*anchors.sizes, strict=True)
    assert least[1:] == largest[:-1]
    assert all(low < high for low, high in anchors.sizes)
    assert max(anchors.ratios[1]) == pytest.approx(2.5, rel=0.1)


@pytest.mark.parametrize("default", [FPN, C4, RETINANET], ids=["fpn", "c4", "retinanet"])
@pytest.mark.parametrize("sizes", [[32, 64, 128], [11], [500]])
def test_what_is_fitted_is_never_worse(default, sizes):
    fit = fit_anchors(made(sizes, [0.5, 1.0, 2.0]), default)
    assert sum(fit.fitted) >= sum(fit.default)


def test_the_same_seed_gives_the_same_anchors():
    boxes = made([20, 70, 150], [0.7, 1.5], spread=0.4)
    assert fit_anchors(boxes, RETINANET, seed=3) == fit_anchors(boxes, RETINANET, seed=3)


def test_iou_of_an_anchor_beside_its_box():
    # One box of 64 x 64 whose middle is 8 pixels to the right of a place of stride 16: of the anchors 128 x 128, 181 x
    # 90.5 and larger ones the first holds it whole. IoU: 64^2 / 128^2.
    box = np.array([[40.0 - 32 + 64, 64.0 - 32, 40.0 + 32 + 64, 64.0 + 32]])
    one = Anchors([[64.0]], [[1.0]], (16,))
    assert fit_anchors(box, C4).default.mean_iou == pytest.approx(0.25)
    # The anchor of 64 x 64 shares 56 of its 64 columns.
    assert fit_anchors(box, one).default.mean_iou == pytest.approx(56 / (64 + 8))


def test_ssd_anchors_lie_on_the_middles_of_cells():
    # The middle of the first cell of stride 8 is (4, 4), where this box of 30 x 30 lies.
    box = np.array([[4.0 - 15, 4.0 - 15, 4.0 + 15, 4.0 + 15]])
    assert fit_anchors(box, SSD, pairs=True).default.mean_iou == pytest.approx(1)


def test_nothing_is_fitted_to_no_box():
    with pytest.raises(DataError, match="no box to fit anchors to"):
        fit_anchors(np.zeros((0, 4)), FPN)


@pytest.mark.parametrize("box", [[0, 0, 0.1, 0.1], [5, 5, 6, 600], [0, 0, 600, 0.5]])
@pytest.mark.parametrize(("default", "pairs"), [(FPN, False), (SSD, True)], ids=["fpn", "ssd"])
def test_one_box_of_any_shape_gives_anchors_with_an_area(box, default, pairs):
    anchors = fit_anchors(np.array([box], float), default, pairs=pairs).anchors
    sides = [
        size * ratio ** (sign / 2)
        for size in np.ravel(anchors.sizes)
        for ratio in anchors.ratios[0]
        for sign in (1, -1)
    ]
    assert np.isfinite(sides).all() and min(sides) > 1.9


BOX = np.array([[10.0, 20.0, 110.0, 60.0]])  # of an image 400 wide and 200 high


@pytest.mark.parametrize(
    ("resize", "expected"),
    [
        ("squash", [5, 20, 55, 60]),  # 0.5 across, 1 down
        ("fit", [5, 10, 55, 30]),  # 0.5: 400 becomes 200
        ("shorter", [10 * 0.8325, 20 * 0.8325, 110 * 0.8325, 60 * 0.8325]),  # 400 becomes 5/3 * 200: 333
    ],
)
def test_boxes_are_scaled_as_their_image(resize, expected):
    data = DataOptions(size=200, resize=resize)
    assert boxes_at_input(BOX, (200, 400), data)[0].tolist() == pytest.approx(expected)


def test_the_shorter_side_becomes_the_size():
    data = DataOptions(size=400, resize="shorter")
    assert boxes_at_input(BOX, (200, 300), data)[0].tolist() == pytest.approx([20, 40, 220, 120])


def test_boxes_are_cut_at_their_image():
    data = DataOptions(size=200, resize="fit")
    assert boxes_at_input(np.array([[-5.0, 0.0, 500.0, 10.0]]), (200, 400), data).tolist() == [[0, 0, 200, 5]]


def test_a_resize_that_cuts_objects_is_refused():
    with pytest.raises(UsageError, match=r"data\.resize is crop"):
        boxes_at_input(BOX, (200, 400), DataOptions(size=200, resize="crop"))
