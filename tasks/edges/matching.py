"""One-to-one matching of found pixels with true ones, as many pairs as can be, and of those the nearest.

The Berkeley benchmark (Martin, Fowlkes and Malik, "Learning to detect natural image boundaries using local brightness,
color, and texture cues", PAMI 2004, section 3) asks for this of every threshold and annotator. It is an assignment
problem, solved here by shortest augmenting paths (Jonker and Volgenant, "A shortest augmenting path algorithm for
dense and sparse linear assignment problems", Computing 1987) on the pairs that are near enough.

Pixels come one by one. Each, on either side, has a price; a pair's two prices sum up to its distance, those of no two
neighbours to more, and who has no partner is at the highest price, `_ALONE`. Then no other matching is better (linear
programming duality). A new pixel looks for the cheapest chain of exchanges that ends at one without a partner, or that
leaves one without, and the prices along it are mended. A pixel that is taken away makes its partner new. So from one
threshold to the next only those are looked at that came, went, or are moved by that, and the result is still exact.
"""

from typing import NamedTuple

import numpy as np

from ...core.compiled import compiled

_UNIT = 1024  # distances are whole numbers of 1024ths of a pixel, so that sums along different ways are equal
_ALONE = 1 << 40  # more than all distances together: one pair more is always better
_ABSENT = -(1 << 50)  # the price of a pixel that is not there: nobody wants it
_FAR = 1 << 60


class Pairs(NamedTuple):
    """Who was matched with whom: pair k is pixel `found[k]` with pixel `truth[k]`."""

    found: np.ndarray  # int32 (M, 2), rows and columns
    truth: np.ndarray  # int32 (M, 2)


def match(found: np.ndarray, truth: np.ndarray, *, radius: float) -> Pairs:
    """As many pairs as there can be of pixels at most `radius` apart, each in one, with the least sum of distances.

    `found` and `truth`, bool (H, W); `radius` in pixels. Of several such matchings, always the same one.
    """
    assert found.shape == truth.shape
    pixels = np.flatnonzero(found).astype(np.int32)
    wanted, graph = _graph(pixels, truth, radius)
    ends = np.array([0, len(pixels)])
    partners = _match_lists(np.arange(len(pixels), dtype=np.int32), ends, *graph)[0]
    here = partners >= 0
    width = found.shape[1]
    return Pairs(*(np.stack(np.divmod(flat, width), 1) for flat in (pixels[here], wanted[partners[here]])))


