"""Every way an image file can be good or bad: decoded as documented, or refused by name. All files are made here."""

import errno
import io
import os
import pickle
import random
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from foveal.core.errors import DataError, MachineError, UsageError
from foveal.core.images import ImageError, decode_image, read_image, read_reduced, read_size, write_image
from foveal.core.inputs import IMAGE_SUFFIXES

RNG = np.random.default_rng(0)
# A smooth picture with some noise, 48 high and 64 wide, no two corners alike.
ROWS, COLUMNS = np.mgrid[0:48, 0:64]
SLOPES = np.dstack([ROWS * 4, COLUMNS * 3, np.full((48, 64), 90)])
RGB = (SLOPES + RNG.integers(0, 40, SLOPES.shape)).astype(np.uint8)
PICTURE = Image.fromarray(RGB)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


FILES = {
    "jpg": encoded(PICTURE, "JPEG", quality=90),
    "jpg_progressive": encoded(PICTURE, "JPEG", quality=90, progressive=True),
    "jpg_444": encoded(PICTURE, "JPEG", subsampling=0),
    "png": encoded(PICTURE, "PNG"),
    "webp": encoded(PICTURE, "WEBP"),
    "webp_lossless": encoded(PICTURE, "WEBP", lossless=True),
    "gif": encoded(PICTURE, "GIF"),
    "bmp": encoded(PICTURE, "BMP"),
    "tif": encoded(PICTURE, "TIFF"),
    "tif_lzw_strips": encoded(PICTURE, "TIFF", compression="tiff_lzw", strip_size=64 * 3 * 6),
    "pgm": encoded(PICTURE.convert("L"), "PPM"),
    "ppm": encoded(PICTURE, "PPM"),
    "pbm": encoded(PICTURE.convert("1"), "PPM"),
    "avif": encoded(PICTURE, "AVIF"),
}
LOSSLESS = ("png", "webp_lossless", "bmp", "tif", "tif_lzw_strips", "ppm")


def code(data: bytes) -> str:
    """The code of the error that `data` gives, or "OK"."""
    try:
        decode_image(data, "x")
    except ImageError as error:
        return error.code
    return "OK"


def refused(path) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    return caught.value


# --- good files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_every_format_decodes_as_pillow_does(name, tmp_path):
    path = tmp_path / "picture.dat"
    path.write_bytes(FILES[name])
    image = read_image(path)
    assert image.shape == (48, 64, 3)
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    expected = np.asarray(Image.open(io.BytesIO(FILES[name])).convert("RGB")).astype(int)
    assert abs(image - expected).max() <= 1
    assert read_size(path) == (48, 64)
    if name in LOSSLESS:
        np.testing.assert_array_equal(image, RGB)


def test_every_suffix_of_a_listing_is_of_a_format_that_decodes():
    formats = {"jfif": "jpg", "jpe": "jpg", "jpeg": "jpg", "apng": "png", "tiff": "tif", "pnm": "ppm"}
    for suffix in IMAGE_SUFFIXES:
        assert code(FILES[formats.get(suffix[1:], suffix[1:])]) == "OK"


