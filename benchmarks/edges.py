"""Edges beside their peers.

    python benchmarks/edges.py [protocol] --data BSDS500 [--images N] [--rounds N] [--threads N]

`protocol`: the Berkeley benchmark at 99 thresholds, on images of BSDS500's test split with all their annotators. Edge
maps are the strength of the image's gradient, after non-maximum suppression and as they are (`soft`: no published score
is of such, and their skeletons move from threshold to threshold). Seconds are of the processor, so that other work on
the machine counts little; from files, by one thread and by `--threads`, of the wall too. The goal is a minute of the
wall for the 200 images of the split on two cores.

The peer is scipy's `maximum_bipartite_matching`, for every annotator at one threshold, the lists of near pixels made by
its KDTree: as many pairs, but not the nearest, so its precision is of no use. Also said: how far our number of pairs is
from its, which must be 0.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import KDTree

from foveal.core.images import read_image
from foveal.core.skeletons import thin
from foveal.datasets.bsds import read_annotators
from foveal.tasks.edges.berkeley import MAX_DISTANCE, count_files, count_matches, thresholds
from foveal.tasks.edges.thin import suppress_non_maxima

PARTS = ("protocol",)
SPLIT = 200  # images of BSDS500's test split


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, required=True, help="the folder with images/test and groundTruth/test")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if "protocol" in given.parts:
        measure_protocol(given)


def measure_protocol(given: argparse.Namespace) -> None:
    """A line for each kind of map."""
    every = sorted((given.data / "images" / "test").glob("*.jpg"))
    chosen = every[:: max(1, len(every) // given.images)][: given.images]
    truths = [given.data / "groundTruth" / "test" / f"{path.stem}.mat" for path in chosen]
    annotators = [read_annotators(str(path))["annotators"] for path in truths]
    soft = [gradient(read_image(path)) for path in chosen]
    took = timed(count_matches, soft[0], annotators[0], thresholds=thresholds(1))[0]
    print(f"loading or compiling the loops: {took:.2f} s")
    for kind, maps in (("suppressed", [suppress_non_maxima(edges) for edges in soft]), ("soft", soft)):
        measure_maps(kind, maps, annotators, given)
        measure_threads(maps, truths, given)


def measure_maps(kind: str, maps: list[np.ndarray], annotators: list[np.ndarray], given: argparse.Namespace) -> None:
    """Ours at 99 thresholds and scipy's at the middle one, image by image in turn."""
    pairs = list(zip(maps, annotators, strict=True))
    ours, theirs, off = [], [], 0
    for _ in range(given.rounds):
        for edges, drawings in pairs:
            seconds, counts = timed(count_matches, edges, drawings, thresholds=thresholds())
            peer_seconds, most = timed(scipys_pairs, edges, drawings, thresholds()[49])
            ours.append(seconds)
            theirs.append(peer_seconds)
            off = max(off, abs(int(counts.matched_truth[49]) - most))
    pixels = [int((edges >= 0.01).sum()) for edges in maps]
    mean, peer = statistics.mean(ours), statistics.median(theirs)  # theirs has images of 20 times the others' time
    print(
        f"{kind}: {len(pairs)} images, {statistics.mean(pixels):.0f} pixels above 0.01, "
        f"{statistics.mean(map(len, annotators)):.1f} annotators with "
        f"{statistics.mean(drawings.sum() / len(drawings) for drawings in annotators):.0f} pixels each"
    )
    spread = f"{min(ours):.3f} to {max(ours):.3f}"
    print(f"  ours, 99 thresholds: {mean:.3f} s an image ({spread}), {mean * SPLIT:.0f} s for {SPLIT}")
    print(
        f"  scipy, one threshold: {peer:.3f} s an image at the median ({min(theirs):.3f} to {max(theirs):.3f}); "
        f"99 of them {99 * peer:.1f} s, {99 * peer / mean:.0f} times ours"
    )
    print(f"  pairs off by at most {off}")


def measure_threads(maps: list[np.ndarray], truths: list[Path], given: argparse.Namespace) -> None:
    """From files to counts, by one thread and by several in turn: seconds of the wall, and of the processor in all."""
    seconds: dict[int, list[tuple[float, float]]] = {1: [], given.threads: []}
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{truth.stem}.png" for truth in truths]
        for path, edges in zip(paths, maps, strict=True):
            Path(path).write_bytes(cv2.imencode(".png", np.rint(255 * edges).astype(np.uint8))[1].tobytes())
        for _ in range(given.rounds):
            for threads, rounds in seconds.items():
                start, busy = time.perf_counter(), time.process_time()
                list(count_files(paths, list(map(str, truths)), thresholds=thresholds(), threads=threads))
                rounds.append(((time.perf_counter() - start) / len(paths), (time.process_time() - busy) / len(paths)))
    for threads, rounds in seconds.items():
        wall, processor = map(min, zip(*rounds, strict=True))
        print(
            f"  files, {threads} threads: at best {wall:.3f} s of the wall an image, {wall * SPLIT:.0f} s for {SPLIT}, "
            f"and {processor:.3f} s of the processor"
        )


def gradient(image: np.ndarray) -> np.ndarray:
    """The strength of the gradient of an RGB image, of its strongest channel: float32 (H, W), 0 to 1."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5)
    strength = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)).max(axis=-1)
    return np.clip(strength / np.quantile(strength, 0.995), 0, 1)


def scipys_pairs(edges: np.ndarray, annotators: np.ndarray, threshold: float) -> int:
    """As many pairs as there can be, summed over the annotators."""
    found = np.argwhere(thin(edges >= threshold))
    tree, reach = KDTree(found), MAX_DISTANCE * np.hypot(*edges.shape)
    total = 0
    for drawing in annotators:
        wanted = np.argwhere(drawing)
        near = tree.query_ball_point(wanted, reach)
        starts = np.cumsum([0, *map(len, near)])
        columns = np.concatenate([*map(np.asarray, near), np.zeros(0)]).astype(np.int32)
        graph = csr_array((np.ones(len(columns), bool), columns, starts), shape=(len(wanted), len(found)))
        total += int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
    return total


def timed(work: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[float, Any]:
    """Seconds of the processor, and the result."""
    start = time.process_time()
    result = work(*arguments, **named)
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
