"""Loops over pixels that numpy has no words for, compiled by numba the first time that they are called.

Importing this imports numba: who wants no lines and no benchmark of edges imports none of what builds on it.
"""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as machine code, which stays beside the file or, where that is read-only, in the user's cache.

    Where neither can be written, it is compiled in every process anew, which takes seconds. The interpreter's lock is
    free while it runs, so threads run at the same time.
    """
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba's "no locator available": no folder to keep it in
        return njit(nogil=True)(function)
