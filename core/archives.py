"""Images in zip and tar archives, read where they lie: nothing is unpacked to disk, where a name could lead anywhere.

A member is called by the archive's path, a slash, and its name: photos.zip/2024/a.jpg. Imports no torch.
"""

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from threading import Lock
from typing import Protocol

from .errors import DataError

_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_DAMAGED = (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError)
_OPEN = 4  # archives that a process keeps open


class MemberError(Exception):
    """What is wrong with a member, as the end of a sentence."""


class _Archive(Protocol):
    def names(self) -> Iterator[str]: ...

    def read(self, name: str, most: int) -> bytes: ...


def is_archive(path: str) -> bool:
    """Whether a path is that of an archive, by its suffix; it need not be there."""
    return path.lower().endswith(_SUFFIXES)


def members(path: str) -> Iterator[str]:
    """The files in an archive, by their names behind its path, in its own order, each once.

    Raises DataError for an archive that cannot be read.
    """
    if not os.path.isfile(path):
        raise DataError(f"{path}: there is no such archive.")
    try:
        yield from (f"{path}/{name}" for name in dict.fromkeys(_open(path, os.stat(path).st_mtime_ns).names()))
    except (OSError, *_DAMAGED) as error:
        raise DataError(f"{path}: the archive cannot be read ({error}); copy it again.") from error


def split(path: str) -> tuple[str, str] | None:
    """The archive and the name in it that a path means; None where no part of the path is an archive."""
    end = path.find("/", 1)
    while end > 0:
        if is_archive(path[:end]) and os.path.isfile(path[:end]):
            return path[:end], path[end + 1 :]
        end = path.find("/", end + 1)
    return None


def read_member(archive: str, name: str, most: int) -> bytes:
    """All bytes of a member, which may have `most` of them.

    Raises MemberError where it is damaged or larger, KeyError where there is none, OSError for the archive.
    """
    try:
        return _open(archive, os.stat(archive).st_mtime_ns).read(name, most)
    except _DAMAGED as error:
        raise MemberError(f"cannot be read from its archive ({error}); copy that again") from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or a method that Python does not know
        raise MemberError(f"cannot be unpacked: {error}") from error


@lru_cache(maxsize=_OPEN)
def _open(path: str, _modified: int) -> _Archive:
    # A forked process must not share the place in a file with its parent: `_forget` below.
    return _Zip(path) if path.lower().endswith(".zip") else _Tar(path)


class _Zip:
    def __init__(self, path: str) -> None:
        self._file = zipfile.ZipFile(path)

    def names(self) -> Iterator[str]:
        return (entry.filename for entry in self._file.infolist() if not entry.is_dir())

    def read(self, name: str, most: int) -> bytes:
        entry = self._file.getinfo(name)
        if entry.file_size > most:
            raise MemberError(f"has {entry.file_size:,} bytes unpacked; the decoder takes {most:,} at most")
        with self._file.open(entry) as file:  # which stops at the size that the archive says, and checks its sum
            return file.read(most)


class _Tar:
    def __init__(self, path: str) -> None:
        self._file = tarfile.open(path)  # noqa: SIM115  # kept open, as long as the cache holds it
        self._places: dict[str, tuple[int, int]] | None = None  # where each file begins, and its size
        self._lock = Lock()  # of the one place in the file; a forked process opens it anew

    def names(self) -> Iterator[str]:
        with self._lock:
            return iter(self._found())

    def read(self, name: str, most: int) -> bytes:
        with self._lock:
            offset, size = self._found()[name]
            if size > most:
                raise MemberError(f"has {size:,} bytes; the decoder takes {most:,} at most")
            data = self._bytes(offset, size)
        if len(data) < size:
            raise MemberError("is cut off with its archive; copy that again")
        return data

    def _found(self) -> dict[str, tuple[int, int]]:
        if self._places is None:
            places = {}
            for entry in self._file:
                self._file.members.clear()  # type: ignore[attr-defined]  # a kilobyte each
                if entry.isreg() and not entry.issparse():
                    places[entry.name] = entry.offset_data, entry.size
            # Python takes a header that it can't read for the end.
            if any(self._bytes(self._file.offset, tarfile.BLOCKSIZE)):
                raise tarfile.ReadError(f"damaged at byte {self._file.offset}")
            self._places = places
        return self._places

    def _bytes(self, offset: int, size: int) -> bytes:
        stream = self._file.fileobj
        assert stream is not None
        stream.seek(offset)
        return stream.read(size)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_open.cache_clear)