def match_lists(lists: list[np.ndarray], truth: np.ndarray, *, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """`match` for found pixels of several thresholds, each list starting from the last one's result.

    `lists`: of each threshold the found pixels' indices into the flat image, int32, best from the highest threshold
    (the shortest list) on; `truth` bool (H, W). Returns which of all lists' pixels, in their order, were matched,
    bool (sum of their lengths,), and how many pairs there were, int64 (K,).
    """
    ends = np.cumsum([0, *map(len, lists)])
    together = np.concatenate([*lists, np.zeros(0, np.int32)])
    pixels, numbers = np.unique(together, return_inverse=True)
    _, graph = _graph(pixels, truth, radius)
    partners, pairs = _match_lists(numbers.astype(np.int32), ends, *graph)
    return partners >= 0, pairs


def _graph(pixels: np.ndarray, truth: np.ndarray, radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The true pixels' flat indices, and who is near whom, seen from the found and from the true ones."""
    wanted = np.flatnonzero(truth).astype(np.int32)
    disc = _disc(radius)
    return wanted, (*_neighbours(pixels, wanted, *truth.shape, disc), *_neighbours(wanted, pixels, *truth.shape, disc))


def _disc(radius: float) -> np.ndarray:
    """Offsets of the pixels at most `radius` away, and their distances in units: int64 (D, 3), nearest first."""
    reach = int(radius)
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(down, right)
    table = np.stack((down, right, np.rint(distance * _UNIT)), -1)[distance <= radius].astype(np.int64)
    return table[np.argsort(table[:, 2], kind="stable")]


@compiled
def _neighbours(pixels, others, height, width, disc):
    """Of each of `pixels` the `others` in the disc around it: where its list starts, who they are, and how far."""
    number = np.full((height, width), -1, np.int32)
    for index in range(len(others)):
        number[others[index] // width, others[index] % width] = index
    starts = np.zeros(len(pixels) + 1, np.int64)
    who = far = np.empty(0, np.int32)
    for fill in range(2):  # first they are counted
        if fill == 1:
            who, far = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
        count = 0
        for index in range(len(pixels)):
            row, column = pixels[index] // width, pixels[index] % width
            for entry in range(len(disc)):
                y, x = row + disc[entry, 0], column + disc[entry, 1]
                if 0 <= y < height and 0 <= x < width and number[y, x] >= 0:
                    if fill == 1:
                        who[count], far[count] = number[y, x], disc[entry, 2]
                    count += 1
            starts[index + 1] = count
    return starts, who, far


@compiled
def _match_lists(numbers, ends, starts, who, far, true_starts, true_who, true_far):
    """Of each in the concatenated lists of `numbers` of found pixels the partner, -1 for none; and each list's pairs.

    New pixels come before old ones go: often one has moved by a pixel, and its partner is best off with it.
    """
    found, truth = len(starts) - 1, len(true_starts) - 1
    price, mate = np.full(found, _ABSENT, np.int64), np.full(found, -1, np.int32)
    true_price, true_mate = np.full(truth, _ALONE, np.int64), np.full(truth, -1, np.int32)
    space, true_space = _space(truth, len(who)), _space(found, len(who))
    seen = np.full(found, -1, np.int32)
    partners, pairs = np.full(len(numbers), -1, np.int32), np.zeros(len(ends) - 1, np.int64)
    for step in range(len(ends) - 1):
        here = numbers[ends[step] : ends[step + 1]]
        for pixel in here:
            seen[pixel] = step
            if price[pixel] == _ABSENT:
                _add(pixel, starts, who, far, price, mate, true_price, true_mate, space)
        for pixel in numbers[ends[step - 1] : ends[step]] if step else numbers[:0]:
            if seen[pixel] != step:
                price[pixel] = _ABSENT
                partner = mate[pixel]
                if partner >= 0:
                    mate[pixel] = true_mate[partner] = -1
                    _add(partner, true_starts, true_who, true_far, true_price, true_mate, price, mate, true_space)
        for index in range(ends[step], ends[step + 1]):
            partners[index] = mate[numbers[index]]
            pairs[step] += partners[index] >= 0
    return partners, pairs


@compiled
def _space(others, edges):
    """What a search writes: distance and predecessor of each on the other side, who was reached, and a heap."""
    return (
        np.full(others, _FAR, np.int64),
        np.empty(others, np.int32),
        np.empty(others, np.int32),
        np.empty(edges + 1, np.int64),
        np.empty(edges + 1, np.int32),
    )


@compiled
def _add(new, starts, who, far, price, mate, other_price, other_mate, space):
    """Put pixel `new` of one side into the matching: Dijkstra's search over the other side's pixels.

    The length of a way is how much worse the exchanges along it make the sum, in reduced costs (distance less both
    prices, never negative). It ends at a pixel of the other side without partner, or leaves one of this side without.
    """
    length, before, reached, keys, nodes = space
    price[new] = _ALONE
    for edge in range(starts[new], starts[new + 1]):
        price[new] = min(price[new], far[edge] - other_price[who[edge]])
    best, end, lonely = _ALONE - price[new], -1, new
    if best == 0:
        return
    touched = heap = 0
    here, walked = new, 0
    while True:
        for edge in range(starts[here], starts[here + 1]):
            other = who[edge]
            way = walked + far[edge] - price[here] - other_price[other]
            if way < best and way < length[other]:
                if length[other] == _FAR:
                    reached[touched] = other
                    touched += 1
                length[other], before[other] = way, here
                if other_mate[other] < 0:
                    best, end = way, other
                else:
                    heap = _push(keys, nodes, heap, way, other)
        other = -1
        while heap and keys[0] < best:
            walked, other = keys[0], nodes[0]
            heap = _pop(keys, nodes, heap)
            if length[other] == walked:
                break
            other = -1
        if other < 0:
            break
        here = other_mate[other]
        if walked + _ALONE - price[here] < best:
            best, end, lonely = walked + _ALONE - price[here], -1, here
    price[new] += best
    for index in range(touched):
        other = reached[index]
        if length[other] < best and other_mate[other] >= 0:
            price[other_mate[other]] += best - length[other]
            other_price[other] -= best - length[other]
        length[other] = _FAR
    _exchange(new, end, lonely, before, mate, other_mate)


@compiled
def _exchange(new, end, lonely, before, mate, other_mate):
    """Give each on the way its next partner, from the end back to `new`."""
    if end < 0:
        end = mate[lonely]
        mate[lonely] = -1
    while end >= 0:
        here = before[end]
        next_end = mate[here]
        mate[here], other_mate[end] = end, here
        if here == new:
            break
        end = next_end


@compiled
def _push(keys, nodes, size, key, node):
    place = size
    while place > 0 and keys[(place - 1) >> 1] > key:
        keys[place], nodes[place] = keys[(place - 1) >> 1], nodes[(place - 1) >> 1]
        place = (place - 1) >> 1
    keys[place], nodes[place] = key, node
    return size + 1


@compiled
def _pop(keys, nodes, size):
    size -= 1
    key, node, place = keys[size], nodes[size], 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[place], nodes[place] = keys[child], nodes[child]
        place = child
    keys[place], nodes[place] = key, node
    return size
