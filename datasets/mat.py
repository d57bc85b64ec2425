"""Variables of MATLAB files of version 5 to 7.2, as numpy arrays, lists and dicts.

Not by `scipy.io.loadmat`: one in 500 small uncompressed files with one byte changed at random ends the whole process
with a segmentation fault (scipy 1.17.1, 11 of 6,000), which no `except` catches. Here every length that a file states
is compared with the bytes that are there before it is believed. The layout is that of "MAT-File Format" (MathWorks),
chapter 1, "Level 5 MAT-File Format".
"""

import os
import zlib
from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import DataError
from ..core.images import read_bytes

MAX_BYTES = 2**30  # of one variable, unpacked: 40 kB can say that they are 40 MB
_MAX_DEPTH = 16  # of cells in cells, and dimensions of a matrix
_HEADER, _HDF5 = 128, b"\x89HDF\r\n\x1a\n"
_BYTES, _MATRIX, _COMPRESSED = 2, 14, 15  # types of elements
_CELL, _STRUCT, _SPARSE, _OPAQUE = 1, 2, 5, 17  # classes of matrices, as are:
_NUMBERS = range(6, 16)  # double, single, int8, uint8 ... int64, uint64
_COMPLEX, _LOGICAL = 0x0800, 0x0200
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_WORTHLESS = "copy it again from where the data set is to be had, or leave it out"


class _Fault(Exception):
    """What is wrong with a file: the rest of a sentence that begins with its name."""


class _Element(NamedTuple):
    kind: int
    data: memoryview


def read_variable(path: str | os.PathLike, name: str) -> Any:
    """The variable `name`: an array of numbers or bools as a numpy array of the type that is stored (a sparse one
    dense), a cell array as a list, column by column, a struct array as a list of dicts, and None for all else.

    Raises DataError, in one sentence, for a file that is damaged or no MATLAB file, that is of version 7.3, or that has
    no such variable; ImageError, which is one, for a file that cannot be opened.
    """
    data = read_bytes(path)
    try:
        return _variable(data, name)
    except _Fault as fault:
        raise DataError(f"'{os.fsdecode(path)}' {fault}.") from None


def _variable(data: bytes, name: str) -> Any:
    order, met = _byte_order(data), []
    for element in _elements(memoryview(data)[_HEADER:], order):
        matrix = _unpacked(element, order) if element.kind == _COMPRESSED else element
        found, value = _matrix(matrix, order, wanted=name)
        if found == name:
            return value
        met.append(ascii(found[:63]))  # no name is longer, or has anything but letters, digits and underscores
    shown = ", ".join(met[:5]) or "none"
    raise _Fault(f"has no variable {name} (its variables: {shown}): save it with that one, or leave it out")


def _byte_order(data: bytes) -> str:
    """As struct writes it; raises _Fault for what is no MATLAB file of these versions."""
    if any(data[at : at + len(_HDF5)] == _HDF5 for at in (0, 512)):
        raise _Fault("is a MATLAB file of version 7.3 (HDF5), and only older ones are read: save it with '-v7'")
    order = {b"\0\1IM": "<", b"\1\0MI": ">"}.get(data[124:_HEADER])
    if order is None:
        raise _Fault(f"is no MATLAB file of version 5 to 7; {_WORTHLESS}")
    return order


def _unpacked(element: _Element, order: str) -> _Element:
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(element.data, MAX_BYTES)
    except zlib.error:
        raise _damaged("its packed data cannot be unpacked") from None
    if not unpacker.eof:  # at the end, zlib has compared the checksum
        if len(data) == MAX_BYTES:
            raise _Fault(f"has a variable of more than {MAX_BYTES:,} bytes, which is the most that is read")
        raise _damaged("its packed data end too early")
    return next(_elements(memoryview(data), order), _Element(0, memoryview(b"")))


