"""Classical edge filters: constants, steps and ramps whose answers are known."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.core.errors import UsageError
from foveal.tasks.edges.filters import (
    FILTERS,
    FilterDetector,
    canny,
    laplacian,
    laplacian_of_gaussian,
    sobel,
    sobel_gradient,
)

every_filter = pytest.mark.parametrize("name", FILTERS)


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(grey, np.uint8)[:, :, None], 3, axis=2)


def step(height: int = 24, width: int = 32, *, left: int = 0, right: int = 255) -> np.ndarray:
    """A picture whose right half is brighter: the edge lies between the columns width / 2 - 1 and width / 2."""
    grey = np.full((height, width), left)
    grey[:, width // 2 :] = right
    return rgb(grey)


@every_filter
def test_a_constant_has_no_edge(name):
    assert FILTERS[name](np.full((20, 30, 3), 77, np.uint8)).max() == 0


@every_filter
def test_maps_are_float32_of_the_images_size_from_0_to_1(name):
    image = np.random.default_rng(0).integers(0, 256, (33, 41, 3), dtype=np.uint8)
    found = FILTERS[name](image)
    assert found.shape == (33, 41) and found.dtype == np.float32
    assert found.min() >= 0 and 0.1 < found.max() <= 1


@every_filter
def test_a_higher_step_has_a_higher_score_and_its_place(name):
    scores = [FILTERS[name](step(left=100, right=100 + height)) for height in (8, 20, 60, 150)]
    highest = [score.max() for score in scores]
    assert highest == sorted(set(highest)) and highest[0] > 0
    for score in scores:
        assert set(np.nonzero(score == score.max())[1]) <= {15, 16}


@every_filter
def test_turning_the_image_turns_its_edges(name):
    image = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8), (0, 0), 2)
    plain, turned = FILTERS[name](image), FILTERS[name](np.ascontiguousarray(np.rot90(image)))
    # Of two pixels beside an edge one is taken, and Canny's angles are rounded: the sums agree, and nearly all places.
    assert turned.sum() == pytest.approx(plain.sum(), rel=0.05)
    near = cv2.dilate(np.rot90(plain), np.ones((3, 3)))
    assert (turned <= near + 0.05).mean() > 0.99


def test_sobel_of_a_unit_step():
    grey = np.zeros((5, 6), np.float32)
    grey[:, 3:] = 1
    across, down = sobel_gradient(grey)
    assert across.tolist() == [[0, 0, 4, 4, 0, 0]] * 5  # 1 + 2 + 1, positive: brighter to the right
    assert not down.any()
    across, down = sobel_gradient(1 - grey.T)
    assert down.T.tolist() == [[0, 0, -4, -4, 0, 0]] * 5 and not across.any()


def test_sobel_is_a_convolution_with_the_two_kernels():
    grey = np.random.default_rng(0).random((9, 12), np.float32)
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([kernel, kernel.T])[:, None]
    padded = F.pad(torch.from_numpy(grey)[None, None], (1, 1, 1, 1), mode="replicate")
    expected = F.conv2d(padded, kernels)[0].numpy()
    assert np.stack(sobel_gradient(grey)) == pytest.approx(expected, abs=1e-6)
    image = rgb(grey * 255)
    length = np.hypot(*sobel_gradient(image[:, :, 0] / np.float32(255)))
    assert sobel(image) == pytest.approx(np.minimum(length / 4, 1), abs=1e-6)


def test_sobel_of_a_full_step_is_1_and_of_a_fifth_a_fifth():
    assert sobel(step()).max() == 1
    assert sobel(step(left=100, right=151)).max() == pytest.approx(1 / 5)
    assert sobel(step())[0].nonzero()[0].tolist() == [15, 16]


@pytest.mark.parametrize("slope", [(0, 1), (2, 0), (1, -2)])
def test_the_laplacian_of_a_ramp_is_zero(slope):
    rows, columns = np.mgrid[:40, :50].astype(np.float32)
    ramp = (slope[0] * rows + slope[1] * columns + 100) / 255
    inside = laplacian_of_gaussian(ramp, 2.0)[10:-10, 10:-10]
    assert np.abs(inside).max() < 1e-5
    assert laplacian(rgb(ramp * 255))[10:-10, 10:-10].max() < 1e-3


def test_the_laplacian_marks_a_step_by_one_line_of_its_height():
    found = laplacian(step())
    assert (found > 0.5).sum(axis=1).tolist() == [1] * 24 and set(np.nonzero(found > 0.5)[1]) == {15}
    # Second differences half a pixel beside the step are a little less than the slope at it: sampling at sigma 2.
    assert found.max() == pytest.approx(1, abs=0.1)
    assert laplacian(step(left=100, right=151)).max() == pytest.approx(found.max() / 5, rel=1e-3)


def test_canny_marks_a_step_by_lines_one_pixel_wide():
    for image in (step(), np.ascontiguousarray(step().transpose(1, 0, 2))):
        marked = canny(image) > 0
        across = marked.sum(axis=1) if image.shape[1] == 32 else marked.sum(axis=0)
        # Canny itself never marks the outermost pixels: they have no neighbour to be higher than.
        assert set(across[1:-1]) == {1}


def test_canny_is_opencvs_at_each_threshold():
    image = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 256, (60, 80, 3), dtype=np.uint8), (0, 0), 1.5)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    blurred = cv2.GaussianBlur(grey, (13, 13), 1.4, borderType=cv2.BORDER_REPLICATE)
    parts = [cv2.Sobel(blurred, cv2.CV_32F, *d, ksize=3, borderType=cv2.BORDER_REPLICATE) for d in ((1, 0), (0, 1))]
    parts = [np.round(16 * part).astype(np.int16) for part in parts]
    found, seen = canny(image), 0
    for level in range(1, 33):
        threshold = 16 * 1020 * (level / 32) ** 2
        marked = cv2.Canny(*parts, 0.4 * threshold, threshold, L2gradient=True) > 0
        assert ((found >= level / 32 - 1e-6) == marked).all()
        seen += marked.any()
    assert seen > 5


def test_a_weak_end_of_a_strong_line_stays_by_hysteresis():
    grey = np.zeros((40, 60))
    grey[20:, :30], grey[20:, 30:] = 120, 60  # the same edge, half as high on the right
    found = canny(rgb(grey))
    alone = canny(rgb(np.where(np.arange(40)[:, None] >= 20, 60, 0) + np.zeros(60)))
    assert found[19:21, 40:55].max() > alone[19:21, 40:55].max()
    assert found[19:21, 40:55].max() == found[19:21, 5:20].max()


@every_filter
def test_in_the_place_of_a_network(name):
    images = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (logits,) = FilterDetector(name)(images)
    assert logits.shape == (2, 1, 20, 30) and logits.isfinite().all()
    for image, probabilities in zip(images, logits.sigmoid(), strict=True):
        expected = FILTERS[name](np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
        assert probabilities[0].numpy() == pytest.approx(expected, abs=1e-5)


def test_every_level_of_canny_reaches_a_threshold_of_that_level(monkeypatch):
    # 26 / 32 as a logit in 32 bits and back is 0.81249994: validation at 31 thresholds would miss it at its own.
    levels = np.tile(np.arange(33, dtype=np.float32) / 32, (3, 1))
    monkeypatch.setitem(FILTERS, "canny", lambda image: levels)
    (logits,) = FilterDetector("canny")(torch.zeros(1, 3, 3, 33, dtype=torch.uint8))
    found = logits.sigmoid()[0, 0].double().numpy()
    assert (found[:, :32] >= levels[:, :32]).all() and np.abs(found - levels).max() < 1e-5


def test_a_filter_that_there_is_not():
    with pytest.raises(UsageError, match="no edge filter 'cany'; the nearest are canny"):
        FilterDetector("cany")
