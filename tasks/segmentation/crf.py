"""A fully connected CRF that draws the borders of a segmentation to those of the image.

Krähenbühl, Koltun, Efficient inference in fully connected CRFs with Gaussian edge potentials, 2011: any two pixels that
are alike in place and colour should have the same class. Mean-field inference takes a few steps, each the same function
of the last one's result; unrolled they are the recurrent layer of Zheng et al., Conditional random fields as recurrent
neural networks, 2015.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ...core.errors import UsageError

_CHUNK = 2**20  # kernel values at a time: 4 MiB
_TAIL = 5.0  # standard deviations after which a Gaussian is cut: 4e-6 of its height
_FINEST, _COARSER = 0.25, 1.1  # of bins: the first width that is tried, in standard deviations, and how it grows
_LEAST = 1e-12  # a probability of 0 could never rise again


@dataclass(frozen=True)
class CRFOptions:
    """The two kernels, how they are computed, and the number of steps.

    The defaults are those in common use for outputs of CNNs; the paper and DeepLab search the first three on held-out
    images. Sizes are standard deviations.
    """

    steps: int = 5
    bilateral_weight: float = 10.0  # w1, of pixels alike in place and colour
    bilateral_distance: float = 80.0  # theta alpha, pixels
    bilateral_colour: float = 13.0  # theta beta, of 0..255
    smoothness_weight: float = 3.0  # w2, of pixels nearby
    smoothness_distance: float = 3.0  # theta gamma, pixels
    # From how many groups of pixels each one hears in the bilateral kernel: an image with no more pixels is computed
    # exactly. Time and accuracy rise with it, memory does not.
    sources: int = 1024


class MeanField:
    """Mean-field inference for one image, with the Potts model: classes differ or not.

    Each kernel is normalised as in the authors' code: k(i, j) / sqrt(n(i) n(j)), with n(i) the sum of k(i, j) over all
    pixels j, so that weights mean the same for images of any size. A pixel sends nothing to itself.

    The smoothness kernel is computed exactly, but for its tail. In the bilateral one every pixel, with a place and
    colour of its own, hears from groups of pixels that are alike in both: from bins of the five-dimensional space of
    place and colour, as in a bilateral grid (Chen, Paris, Durand, Real-time edge-aware image processing with the
    bilateral grid, 2007). Each bin sends what its pixels send together, from their mean place and colour. Bins are as
    small as `sources` allows, for most photographs about as wide as a standard deviation; the error grows with the
    square of that width. With 1024 of them 0.2 to 0.5 % of the pixels of three photographs, of 60 x 80 and 120 x 160
    pixels, got another class than from the sums over all pairs, where the CRF changed that of 14 to 30 %.
    """

    def __init__(self, probabilities: torch.Tensor, image: torch.Tensor, options: CRFOptions | None = None) -> None:
        """`probabilities`: float (H, W, C), each pixel's sum 1. `image`: (H, W, 3), 0 to 255, of any type.

        Raises UsageError where the sizes differ or an option makes no sense.
        """
        self.options = options or CRFOptions()
        _check(probabilities, image, self.options)
        self.height, self.width = image.shape[:2]
        self.unary = _classes_first(probabilities.float()).clamp_min(_LEAST).log()  # minus the unary potential
        self.features = self._features(image.to(self.unary))
        self.bins = _bins(self.features.flatten(1), self.options.sources)  # (H * W,), the number of each pixel's bin
        self.num_bins = int(self.bins.max()) + 1
        ones = torch.ones_like(self.unary[:1])
        self.sources = self._gathered(self.features) / self._gathered(ones)  # (5, bins)
        self.bilateral_scale = (1 + self._bilateral(ones)).clamp_min(1).rsqrt()
        self.smoothness_scale = (1 + self._smoothness(ones)).rsqrt()

    def start(self) -> torch.Tensor:
        """Q before the first step: the probabilities, (H, W, C)."""
        return _classes_last(self.unary.softmax(dim=0))

    def update(self, q: torch.Tensor) -> torch.Tensor:
        """One step of the inference: from Q, float (H, W, C), to the next Q."""
        classes = _classes_first(q)
        near = self.smoothness_scale * self._smoothness(classes * self.smoothness_scale)
        alike = self.bilateral_scale * self._bilateral(classes * self.bilateral_scale)
        # Under Potts each class hears all votes for others as a penalty: the same as its own votes as a reward.
        votes = self.options.smoothness_weight * near + self.options.bilateral_weight * alike
        return _classes_last((self.unary + votes).softmax(dim=0))

    def _features(self, image: torch.Tensor) -> torch.Tensor:
        """(5, H, W): place and colour in standard deviations, from their middle, for the sake of float32."""
        rows = torch.arange(self.height).to(image) - self.height / 2
        columns = torch.arange(self.width).to(image) - self.width / 2
        place = torch.stack(torch.meshgrid(rows, columns, indexing="ij")) / self.options.bilateral_distance
        colour = (image.permute(2, 0, 1) - 128) / self.options.bilateral_colour
        return torch.cat([place, colour])

    def _gathered(self, x: torch.Tensor) -> torch.Tensor:
        """Sums over the pixels of each bin: (K, H, W) to (K, bins)."""
        return x.new_zeros(len(x), self.num_bins).index_add_(1, self.bins, x.flatten(1))

    def _bilateral(self, x: torch.Tensor) -> torch.Tensor:
        """What each pixel hears of `x`, (K, H, W), from all others."""
        senders, receivers = _exponents(self.sources, self.features.flatten(1))
        sent = self._gathered(x)
        columns = max(1, _CHUNK // sent.shape[1])
        heard = [sent @ torch.exp_(senders @ chunk) for chunk in receivers.split(columns, dim=1)]
        return torch.cat(heard, dim=1).reshape(x.shape) - self._to_itself() * x

    def _to_itself(self) -> torch.Tensor:
        """The kernel of each pixel and the bin that it lies in, (1, H, W)."""
        apart = self.features.flatten(1) - self.sources[:, self.bins]
        return torch.exp(-apart.square().sum(dim=0) / 2).reshape(1, self.height, self.width)

    def _smoothness(self, x: torch.Tensor) -> torch.Tensor:
        """As `_bilateral`, of place alone: one Gaussian down, then one across."""
        spread = self.options.smoothness_distance
        radius = min(math.ceil(_TAIL * spread), max(self.height, self.width) - 1)
        taps = torch.exp(-(torch.arange(-radius, radius + 1).to(x) / spread).square() / 2)
        down = F.conv2d(x[:, None], taps[None, None, :, None], padding=(radius, 0))
        return F.conv2d(down, taps[None, None, None], padding=(0, radius))[:, 0] - x


def refine(probabilities: torch.Tensor, image: torch.Tensor, options: CRFOptions | None = None) -> torch.Tensor:
    """Probabilities of each class, float (H, W, C), drawn to the borders of `image`, (H, W, 3), 0 to 255.

    See `MeanField`, whose update is taken `options.steps` times; 0 steps give the probabilities back.
    """
    field = MeanField(probabilities, image, options)
    q = field.start()
    for _ in range(field.options.steps):
        q = field.update(q)
    return q


def _bins(features: torch.Tensor, most: int) -> torch.Tensor:
    """The number of each pixel's bin: cubes in the space of `features`, (5, pixels), the smallest that are `most`."""
    pixels = features.shape[1]
    if pixels <= most:
        return torch.arange(pixels, device=features.device)
    above = features - features.amin(dim=1, keepdim=True)
    width = _FINEST
    while True:
        cube = (above / width).long()
        code = torch.zeros_like(cube[0])
        for place in cube:
            code = code * (place.max() + 1) + place
        used, numbers = torch.unique(code, return_inverse=True)
        if len(used) <= most:
            return numbers
        width *= _COARSER


