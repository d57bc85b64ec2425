"""Arrays in HDF5 files, which MATLAB's files of version 7.3 are: one open file a process, and nothing from beyond it.

A file of HDF5 may say that its data lie in others, by external links, external storage and virtual data sets: a file
from somewhere could so show what else is on this machine. All three are refused; of links only hard ones are followed.

An open file must not be taken into a forked process, as loader workers are, so it is closed before; each opens its own.
h5py is imported on first use: nothing but NYU's files and Keras' weights needs it.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from math import prod
from typing import Any

from ..core.errors import UsageError
from ..core.image_headers import Fault, cut, damaged
from ..core.images import ImageError

_MOST_BYTES = 2**30  # of a chunk, which is unpacked as a whole however little of it is wanted


@contextmanager
def opened(file: str) -> Iterator[Any]:
    """The file, for reading, as an `h5py.File` that stays open for the next time and must not be closed.

    Raises UsageError where h5py is missing, ImageError for a file that cannot be opened; and what goes wrong while it
    is read, Fault or whatever h5py raises, becomes an ImageError.
    """
    h5py = require_h5py()
    with _shelf.lock:
        try:
            yield _shelf.take(h5py, file)
        except Fault as fault:
            _shelf.clear()
            raise ImageError(file, fault.code, fault.reason) from None
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
            _shelf.clear()
            fault = cut("HDF5") if "truncated" in str(error) else damaged("HDF5")
            raise ImageError(file, fault.code, fault.reason) from error


def dataset(file: Any, name: str, dimensions: int, kinds: str) -> Any:
    """The `h5py.Dataset` of that name at the root of an open file, whose numbers are of one of numpy's `kinds`: "f".

    Raises Fault where there is none such, or where it would lead out of the file.
    """
    import h5py

    link = file.get(name, getlink=True)
    if link is None:
        names = ", ".join(map(repr, islice(file, 8))) or "nothing"
        raise Fault("UNSUPPORTED", f"has no array '{name}', but {names}")
    found = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or lies_elsewhere(found):
        raise Fault(
            "UNSUPPORTED", f"has as '{name}' no array of its own, but a group or a link, which may lead elsewhere"
        )
    if len(found.shape or ()) != dimensions or found.dtype.kind not in kinds:
        expected = f"{dimensions} dimensions of {' or '.join(_KINDS[kind] for kind in kinds)}"
        raise Fault("UNSUPPORTED", f"has an array '{name}' of {found.dtype} {found.shape}: expected {expected}")
    if found.chunks and prod(found.chunks) * found.dtype.itemsize > _MOST_BYTES:
        raise Fault("TOO_LARGE", f"has an array '{name}' whose chunks {found.chunks} have more than a gigabyte each")
    return found


def lies_elsewhere(found: Any) -> bool:
    """Whether the numbers of an `h5py.Dataset` lie in other files."""
    return bool(found.is_virtual or found.external)


@cache
def require_h5py() -> Any:
    """The module h5py; raises UsageError, which says how to install it, where it is missing."""
    try:
        import h5py
    except ImportError:
        raise UsageError('HDF5 files need h5py: install it with pip install "foveal[nyu]".') from None
    if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
        # Behind h5py's own: what was registered last runs first before a fork, while h5py's lock is still to be had.
        release = _shelf.lock.release
        os.register_at_fork(before=_before_fork, after_in_parent=release, after_in_child=release)
    return h5py


_KINDS = {"f": "floating-point numbers", "u": "whole numbers from 0", "O": "references"}


class _Shelf:
    """The one open file of this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._name = ""
        self._file: Any = None

    def take(self, h5py: Any, name: str) -> Any:
        if self._file is None or self._name != name:
            self.clear()
            _require_hdf5(h5py, name)
            # No lock on the file: it is only read, by many processes, and from disks that know no locks.
            self._file, self._name = h5py.File(name, "r", locking=False), name
        return self._file

    def clear(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _before_fork() -> None:
    _shelf.lock.acquire()
    _shelf.clear()


_shelf = _Shelf()


def _require_hdf5(h5py: Any, name: str) -> None:
    if not os.path.isfile(name):
        there = os.path.exists(name)
        raise Fault("NOT_A_FILE" if there else "MISSING", "is no file" if there else "does not exist; check the path")
    if not os.access(name, os.R_OK):
        raise Fault("UNREADABLE", "cannot be read: change its permissions")
    if not os.path.getsize(name):
        raise Fault("EMPTY_FILE", "is empty (0 bytes); copy it again or leave it out")
    if not h5py.is_hdf5(name):
        raise Fault("NOT_AN_IMAGE", "is no HDF5 file, as .h5 and MATLAB's of version 7.3 are; copy it again")
