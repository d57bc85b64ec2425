"""A lost target looked for all over a frame, at the size that it had."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from .head import Found, TrackingHead
from .options import TrackerSettings
from .region import Region
from .response import ResponseHead

# The maps of crops (image, region, size, fill), as a tracker makes them.
Features = Callable[[Sequence[tuple[np.ndarray, Region, int, np.ndarray]]], list[torch.Tensor]]

_LEVEL = (
    1.08  # from one level of the pyramid to the next: no target is seen more than 4 % larger or smaller than it was
)
_TILE = 768  # pixels of a level, side of what a crop can tell of: more in one need more memory
_LEAST_PIXEL = 0.5  # of the frame, for one of a level: smaller targets would make pyramids of hundreds of tiles
_MOST = 64  # search regions in which a head without responses looks for a target


def look_everywhere(
    head: TrackingHead,
    features: Features,
    image: np.ndarray,
    templates: torch.Tensor,
    boxes: np.ndarray,
    fill: np.ndarray,
    settings: TrackerSettings,
) -> Found:
    """The likeliest places in one frame of targets with `templates` (N, ...), which were lost at `boxes` (N, 4).

    The boxes (N, 4) are in pixels of the frame, the scores the head's own. Heads with responses (siamfc, cfnet) see
    the frame as a pyramid: each target is looked for at the level where it is as large as in its template, and the
    features of a level are made once for all targets of it; no frame is made more than twice as large. For other
    heads, whose outputs belong to a search region, such regions are laid over the frame, without a window: the
    `_MOST` nearest to where the target was lost, so that a small one in a large frame is looked for in a part of
    it.
    """
    if isinstance(head, ResponseHead):
        return _in_pyramid(head, features, image, templates, boxes, fill)
    found = [
        _in_regions(head, features, image, template, box, fill, settings)
        for template, box in zip(templates, boxes, strict=True)
    ]
    return Found(np.stack([each.boxes[0] for each in found]), np.concatenate([each.scores for each in found]))


def _in_pyramid(
    head: ResponseHead,
    features: Features,
    image: np.ndarray,
    templates: torch.Tensor,
    boxes: np.ndarray,
    fill: np.ndarray,
) -> Found:
    pixels = np.array([head.search_region(box).width / head.search_size for box in boxes])  # of the frame, for one
    pixels = np.maximum(pixels, _LEAST_PIXEL)
    levels = np.round(np.log(pixels) / math.log(_LEVEL)).astype(int)
    best, middles = np.full(len(boxes), -np.inf), (boxes[:, :2] + boxes[:, 2:]) / 2
    for level in np.unique(levels):
        members, pixel = np.flatnonzero(levels == level), float(_LEVEL**level)
        regions, size = _tiles(head, image, pixel)
        for region in regions:  # one by one: maps of a whole frame are large
            (tile,) = features([(image, region, size, fill)])
            outputs = head(templates[members], tile.expand(len(members), *tile.shape)).float()[:, 0]
            values, places = (x.cpu().numpy() for x in outputs.flatten(1).max(dim=1))
            cells = np.stack(np.divmod(places, outputs.shape[-1])[::-1], axis=1) - (outputs.shape[-1] - 1) / 2
            found = np.array([region.x, region.y]) + cells * head.stride * pixel
            better = values > best[members]
            best[members[better]], middles[members[better]] = values[better], found[better]
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    scores = torch.from_numpy(best).sigmoid().numpy()
    return Found(np.concatenate([middles - half, middles + half], axis=1), scores)


def _tiles(head: ResponseHead, image: np.ndarray, pixel: float) -> tuple[list[Region], int]:
    """Crops, as regions and their size in pixels of a level of `pixel` pixels of the frame each, whose responses
    together stand for all places of a frame.
    """
    height, width = image.shape[:2]
    reach = min(_TILE, math.ceil(max(height, width) / pixel))  # of a tile's responses
    reach = 2 * head.stride * math.ceil(reach / (2 * head.stride))
    size, step = head.target_size + reach, (reach + head.stride) * pixel
    columns, rows = (max(1, math.ceil((side - reach * pixel) / step) + 1) for side in (width, height))
    across, down = (np.arange(count) - (count - 1) / 2 for count in (columns, rows))
    middles = [(width / 2 + x * step, height / 2 + y * step) for y in down for x in across]
    return [Region(x, y, size * pixel, size * pixel) for x, y in middles], size


def _in_regions(
    head: TrackingHead,
    features: Features,
    image: np.ndarray,
    template: torch.Tensor,
    box: np.ndarray,
    fill: np.ndarray,
    settings: TrackerSettings,
) -> Found:
    moved = _moved_over(image, box, head.search_region(box))
    regions = [head.search_region(each) for each in moved]
    maps = torch.stack(features([(image, region, head.search_size, fill) for region in regions]))
    outputs = head(template.expand(len(maps), *template.shape), maps).unsqueeze(1)
    before = np.stack([region.from_frame(each, head.search_size) for region, each in zip(regions, moved, strict=True)])
    found = head.locate(outputs, before, replace(settings, window=0.0))
    best = int(found.scores.argmax())
    return Found(regions[best].to_frame(found.boxes[best : best + 1], head.search_size), found.scores[best : best + 1])


def _moved_over(image: np.ndarray, box: np.ndarray, region: Region) -> np.ndarray:
    """The box (M, 4) at places half a search region apart, all over the frame; the nearest ones of them."""
    height, width = image.shape[:2]
    half = (box[2:] - box[:2]) / 2
    lines = [
        np.arange(0.5, max(1, math.ceil(2 * side / step))) * side / max(1, math.ceil(2 * side / step))
        for side, step in ((width, region.width), (height, region.height))
    ]
    middles = np.stack(np.meshgrid(*lines), axis=-1).reshape(-1, 2)
    distance = np.linalg.norm(middles - (box[:2] + box[2:]) / 2, axis=1)
    middles = middles[np.argsort(distance, kind="stable")[:_MOST]]
    return np.concatenate([middles - half, middles + half], axis=1)