def test_colours_are_rgb_and_rows_come_first(tmp_path):
    path = tmp_path / "two.png"
    Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)).save(path)
    assert read_image(path).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert read_size(path) == (1, 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_the_thinnest_pictures(size):
    assert decode_image(encoded(Image.new("RGB", size[::-1], (1, 2, 3)), "PNG"), "x").shape == (*size, 3)


def test_the_content_decides_and_not_the_suffix(tmp_path):
    (tmp_path / "photo.png").write_bytes(FILES["jpg"])
    np.testing.assert_array_equal(read_image(tmp_path / "photo.png"), decode_image(FILES["jpg"], "x"))


ALPHA = Image.fromarray(np.dstack([RGB, np.full((48, 64), 100, np.uint8)]))
PALETTE = PICTURE.quantize(64)


@pytest.mark.parametrize(
    ("image", "format", "options"),
    [
        (PICTURE.convert("L"), "PNG", {}),
        (PICTURE.convert("L"), "JPEG", {}),
        (PICTURE.convert("1"), "PNG", {}),
        (PICTURE.convert("1"), "TIFF", {"compression": "group4"}),
        (PALETTE, "PNG", {}),
        (PALETTE, "BMP", {}),
        (PALETTE, "TIFF", {}),
        (PALETTE, "PNG", {"transparency": 3}),
        (PICTURE.quantize(4), "PNG", {"bits": 2}),
        (ALPHA, "PNG", {}),
        (ALPHA, "WEBP", {"lossless": True, "exact": True}),
        (ALPHA, "TIFF", {}),
        (ALPHA, "TIFF", {"compression": "tiff_lzw"}),
        (ALPHA, "AVIF", {"quality": 90}),
        (ALPHA.convert("LA"), "PNG", {}),
        (ALPHA.convert("LA"), "TIFF", {}),
        (PICTURE.convert("CMYK"), "TIFF", {}),
        (PICTURE.convert("CMYK"), "JPEG", {"quality": 95}),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else str(value),
)
def test_modes_become_rgb_as_pillow_converts_them(image, format, options):
    data = encoded(image, format, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert abs(decode_image(data, "x") - expected).max() <= 1


def test_colours_under_alpha_are_kept_even_where_nothing_shows():
    hidden = Image.new("RGBA", (3, 2), (200, 100, 50, 0))
    for format in ("PNG", "TIFF"):
        assert (decode_image(encoded(hidden, format), "x") == [200, 100, 50]).all()


@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
def test_adobes_cmyk_jpegs_are_not_inverted(transform):
    data = bytearray(encoded(PICTURE.convert("CMYK"), "JPEG", quality=95))
    data[data.index(b"Adobe") + 11] = transform
    expected = np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB")).astype(int)
    assert abs(decode_image(bytes(data), "x") - expected).max() <= 1


VALUES = np.array([[0, 255, 256, 511], [32768, 40000, 65279, 65535]], np.uint16)
HIGH_BYTES = [[0, 0, 1, 1], [128, 156, 254, 255]]


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_sixteen_bits_give_their_high_byte(suffix):
    image = decode_image(cv2.imencode(suffix, VALUES)[1].tobytes(), "x")
    assert image[..., 0].tolist() == HIGH_BYTES
    assert (image == image[..., :1]).all()


def test_sixteen_bit_colour_tiff_is_rounded():
    image = decode_image(cv2.imencode(".tiff", np.dstack([VALUES] * 3))[1].tobytes(), "x")
    assert image[..., 1].tolist() == [[0, 1, 1, 2], [128, 156, 254, 255]]  # v / 257


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P5\n4 1\n15\n" + bytes([0, 1, 7, 15]), [0, 17, 119, 255]),
        (b"P5\n4 1\n1000\n" + struct.pack(">4H", 0, 4, 500, 1000), [0, 1, 128, 255]),
        (b"P2\n# a comment\n4 1\n15\n0 1 7 15", [0, 17, 119, 255]),
        (b"P2 4 1 1000 0 4 500 1000\n", [0, 1, 128, 255]),
        (b"P1\n4 1\n1 0 0 1\n", [0, 255, 255, 0]),  # 1 is black
    ],
)
def test_pgm_is_stretched_to_its_largest_value(data, expected):
    assert decode_image(data, "x")[0, :, 0].tolist() == expected


def test_colours_of_a_stretched_ppm_keep_their_order():
    assert decode_image(b"P6\n1 1\n10\n" + bytes([10, 5, 0]), "x").tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32])
def test_tiff_without_a_white_is_unsupported(dtype):
    with pytest.raises(ImageError, match="save it as 8 or 16 bits") as caught:
        decode_image(cv2.imencode(".tiff", RGB[..., 0].astype(dtype))[1].tobytes(), "x")
    assert caught.value.code == "UNSUPPORTED"


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_frames_the_first_is_taken(format):
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    first, *others = [Image.new("RGB", (16, 16), colour) for colour in colours]
    data = encoded(first, format, save_all=True, append_images=others)
    assert abs(decode_image(data, "x").astype(int) - colours[0]).max() <= 3


