"""The boxes that a detector starts from: each head's own, and what a recipe puts in their place."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torchvision.models.detection.anchor_utils import AnchorGenerator

from ...core.errors import UsageError
from .options import AnchorOptions, DetectionOptions

_RATIOS = [[0.5, 1.0, 2.0]]


class Anchors(NamedTuple):
    """What `AnchorOptions` says, written out, and the maps that it is for."""

    sizes: list[list[float]]  # for each map, finest first, pixels of the network's input
    ratios: list[list[float]]  # for each map, or one list for all: height by width
    strides: tuple[int, ...]  # of the maps, in pixels of the network's input


def default_anchors(options: DetectionOptions, size: int) -> Anchors:
    """The anchors of a recipe's head where `model.anchors` is left out; `size` is the recipe's `data.size`.

    Raises UsageError for a head without anchors, and what `build_ssd` raises.
    """
    if options.head in ("ssd", "ssdlite"):
        from .ssd import default_ssd_anchors  # which imports this file

        return default_ssd_anchors(options, size)
    if options.head in (
        "fasterrcnn_fpn",
        "fasterrcnn_fpn_v2",
    ):  # Lin et al. 2017 (Feature pyramid networks), section 4.1
        strides = (4, 8, 16, 32, 64)
        return Anchors([[8.0 * stride] for stride in strides], _RATIOS, strides)
    if options.head in ("fasterrcnn_c4", "fasterrcnn_dc5"):  # Ren et al. 2015, section 3.3: 128, 256 and 512 pixels
        return Anchors([[8.0 * 16, 16.0 * 16, 32.0 * 16]], _RATIOS, (16,))
    if options.head == "retinanet":  # Lin et al. 2017 (Focal loss), section 4; whole pixels, as torchvision has them
        strides = (8, 16, 32, 64, 128)
        sizes = [[float(int(4 * stride * 2 ** (third / 3))) for third in range(3)] for stride in strides]
        return Anchors(sizes, _RATIOS, strides)
    raise UsageError(f"The head {options.head} has no anchors; leave out model.anchors, or take another model.head.")


def anchor_generator(
    anchors: AnchorOptions, *, sizes: Sequence[Sequence[float]], ratios: Sequence[Sequence[float]]
) -> AnchorGenerator:
    """The generator of torchvision with `anchors`; for what is null there, with `sizes`, a list a map, and `ratios`, a
    list a map or one for all.

    Raises UsageError for lists that are not one a map, numbers that no box has, and maps that would get different
    numbers of anchors: one network reads them all.
    """
    maps = len(sizes)
    own_sizes = lists_of_maps(sizes if anchors.sizes is None else anchors.sizes, maps=maps, entry="sizes")
    own_ratios = lists_of_maps(ratios if anchors.ratios is None else anchors.ratios, maps=maps, entry="ratios")
    counts = [len(size) * len(ratio) for size, ratio in zip(own_sizes, own_ratios, strict=True)]
    if len(set(counts)) > 1:
        raise UsageError(
            f"model.anchors gives the maps {', '.join(map(str, counts))} anchors at each place; one network reads all "
            "of them, so give each map the same number, of sizes times ratios."
        )
    generator = AnchorGenerator(own_sizes, own_ratios)
    for size, ratio, cells in zip(own_sizes, own_ratios, generator.cell_anchors, strict=True):
        if bool((cells[:, 2:] <= cells[:, :2]).any()):
            raise UsageError(
                f"model.anchors: with the sizes {_listed(size)} and the ratios {_listed(ratio)} an anchor would be "
                "less than 2 pixels wide or high; give larger sizes, or raise data.size."
            )
    return generator


def lists_of_maps(given: Sequence[Sequence[float]], *, maps: int, entry: str) -> tuple[tuple[float, ...], ...]:
    """`given`, one list a map or a single one for all, as one tuple a map; `entry` is its name in `model.anchors`.

    Raises UsageError for another number of lists, an empty one, and numbers that are not finite and above 0.
    """
    if len(given) not in (1, maps):
        one = "one list" if maps == 1 else f"{maps} lists, one a map with the finest first, or one list for all"
        raise UsageError(f"model.anchors.{entry} holds {len(given)} lists; this head needs {one}.")
    for numbers in given:
        if not numbers or not all(math.isfinite(number) and number > 0 for number in numbers):
            raise UsageError(
                f"model.anchors.{entry} holds the list {_listed(numbers)}; each must hold one number or more, finite "
                "and above 0."
            )
    lists = tuple(tuple(float(number) for number in numbers) for numbers in given)
    return lists * maps if len(lists) == 1 else lists


def _listed(numbers: Sequence[float]) -> str:
    return "[" + ", ".join(f"{number:g}" for number in numbers) + "]"
