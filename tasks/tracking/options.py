"""The `model` section of a tracking recipe. Imports no torch: the command line checks a recipe against it."""

from dataclasses import dataclass
from typing import Literal

from .. import Demo

HeadName = Literal["siamfc", "cfnet", "goturn", "siamrpn"]


@dataclass(frozen=True)
class TrackerSettings:
    """How a tracker goes from one frame to the next; changes no weights.

    Args:
        scales: sizes of the search region that are looked at, an odd number (siamfc, cfnet).
        scale_step: from one of these sizes to the next.
        scale_penalty: factor on the response of other sizes than the last.
        scale_rate: how far the size moves to the one found, 0 not at all and 1 at once.
        window: share of a cosine window in the response: large moves are less likely.
        upsample: finer positions than cells of the response, by bicubic interpolation (siamfc, cfnet).
        shape_penalty: how much a change of size and proportions lowers a score (siamrpn).
        template_rate: share of each frame in the template: 0 keeps that of the first frame (siamfc, cfnet).
        redetect: look for a lost target all over the frame.
    """

    scales: int = 3
    scale_step: float = 1.0375
    scale_penalty: float = 0.9745
    scale_rate: float = 0.59
    window: float = 0.176
    upsample: int = 16
    shape_penalty: float = 0.055
    template_rate: float = 0.0
    redetect: bool = False

    @property
    def factors(self) -> tuple[float, ...]:
        """The sizes of the search region, in shares of its own, smallest first: powers of `scale_step`."""
        return tuple(self.scale_step**step for step in range(-(self.scales // 2), self.scales // 2 + 1))