# --- orientation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_applied(format, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(PICTURE, format, exif=exif.tobytes() if format != "TIFF" else exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    (tmp_path / "x").write_bytes(data)
    image = read_image(tmp_path / "x")
    assert image.shape == ((48, 64, 3) if orientation < 5 else (64, 48, 3))
    assert abs(image.astype(int) - np.asarray(upright)).max() <= 1
    assert read_size(tmp_path / "x") == image.shape[:2]


def exif_block(orientation: int, order: str = "<", entries: int = 1) -> bytes:
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(order + "IHHHIHHI", 8, entries, 0x0112, 3, 1, orientation, 0, 0)


def with_exif(exif: bytes) -> bytes:
    segment = b"Exif\0\0" + exif
    return FILES["jpg"][:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + FILES["jpg"][2:]


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_of_exif(order):
    assert decode_image(with_exif(exif_block(6, order)), "x").shape == (64, 48, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"garbage",
        exif_block(0),
        exif_block(9),
        exif_block(6)[:12],
        b"II*\0\xff\xff\xff\x7f",
        exif_block(6, entries=9999),
    ],
)
def test_broken_exif_is_ignored(exif):
    np.testing.assert_array_equal(decode_image(with_exif(exif), "x"), decode_image(FILES["jpg"], "x"))


def test_png_exif_behind_the_pixels_counts(tmp_path):
    name, exif = b"eXIf", exif_block(8)
    chunk = struct.pack(">I", len(exif)) + name + exif + struct.pack(">I", zlib.crc32(name + exif))
    (tmp_path / "x.png").write_bytes(FILES["png"][:-12] + chunk + FILES["png"][-12:])
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), np.rot90(RGB))
    assert read_size(tmp_path / "x.png") == (64, 48)


