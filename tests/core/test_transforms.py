"""Everything that lies on an image moves with it, whatever the draw; and no draw is used twice."""

import importlib
import pickle

import cv2
import numpy as np
import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from foveal.core.data import DataModule, preprocessing
from foveal.core.errors import UsageError
from foveal.core.options import DataOptions
from foveal.core.transforms import (
    A,
    AtMost,
    MiddleSquare,
    RandomResizedCrop,
    ShorterSide,
    Transform,
    decoder_factor,
    resize_steps,
    sample_seed,
)
from foveal.core.types import Preprocessing

TASKS = ("classification", "detection", "segmentation", "edges", "depth", "tracking", "faces", "style")


def marked(left=34, top=22, right=70, bottom=48, size=(90, 120)) -> dict:
    """A grey image with one white rectangle, and every truth that there can be about it."""
    inside = np.zeros(size, bool)
    inside[top:bottom, left:right] = True
    image = np.where(inside[:, :, None], 255, 60).astype(np.uint8).repeat(3, axis=2)
    return {
        "image": image,
        "image2": image.copy(),
        "mask": np.where(inside, 7, 2).astype(np.int64),
        "edges": inside.astype(np.float32),
        "depth": np.where(inside, 3.5, 9.25).astype(np.float32),
        "boxes": np.array([[left, top, right, bottom]], np.float32),
        "labels": np.array([4]),
        "crowd": np.array([False]),
        "difficult": np.array([True]),
        "keypoints": np.array([[left, top], [right, bottom], [(left + right) / 2, (top + bottom) / 2]], np.float32),
        "path": "marked",
        "size": size,
    }


