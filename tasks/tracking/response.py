"""What SiamFC and CFNet share: a map of responses for each search crop, and the way from maps to boxes.

Where a map's cells lie at stride * i + a constant in its crop, the same constant in both crops, a target at the middle
of the exemplar that has moved by d pixels has its highest response at the cell r of R for which d = stride * (r - (R -
1) / 2). For SiamFC the exemplar's corner lies (search_size - exemplar_size) / 2 pixels from that of the search crop
when nothing moves, and the response counts cells from there, so that this is stride * r - (search_size - exemplar_size)
/ 2. The middle is a cell of its own where that is a multiple of the stride, which `ResponseHead` asks for: then
nothing is rounded, and a target that stays is found where it was.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from ...core.errors import UsageError
from .correlate import cross_correlation
from .embedding import cut
from .head import Found, TrackingHead
from .losses import balanced_logistic, score_labels
from .options import TrackerSettings
from .region import Region, context_square

_FLAT = 1e-4  # responses that differ by less than this share of them differ by rounding


class ResponseHead(TrackingHead):
    """Correlates a template with the search crop's features, and finds the target at the highest response.

    The search region is the target's with SiamFC's context, `target_size` pixels wide, made as large as `search_size`
    pixels are. A response is gain * correlation + bias, both learnt; the gain starts at 0.001, as in the paper's code,
    which makes responses of the order of one.
    """

    scale_steps = True
    target_size: int  # pixels of the crops, side of the target with its context

    def __init__(
        self,
        channels: Sequence[int],
        *,
        stride: int,
        margin: int,
        sizes: tuple[int, int, int],
        radius: float,
        width: int | None,
    ) -> None:
        """`sizes` in pixels: `exemplar_size`, `search_size` and `target_size`. `radius`: how far from the target, in
        pixels of the search crop, a response should still be positive. `width`: of the last of `channels` so many
        mixtures are compared, which may be negative, as ReLU's are not; None compares them as they are.

        Raises UsageError for sizes between which the middle is no cell of the response.
        """
        super().__init__()
        self.stride, self.margin, self.radius = stride, margin, radius
        self.exemplar_size, self.search_size, self.target_size = sizes
        _check_sizes(self.target_size, self.search_size, stride)
        if -(-self.target_size // stride) <= 2 * margin:
            raise UsageError(
                f"model.margin cuts off {margin} cells on each side, and a target of {self.target_size} pixels has "
                f"{-(-self.target_size // stride)} in a row; make the margin smaller or model.exemplar_size larger."
            )
        self.project = nn.Conv2d(channels[-1], width, 1) if width is not None else nn.Identity()
        self.gain = nn.Parameter(torch.tensor(1e-3))
        self.bias = nn.Parameter(torch.tensor(0.0))

    @property
    def cells(self) -> int:
        """R, the cells in a row of the response to a search crop of `search_size` pixels: odd."""
        return (self.search_size - self.target_size) // self.stride + 1

    def search_region(self, box: np.ndarray) -> Region:
        """See `TrackingHead`: a square."""
        return context_square(box).times(self.search_size / self.target_size)

    def forward(self, templates: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Responses (N, 1, R, R), logits; of maps of larger crops as many more as these have cells more."""
        return self.gain * cross_correlation(templates, self._compared(features)) + self.bias

    def _compared(self, features: torch.Tensor) -> torch.Tensor:
        """What is compared of a map."""
        return self.project(cut(features, self.margin))

    def losses(self, outputs: torch.Tensor, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
        """`logistic`: positives and negatives balanced; see `losses.py`."""
        boxes = boxes.float()
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - self.search_size / 2
        labels = score_labels(outputs.shape[-1], self.stride, centres, self.radius)
        return {"logistic": balanced_logistic(outputs.float(), labels)}

    def locate(
        self,
        outputs: torch.Tensor,
        boxes: np.ndarray,
        settings: TrackerSettings,
        *,
        offsets: np.ndarray | None = None,
    ) -> Found:
        """The place and scale of the highest response, once it is lowered at other scales and far away.

        Responses are counted from the target's lowest on, as shares of their mean, and mixed with a cosine window
        around the place where the target was; then other scales than the last are lowered. The size goes
        `settings.scale_rate` of the way to the best scale; proportions stay. The score is the sigmoid of the network's
        own response at that place.

        `offsets` float64 (N, S, 2): by how much the middle of each crop lies beside that of the search region, x and y
        in pixels of the crop (a crop that was not made for the target alone).
        """
        assert outputs.shape[-1] == self.cells, f"{outputs.shape[-1]} cells, but {self.cells} were expected"
        count, scales = outputs.shape[:2]
        factors = np.array(settings.factors)
        moved = np.zeros((count, scales, 2)) if offsets is None else offsets
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        before = (middles - self.search_size / 2)[:, None] / factors[:, None] - moved  # (N, S, 2), pixels of each crop
        responses = outputs[:, :, 0].detach().float()
        fine = upsample(responses, settings.upsample)
        scale, row, column = _highest(fine, responses, before / self.stride, settings)
        rows = np.arange(count)
        cell = np.stack([column, row], axis=1) / settings.upsample - (self.cells - 1) / 2
        found = self.search_size / 2 + factors[scale, None] * (moved[rows, scale] + self.stride * cell)
        sizes = (boxes[:, 2:] - boxes[:, :2]) * (1 + settings.scale_rate * (factors[scale, None] - 1))
        scores = fine[rows, scale, row, column].sigmoid().double().cpu().numpy()
        return Found(np.concatenate([found - sizes / 2, found + sizes / 2], axis=1), scores)


def upsample(responses: torch.Tensor, factor: int) -> torch.Tensor:
    """Maps (..., R, R) with `factor` places for each cell: (R - 1) * factor + 1 in a row, from the first cell to the
    last, so that each cell is one of the places, and so is the middle of an odd number of cells.

    Bicubic with -0.5 (Keys, Cubic convolution interpolation for digital image processing, 1981), which is exact for a
    parabola, and so for the top of a peak; torch's own has -0.75, which moves it by up to an eighth of a cell. Sums of
    four and no product of matrices, which a GPU may round to 10 bits.
    """
    cells, weights = (each.to(responses.device) for each in _taps(responses.shape[-1], factor))
    across = sum(responses.index_select(-1, cell) * weight for cell, weight in zip(cells, weights, strict=True))
    assert isinstance(across, torch.Tensor)
    down = across.index_select(-2, cells[0]) * weights[0][:, None]
    for cell, weight in zip(cells[1:], weights[1:], strict=True):
        down.addcmul_(across.index_select(-2, cell), weight[:, None])
    return down


@lru_cache(maxsize=8)
def _taps(side: int, factor: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The four cells that each place reads, int64 (4, F), those beyond the ends taken for the last, and their weights,
    float32 (4, F).
    """
    places = np.arange((side - 1) * factor + 1)
    cell, t = places // factor, (places % factor) / factor
    weights = [
        -0.5 * t**3 + t**2 - 0.5 * t,
        1.5 * t**3 - 2.5 * t**2 + 1,
        -1.5 * t**3 + 2 * t**2 + 0.5 * t,
        0.5 * t**3 - 0.5 * t**2,
    ]
    cells = np.stack([np.clip(cell + step, 0, side - 1) for step in (-1, 0, 1, 2)])
    return torch.from_numpy(cells), torch.from_numpy(np.stack(weights)).float()


def _highest(
    fine: torch.Tensor, responses: torch.Tensor, before: np.ndarray, settings: TrackerSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale, row and column (N,) in `fine` (N, S, F, F) of the likeliest places.

    `before` (N, S, 2): where the targets were, x and y in cells from the middle.
    """
    share = max(settings.window, 1e-6)  # of equal responses the nearest wins
    low = responses.amin(dim=(1, 2, 3))
    flat = _FLAT * responses.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12)
    mean = torch.maximum(responses.mean(dim=(1, 2, 3)) - low, flat)
    weight = ((1 - share) / mean)[:, None, None, None]
    likely = torch.addcmul(-low[:, None, None, None] * weight, fine, weight)
    likely += share * _windows(before, responses.shape[-1], settings.upsample).to(fine.device)
    values, places = (x.cpu().numpy() for x in likely.flatten(2).max(dim=2))
    scale = _best_scale(values, settings.scale_penalty)
    row, column = np.divmod(places[np.arange(len(places)), scale], fine.shape[-1])
    return scale, row, column


def _best_scale(values: np.ndarray, penalty: float) -> np.ndarray:
    """Of the best values (N, S) of each scale the highest, those of other scales than the last lowered by `penalty`; of
    equal ones the scale that changes least.
    """
    middle = values.shape[1] // 2
    order = np.argsort(np.abs(np.arange(values.shape[1]) - middle), kind="stable")
    lowered = np.where(np.arange(values.shape[1]) == middle, values, values * penalty)
    return order[lowered[:, order].argmax(axis=1)]


def _windows(before: np.ndarray, cells: int, factor: int) -> torch.Tensor:
    """Cosine windows (N, S, F, F) of the mean 1 (of one in the middle), around the places `before` (N, S, 2), in cells;
    (1, 1, F, F) where these are all in the middle.
    """
    if np.abs(before).max(initial=0) < 1e-6:
        return _middle_window(cells, factor)
    across, down = (torch.from_numpy(_cosine(before[..., axis], cells, factor)).float() for axis in (0, 1))
    return down[..., :, None] * across[..., None, :]


@lru_cache(maxsize=8)
def _middle_window(cells: int, factor: int) -> torch.Tensor:
    line = torch.from_numpy(_cosine(np.zeros((1, 1)), cells, factor)).float()
    return line[..., :, None] * line[..., None, :]


def _cosine(before: np.ndarray, cells: int, factor: int) -> np.ndarray:
    """1 + cos, so of the mean 1 along each axis, (..., F) around (...), 0 half the map away and beyond."""
    half = (cells - 1) / 2
    places = np.arange((cells - 1) * factor + 1) / factor - half
    return 1 + np.cos(np.pi * np.clip((places - before[..., None]) / half, -1, 1))


def _check_sizes(target_size: int, search_size: int, stride: int) -> None:
    step = 2 * stride
    if search_size > target_size and (search_size - target_size) % step == 0:
        return
    steps = max(1, (search_size - target_size) // step)
    near = [target_size + count * step for count in (steps, steps + 1)]
    raise UsageError(
        f"model.search_size is {search_size}, but with a target of {target_size} pixels (model.exemplar_size) it must "
        f"be larger by a multiple of {step}, so that a cell of the response lies in the middle; take "
        f"{near[0]} or {near[1]}."
    )
