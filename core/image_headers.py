"""What the first bytes of an image file say: its format, its size, which way up it is, and whether the file is whole.

Needed before any decoder runs, because a decoder believes a header that claims 100,000 x 100,000 pixels, and because
the size of a picture is often wanted without the picture. Own code for the common formats: it takes 10 microseconds
where Pillow takes 100, allocates nothing, and warns nobody. Imports neither OpenCV nor, but for AVIF, Pillow.
`core/images.py` is the door.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

MAX_SIDE = 2**20  # pixels: OpenCV's own limit
_BEYOND_THE_END = (struct.error, IndexError, OverflowError)  # what reading a number there raises
ImageErrorCode = Literal[
    "MISSING", "UNREADABLE", "NOT_A_FILE", "EMPTY_FILE",
    "NOT_AN_IMAGE", "UNSUPPORTED", "TOO_LARGE", "TRUNCATED", "DAMAGED",
    "CRASHED", "TIMEOUT",
]  # fmt: skip


class Fault(Exception):
    """An ImageError that does not know its file yet."""

    def __init__(self, code: ImageErrorCode, reason: str):
        super().__init__(reason)
        self.code: ImageErrorCode = code
        self.reason = reason


def cut(kind: str) -> Fault:
    """The fault of a file that ends too early."""
    return Fault("TRUNCATED", f"is cut off: its {kind} data end before the picture does; copy it again")


def damaged(kind: str) -> Fault:
    """The fault of a file that is all there and yet makes no picture."""
    return Fault("DAMAGED", f"is damaged: its {kind} data cannot be decoded; copy it again or leave it out")


class Header(NamedTuple):
    """What is known of a picture before it is decoded."""

    height: int  # as stored, before the turn that `orientation` (EXIF, 1..8) asks for
    width: int
    orientation: int = 1
    body: int = 0  # where the pixels begin (JPEG, PNM)
    maxval: int = 255  # what PNM calls white


def read_header(data: bytes, max_pixels: int) -> tuple[str, Header]:
    """The format's name and the header of an image file; Fault where there is none, or it claims too many pixels."""
    kind = _kind(data)
    try:
        header = _HEADERS[kind](data)
    except _BEYOND_THE_END:
        raise cut(kind) from None
    height, width = header.height, header.width
    if height < 1 or width < 1:
        raise damaged(kind)
    if height * width > max_pixels or max(height, width) > MAX_SIDE:
        size = f"has {width} x {height} pixels, {height * width / 1e6:,.0f} million"
        limit = f"the limit is {max_pixels / 1e6:,.0f} million, and {MAX_SIDE:,} a side"
        raise Fault("TOO_LARGE", f"{size}; {limit}; make it smaller or cut it into tiles")
    return kind, header


def _kind(data: bytes) -> str:
    """The format that the first bytes show."""
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] == b"BM" and data[14:18] in _BMP_HEADERS:
        return "BMP"
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3] in b" \t\r\n#":
        return "PNM"
    if data[4:8] == b"ftyp" and re.search(rb"avi[fs]", data[8:64]):
        return "AVIF"
    raise _foreign(data)


_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF"}
_MAGIC |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF")  # + is BigTIFF
_BMP_HEADERS = [struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124)]
_FOREIGN_IMAGES = {
    b"\0\0\0\x0cjP  ": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000", b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL", b"8BPS": "Photoshop", b"\0\0\1\0": "icon", b"v/1\x01": "OpenEXR", b"DDS ": "DDS",
    b"qoif": "QOI", b"P7\n": "PAM", b"PF\n": "PFM", b"Pf\n": "PFM", b"#?RADIANCE": "Radiance HDR",
    b"SIMPLE  =": "FITS",
}  # fmt: skip
_OTHER_FILES = {
    b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "gzip data", b"%PDF": "a PDF", b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive", b"\x89HDF": "HDF5", b"\x93NUMPY": "a NumPy array", b"\x1aE\xdf\xa3": "a video",
    b"version https://git-lfs": "a Git LFS pointer (fetch the file itself with `git lfs pull`)",
}  # fmt: skip


def _foreign(data: bytes) -> Fault:
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    heif = "HEIC" if brand in (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"hevc") else None
    dicom = "DICOM" if data[128:132] == b"DICM" else None
    image = heif or dicom or next((kind for magic, kind in _FOREIGN_IMAGES.items() if data.startswith(magic)), None)
    if image:
        return Fault("UNSUPPORTED", f"is in the {image} format, which is not read here; convert it to PNG or JPEG")
    looks = "a video" if brand else next((kind for magic, kind in _OTHER_FILES.items() if data.startswith(magic)), None)
    return Fault("NOT_AN_IMAGE", f"is not an image: its content looks like {looks or _text_or_binary(data[:4096])}")


