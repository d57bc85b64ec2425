"""The heads' own anchors, and what a recipe may put in their place."""

import pytest

from foveal.core.errors import UsageError
from foveal.tasks.detection.anchors import anchor_generator, default_anchors
from foveal.tasks.detection.options import AnchorOptions, DetectionOptions

DEFAULT = {"sizes": [[32.0], [64.0]], "ratios": [[0.5, 1.0, 2.0]]}


def sides(generator, level=0):
    """Width and height of the anchors of a map."""
    return (generator.cell_anchors[level][:, 2:] - generator.cell_anchors[level][:, :2]).tolist()


def test_the_defaults_are_taken_where_the_recipe_says_nothing():
    generator = anchor_generator(AnchorOptions(), **DEFAULT)
    assert generator.sizes == ((32.0,), (64.0,))
    # sqrt(2) * 32 = 45.25 by 22.63, halved and rounded: 23 and 11 on each side.
    assert sides(generator) == [[46, 22], [32, 32], [22, 46]]


def test_one_list_serves_all_maps():
    generator = anchor_generator(AnchorOptions(sizes=[[10.0, 20.0]], ratios=[[1.0]]), **DEFAULT)
    assert generator.sizes == ((10, 20), (10, 20))
    assert generator.aspect_ratios == ((1,), (1,))


def test_a_list_a_map():
    generator = anchor_generator(AnchorOptions(sizes=[[10.0], [40.0]], ratios=[[1.0], [4.0]]), **DEFAULT)
    assert sides(generator, 0) == [[10, 10]]
    assert sides(generator, 1) == [[20, 80]]  # height by width is 4, the area 40 * 40


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sizes": [[8.0]] * 3}, r"model\.anchors\.sizes holds 3 lists; this head needs 2 lists"),
        ({"ratios": []}, r"model\.anchors\.ratios holds 0 lists; this head needs 2 lists"),
        ({"sizes": [[8.0], []]}, r"model\.anchors\.sizes holds the list \[\]"),
        ({"sizes": [[8.0], [0.0]]}, r"model\.anchors\.sizes holds the list \[0\]"),
        ({"ratios": [[-1.0]]}, r"model\.anchors\.ratios holds the list \[-1\]"),
        ({"ratios": [[float("nan")]]}, r"model\.anchors\.ratios holds the list \[nan\]"),
        ({"sizes": [[float("inf")]]}, r"model\.anchors\.sizes holds the list \[inf\]"),
        ({"sizes": [[8.0], [8.0, 16.0]]}, r"the maps 3, 6 anchors"),
        ({"sizes": [[1.0]], "ratios": [[1.0]]}, r"less than 2 pixels"),
    ],
)
def test_what_no_anchor_can_be_is_refused(given, sentence):
    with pytest.raises(UsageError, match=sentence):
        anchor_generator(AnchorOptions(**given), **DEFAULT)


@pytest.mark.parametrize("head", ["fasterrcnn_c4", "fasterrcnn_dc5"])
def test_a_single_map_has_all_sizes(head):
    assert default_anchors(DetectionOptions(head=head), 640).sizes == [[128, 256, 512]]


def test_a_pyramid_has_a_size_a_map():
    found = default_anchors(DetectionOptions(head="fasterrcnn_fpn"), 640)
    assert found.sizes == [[32], [64], [128], [256], [512]]
    assert found.strides == (4, 8, 16, 32, 64)


def test_fcos_has_none():
    with pytest.raises(UsageError, match="fcos has no anchors"):
        default_anchors(DetectionOptions(head="fcos"), 640)