def _exponents(senders: torch.Tensor, receivers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(bins, 7) and (7, pixels), whose product is minus half the squared distance of (5, bins) and (5, pixels)."""
    own, other = (-x.square().sum(dim=0, keepdim=True) / 2 for x in (senders, receivers))
    left = torch.cat([senders, own, torch.ones_like(own)]).T
    return left.contiguous(), torch.cat([receivers, torch.ones_like(other), other])


def _classes_first(x: torch.Tensor) -> torch.Tensor:
    return x.permute(2, 0, 1)


def _classes_last(x: torch.Tensor) -> torch.Tensor:
    return x.permute(1, 2, 0)


def _check(probabilities: torch.Tensor, image: torch.Tensor, options: CRFOptions) -> None:
    if probabilities.ndim != 3 or image.ndim != 3 or image.shape != (*probabilities.shape[:2], 3):
        raise UsageError(
            f"The probabilities have the shape {tuple(probabilities.shape)} and the image {tuple(image.shape)}, but a "
            "CRF needs (H, W, C) and (H, W, 3): resize one to the other, in RGB."
        )
    spreads = (options.bilateral_distance, options.bilateral_colour, options.smoothness_distance)
    if min(spreads) <= 0 or options.sources < 1 or options.steps < 0:
        raise UsageError(
            f"The options of the CRF are {options}, but distances and colour have to be above 0, sources 1 or more, "
            "and steps 0 or more."
        )