def _damaged(what: str) -> _Fault:
    return _Fault(f"is a damaged MATLAB file ({what}); {_WORTHLESS}")


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    """The elements that lie in `data` one after another: a tag with type and length, the data, room up to 8 bytes."""
    endian = "little" if order == "<" else "big"
    at = 0
    while at < len(data):
        kind, size = (int.from_bytes(data[begin : begin + 4], endian) for begin in (at, at + 4))
        start, room = at + 8, size if kind == _COMPRESSED else -(-size // 8) * 8
        if kind >> 16:  # up to four bytes lie in the tag itself
            kind, size, start, room = kind & 0xFFFF, kind >> 16, at + 4, 4
        if start + size > len(data) or size > room:
            raise _damaged("it states more bytes than it has")
        yield _Element(kind, data[start : start + size])
        at = start + room


# --- matrices ---------------------------------------------------------------------------------------------------------


def _matrix(element: _Element, order: str, depth: int = 0, wanted: str | None = None) -> tuple[str, Any]:
    """Name and value of a matrix; the value is not made where the name is another than `wanted`."""
    if element.kind != _MATRIX or depth > _MAX_DEPTH:
        raise _damaged("there is no matrix where one should be")
    if not len(element.data):
        return "", np.zeros((0, 0))
    parts = _elements(element.data, order)
    words = _take(parts, order, kinds="u")
    if len(words) != 2:
        raise _damaged("a matrix without a class")
    kind, flags = int(words[0]) & 0xFF, int(words[0])
    if kind == _OPAQUE:  # an object of a class of MATLAB's own, such as a table; it has no size
        return "", None
    shape = tuple(_take(parts, order, kinds="iu").tolist())
    name = bytes(_next(parts).data).decode("latin-1")
    if not 2 <= len(shape) <= _MAX_DEPTH or min(shape) < 0:
        raise _damaged("a matrix without a size")
    if wanted not in (None, name):
        return name, None
    if kind == _CELL:
        return name, _contents(parts, prod(shape), len(element.data), order, depth)
    if kind == _STRUCT:
        return name, _structs(parts, prod(shape), len(element.data), order, depth)
    if flags & _COMPLEX:
        return name, None
    if kind == _SPARSE:
        return name, _dense(parts, shape, order, logical=bool(flags & _LOGICAL))
    return name, _shaped(_take(parts, order), shape) if kind in _NUMBERS else None


def _contents(parts: Iterator[_Element], count: int, room: int, order: str, depth: int) -> list[Any]:
    """The next `count` matrices, of a cell array or of the fields of a struct."""
    if count * 8 > room:  # each has a tag at least
        raise _damaged(f"{count:,} cells where there is room for {room // 8:,}")
    return [_matrix(_next(parts), order, depth + 1)[1] for _ in range(count)]


def _structs(parts: Iterator[_Element], count: int, room: int, order: str, depth: int) -> list[dict[str, Any]]:
    length = _take(parts, order, kinds="i")
    names = bytes(_next(parts).data)
    if len(length) != 1 or length[0] < 1 or len(names) % int(length[0]):
        raise _damaged("a struct without names")
    step = int(length[0])
    fields = [names[at : at + step].split(b"\0")[0].decode("latin-1") for at in range(0, len(names), step)]
    values = iter(_contents(parts, count * len(fields), room, order, depth))
    return [{field: next(values) for field in fields} for _ in range(count if fields else 0)]


def _shaped(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if len(values) != prod(shape) or prod(filter(None, shape)) > MAX_BYTES:
        raise _damaged(f"{len(values):,} numbers for a matrix of {' x '.join(map(str, shape))}")
    return values.reshape(shape, order="F")


def _dense(parts: Iterator[_Element], shape: tuple[int, ...], order: str, logical: bool) -> np.ndarray:
    """A sparse matrix: the rows of its numbers, where each column begins among them, and the numbers."""
    rows, starts = (_take(parts, order, kinds="iu").astype(np.int64) for _ in range(2))
    numbers = _next(parts)
    if logical and len(numbers.data) == len(rows):
        numbers = _Element(_BYTES, numbers.data)  # MATLAB calls them doubles, but they have one byte each
    values = _numbers(numbers, order)
    if len(shape) != 2 or prod(shape) * values.itemsize > MAX_BYTES:
        raise _Fault(f"has a sparse matrix of {' x '.join(map(str, shape))}, which is more than is read")
    counts = np.diff(starts)
    if len(starts) != shape[1] + 1 or starts[0] != 0 or counts.min(initial=0) < 0:
        raise _damaged("a sparse matrix whose columns contradict each other")
    count = int(starts[-1])
    inside = rows[:count].min(initial=0) >= 0 and rows[:count].max(initial=-1) < shape[0]
    if count > min(len(rows), len(values)) or not inside:
        raise _damaged("a sparse matrix with numbers that lie outside of it")
    dense = np.zeros(shape, values.dtype)
    dense[rows[:count], np.repeat(np.arange(shape[1]), counts)] = values[:count]
    return dense


def _next(parts: Iterator[_Element]) -> _Element:
    element = next(parts, None)
    if element is None:
        raise _damaged("a matrix ends too early")
    return element


def _take(parts: Iterator[_Element], order: str, kinds: str = "iuf") -> np.ndarray:
    """The numbers of the next element (N,), of a type that is signed ("i"), unsigned ("u") or floating ("f")."""
    return _numbers(_next(parts), order, kinds)


def _numbers(element: _Element, order: str, kinds: str = "iuf") -> np.ndarray:
    kind, data = element
    if kind not in _TYPES or _TYPES[kind][0] not in kinds or len(data) % int(_TYPES[kind][1]):
        raise _damaged(f"{len(data)} bytes of the type {kind} where there should be numbers")
    return np.frombuffer(data, order + _TYPES[kind])