def extent(pixels: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(pixels)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


GEOMETRIES = {
    "flip": [A.HorizontalFlip(p=1)],
    "turn": [A.SquareSymmetry(p=1)],
    "resize": [A.Resize(150, 200)],
    "halve": [A.Resize(45, 60)],
    "part": [RandomResizedCrop((96, 96), scale=(0.5, 1.0))],
    "move": [A.Affine(translate_percent=(-0.15, 0.15), scale=(0.8, 1.2), p=1)],
    "all": [A.Affine(translate_percent=(-0.1, 0.1), p=1), A.HorizontalFlip(p=0.5), RandomResizedCrop((80, 96)), A.D4()],
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_marked_object_stays_one_in_image_mask_box_edges_depth_and_keypoints(name):
    transform, seen = Transform(GEOMETRIES[name]), 0
    for seed in range(40):
        result = transform(marked(), seed)
        white = result["mask"] == 7
        assert (result["image"] == result["image2"]).all()
        if white.sum() < 40 or not len(result["boxes"]):
            continue
        seen += 1
        # Maps are moved without mixing values: they agree to the pixel.
        assert set(np.unique(result["mask"])) <= {2, 7, 255}
        assert ((result["depth"] == 3.5) == white).all() and ((result["edges"] == 1) == white).all()
        assert set(np.unique(result["depth"])) <= {0.0, np.float32(3.5), np.float32(9.25)}
        assert ((result["mask"] == 255) == (result["depth"] == 0)).all()  # from outside of the image: nothing known
        # The image mixes at borders, a box lies between pixels: within a pixel of the enlarged ones.
        inside = cv2.erode(white.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert (result["image"][inside] > 200).all()
        slack = 2.0 if name in ("resize", "part", "all", "move") else 1.0
        assert np.abs(result["boxes"][0] - extent(white)).max() <= slack
        middle = np.array([result["boxes"][0, [0, 2]].mean(), result["boxes"][0, [1, 3]].mean()])
        whole = extent(white)[0] > 0 and extent(white)[2] < white.shape[1]
        if name in ("flip", "turn", "resize", "halve") and whole:
            assert np.abs(result["keypoints"][2] - middle).max() <= slack
        assert result["labels"].tolist() == [4] and result["difficult"].tolist() == [True]
    assert seen >= 20


def test_a_mirror_by_hand():
    result = Transform([A.HorizontalFlip(p=1)])(marked(left=10, right=30, size=(90, 100)), 0)
    assert result["boxes"].round(4).tolist() == [[70.0, 22.0, 90.0, 48.0]]  # 100 - 30, 100 - 10
    assert result["keypoints"].tolist() == [[90.0, 22.0], [70.0, 48.0], [80.0, 35.0]]
    assert result["boxes"].dtype == np.float32 and result["labels"].dtype == np.int64
    assert result["mask"].dtype == np.int64 and result["depth"].dtype == np.float32


def test_ignore_stays_ignore_and_every_class_comes_back():
    mask = np.arange(256).reshape(16, 16)
    sample = {"image": np.zeros((16, 16, 3), np.uint8), "mask": mask}
    assert (Transform([])(sample, 0)["mask"] == mask).all()


def test_a_box_that_is_cut_is_clipped_and_one_that_is_nearly_gone_goes():
    sample = marked()
    sample["boxes"] = np.array([[0, 0, 60, 40], [50, 20, 121, 40], [0, 0, 100, 90]], np.float32)
    for key in ("labels", "crowd", "difficult"):
        sample[key] = np.repeat(sample[key], 3)
    sample["labels"] = np.array([1, 2, 3])
    result = Transform([A.Crop(50, 20, 120, 80)])(sample, 0)
    # Of 2,400 pixels 200 are left: less than a tenth.
    assert result["labels"].tolist() == [2, 3]
    assert result["boxes"].round(4).tolist() == [[0.0, 0.0, 70.0, 20.0], [0.0, 0.0, 50.0, 60.0]]


def test_no_boxes_stay_no_boxes():
    sample = {**marked(), "boxes": np.zeros((0, 4), np.float32)}
    for key in ("labels", "crowd", "difficult"):
        sample[key] = sample[key][:0]
    result = Transform([A.HorizontalFlip(p=1)])(sample, 0)
    assert result["boxes"].shape == (0, 4) and result["labels"].shape == (0,) and result["labels"].dtype == np.int64


@pytest.mark.parametrize("task", TASKS)
def test_every_task_keeps_its_truth_on_the_image(task):
    module = importlib.import_module(f"foveal.tasks.{task}.transforms")
    assert next(iter(module.AUGMENTATIONS)) == "none"
    for augment in module.AUGMENTATIONS:
        transform = module.transform(preprocessing(DataOptions(size=64)), augment)
        seen = 0
        for seed in range(12):
            result = transform(marked(), seed)
            white = result["mask"] == 7
            assert result["image"].dtype == np.uint8 and result["image"].shape[:2] == white.shape
            near = (result["depth"] > 0) & (result["depth"] < 5)  # of 3.5 and 9.25, divided by 1.5 at the most
            assert (near == white).all()
            # The box around a turned box is larger than what it holds.
            if white.sum() >= 60 and len(result["boxes"]) and augment not in ("microscope", "hed", "hed_crops"):
                seen += 1
                assert np.abs(result["boxes"][0] - extent(white)).max() <= 2
        assert seen >= 4 or augment in ("microscope", "crops", "hed", "hed_crops")
    with pytest.raises(UsageError, match="There is no augmentation 'blur'"):
        module.transform(preprocessing(DataOptions(size=64)), "blur")


def test_fit_keeps_the_shape_of_the_image():
    from foveal.tasks.detection.transforms import transform

    fit = transform(preprocessing(DataOptions(size=60, resize="fit")))
    result = fit(marked(), 0)
    assert result["image"].shape == (45, 60, 3)
    assert result["boxes"].round(4).tolist() == [[17.0, 11.0, 35.0, 24.0]]


def noise() -> Transform:
    return Transform([A.GaussNoise(p=1)])


def test_the_draw_is_that_of_the_seed_alone():
    sample, transform = marked(), noise()
    first = transform(sample, 5)["image"]
    transform(sample, 6)
    assert (transform(sample, 5)["image"] == first).all()
    assert (noise()(sample, 5)["image"] == first).all()
    assert (pickle.loads(pickle.dumps(transform))(sample, 5)["image"] == first).all()


class Flat:
    """Forty images that are all alike: only the draw tells one from another."""

    class_names = ("a", "b")
    labels = np.arange(40) % 2

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return {"image": np.full((8, 8, 3), 128, np.uint8), "path": str(index), "size": (8, 8), "label": 0}


def draws(workers: int) -> dict[tuple[int, str], bytes]:
    data = DataModule(lambda split: Flat(), DataOptions(batch_size=5, num_workers=workers))
    data.transform = lambda augment: noise()
    loader = data.train_dataloader()
    found = {}
    for epoch in range(3):
        loader.batch_sampler.sampler.set_epoch(epoch)
        for batch in loader:
            for path, image in zip(batch["path"], batch["image"], strict=True):
                found[epoch, path] = image.numpy().tobytes()
    return found


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_no_two_samples_and_no_two_epochs_share_a_draw(workers):
    found = draws(workers)
    assert len(found) == len(set(found.values())) == 120
    assert found == draws(0)


def test_seeds_of_samples_differ():
    seeds = {sample_seed(seed, epoch, index) for seed in range(3) for epoch in range(20) for index in range(200)}
    assert len(seeds) == 12_000 and max(seeds) < 2**64


def test_the_middle_is_cut_from_every_image():
    across = np.tile(np.arange(64, dtype=np.uint8)[None, :, None], (32, 1, 3))  # each pixel says its column
    for seed in range(8):
        middle = Transform([MiddleSquare()])({"image": across}, seed)["image"]
        assert middle.shape == (28, 28, 3) and middle[0, [0, -1], 0].tolist() == [18, 45]  # 0.875 * 32 = 28 of 64


SIZES = [
    (480, 640),
    (640, 480),
    (375, 500),
    (333, 500),
    (1080, 1920),
    (100, 1000),
    (799, 801),
    (1, 640),
    (427, 640),
    (7, 5),
]


@pytest.mark.parametrize("size", [800, 300, 224, 641, 33])
def test_the_shorter_side_is_scaled_to_the_pixel_as_in_torchvisions_detectors(size):
    reference = GeneralizedRCNNTransform(size, int(size * 5 / 3), [0.0], [1.0])
    rng = np.random.default_rng(size)
    for height, width in SIZES + rng.integers(20, 2000, (30, 2)).tolist():
        if min(height, width) * int(size * 5 / 3) < max(height, width):
            continue  # less than a pixel: see below
        expected = reference.resize(torch.zeros(1, height, width), None)[0].shape[1:]
        step = ShorterSide(size)
        found = step.get_params_dependent_on_data({"shape": (height, width, 3)}, {})
        assert (found["height"], found["width"]) == tuple(expected), (height, width)


def test_shorter_by_hand():
    steps = resize_steps(preprocessing(DataOptions(size=60, resize="shorter")))
    result = Transform(steps)(marked(), 0)  # of 90 x 120
    assert result["image"].shape == (60, 80, 3) and result["mask"].shape == (60, 80)
    assert result["boxes"][0] == pytest.approx(np.array([34, 22, 70, 48]) * 2 / 3, abs=1e-3)
    assert result["keypoints"][0] == pytest.approx([34 * 2 / 3, 22 * 2 / 3], abs=0.5)
    assert Transform(steps)(marked(size=(90, 600)), 0)["image"].shape == (15, 100, 3)  # 100 is 5/3 of 60


@pytest.mark.parametrize(("before", "after"), [((1, 1), (60, 60)), ((1, 60_000), (1, 100)), ((60_000, 1), (100, 1))])
def test_no_side_is_scaled_to_nothing(before, after):
    steps = resize_steps(preprocessing(DataOptions(size=60, resize="shorter")))
    assert Transform(steps)({"image": np.zeros((*before, 3), np.uint8)}, 0)["image"].shape == (*after, 3)


def test_at_most_makes_no_image_larger():
    shapes = [
        Transform([AtMost(100)])({"image": np.zeros((h, w, 3), np.uint8)}, 0)["image"].shape
        for h, w in ((50, 80), (300, 400))
    ]
    assert shapes == [(50, 80, 3), (75, 100, 3)]


@pytest.mark.parametrize("resize", ["fit", "shorter"])
def test_classification_refuses_images_of_many_shapes(resize):
    from foveal.tasks.classification.transforms import transform

    with pytest.raises(UsageError, match=f"data.resize {resize} leaves images of many shapes"):
        transform(preprocessing(DataOptions(resize=resize)))


def test_a_list_of_changes_is_for_tasks_with_single_steps():
    from foveal.tasks.classification.transforms import transform

    with pytest.raises(UsageError, match="classification takes one name, of none, "):
        transform(preprocessing(DataOptions()), ["photos"])


@pytest.mark.parametrize(
    ("resize", "size", "sides", "factor"),
    [
        ("squash", 224, (3000, 4000), 4),  # 3000 / 224 = 13.4
        ("squash", 224, (447, 4000), 1),
        ("squash", 224, (896, 896), 2),
        ("crop", 224, (1024, 1500), 2),  # 0.875 * 1024 / 224 = 4
        ("crop", 224, (1023, 1500), 1),
        ("fit", 100, (300, 1600), 8),
        ("shorter", 100, (800, 900), 4),
        ("shorter", 100, (100, 2000), 4),  # 2000 / (5 / 3 * 100) = 12
        ("squash", 64, (32, 32), 1),
    ],
)
def test_a_decoder_leaves_half_of_the_way(resize, size, sides, factor):
    preprocessing = Preprocessing(size=size, resize=resize, grey=False, mean=[0.0] * 3, std=[1.0] * 3)
    assert decoder_factor(preprocessing, *sides) == factor == decoder_factor(preprocessing, *reversed(sides))
