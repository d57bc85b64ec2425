"""Depth files and depth_folder: metres that can be worked out by hand, pairs of names, KITTI's trees, broken files."""

import os
import pickle
import struct
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from foveal.core.errors import DataError, UsageError
from foveal.core.images import ImageError
from foveal.datasets import open_dataset
from foveal.datasets.depth_folder import write_split
from foveal.datasets.depths import read_depth, write_depth
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld


def save(path: Path, values, kind=np.uint16) -> Path:
    """An image, a PNG of whole numbers, or an array, by the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values, kind)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        path.write_bytes(cv2.imencode(path.suffix, values)[1].tobytes())
    return path


def picture(path: Path, height: int = 1, width: int = 2) -> Path:
    return save(path, np.full((height, width, 3), 90), np.uint8)


def opened(root: Path, split: str = "train", fractions=(1, 0, 0), findings=None, **options):
    return open_dataset("depth_folder", root, split=split, fractions=fractions, options=options, findings=findings)


def names_of(dataset, root: Path) -> list[tuple[str, str]]:
    """The image and the depth map of each sample, relative to the root."""
    both = [(dataset.path(index), dataset.truth_path(index)) for index in range(len(dataset))]
    return [(os.path.relpath(image, root), os.path.relpath(truth, root)) for image, truth in both]


# --- values -----------------------------------------------------------------------------------------------------------


def test_metres_of_a_16_bit_file(tmp_path):
    picture(tmp_path / "images/1.jpg", 2, 3)
    save(tmp_path / "depth/1.png", [[512, 0, 1], [640, 65535, 256]])
    sample = opened(tmp_path, depth_scale=256)[0]
    assert set(sample) == {"image", "path", "size", "depth"}
    assert sample["image"].shape == (2, 3, 3) and sample["size"] == (2, 3)
    assert sample["depth"].dtype == np.float32
    assert sample["depth"].tolist() == [[2.0, 0.0, 1 / 256], [2.5, 65535 / 256, 1.0]]
    millimetres = opened(tmp_path, depth_scale=1000).truth(0)["depth"]
    assert millimetres.tolist()[0] == [np.float32(0.512), 0.0, np.float32(0.001)]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_are_metres_whatever_the_scale(tmp_path, kind):
    file = save(tmp_path / "1.npy", [[1.5, 0.0, -2.0], [np.nan, np.inf, -np.inf]], kind)
    for scale in (None, 1000):
        depth = read_depth(file, scale)["depth"]
        assert depth.dtype == np.float32 and depth.tolist() == [[1.5, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_whole_numbers_of_an_array_have_a_scale(tmp_path):
    file = save(tmp_path / "1.npy", [[1500, -1], [0, 70000]], np.int32)
    assert read_depth(file, 1000)["depth"].tolist() == [[1.5, 0.0], [0.0, 70.0]]
    with pytest.raises(DataError) as caught:
        read_depth(file)
    assert str(caught.value) == (
        f"'{file}' holds whole numbers: say with data.depth_scale how many are a metre (KITTI's maps have 256, TUM's "
        "5000, those in millimetres 1000)."
    )


def test_depths_that_no_float32_holds_are_no_measurement(tmp_path):
    file = save(tmp_path / "1.npy", [[1e300, 2.0]], np.float64)
    assert read_depth(file)["depth"].tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (1, 2, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_in_any_order_and_with_a_lone_channel(tmp_path, shape, order):
    values = np.asarray(np.reshape([1, 2, 3, 4, 5, 6], shape), np.float32, order=order)
    np.save(tmp_path / "1.npy", values)
    assert read_depth(tmp_path / "1.npy")["depth"].tolist() == [[1, 2, 3], [4, 5, 6]]


# --- the scale --------------------------------------------------------------------------------------------------------


def test_whole_numbers_without_a_scale_are_refused_at_once(tmp_path):
    picture(tmp_path / "images/1.jpg")
    save(tmp_path / "depth/1.png", [[1000, 2000]])
    with pytest.raises(UsageError) as caught:
        opened(tmp_path)
    assert str(caught.value) == (
        f"'{tmp_path}/depth/1.png' holds whole numbers: say with --data.depth_scale, or in a depth_scale.txt at the "
        "root, how many are a metre (KITTI's maps have 256, TUM's 5000, those in millimetres 1000)."
    )


def test_a_file_says_the_scale_and_the_recipe_says_it_better(tmp_path):
    picture(tmp_path / "images/1.jpg")
    save(tmp_path / "depth/1.png", [[1000, 2000]])
    (tmp_path / "depth_scale.txt").write_text("1000\n")
    assert opened(tmp_path).truth(0)["depth"].tolist() == [[1.0, 2.0]]
    assert opened(tmp_path, depth_scale=500).truth(0)["depth"].tolist() == [[2.0, 4.0]]


@pytest.mark.parametrize("scale", [0, -1000, np.nan, np.inf])
def test_scales_that_are_none(tmp_path, scale):
    picture(tmp_path / "images/1.jpg")
    save(tmp_path / "depth/1.png", [[1000, 2000]])
    with pytest.raises(UsageError, match=rf"data.depth_scale is {scale:g}; it must be a number above 0 \(KITTI"):
        opened(tmp_path, depth_scale=scale)
    for text in (f"{scale:g}", "metres", "1000 2000", ""):
        (tmp_path / "depth_scale.txt").write_text(text)
        with pytest.raises(DataError, match=rf"depth_scale.txt' holds '{text}': expected one number above 0"):
            opened(tmp_path)


# --- broken files -----------------------------------------------------------------------------------------------------


def fault_of(file: Path, data: bytes | None = None) -> tuple[str, str]:
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_depth(file, 256)
    assert str(caught.value).startswith(f"'{file}' ") and "\n" not in str(caught.value)
    return caught.value.code, caught.value.reason


def test_pictures_of_depth_are_refused(tmp_path):
    remedy = "save the depths themselves as 16-bit grey PNG, or as .npy in metres"
    grey = save(tmp_path / "8.png", [[1, 2]], np.uint8)
    assert fault_of(grey) == ("UNSUPPORTED", f"is a PNG of 8 bits, whose 256 steps are too coarse; {remedy}")
    said = f"is a PNG with colours, a picture of depths and not their numbers; {remedy}"
    assert fault_of(save(tmp_path / "rgb.png", [[[1, 2, 3]]], np.uint8)) == ("UNSUPPORTED", said)
    assert fault_of(save(tmp_path / "rgb16.png", [[[1, 2, 3]]])) == ("UNSUPPORTED", said)
    Image.new("P", (2, 1)).save(tmp_path / "palette.png")
    assert "a PNG with a palette" in fault_of(tmp_path / "palette.png")[1]
    said = f"is a JPEG file, and depth maps are PNG or NumPy files; {remedy}"
    assert fault_of(save(tmp_path / "1.jpg", [[1, 2]], np.uint8)) == ("UNSUPPORTED", said)
    said = f"is in a format that is not read here, and depth maps are PNG or NumPy files; {remedy}"
    assert fault_of(tmp_path / "1.exr", b"v/1\x01" + bytes(60)) == ("UNSUPPORTED", said)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.ones((2, 3), np.uint16)).save(tmp_path / "turned.png", exif=exif)
    assert "EXIF orientation" in fault_of(tmp_path / "turned.png")[1]


def test_png_files_that_are_damaged(tmp_path):
    good = save(tmp_path / "1.png", [[1, 2, 3], [4, 5, 6]]).read_bytes()
    assert fault_of(tmp_path / "0.png") == ("MISSING", "does not exist; check the path")
    for data, code in (
        (b"", "EMPTY_FILE"),
        (b"version https://git-lfs.github.com/spec/v1", "NOT_AN_IMAGE"),
        (good[:20], "TRUNCATED"),
        (good[:-20], "TRUNCATED"),
        (good[:45] + b"X" + good[46:], "DAMAGED"),  # a checksum is wrong
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "NOT_AN_IMAGE"),
    ):
        assert fault_of(tmp_path / "2.png", data)[0] == code


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def described(kind: str, shape: str) -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}\n"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (npy(described("<f4", "(1, 2)"), bytes(7)), "TRUNCATED"),
        (npy(described("<f4", "(16000, 16000)"), bytes(8)), "TRUNCATED"),  # a gigabyte is not asked for
        (npy(described("<f4", "(1000000, 1000000)")), "TOO_LARGE"),
        (npy(described("<f4", "(2,)"), bytes(8)), "UNSUPPORTED"),
        (npy(described("<f4", "(1, 2, 3)"), bytes(24))[:-1], "TRUNCATED"),
        (npy(described("<f4", "(2, 2, 3)"), bytes(48)), "UNSUPPORTED"),
        (npy(described("<f4", "(0, 2)")), "UNSUPPORTED"),
        (npy(described("<f4", "(-1, 2)")), "UNSUPPORTED"),
        (npy(described("<c8", "(1, 1)"), bytes(8)), "UNSUPPORTED"),
        (npy(described("|b1", "(1, 1)"), bytes(1)), "UNSUPPORTED"),
        (npy(described("|O", "(1, 1)"), bytes(8)), "UNSUPPORTED"),
        (npy(described("nothing", "(1, 1)")), "DAMAGED"),
        (npy("{'descr': __import__('os').getpid()}\n"), "DAMAGED"),
        (npy("{" * 200), "DAMAGED"),
        (b"\x93NUMPY\x09\x00" + bytes(40), "DAMAGED"),
        (b"\x93NUMPY", "DAMAGED"),
    ],
)
def test_arrays_that_are_no_depth_maps(tmp_path, data, code):
    assert fault_of(tmp_path / "1.npy", data)[0] == code


def test_an_array_of_objects_runs_nothing(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    buffer = BytesIO()
    np.save(buffer, np.array([[Payload()]], object))
    assert fault_of(tmp_path / "1.npy", buffer.getvalue())[0] == "UNSUPPORTED"
    assert fault_of(tmp_path / "2.npy", pickle.dumps(Payload()))[0] == "NOT_AN_IMAGE"
    assert not (tmp_path / "canary").exists()


def test_sizes_that_differ_name_both_files(tmp_path):
    picture(tmp_path / "images/1.jpg", 2, 3)
    save(tmp_path / "depth/1.png", [[1, 2]])
    dataset = opened(tmp_path, depth_scale=1000)
    with pytest.raises(DataError, match=r"depth/1.png' has 2 x 1 pixels, but its image .*images/1.jpg' has 3 x 2"):
        dataset[0]


# --- pairs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "truths"), [("rgb", "depth"), ("Images", "Depths"), ("image", "gt")])
def test_names_of_folders(tmp_path, images, truths):
    picture(tmp_path / images / "1.jpg")
    save(tmp_path / truths / "1.npy", [[1, 2]], np.float32)
    assert opened(tmp_path)[0]["depth"].tolist() == [[1, 2]]


def test_names_of_a_pair_may_differ_in_words(tmp_path):
    for name in ("rgb_001", "a/rgb", "b-Color-7", "plain", "img_5"):
        picture(tmp_path / f"images/{name}.jpg")
    for name in ("depth_001", "a/depth", "b-Depth-7", "plain", "depth_plain", "gt_6"):
        save(tmp_path / f"depth/{name}.npy", [[1, 2]], np.float32)
    findings = Findings()
    dataset = opened(tmp_path, findings=findings)
    assert names_of(dataset, tmp_path) == [
        ("images/a/rgb.jpg", "depth/a/depth.npy"),
        ("images/b-Color-7.jpg", "depth/b-Depth-7.npy"),
        ("images/plain.jpg", "depth/plain.npy"),
        ("images/rgb_001.jpg", "depth/depth_001.npy"),
    ]
    assert [(finding.code, finding.file, finding.action) for finding in findings] == [
        ("NO_TRUTH", "images/img_5.jpg", "left out"),
        ("NO_IMAGE", "depth/depth_plain.npy", "noted"),
        ("NO_IMAGE", "depth/gt_6.npy", "noted"),
    ]


def test_names_that_several_have_in_common_make_no_pairs(tmp_path):
    picture(tmp_path / "images/1.jpg")
    picture(tmp_path / "images/rgb_2.jpg")
    picture(tmp_path / "images/img_2.jpg")
    for name in ("1", "gt_2", "depth_2"):
        save(tmp_path / f"depth/{name}.npy", [[1, 2]], np.float32)
    findings = Findings()
    assert names_of(opened(tmp_path, findings=findings), tmp_path) == [("images/1.jpg", "depth/1.npy")]
    assert [finding.file for finding in findings if finding.code == "NO_TRUTH"] == [
        "images/img_2.jpg",
        "images/rgb_2.jpg",
    ]


def test_an_array_is_taken_before_a_picture_of_it(tmp_path):
    picture(tmp_path / "images/1.jpg")
    save(tmp_path / "depth/1.npy", [[1, 2]], np.float32)
    for suffix in (".png", ".jpg"):
        picture(tmp_path / f"depth/1{suffix}")
    assert opened(tmp_path)[0]["depth"].tolist() == [[1, 2]]


def test_a_link_out_of_the_set_is_noted(tmp_path):
    picture(tmp_path / "set/images/1.jpg")
    (tmp_path / "set/depth").mkdir()
    (tmp_path / "set/depth/1.npy").symlink_to(save(tmp_path / "elsewhere.npy", [[1, 2]], np.float32))
    findings = Findings()
    assert opened(tmp_path / "set", findings=findings)[0]["depth"].tolist() == [[1, 2]]
    assert [(finding.code, finding.file) for finding in findings] == [("LINK_OUTSIDE", "depth/1.npy")]


# --- KITTI ------------------------------------------------------------------------------------------------------------


def test_the_selection_of_kitti(tmp_path):
    start = "2011_09_26_drive_0002_sync"
    for number, camera in ((5, 2), (5, 3), (11, 2)):
        picture(tmp_path / f"image/{start}_image_{number:010d}_image_{camera:02d}.png")
        for kind in ("groundtruth_depth", "velodyne_raw"):
            file = tmp_path / f"{kind}/{start}_{kind}_{number:010d}_image_{camera:02d}.png"
            save(file, [[256 * number, 256 * camera]])
    dataset = opened(tmp_path)
    assert [sample["depth"].tolist() for sample in dataset] == [[[5, 2]], [[5, 3]], [[11, 2]]]
    assert opened(tmp_path, depth_scale=512).truth(0)["depth"].tolist() == [[2.5, 1]]


def kitti(root: Path) -> Path:
    """Two drives for train and one for val; the first has a map without image, the second all beside its maps."""
    for drive, split, frames in (("0001", "train", (5, 6)), ("0002", "train", (5,)), ("0003", "val", (7,))):
        name = f"2011_09_26_drive_{drive}_sync"
        for frame in frames:
            for camera in ("image_02", "image_03"):
                file = f"{split}/{name}/proj_depth/groundtruth/{camera}/{frame:010d}.png"
                save(root / file, [[256 * frame, 256 * int(drive)]])
        place = root / (f"train/{name}" if drive == "0002" else f"2011_09_26/{name}")
        for frame in (4, 5, 7):
            for camera in ("image_00", "image_02", "image_03"):
                picture(place / camera / "data" / f"{frame:010d}.png")
    return root


def test_the_trees_of_kitti(tmp_path):
    findings = Findings()
    dataset = opened(kitti(tmp_path), fractions=(0.65, 0.1, 0.25), findings=findings)
    name = "2011_09_26_drive_000{}_sync"
    assert names_of(dataset, tmp_path) == [
        (
            f"{place}/{name.format(drive)}/{camera}/data/0000000005.png",
            f"train/{name.format(drive)}/proj_depth/groundtruth/{camera}/0000000005.png",
        )
        for drive, place in ((1, "2011_09_26"), (2, "train"))
        for camera in ("image_02", "image_03")
    ]
    assert dataset[0]["depth"].tolist() == [[5, 1]]
    maps = f"train/{name.format(1)}/proj_depth/groundtruth"
    assert [(finding.code, finding.file, finding.text, finding.action) for finding in findings] == [
        (
            "NO_IMAGE",
            f"{maps}/{camera}",
            f"1 of its 2 depth maps have no image in '2011_09_26/{name.format(1)}/{camera}/data'",
            "noted",
        )
        for camera in ("image_02", "image_03")
    ]
    assert [sample["depth"].tolist() for sample in opened(tmp_path, "val")] == [[[7, 3]], [[7, 3]]]
    with pytest.raises(DataError, match="has images for train and val and none for test"):
        opened(tmp_path, "test")


def test_without_val_whole_drives_of_kitti_are_drawn(tmp_path):
    (kitti(tmp_path) / "val").rename(tmp_path / "other")
    both = [opened(tmp_path, split, (0.5, 0.5, 0)) for split in ("train", "val")]
    drives = [{truth["depth"][0, 1] for truth in map(part.truth, range(len(part)))} for part in both]
    assert sorted(drives, key=min) == [{1}, {2}]


def test_maps_of_kitti_without_the_raw_data(tmp_path):
    save(tmp_path / "train/2011_09_28_drive_0001_sync/proj_depth/groundtruth/image_02/0000000005.png", [[1]])
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    assert str(caught.value) == (
        f"'{tmp_path}' holds KITTI's depth maps, but no image of theirs: unpack the raw data into it, so that there is "
        "2011_09_28/2011_09_28_drive_0001_sync/image_02/data/*.png."
    )


# --- writing ----------------------------------------------------------------------------------------------------------


def test_what_16_bits_hold_and_what_they_do_not(tmp_path):
    depth = np.array([[0, 0.001, 1.0, 1.003, 255.99]], np.float32)
    file = write_depth(tmp_path / "1.png", depth, 256)
    assert file.suffix == ".png"
    assert read_depth(file, 256)["depth"].tolist() == [[0, 1 / 256, 1.0, 257 / 256, 65533 / 256]]
    depth[0, 1] = 256.0
    file = write_depth(tmp_path / "2.png", depth, 256)
    assert file.suffix == ".npy" and not (tmp_path / "2.png").exists()
    assert read_depth(file)["depth"].tolist() == depth.tolist()


def test_the_drawn_world_comes_back(tmp_path):
    for split in ("train", "val", "test"):
        world = ShapesWorld("depth", split, images=3, size=(48, 64))
        samples = [world[index] for index in range(3)]
        samples[0]["depth"][:5, :7] = 0
        samples[1]["depth"][:5, :7] = 300
        write_split(samples, tmp_path, split=split, class_names=[])
        dataset = opened(tmp_path, split)
        assert len(dataset) == 3 and dataset.class_names == []
        for read, sample in zip(dataset, samples, strict=True):
            assert np.abs(read["depth"] - sample["depth"]).max() <= 1 / 512
            assert ((read["depth"] == 0) == (sample["depth"] == 0)).all()
            assert np.abs(read["image"].astype(int) - sample["image"]).mean() < 6  # JPEG


def test_it_can_be_sent_to_another_process_and_holds_no_python_object_an_image(tmp_path):
    for number in range(3):
        picture(tmp_path / f"images/{number}.jpg")
        save(tmp_path / f"depth/{number}.npy", [[number, 2]], np.float32)
    dataset = pickle.loads(pickle.dumps(opened(tmp_path)))
    assert [sample["depth"][0, 0] for sample in dataset] == [0, 1, 2]
    assert [value for value in vars(dataset).values() if isinstance(value, list | tuple | dict)] == [[]]
