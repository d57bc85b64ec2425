"""The dense CRF against numbers worked out by hand, and against the sums of its paper written out pixel by pixel."""

import math

import cv2
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from foveal.core.errors import UsageError
from foveal.tasks.segmentation.crf import CRFOptions, MeanField, refine

EXACT = CRFOptions(sources=10**6, bilateral_distance=20)


def brute_force(probabilities, image, options):
    """The paper's two kernels and its mean-field update in float64, with all pairs of pixels as matrices."""
    height, width, classes = probabilities.shape
    place = torch.cartesian_prod(torch.arange(height), torch.arange(width)).double()
    colour = image.reshape(-1, 3).double()
    apart, unlike = (x[:, None].sub(x).square().sum(dim=2) for x in (place, colour))
    alike = torch.exp(-apart / (2 * options.bilateral_distance**2) - unlike / (2 * options.bilateral_colour**2))
    near = torch.exp(-apart / (2 * options.smoothness_distance**2))
    votes = torch.zeros_like(near)
    for weight, kernel in ((options.bilateral_weight, alike), (options.smoothness_weight, near)):
        root = kernel.sum(dim=1).sqrt()
        votes += weight * kernel / torch.outer(root, root)
    votes.fill_diagonal_(0)
    penalty = 1 - torch.eye(classes, dtype=torch.float64)  # mu of the Potts model
    q = probabilities.reshape(-1, classes).double()
    unary = -q.log()
    for _ in range(options.steps):
        q = torch.softmax(-unary - votes @ q @ penalty, dim=1)
    return q.reshape(height, width, classes)


@pytest.fixture(scope="module")
def scene():
    """A disc and a box of other colours, with noise and a slope of light; probabilities five pixels coarse."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(36), torch.arange(44), indexing="ij")
    truth = ((rows - 14) ** 2 + (columns - 14) ** 2 < 81).long()
    truth[20:32, 26:40] = 2
    colours = torch.tensor([[60.0, 90, 60], [180, 80, 60], [90, 110, 190]])[truth]
    image = colours + torch.randn(36, 44, 3, generator=generator) * 10 + columns[..., None] * 0.5
    coarse = F.avg_pool2d(F.one_hot(truth).float().permute(2, 0, 1), 5, ceil_mode=True)[None]
    logits = F.interpolate(coarse, size=truth.shape, mode="bilinear")[0].permute(1, 2, 0)
    logits = 4 * logits + torch.randn(36, 44, 3, generator=generator)
    return truth, image.clamp(0, 255).to(torch.uint8), logits.softmax(dim=2)


@pytest.fixture(scope="module")
def exact(scene):
    return brute_force(scene[2], scene[1], EXACT)


def test_two_pixels_of_one_colour_pull_at_each_other():
    """The kernel is 1, normalised 1 / 2; with weight 4 each class's logit gains twice its share at the other pixel."""
    probabilities = torch.tensor([[[0.9, 0.1], [0.4, 0.6]]])
    options = CRFOptions(steps=1, bilateral_weight=4, bilateral_distance=1e4, smoothness_weight=0)
    q = refine(probabilities, torch.zeros(1, 2, 3), options)[0, :, 0]
    odds = [9 * math.exp(2 * (0.4 - 0.6)), 2 / 3 * math.exp(2 * (0.9 - 0.1))]
    assert q.tolist() == pytest.approx([odds[0] / (1 + odds[0]), odds[1] / (1 + odds[1])], abs=1e-6)


def test_black_and_white_do_not_hear_each_other():
    probabilities = torch.tensor([[[0.9, 0.1], [0.4, 0.6]]])
    image = torch.tensor([[[0, 0, 0], [255, 255, 255]]], dtype=torch.uint8)
    q = refine(probabilities, image, CRFOptions(smoothness_weight=0))
    torch.testing.assert_close(q, probabilities)


def test_smoothness_hears_them():
    """The kernel is exp(-1 / 2) = 0.6065 at one standard deviation, normalised by 1.6065."""
    probabilities = torch.tensor([[[0.9, 0.1], [0.4, 0.6]]])
    image = torch.tensor([[[0, 0, 0], [255, 255, 255]]], dtype=torch.uint8)
    options = CRFOptions(steps=1, bilateral_weight=0, smoothness_weight=1, smoothness_distance=1)
    odds = 9 * math.exp(0.6065 / 1.6065 * (0.4 - 0.6))
    assert refine(probabilities, image, options)[0, 0, 0].item() == pytest.approx(odds / (1 + odds), abs=1e-4)


def test_with_a_source_a_pixel_it_equals_brute_force(scene, exact):
    q = refine(scene[2], scene[1], EXACT)
    torch.testing.assert_close(q.double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{"steps": 1}, {"bilateral_weight": 0.0}, {"smoothness_weight": 0.0}])
def test_so_do_its_kernels_one_by_one(scene, options):
    options = CRFOptions(**{"sources": 10**6, "steps": 3, **options})
    q = refine(scene[2], scene[1], options)
    torch.testing.assert_close(q.double(), brute_force(scene[2], scene[1], options), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("sources", "difference"), [(800, 1e-4), (400, 2e-4), (200, 5e-4)])