def _text_or_binary(head: bytes) -> str:
    if not head.strip(b"\0"):
        return "nothing but zero bytes (a failed copy)"
    text = head.decode("utf-8-sig", "ignore").lower().lstrip()
    if len(text.encode()) < 0.9 * len(head.strip()) or "\0" in text:
        return "binary data of no known kind"
    if text.startswith(("<!doctype html", "<html")) or "<html" in text[:512]:
        return "HTML"
    if text.startswith(("<?xml", "<svg", "<")):
        return "SVG" if "<svg" in text else "XML"
    return "JSON" if text.startswith(("{", "[")) else "text"


def _jpeg_header(data: bytes) -> Header:
    """Walks the marker segments up to the first scan (ITU-T T.81, annex B)."""
    at, size, orientation = 2, (0, 0), 1
    while (at := data.find(b"\xff", at)) >= 0:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in (0x00, 0x01, 0xD8) or 0xD0 <= marker <= 0xD7:  # no length follows
            at += 2
        elif marker in (0xD9, 0xDA):  # the picture ends or its first scan begins
            return Header(*size, orientation, body=at)
        else:
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # SOF
                size = struct.unpack_from(">HH", data, at + 5)
            elif marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
                orientation = _orientation(data[at + 10 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")])
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise cut("JPEG")


def _png_header(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    exif = next((data[start + 8 : end - 4] for name, start, end in _png_chunks(data) if name == b"eXIf"), b"")
    return Header(height, width, _orientation(exif.removeprefix(b"Exif\0\0")))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk that is there in full, IEND the last."""
    at, name = 8, b""
    while name != b"IEND" and at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield name, at, at + 12 + length
        at += 12 + length


def _webp_header(data: bytes) -> Header:
    """Simple lossy, simple lossless, or extended (developers.google.com/speed/webp/docs/riff_container)."""
    first = data[12:16]
    if first == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header(height & 0x3FFF, width & 0x3FFF)
    if first == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
    if first != b"VP8X" or len(data) < 30:
        raise damaged("WebP") if len(data) >= 30 else cut("WebP")
    width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    at, orientation = 12, 1
    while data[20] & 8 and at + 8 <= len(data):  # bit 3: there is an EXIF chunk
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"EXIF":
            orientation = _orientation(data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    return Header(height, width, orientation)


def _bmp_header(data: bytes) -> Header:
    width, height = struct.unpack_from("<HH" if data[14] == 12 else "<ii", data, 18)
    return Header(abs(height), width)  # a negative height: rows from the top


def _pnm_header(data: bytes) -> Header:
    numbers = 2 if data[1:2] in b"14" else 3  # bitmaps have no largest value
    found = re.match(rb"P\d" + rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})" * numbers, data[:65536])
    if not found:
        raise cut("PNM") if len(data) < 16 else damaged("PNM")
    width, height, maxval = (int(number) for number in (*found.groups(), b"255")[:3])
    if not 1 <= maxval <= 65535:
        raise damaged("PNM")
    return Header(height, width, body=found.end() + 1, maxval=maxval)


def _tiff_header(data: bytes) -> Header:
    tags = _Tags(data)
    bits, sample, packing = tags.get(258, 1), tags.get(339, 1), tags.get(259, 1)
    if sample in (2, 3, 5, 6) or bits > 16:
        values = {2: "signed", 3: "float"}.get(sample, "complex" if sample > 3 else "unsigned")
        raise Fault(
            "UNSUPPORTED", f"is a TIFF of {bits}-bit {values} values, of which none is white; save it as 8 or 16 bits"
        )
    if packing in _TIFF_PACKINGS:
        raise Fault(
            "UNSUPPORTED",
            f"is a TIFF packed with {_TIFF_PACKINGS[packing]}, not read here; save it with LZW or Deflate",
        )
    orientation = tags.get(274, 1)
    return Header(tags.get(257, 0), tags.get(256, 0), orientation if 1 <= orientation <= 8 else 1)


_TIFF_PACKINGS = {34712: "JPEG 2000", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"}


class _Tags:
    """The first directory of a TIFF file or of EXIF data, which have the same form; _BEYOND_THE_END where it is cut."""

    def __init__(self, data: bytes):
        self.data, self.order = data, "<" if data[:2] == b"II" else ">"
        big = data[2:4] in (b"+\0", b"\0+")
        (at,) = struct.unpack_from(self.order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(self.order + ("Q" if big else "H"), data, at)
        self.entries = {}  # tag: (struct's letter for its type, how many values, where the first one is)
        first, step = at + (8 if big else 2), 20 if big else 12
        for entry in range(first, first + count * step, step):
            tag, kind, n = struct.unpack_from(self.order + ("HHQ" if big else "HHI"), data, entry)
            letter, place = {3: "H", 4: "I", 16: "Q"}.get(kind, "B"), entry + (12 if big else 8)
            if n * struct.calcsize(self.order + letter) > (8 if big else 4):
                (place,) = struct.unpack_from(self.order + ("Q" if big else "I"), data, place)
            self.entries[tag] = letter, n, place

    def get(self, tag: int, default: int, last: bool = False) -> int:
        """The first (or last) value of a tag."""
        if tag not in self.entries:
            return default
        letter, n, place = self.entries[tag]
        size = struct.calcsize(self.order + letter)
        return struct.unpack_from(self.order + letter, self.data, place + (n - 1) * size * last)[0]


def with_alpha_kept_apart(tiff: bytes) -> bytes:
    """The same TIFF, saying that alpha is multiplied into its colours already, so that libtiff leaves them."""
    tags = _Tags(tiff)
    letter, _, place = tags.entries.get(338, ("", 0, 0))  # ExtraSamples: 1 = alpha is in the colours, 2 = it is not
    if letter != "H" or place + 2 > len(tiff) or tags.get(338, 0) != 2:
        return tiff
    return tiff[:place] + struct.pack(tags.order + "H", 1) + tiff[place + 2 :]


def _orientation(exif: bytes) -> int:
    try:
        value = _Tags(exif).get(274, 1) if exif[:4] in (b"II*\0", b"MM\0*") else 1
    except _BEYOND_THE_END:
        return 1
    return value if 1 <= value <= 8 else 1


def open_avif(data: bytes):
    """Pillow's image of an AVIF file, not decoded yet; `Image.open` would warn of sizes that are allowed here."""
    from PIL import AvifImagePlugin, features  # only those who have AVIF wait for it

    if not features.check("avif"):
        raise Fault("UNSUPPORTED", "is an AVIF image, which this Pillow was built without; convert it to PNG or JPEG")
    try:
        return AvifImagePlugin.AvifImageFile(io.BytesIO(data))
    except Exception:
        raise (cut if _avif_cut(data, None) else damaged)("AVIF") from None


def _avif_header(data: bytes) -> Header:
    image = open_avif(data)
    try:
        orientation = image.getexif().get(274, 1)
    except Exception:  # EXIF that is broken is ignored
        orientation = 1
    return Header(image.height, image.width, orientation if orientation in range(1, 9) else 1)


_HEADERS: dict[str, Callable[[bytes], Header]] = {
    "JPEG": _jpeg_header,
    "PNG": _png_header,
    "WebP": _webp_header,
    "GIF": lambda data: Header(*struct.unpack_from("<HH", data, 6)[::-1]),
    "BMP": _bmp_header,
    "TIFF": _tiff_header,
    "PNM": _pnm_header,
    "AVIF": _avif_header,
}


# --- is the file whole? -----------------------------------------------------------------------------------------------


def is_cut(kind: str, data: bytes, header: Header) -> bool:
    """Whether the file ends before its picture does; Fault DAMAGED for a PNG in which a checksum is wrong."""
    return _CUT[kind](data, header) if kind in _CUT else False


def _jpeg_cut(data: bytes, header: Header) -> bool:
    # Entropy-coded data never hold FF D9 (T.81, B.1.1.5), so any after the first scan's start is the end of the image.
    # Looked for everywhere, because cameras write more behind it; thumbnails with an end of their own come before the
    # first scan.
    return data.rfind(b"\xff\xd9", header.body) < 0


def _png_cut(data: bytes, header: Header) -> bool:
    view, last = memoryview(data), b""
    for name, start, end in _png_chunks(data):
        last = name
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise damaged("PNG")
    return last != b"IEND"


def _tiff_cut(data: bytes, header: Header) -> bool:
    tags = _Tags(data)
    offset, length = (273, 279) if 273 in tags.entries else (324, 325)  # strips or tiles
    try:
        if any(place + n > len(data) for _, n, place in tags.entries.values()):
            return True
        return tags.get(offset, 0, last=True) + tags.get(length, 0, last=True) > len(data)
    except _BEYOND_THE_END:
        return True


def _pnm_cut(data: bytes, header: Header) -> bool:
    plain, channels = data[1:2] in b"123", 3 if data[1:2] in b"36" else 1
    if plain:
        return data[1:2] != b"1" and len(data[header.body :].split()) < header.height * header.width * channels
    row = (header.width + 7) // 8 if data[1:2] == b"4" else header.width * channels * (2 if header.maxval > 255 else 1)
    return header.body + header.height * row > len(data)


def _avif_cut(data: bytes, header: Header | None) -> bool:
    at = 0  # boxes (ISO/IEC 14496-12, 4.2): length 0 means to the end of the file, 1 a 64-bit length that follows
    while at + 16 <= len(data):
        length, _, long = struct.unpack_from(">I4sQ", data, at)
        length = long if length == 1 else length or len(data) - at
        at += max(length, 8)
    return at != len(data)


_CUT: dict[str, Callable[[bytes, Header], bool]] = {
    "JPEG": _jpeg_cut,
    "PNG": _png_cut,
    "WebP": lambda data, _: 8 + int.from_bytes(data[4:8], "little") > len(data),
    "GIF": lambda data, _: not data.rstrip(b"\0").endswith(b";"),
    "BMP": lambda data, _: int.from_bytes(data[2:6], "little") > len(data),
    "TIFF": _tiff_cut,
    "PNM": _pnm_cut,
    "AVIF": _avif_cut,
}
