"""CFNet: Valmadre, Bertinetto, Henriques, Vedaldi, Torr, End-to-end representation learning for correlation filter
based tracking, 2017.
"""

from collections.abc import Sequence

import numpy as np
import torch

from .embedding import cut
from .region import Region
from .response import ResponseHead


class CFNetHead(ResponseHead):
    """The template is the middle of a correlation filter that tells the target from its surroundings.

    The exemplar is as large as the search crop (section 4.1): the filter is learnt from the target and all that is
    around it. `template_rate` is meant for it: 0.01 or less a frame (section 4.1).
    """

    name = "cfnet"

    def __init__(
        self,
        channels: Sequence[int],
        *,
        stride: int = 8,
        margin: int = 0,
        exemplar_size: int = 127,
        search_size: int = 255,
        radius: float = 16.0,
        width: int | None = None,
        ridge: float = 0.01,
    ) -> None:
        """`exemplar_size`: of the template that is cut out, in pixels of the crops, which have `search_size` both.

        `ridge`: the weight lambda of the filter's square, see `correlation_filter`.
        """
        super().__init__(
            channels,
            stride=stride,
            margin=margin,
            sizes=(search_size, search_size, exemplar_size),
            radius=radius,
            width=width,
        )
        self.ridge = ridge

    def exemplar_region(self, box: np.ndarray) -> Region:
        """See `TrackingHead`: the search region."""
        return self.search_region(box)

    def remember(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w): the middle of the filters of features (N, C, H, W), in float32 under autocast too."""
        with torch.autocast(features.device.type, enabled=False):
            features = self._compared(features)
            features = features if features.dtype == torch.float64 else features.float()
            side = features.shape[-1]
            window = _cosine_window(side).to(features)
            target = _gaussian(side, self.target_size / self.stride).to(features)
            filters = correlation_filter(features * window, target, self.ridge)
            return cut(filters, (self.cells - 1) // 2)


def correlation_filter(features: torch.Tensor, target: torch.Tensor, ridge: float) -> torch.Tensor:
    """The filters w (N, C, H, W) whose circular correlation with features x (N, C, H, W) comes nearest to `target`
    y (H, W): the least |y - sum of the channels' w * x|^2 / 2n + ridge |w|^2 / 2, with n = HW.

    In the Fourier domain, with its hat, a = y^ / (sum of |x^|^2 / n + ridge) / n and w^ = conj(a) x^ (section 3.2,
    equations 5 to 8, for several channels). y[0, 0] is the response to the target where it is.
    """
    cells = target.numel()
    seen = torch.fft.rfft2(features)
    energy = (seen.real.square() + seen.imag.square()).sum(dim=1, keepdim=True) / cells
    dual = torch.fft.rfft2(target) / (cells * (energy + ridge))
    return torch.fft.irfft2(dual.conj() * seen, s=features.shape[-2:])


def _cosine_window(side: int) -> torch.Tensor:
    """(side, side), 1 at most: the crop's ends meet where the correlation goes round (section 3.2)."""
    line = torch.hann_window(side + 2, periodic=False, dtype=torch.float64)[1:-1]
    return line[:, None] * line[None, :]


def _gaussian(side: int, target: float) -> torch.Tensor:
    """(side, side), 1 at [0, 0], which is where the target is, and going round.

    Its deviation is a tenth of the target, without its context, half of `target` cells (Henriques et al.,
    High-speed tracking with kernelized correlation filters, 2015, table 2).
    """
    steps = torch.arange(side, dtype=torch.float64)
    distance = torch.minimum(steps, side - steps)
    line = torch.exp(-(distance / (0.1 * target / 2)).square() / 2)
    return line[:, None] * line[None, :]