def test_with_fewer_sources_it_stays_near(scene, exact, sources, difference):
    """Of 1,584 pixels; `difference` is the mean over all probabilities."""
    options = CRFOptions(sources=sources, bilateral_distance=20)
    assert 0.7 * sources < MeanField(scene[2], scene[1], options).num_bins <= sources
    q = refine(scene[2], scene[1], options)
    assert (q - exact).abs().mean() < difference


def test_a_single_source_is_the_mean_of_the_image(scene):
    field = MeanField(scene[2], scene[1], CRFOptions(sources=1))
    colour = scene[1].double().mean(dim=(0, 1))
    torch.testing.assert_close(field.sources[2:, 0].double() * 13 + 128, colour, rtol=0, atol=0.01)


@pytest.mark.parametrize(("sources", "share"), [(1024, 0.998), (512, 0.995)])
def test_on_a_photograph_with_fur_it_chooses_the_same_classes(sources, share):
    """Where mean colours of square blocks would lie: neighbours of quite different colours."""
    image = torch.from_numpy(cv2.resize(skimage.data.chelsea(), (80, 60), interpolation=cv2.INTER_AREA))
    grey = cv2.GaussianBlur(image.float().mean(dim=2).numpy(), (0, 0), 2)
    logits = torch.stack([-((torch.from_numpy(grey) - middle) ** 2) / 800 for middle in (80, 120, 160)], dim=2)
    noise = torch.randn(60, 80, 3, generator=torch.Generator().manual_seed(0))
    probabilities = (logits + noise).softmax(dim=2)
    exact, near = (refine(probabilities, image, CRFOptions(sources=each)) for each in (10**6, sources))
    assert (exact.argmax(dim=2) != probabilities.argmax(dim=2)).float().mean() > 0.1
    assert (exact.argmax(dim=2) == near.argmax(dim=2)).float().mean() > share


@pytest.mark.parametrize("sources", [10**6, 400])
def test_it_draws_borders_to_those_of_the_image(scene, sources):
    truth, image, probabilities = scene
    q = refine(probabilities, image, CRFOptions(sources=sources, bilateral_distance=20))
    before, after = ((x.argmax(dim=2) == truth).float().mean().item() for x in (probabilities, q))
    assert before < 0.95
    assert after > 0.995


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_unrolled_steps_equal_as_many_calls_of_one_update(scene, steps):
    options = CRFOptions(steps=steps, sources=400)
    field = MeanField(scene[2], scene[1], options)
    q = field.start()
    for _ in range(steps):
        q = field.update(q)
    assert torch.equal(refine(scene[2], scene[1], options), q)


def test_no_steps_give_the_probabilities_back(scene):
    torch.testing.assert_close(refine(scene[2], scene[1], CRFOptions(steps=0)), scene[2])


def test_probabilities_stay_probabilities(scene):
    q = refine(scene[2], scene[1], CRFOptions(sources=100))
    assert q.min() >= 0
    torch.testing.assert_close(q.sum(dim=2), torch.ones(36, 44))


def test_a_class_without_any_probability_gives_no_nan():
    probabilities = torch.tensor([1.0, 0.0]).expand(6, 5, 2)
    q = refine(probabilities, torch.zeros(6, 5, 3))
    assert q[..., 0].min().item() == pytest.approx(1)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (5, 3)])
def test_images_smaller_than_the_kernels(size):
    probabilities = torch.rand(*size, 3).softmax(dim=2)
    image = torch.rand(*size, 3) * 255
    q = refine(probabilities, image, EXACT)
    torch.testing.assert_close(q.double(), brute_force(probabilities, image, EXACT), rtol=0, atol=1e-5)


def test_a_gradient_flows_through_the_unrolled_steps(scene):
    probabilities = scene[2].clone().requires_grad_()
    refine(probabilities, scene[1], CRFOptions(steps=2, sources=400))[..., 1].mean().backward()
    assert probabilities.grad.isfinite().all()
    assert probabilities.grad[14, 14].abs().sum() > 0


class Largest(TorchDispatchMode):
    """Of all tensors made inside."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numbers = max(self.numbers, made.untyped_storage().size() // 4)
        return made


def test_memory_does_not_grow_with_the_pairs_of_pixels():
    """40,000 pixels and 1,000 sources are 40 million pairs; no tensor is larger than a chunk of a million."""
    probabilities, image = torch.full((200, 200, 2), 1 / 2), torch.rand(200, 200, 3) * 255
    with Largest() as largest:
        refine(probabilities, image, CRFOptions(steps=1))
    assert largest.numbers <= 2**20


@pytest.mark.parametrize("shape", [(4, 4, 3), (5, 4, 1), (3, 5, 4)])
def test_an_image_of_another_size_is_refused(shape):
    with pytest.raises(UsageError, match=r"\(5, 4, 2\) and the image .* resize"):
        refine(torch.full((5, 4, 2), 0.5), torch.zeros(shape))


@pytest.mark.parametrize("option", [{"bilateral_colour": 0}, {"sources": 0}, {"steps": -1}])
def test_options_without_meaning_are_refused(option):
    with pytest.raises(UsageError, match="above 0, sources 1 or more"):
        refine(torch.full((5, 4, 2), 0.5), torch.zeros(5, 4, 3), CRFOptions(**option))