# --- cut and damaged files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_an_error_wherever_it_is_cut(name):
    data = FILES[name]
    lengths = [len(data) * percent // 100 for percent in range(5, 100, 5)] + [len(data) - 1, len(data) - 2]
    codes = [code(data[:length]) for length in lengths]
    assert "OK" not in codes
    assert codes.count("TRUNCATED") >= 19  # of 21; a TIFF that lacks only its last bytes may count as DAMAGED


def test_a_cut_animation_is_an_error():
    frames = [Image.fromarray(np.roll(RGB, shift, axis=0)) for shift in (0, 7, 14)]
    for format in ("PNG", "GIF", "WEBP"):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
        assert {code(data[: len(data) * percent // 100]) for percent in range(10, 100, 10)} == {"TRUNCATED"}


def test_jpeg_with_something_behind_its_end_decodes():
    expected = decode_image(FILES["jpg"], "x")
    for junk in (b"\0", b"\0" * 5000, b"camera maker's notes", FILES["png"]):
        np.testing.assert_array_equal(decode_image(FILES["jpg"] + junk, "x"), expected)


@pytest.mark.parametrize("name", ["jpg", "jpg_progressive", "jpg_444"])
def test_jpeg_without_its_end_is_truncated(name):
    data = FILES[name]
    assert code(data[:-2]) == "TRUNCATED"
    assert code(data[:-2] + b"\0" * 100) == "TRUNCATED"
    half = len(data) // 2
    assert code(data[:half] + bytes(len(data) - half)) == "TRUNCATED"  # a download whose second half never came


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_jpeg():
    data = with_exif(exif_block(1) + FILES["jpg_444"])
    assert code(data) == "OK"
    assert code(data[: len(data) - len(FILES["jpg"]) // 2]) == "TRUNCATED"


def test_png_with_one_wrong_checksum_bit_is_damaged():
    data, at = FILES["png"], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        assert code(data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]) == "DAMAGED", data[at + 4 : at + 8]
        at = end


def test_random_damage_gives_a_picture_or_an_image_error():
    random_bytes = random.Random(7)
    codes = []
    for number in range(400):
        data = bytearray(
            FILES[("jpg", "png", "jpg_progressive", "tif_lzw_strips", "webp", "gif", "avif", "bmp")[number % 8]]
        )
        for _ in range(random_bytes.choice((1, 3, 30))):
            data[random_bytes.randrange(2, len(data))] = random_bytes.randrange(256)
        codes.append(code(bytes(data)))
        if number % 8 == 1:
            assert codes[-1] != "OK"  # PNG has checksums
    assert len(set(codes)) > 2


# --- files that are no images, and paths that are no files ------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
        (b'{"error": "not found"}', "JSON"),
        (b'<?xml version="1.0"?><annotation/>', "XML"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        ("dieses Bild gibt es nicht – größer\n".encode(), "text"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (bytes(1000), "nothing but zero bytes"),
        (bytes(range(128, 256)), "binary data"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(data, looks, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    error = refused(path)
    assert error.code == "NOT_AN_IMAGE"
    assert str(error).startswith(f"'{path}' is not an image: its content looks like {looks}")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encoded(PICTURE, "JPEG2000"), "JPEG 2000"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0" * 128 + b"DICM", "DICOM"),
        (encoded(PICTURE, "ICO"), "icon"),
    ],
)
def test_images_of_other_formats_are_unsupported(data, name):
    with pytest.raises(ImageError, match=f"is in the {name} format, .* convert it to PNG or JPEG") as caught:
        decode_image(data, "x")
    assert caught.value.code == "UNSUPPORTED"


def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "plain.jpg").write_bytes(FILES["jpg"])
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it the plain way would wait for ever
    expected = {"folder": "NOT_A_FILE", "pipe": "NOT_A_FILE", "dangling": "MISSING", "absent": "MISSING"}
    expected |= {"loop": "UNREADABLE", "empty": "EMPTY_FILE", "plain.jpg/below": "MISSING", "nul\0plain": "MISSING"}
    for name, wanted in expected.items():
        error = refused(tmp_path / f"{name}.jpg")
        assert (name, error.code) == (name, wanted)
        assert str(error).count("\n") == 0
    assert refused("/dev/zero").code == "NOT_A_FILE"


def test_a_socket_is_not_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path may have 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        assert refused("socket.jpg").code == "NOT_A_FILE"


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "secret.jpg").touch(mode=0o000)
    if os.geteuid() == 0:  # root may read everything: let the system refuse all the same

        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(os, "open", refuse)
    error = refused(tmp_path / "secret.jpg")
    assert (error.code, "Permission denied" in str(error)) == ("UNREADABLE", True)


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")


@LINUX
def test_a_failing_read_is_unreadable():
    error = refused("/proc/self/mem")  # opens, and fails at the first byte
    assert (error.code, str(error)) == ("UNREADABLE", "'/proc/self/mem' cannot be read: Input/output error.")


@LINUX
def test_refused_paths_leave_no_file_open(tmp_path):
    opened = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        assert refused(tmp_path).code == "NOT_A_FILE"
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


def test_names_that_are_not_utf8_or_have_line_breaks(tmp_path):
    for name in (b"bad\xff.jpg", b"two\nlines.jpg", b"n" * 251 + b".jpg"):
        path = os.fsencode(tmp_path) + b"/" + name
        Path(os.fsdecode(path)).write_bytes(FILES["jpg"])
        assert read_image(path).shape == (48, 64, 3)
        assert read_size(os.fsdecode(path)) == (48, 64)
        error = refused(path[:-4])
        assert os.fsencode(error.path) == path[:-4]
        str(error).encode()  # printable on any terminal
        assert "\n" not in str(error)


def test_the_error_survives_the_way_out_of_a_worker():
    error = ImageError("bad\udcff.jpg", "TRUNCATED", "is cut off")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, DataError)
    assert (copy.path, copy.code, str(copy), copy.exit_code) == (error.path, "TRUNCATED", str(error), 3)


# --- size -------------------------------------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(30001)) for _ in range(30000)) + rows.flush()
    idat = b"IDAT" + packed
    bomb = png_header(30000, 30000) + struct.pack(">I", len(packed)) + idat + struct.pack(">I", zlib.crc32(idat))
    (tmp_path / "bomb.png").write_bytes(bomb + b"\0\0\0\0IEND\xaeB`\x82")
    (tmp_path / "claim.png").write_bytes(png_header(100000, 100000))
    (tmp_path / "claim.jpg").write_bytes(
        b"\xff\xd8\xff\xc0\0\x08\x08" + struct.pack(">HH", 65000, 65000) + b"\0\xff\xda"
    )
    (tmp_path / "claim.bmp").write_bytes(b"BM" + bytes(12) + struct.pack("<Iii", 40, 100000, -100000))
    (tmp_path / "claim.gif").write_bytes(b"GIF89a" + struct.pack("<HH", 65535, 65535))
    program = (
        "import resource, sys, warnings; warnings.simplefilter('error')\n"
        "from foveal.core.images import ImageError, read_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_image(path); print('OK')\n"
        "    except ImageError as error: print(error.code, error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    paths = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    *codes, grown = done.stdout.splitlines()
    assert [line.split()[0] for line in codes] == ["TOO_LARGE"] * 5
    assert "has 30000 x 30000 pixels, 900 million; the limit is 268 million" in codes[0]
    assert int(grown) < 20_000  # kilobytes
    assert done.stderr == ""
    assert read_size(tmp_path / "bomb.png") == (30000, 30000)


def test_the_limit_can_be_moved():
    assert decode_image(FILES["png"], "x", max_pixels=48 * 64).shape == (48, 64, 3)
    with pytest.raises(ImageError, match="64 x 48 pixels"):
        decode_image(FILES["png"], "x", max_pixels=48 * 64 - 1)


def test_too_little_memory_is_no_damage(monkeypatch):
    def fail(*_):
        error = cv2.error("Failed to allocate")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(ImageError, match=r"64 x 48 pixels, .* for which there is not enough memory") as error:
        decode_image(FILES["png"], "x")
    assert error.value.code == "TOO_LARGE"


def test_opencv_writes_no_log_lines_about_bad_files(tmp_path, capfd):
    for name in ("gif", "tif", "bmp", "pgm", "png", "webp"):
        assert code(FILES[name][:-30]) == "TRUNCATED"
    assert capfd.readouterr().err == ""


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tiff", "x.ppm", "X.PNG"])
def test_what_is_written_without_loss_is_read_again(name, tmp_path):
    write_image(tmp_path / name, RGB)
    np.testing.assert_array_equal(read_image(tmp_path / name), RGB)


def test_grey_and_lossy_formats_and_any_name(tmp_path):
    write_image(tmp_path / "grey.png", RGB[..., 0])
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[..., 2], RGB[..., 0])
    path = os.fsencode(tmp_path) + b"/bad\xff.jpg"
    write_image(path, RGB)
    assert abs(read_image(path).astype(int) - RGB).mean() < 12


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(UsageError, match=r"no image format to write '.pgn'; the nearest are .png"):
        write_image(tmp_path / "x.pgn", RGB)
    with pytest.raises(UsageError, match="uint8"):
        write_image(tmp_path / "x.png", RGB / 255)
    with pytest.raises(MachineError, match="cannot be written: No such file or directory"):
        write_image(tmp_path / "absent" / "x.png", RGB)


# --- smaller from the decoder -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_a_jpeg_is_divided_by_its_decoder(tmp_path, factor):
    wave = np.add.outer(np.sin(np.arange(300) / 20), np.cos(np.arange(401) / 30))
    picture = np.repeat((128 + 50 * wave)[..., None], 3, axis=2).round().astype(np.uint8)
    write_image(tmp_path / "a.jpg", picture)
    asked = []
    small, size = read_reduced(tmp_path / "a.jpg", lambda *size: asked.append(size) or factor)
    assert asked == [(300, 401)] and size == (300, 401)
    assert small.shape == (-(-300 // factor), -(-401 // factor), 3)
    whole = read_image(tmp_path / "a.jpg")[: 296 // factor * factor, : 400 // factor * factor].astype(float)
    means = whole.reshape(len(whole) // factor, factor, -1, factor, 3).mean(axis=(1, 3))
    assert np.abs(small[: len(means), : means.shape[1]] - means).max() <= 2  # of 255


def test_what_is_turned_and_what_is_no_jpeg(tmp_path):
    image = Image.fromarray(np.zeros((80, 160, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    image.save(tmp_path / "a.png")
    small, size = read_reduced(tmp_path / "a.jpg", lambda height, width: 4)
    assert small.shape == (40, 20, 3) and size == (160, 80)
    same, size = read_reduced(tmp_path / "a.png", lambda height, width: 4)
    assert same.shape == (80, 160, 3) and size == (80, 160)
