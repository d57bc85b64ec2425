"""Masks thinned to lines one pixel wide, which stay connected as the masks are."""

import numpy as np

from .compiled import compiled


def thin(mask: np.ndarray) -> np.ndarray:
    """The skeleton of `mask`, both bool (H, W): lines one pixel wide, connected as the mask is.

    Lam, Lee and Suen, "Thinning methodologies: a comprehensive survey", PAMI 1992, p. 879: the same as MATLAB's
    `bwmorph(mask, 'thin', inf)`, which the Berkeley benchmark calls. Pixels outside of the image are off.
    """
    skeleton = np.zeros(mask.size, bool)
    skeleton[thinned_pixels(mask)] = True
    return skeleton.reshape(mask.shape)


def thinned_pixels(mask: np.ndarray) -> np.ndarray:
    """Where `thin(mask)` is on: rising indices into the flat image, int32 (N,)."""
    return _thin(np.ascontiguousarray(mask, bool), _REMOVED)


def _removed(code: int) -> int:
    """Whether a pixel goes in the first (1) and in the second half (2) of a round, or in both (3).

    Bit k - 1 of `code` is the paper's x_k, the neighbours counter-clockwise from the right one.
    """
    x = [bool(code >> (k - 1) % 8 & 1) for k in range(10)]  # x[1] to x[8], and x[9] = x[1]
    crossings = sum(not x[2 * i - 1] and (x[2 * i] or x[2 * i + 1]) for i in range(1, 5))
    ends = min(sum(x[2 * k - 1] or x[2 * k] for k in range(1, 5)), sum(x[2 * k] or x[2 * k + 1] for k in range(1, 5)))
    if crossings != 1 or ends not in (2, 3):
        return 0
    first = not ((x[2] or x[3] or not x[8]) and x[1])
    second = not ((x[6] or x[7] or not x[4]) and x[5])
    return first + 2 * second


_REMOVED = np.array([_removed(code) for code in range(256)], np.uint8)


@compiled
def _thin(mask, removed):
    """Keeps of each pixel the code of its neighbours, and a list for each half of a round of those that it removes."""
    width = mask.shape[1]
    wide = width + 2
    around = (1, 1 - wide, -wide, -wide - 1, -1, wide - 1, wide, wide + 1)
    pixels, here = framed(mask)
    code = np.zeros(len(here), np.uint8)
    waiting, lengths = np.empty((2, len(pixels)), np.int32), np.zeros(2, np.int64)
    gone = np.empty(len(pixels), np.int32)
    for pixel in pixels:
        for k in range(8):
            code[pixel] |= (here[pixel + around[k]] & 1) << k
        _enlist(pixel, code, here, removed, waiting, lengths)
    while lengths[0] or lengths[1]:
        for half in range(2):
            leaving = 0
            for index in range(lengths[half]):
                pixel = waiting[half, index]
                here[pixel] &= ~(2 << half)
                if here[pixel] & 1 and removed[code[pixel]] & (1 << half):
                    here[pixel] &= ~1
                    gone[leaving] = pixel
                    leaving += 1
            lengths[half] = 0
            for index in range(leaving):
                for k in range(8):
                    code[gone[index] + around[k]] &= ~(1 << ((k + 4) & 7))
            for index in range(leaving):
                for k in range(8):
                    _enlist(gone[index] + around[k], code, here, removed, waiting, lengths)
    left = [pixel for pixel in pixels if here[pixel] & 1]
    flat = np.empty(len(left), np.int32)
    for index in range(len(left)):
        flat[index] = (left[index] // wide - 1) * width + left[index] % wide - 1
    return flat


@compiled
def framed(mask):
    """The pixels that are on, in an image with a frame of one pixel around it: their indices; and that image, flat."""
    height, width = mask.shape
    here = np.zeros((height + 2, width + 2), np.uint8)  # 2 and 4 more where a pixel stands in a list
    pixels = np.empty(height * width, np.int32)
    count = 0
    for row in range(height):
        for column in range(width):
            if mask[row, column]:
                here[row + 1, column + 1] = 1
                pixels[count] = (row + 1) * (width + 2) + column + 1
                count += 1
    return pixels[:count], here.ravel()


@compiled
def _enlist(pixel, code, here, removed, waiting, lengths):
    for half in range(2):
        if here[pixel] & 1 and removed[code[pixel]] & (1 << half) and not here[pixel] & (2 << half):
            here[pixel] |= 2 << half
            waiting[half, lengths[half]] = pixel
            lengths[half] += 1
