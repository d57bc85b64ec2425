"""The one place that opens image files: every task, writer and command reads pictures through `read_image`.

Decoders believe what a file says: they return half-grey pictures for cut files, take gigabytes for a header that lies,
and read a damaged file into the network as if it were a good one. So: bytes, then the header (which format, by content
and not by suffix; how many pixels), then a check that the file is whole, and only then `cv2.imdecode`. Whatever is
wrong is one `ImageError`. Only bytes reach OpenCV, whose own `imread` ends the process on a file name that is not
UTF-8.

What becomes uint8 RGB, and how:

- grey: three equal channels; 1 bit: 0 and 255; palette: its colours;
- alpha (RGBA, LA, palette with transparency): dropped, the colours under it stand, as in Pillow's `convert("RGB")`;
  only in a GIF do transparent pixels show the canvas's background colour;
- CMYK and YCCK JPEG, Adobe's inverted ones too: RGB without a colour profile, as Pillow's `convert("RGB")` within one
  level;
- 16 bits: the high byte, v >> 8 (a colour TIFF: v / 257 rounded, which is libtiff's rule and at most one level away);
- PGM and PPM whose largest value is neither 255 nor 65535: stretched to 0..255;
- float, signed and 32-bit TIFF: refused as UNSUPPORTED, for there is no telling which value is white;
- animation (GIF, WebP, APNG, AVIF) and TIFF of several pages: the first frame; later pages of a TIFF are not looked at;
- EXIF orientation 1 to 8 (JPEG, PNG, WebP, TIFF, AVIF): applied, so the result is upright; EXIF that is broken:
  ignored.

A JPEG in whose compressed data some bytes changed, but which still ends as it should, cannot be told from a good one:
its decoder has no checksum, and fills what it cannot decode with grey. A PNG has checksums, and every one is compared.

OpenCV's log lines about bad files are switched off here (the error says it) unless OPENCV_LOG_LEVEL is set.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from . import archives, remote
from .errors import DataError, MachineError, UsageError, unknown
from .image_headers import (
    MAX_SIDE,
    Fault,
    Header,
    ImageErrorCode,
    cut,
    damaged,
    is_cut,
    open_avif,
    read_header,
    with_alpha_kept_apart,
)

MAX_PIXELS = 2**28  # 268 million, 0.8 GB as RGB: above the 200 million of today's largest phone cameras
MAX_TILED_PIXELS = 2**30  # OpenCV's own limit, 3.2 GB as RGB: of an image that goes through a network in tiles
_MAX_BYTES = 2**31 - 1  # OpenCV's limit
_HEAD = 2**17  # bytes: before a JPEG's size may stand 2**16 of EXIF, and then its profile

ImagePath = str | bytes | os.PathLike

if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class ImageError(DataError):
    """A file that cannot be read as an image.

    `path` is the file's name (bytes that are not UTF-8 as surrogates, so `os.fsencode` gives them back), `code` the
    kind of fault for programs, and the text one printable sentence for people. Crosses process borders: loader workers
    raise it.
    """

    def __init__(self, path: str, code: ImageErrorCode, reason: str):
        shown = path if path.isprintable() else path.encode("unicode_escape").decode()
        super().__init__(f"'{shown}' {reason}.")
        self.path, self.code, self.reason = path, code, reason

    def __reduce__(self):
        """Exceptions unpickle from their message alone; ours needs its three arguments."""
        return ImageError, (self.path, self.code, self.reason)


def read_image(path: ImagePath, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The picture in a file, upright: uint8 (H, W, 3), RGB.

    Raises ImageError for everything that can be wrong with the file; more than `max_pixels` is refused before decoding.
    """
    return decode_image(read_bytes(path), os.fsdecode(path), max_pixels)


