"""Depths of another scale than those trained on are said."""

import warnings

import numpy as np
import pytest

from foveal.core.errors import DataError, DataWarning
from foveal.tasks.depth.scale import median_depth, warn_of_scale


class Maps:
    """A data set of flat depth maps; None is a file that cannot be read."""

    class_names: tuple = ()

    def __init__(self, *depths):
        self.depths = depths

    def __len__(self):
        return len(self.depths)

    def truth(self, index):
        if self.depths[index] is None:
            raise DataError("broken")
        return {"depth": np.float32([[self.depths[index], 0]])}


def test_the_median_of_medians():
    assert median_depth(Maps(3, 0, None, 5, 4)) == 4
    assert median_depth(Maps(0, None)) is None and median_depth(Maps()) is None
    assert median_depth(Maps(*range(1, 102)), most=3) == 51  # the first, the middle and the last


@pytest.mark.parametrize(
    ("found", "usual", "said"),
    [
        (5000, (5.0, 5.0), "1,000 times farther"),  # millimetres taken for metres
        (500, (5.0, 5.0), "100 times farther"),
        (0.05, (5.0, 5.0), "100 times nearer"),
        (2500, (0.1, 10.0), "250 times farther"),  # beyond a range
        (0.001, (0.1, None), "100 times nearer"),
        (20, (5.0, 5.0), None),  # out of doors
        (2500, (0.1, None), None),
        (None, (5.0, 5.0), None),
        (3, (None, None), None),
    ],
)
def test_another_scale_is_a_warning_that_names_the_option(found, usual, said):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warned = warn_of_scale(found, usual, what="The test images", than="those trained on")
    assert warned == (said is not None) == bool(caught)
    if said is not None:
        assert issubclass(caught[0].category, DataWarning)
        assert str(caught[0].message) == (
            f"The test images are {said} away than those trained on: their median depth is {found:,.4g} m. Is "
            "data.depth_scale, the steps of a 16-bit file to the metre, right (KITTI's maps have 256, TUM's 5000, "
            "those in millimetres 1000)?"
        )
