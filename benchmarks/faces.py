"""How fast faces are found again among many, and how fast LFW's protocol is, beside what others do.

    python benchmarks/faces.py [search] [lfw] [--rows N] [--queries N] [--rounds N] [--threads N]

`search`: the ten nearest of random embeddings of 512 numbers, each way of looking at all of them beside torch's product
of all and its topk, in float32, and beside faiss's flat index if it is installed; all in turn, round after round. Half
of the queries are enrolled embeddings with noise, as pictures of people who are known are. Printed are the
milliseconds a query, the least of the rounds, by the clock and of the processor, millions of rows a second, and the
share of the ten that float32 has too. The goal: under 10 ms a query for 1,000,000 rows on two cores, and a recall of 1.

`lfw`: ten folds of 6,000 pairs, FaceNet's 400 thresholds, a loop over folds and thresholds beside ours; printed are
milliseconds, the ratio, and whether all digits are the same.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from foveal.tasks.faces.search import SCANS, Search, quickest_scan
from foveal.tasks.faces.verification import FACENET_THRESHOLDS, lfw_accuracy

PARTS = ("search", "lfw")
WIDTH, NEAREST = 512, 10
Found = tuple[torch.Tensor, torch.Tensor]


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rows", type=int, default=1_000_000, help="enrolled embeddings; a million need 5 GB")
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if "search" in given.parts:
        measure_search(given)
    if "lfw" in given.parts:
        measure_lfw(given)


# --- search -----------------------------------------------------------------------------------------------------------


def measure_search(given: argparse.Namespace) -> None:
    """A line for each way of searching."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(given.rows, WIDTH, generator=generator)
    embeddings /= embeddings.norm(dim=1, keepdim=True)
    queries = torch.randn(given.queries, WIDTH, generator=generator)
    queries[::2] = (
        embeddings[torch.randint(given.rows, (len(queries[::2]),), generator=generator)] + 0.04 * queries[::2]
    )
    queries /= queries.norm(dim=1, keepdim=True)
    ways: dict[str, Callable[[], Found]] = {"torch, float32": lambda: brute(embeddings, queries)} | flat(
        embeddings, queries, given.threads
    )
    for scan in SCANS:
        began = time.perf_counter()
        search = Search(embeddings, scan=scan)
        print(f"{scan}: {given.rows:,} rows made ready in {time.perf_counter() - began:.1f} s")
        ways[f"ours, {scan}"] = lambda search=search: search.nearest(queries, NEAREST)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    found: dict[str, Found] = {}
    for _ in range(given.rounds):
        for name, way in ways.items():
            wall, busy = time.perf_counter(), time.process_time()
            found[name] = way()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - busy))
    print(f"the quickest scan here is said to be {quickest_scan(WIDTH)}")
    first, wanted = min(wall for wall, _ in seconds["torch, float32"]), found["torch, float32"][1]
    for name, rounds in seconds.items():
        wall, busy = (min(values) for values in zip(*rounds, strict=True))
        recall = (found[name][1][:, :, None] == wanted[:, None]).any(dim=2).float().mean()
        print(
            f"{name:<16} {1000 * wall / given.queries:7.2f} ms a query ({1000 * busy / given.queries:.2f} of the "
            f"processor), {given.rows * given.queries / wall / 1e6:6.0f} million rows/s, {first / wall:5.2f} times "
            f"torch's rate, recall@{NEAREST} {recall:.4f}"
        )


def brute(embeddings: torch.Tensor, queries: torch.Tensor) -> Found:
    """All products of 64 queries at a time, and the best of them."""
    found = [(batch @ embeddings.T).topk(NEAREST, dim=1) for batch in queries.split(64)]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])


def flat(embeddings: torch.Tensor, queries: torch.Tensor, threads: int) -> dict[str, Callable[[], Found]]:
    """The exact index of faiss, where that is installed."""
    try:
        import faiss  # type: ignore[import-not-found]
    except ImportError:
        return {}
    faiss.omp_set_num_threads(threads)
    index: Any = faiss.IndexFlatIP(WIDTH)
    index.add(embeddings.numpy())

    def nearest() -> Found:
        similarities, rows = index.search(queries.numpy(), NEAREST)
        return torch.from_numpy(similarities), torch.from_numpy(rows)

    return {"faiss, flat": nearest}


# --- LFW --------------------------------------------------------------------------------------------------------------


def measure_lfw(given: argparse.Namespace) -> None:
    """A line for FaceNet's thresholds, and one for all cuts."""
    rng = np.random.default_rng(0)
    same, folds = np.arange(6000) % 2 == 0, np.arange(6000) // 600
    distances = np.clip(rng.normal(np.where(same, 0.9, 1.9), 0.3), 0, 4)
    times: dict[str, list[float]] = {"loops": [], "ours": [], "all cuts": []}
    for _ in range(given.rounds):
        for name, way in (
            ("loops", lambda: loops(distances, same, folds)),
            ("ours", lambda: lfw_accuracy(distances, same, folds, thresholds=FACENET_THRESHOLDS)),
            ("all cuts", lambda: lfw_accuracy(distances, same, folds)),
        ):
            began = time.process_time()
            way()
            times[name].append(time.process_time() - began)
    best = {name: 1000 * min(values) for name, values in times.items()}
    ours, theirs = lfw_accuracy(distances, same, folds, thresholds=FACENET_THRESHOLDS), loops(distances, same, folds)
    equal = ours.accuracies.tolist() == theirs.tolist() and ours.mean == np.mean(theirs)
    print(f"LFW, 400 thresholds: loops {best['loops']:.1f} ms, ours {best['ours']:.2f} ms, "
          f"{best['loops'] / best['ours']:.0f} times as fast, {'all digits the same' if equal else 'OTHER NUMBERS'}; "
          f"the best of all cuts {best['all cuts']:.2f} ms")  # fmt: skip


def loops(distances: np.ndarray, same: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The accuracy of each fold, by a loop over folds and over thresholds, as codes for FaceNet and ArcFace have it."""
    accuracies = []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        shares = [share(threshold, distances[train], same[train]) for threshold in FACENET_THRESHOLDS]
        accuracies.append(share(FACENET_THRESHOLDS[int(np.argmax(shares))], distances[test], same[test]))
    return np.array(accuracies)


def share(threshold: float, distances: np.ndarray, same: np.ndarray) -> float:
    """True positives and true negatives by the number of pairs."""
    said = np.less(distances, threshold)
    right = np.sum(np.logical_and(said, same)) + np.sum(np.logical_and(np.logical_not(said), np.logical_not(same)))
    return float(right) / len(distances)


if __name__ == "__main__":
    main()