def read_reduced(path: ImagePath, choose: Callable[[int, int], int]) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture as uint8 (H', W', 3), RGB, and the size (H, W) that `read_image` would give it.

    For its height and width, `choose` says by which of 1, 2, 4 and 8 both may be divided: of a JPEG, the decoder does
    that for half of its time or less, as a mean over so many pixels but for rounding. Other formats stay as they are.
    Raises ImageError.
    """
    return _decoded(read_bytes(path), os.fsdecode(path), MAX_PIXELS, choose)


def decode_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """As `read_image`, for a file that is in memory already; `name` is what an error calls it."""
    return _decoded(data, name, max_pixels, lambda height, width: 1)[0]


def _decoded(
    data: bytes, name: str, max_pixels: int, choose: Callable[[int, int], int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """As `read_reduced`."""
    try:
        kind, header = read_header(data, max_pixels)
        # A decoder would fill what is missing with grey, or say why on stderr. The others' decoders notice by
        # themselves.
        if kind in ("JPEG", "PNG", "WebP") and is_cut(kind, data, header):
            raise cut(kind)
        size = _upright_size(header)
        factor = choose(*size) if kind == "JPEG" else 1
        pixels = _decode_avif(data) if kind == "AVIF" else _decode(data, kind, header, factor)
        if pixels is None:
            raise (cut if is_cut(kind, data, header) else damaged)(kind)
    except Fault as fault:
        raise ImageError(name, fault.code, fault.reason) from None
    # libtiff has turned its own, whatever the flags.
    return (pixels if kind == "TIFF" else _upright(pixels, header.orientation)), size


def inspect_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> tuple[str, tuple[int, int]]:
    """The format's name ("JPEG") and the height and width that `decode_image` would return, without decoding.

    Raises ImageError for what is no image, has a damaged header or too many pixels, and for a JPEG, PNG, WebP or PNM
    file that ends too early; of other formats only their decoders can tell.
    """
    try:
        kind, header = read_header(data, max_pixels)
        if kind in ("JPEG", "PNG", "WebP", "PNM") and is_cut(kind, data, header):
            raise cut(kind)
    except Fault as fault:
        raise ImageError(name, fault.code, fault.reason) from None
    return kind, _upright_size(header)


def read_size(path: ImagePath) -> tuple[int, int]:
    """Height and width that `read_image` will return, in pixels, from the header: nothing is decoded.

    Raises ImageError for a file that is no image or whose header is damaged; what follows the header is not looked at.
    """
    name = os.fsdecode(path)
    try:
        _, header = read_header(read_bytes(name), max_pixels=MAX_SIDE**2)
    except Fault as fault:
        raise ImageError(name, fault.code, fault.reason) from None
    return _upright_size(header)


def read_head(path: str) -> bytes:
    """The first bytes of a plain file, in which most formats say their size; of anything else, an address or a file in
    an archive too, none. Waits for nobody.
    """
    try:
        with open(path, "rb", buffering=0, opener=_open_without_waiting) as file:
            return file.read(_HEAD) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except (OSError, ValueError):  # a name with a NUL byte
        return b""


def count_pixels(data: bytes) -> int:
    """How many an image file claims to have, of which `data` is all or the beginning; 0 where that does not say."""
    try:
        _, header = read_header(data, max_pixels=MAX_SIDE**2)
    except Fault:
        return 0
    return header.height * header.width


def write_image(path: ImagePath, rgb: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB, or (H, W) grey, in the format of the path's suffix: .png .jpg .webp .bmp .tiff .ppm.

    Grey may be uint16 too, in .png. Raises UsageError for another suffix, MachineError where the file cannot be
    written.
    """
    target = Path(os.fsdecode(path))
    suffix = target.suffix.lower()
    if suffix not in _WRITTEN:
        raise unknown("image format to write", suffix, _WRITTEN)
    allowed = (np.uint8, np.uint16) if rgb.ndim == 2 and suffix == ".png" else (np.uint8,)
    if rgb.dtype not in allowed or rgb.ndim not in (2, 3) or rgb.shape[2:] not in ((), (3,)) or rgb.size == 0:
        raise UsageError(f"An image to write is uint8 of (H, W, 3) or (H, W), not {rgb.dtype} of {rgb.shape}.")
    ok, encoded = cv2.imencode(suffix, rgb if rgb.ndim == 2 else cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not ok:
        raise UsageError(f"A {suffix} file cannot hold an image of {rgb.shape}; .png can.")
    try:
        target.write_bytes(encoded.tobytes())
    except OSError as error:
        raise MachineError(f"'{target}' cannot be written: {error.strerror}.") from error


_WRITTEN = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")


# --- bytes ------------------------------------------------------------------------------------------------------------


def read_bytes(path: ImagePath) -> bytes:
    """All bytes of an image file, of one in an archive (photos.zip/a.jpg), or at an address (s3://bucket/a.jpg).

    Raises ImageError for one that is missing, empty, too large or no file.
    """
    name = os.fsdecode(path)
    data = _read_remote(name) if remote.is_address(name) else _read_local(name)
    if not data:
        raise ImageError(name, "EMPTY_FILE", "is empty (0 bytes); copy it again or leave it out")
    return data


def _read_local(name: str) -> bytes:
    try:
        with open(name, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise IsADirectoryError
            if status.st_size > _MAX_BYTES:
                raise ImageError(
                    name, "TOO_LARGE", f"has {status.st_size:,} bytes; the decoder takes {_MAX_BYTES:,} at most"
                )
            return file.read()
    except ValueError:
        raise ImageError(name, "MISSING", "has a NUL byte in its name, so there is no such file") from None
    except NotADirectoryError as error:
        place = archives.split(name)
        if place is None:
            raise _open_error(name, error) from None
        return _read_member(name, *place)
    except OSError as error:
        raise _open_error(name, error) from None


def _read_member(name: str, archive: str, member: str) -> bytes:
    try:
        return archives.read_member(archive, member, _MAX_BYTES)
    except KeyError:
        raise ImageError(name, "MISSING", "is not in the archive; check the name") from None
    except archives.MemberError as error:
        raise ImageError(name, "DAMAGED", str(error)) from None
    except OSError as error:
        raise _open_error(name, error) from None


def _read_remote(name: str) -> bytes:
    try:
        return remote.read(name, _MAX_BYTES)
    except FileNotFoundError:
        raise ImageError(name, "MISSING", "does not exist; check the address") from None
    except OSError as error:
        raise ImageError(name, "UNREADABLE", f"cannot be read: {error}") from None


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe's writer may never come


def _open_error(name: str, error: OSError) -> ImageError:
    if isinstance(error, IsADirectoryError) or error.errno == errno.ENXIO:  # ENXIO: a socket
        found = "folder" if os.path.isdir(name) else "pipe, socket or device"
        return ImageError(name, "NOT_A_FILE", f"is a {found}, not an image file")
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        link = os.path.islink(name)
        return ImageError(name, "MISSING", "is a link to nothing" if link else "does not exist; check the path")
    return ImageError(name, "UNREADABLE", f"cannot be read: {error.strerror or error}")


# --- pixels -----------------------------------------------------------------------------------------------------------


# Bits that OpenCV adds to IMREAD_COLOR for IMREAD_REDUCED_COLOR_2, _4 and _8.
_REDUCED = {1: 0, 2: 16, 4: 32, 8: 64}


def _decode(data: bytes, kind: str, header: Header, factor: int) -> np.ndarray | None:
    """As stored (a TIFF: upright), RGB; None where OpenCV fails."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION | (_REDUCED[factor] if kind == "JPEG" else 0)
    stretch = kind == "PNM" and header.maxval not in (255, 65535)
    if stretch:
        flags = cv2.IMREAD_UNCHANGED  # 16 bits where the file has them
    if kind == "TIFF":
        data = with_alpha_kept_apart(data)
    elif kind == "PNM" and data[1:2] in b"123":
        data += b"\n"  # OpenCV wants something behind the last number
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise Fault("TOO_LARGE", _no_memory(header)) from None
        return None
    return _stretched(pixels, header.maxval, plain=data[1:2] in b"123") if stretch and pixels is not None else pixels


def _no_memory(header: Header) -> str:
    needed = header.height * header.width * 3 / 1e9
    return (
        f"has {header.width} x {header.height} pixels, {needed:,.1f} GB, for which there is not enough memory; "
        "make it smaller or cut it into tiles"
    )


def _stretched(pixels: np.ndarray, maxval: int, plain: bool) -> np.ndarray:
    """PNM values 0..maxval to 0..255, rounded; grey or BGR to RGB."""
    if not plain or pixels.dtype != np.uint8:  # OpenCV stretches 8-bit numbers in text by itself, and no others
        pixels = ((pixels.astype(np.uint32) * 255 + maxval // 2) // maxval).clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if pixels.ndim == 2 else cv2.COLOR_BGR2RGB)


def _decode_avif(data: bytes) -> np.ndarray | None:
    """By Pillow: OpenCV multiplies the colours by alpha, ignores the stored turn, and 4.12 lacks AVIF."""
    try:
        return np.asarray(open_avif(data).convert("RGB"))
    except (OSError, ValueError, SyntaxError, RuntimeError):
        return None


def _upright_size(header: Header) -> tuple[int, int]:
    return (header.width, header.height) if header.orientation >= 5 else (header.height, header.width)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo the camera's position (EXIF 2.32, tag 0x0112). Not left to OpenCV: `read_size` must agree for every file."""
    return _TURNS[orientation](pixels) if orientation > 1 else pixels


_TURNS = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: lambda pixels: cv2.transpose(pixels),
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
