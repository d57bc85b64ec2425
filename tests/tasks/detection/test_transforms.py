"""Detection's random changes: SSD's rules against torchvision's, and images too small or too large for them."""

import pickle

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from foveal.cli.recipe import parse_recipe
from foveal.core.data import preprocessing
from foveal.core.errors import UsageError
from foveal.core.options import DataOptions
from foveal.core.transforms import A, Transform
from foveal.tasks.detection.options import AUGMENTATION_STEPS
from foveal.tasks.detection.transforms import Expand, IouCrop, transform


def sample(boxes: list[list[float]], size: tuple[int, int] = (120, 160)) -> dict:
    """An image whose pixels say where they are: red the column, green the row."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    image = np.stack([columns, rows, np.zeros(size, int)], axis=2).astype(np.uint8)
    flags = np.zeros(len(boxes), bool)
    objects = {"boxes": np.array(boxes, np.float32).reshape(-1, 4), "labels": np.arange(len(boxes))}
    return {"image": image, **objects, "crowd": flags, "difficult": flags, "path": "drawn", "size": size}


BOXES = [[10.0, 20.0, 60.5, 70.5], [80.0, 30.0, 150.5, 110.5], [0.0, 0.0, 160.0, 120.0], [100.0, 5.0, 112.5, 15.5]]


def crop_of(result: dict) -> tuple[int, int, int, int]:
    """Of an image by `sample`: the part of it (left, top, right, bottom) that is there."""
    left, top = result["image"][0, 0, :2].tolist()
    height, width = result["image"].shape[:2]
    return left, top, left + width, top + height


def test_a_crop_keeps_the_boxes_whose_centre_is_in_it_and_cuts_them():
    crops = [Transform([IouCrop()])(sample(BOXES), seed) for seed in range(200)]
    cut = [result for result in crops if result["image"].shape[:2] != (120, 160)]
    assert len(cut) > 100
    for result in cut:
        left, top, right, bottom = crop_of(result)
        assert right - left >= 48 and bottom - top >= 36  # 0.3 of 160 and of 120
        assert 0.5 <= (right - left) / (bottom - top) <= 2
        expected, labels = [], []
        for label, (x0, y0, x1, y1) in enumerate(BOXES):
            if left < (x0 + x1) / 2 < right and top < (y0 + y1) / 2 < bottom:
                expected.append(
                    [max(x0, left) - left, max(y0, top) - top, min(x1, right) - left, min(y1, bottom) - top]
                )
                labels.append(label)
        assert result["labels"].tolist() == labels and labels
        assert result["boxes"] == pytest.approx(np.array(expected), abs=1e-3)


class MiddleCrop(IouCrop):
    """The middle 48 x 36 pixels: 9 % of 160 x 120."""

    def get_params_dependent_on_data(self, params, data):
        return {"crop_coords": (56, 42, 104, 78)}


def test_a_box_of_which_a_crop_leaves_less_than_a_tenth_stays_as_in_the_paper():
    whole = sample([[0.0, 0.0, 160.0, 120.0]])
    assert Transform([MiddleCrop()])(whole, 0)["boxes"] == pytest.approx(np.array([[0, 0, 48, 36]]), abs=1e-3)
    assert len(Transform([A.Crop(56, 42, 104, 78)])(whole, 0)["boxes"]) == 0  # by the rule of every other crop


def test_crops_are_as_torchvisions_in_the_mean():
    theirs, ours = [], []
    reference = v2.Compose([v2.RandomIoUCrop(), v2.SanitizeBoundingBoxes(labels_getter=None)])
    torch.manual_seed(0)
    for seed in range(400):
        boxes = tv_tensors.BoundingBoxes(torch.tensor(BOXES), format="XYXY", canvas_size=(120, 160))
        image, kept = reference(tv_tensors.Image(torch.zeros(1, 120, 160)), boxes)
        theirs.append([image.shape[1] * image.shape[2] / 19200, len(kept), image.shape[1] == 120])
        result = Transform([IouCrop()])(sample(BOXES), seed)
        height, width = result["image"].shape[:2]
        ours.append([height * width / 19200, len(result["boxes"]), height == 120])
    # Share of the area, boxes that stay, full height: two means of 400 draws differ by 0.02, 0.06 and 0.03 by chance.
    difference = np.abs(np.mean(theirs, axis=0) - np.mean(ours, axis=0))
    assert (difference < [0.06, 0.18, 0.09]).all(), difference
    assert 0.3 < np.mean(ours, axis=0)[0] < 0.8


def test_an_image_without_objects_is_not_cropped():
    assert Transform([IouCrop()])(sample([]), 3)["image"].shape == (120, 160, 3)


@pytest.mark.parametrize("largest", [10_000, 200])
def test_a_ground_has_the_image_on_it_and_mean_colour_beside_it(largest):
    ratios = []
    for seed in range(60):
        result = Transform([Expand(largest)])(sample(BOXES), seed)
        height, width = result["image"].shape[:2]
        assert max(height, width) <= largest
        left, top, right, bottom = result["boxes"][2].round().astype(int).tolist()  # of the whole image
        inside = np.zeros((height, width), bool)
        inside[top:bottom, left:right] = True
        if (right - left, bottom - top) != (160, 120) or not inside.all():
            ratios.append(width / (right - left))
        assert (result["image"][~inside] == (124, 116, 104)).all()
        if (right - left, bottom - top) == (160, 120):
            assert (result["image"][top:bottom, left:right] == sample(BOXES)["image"]).all()
            assert result["boxes"][0] == pytest.approx(np.add(BOXES[0], [left, top, left, top]), abs=1e-3)
    assert 15 <= len(ratios) <= 45 and 1 <= min(ratios) < 1.6 and 3.4 < max(ratios) <= 4.1


def test_the_mirror_comes_last_and_colours_first_whatever_the_list_says():
    data = preprocessing(DataOptions(size=96, resize="fit"))
    backward, forward = transform(data, list(reversed(AUGMENTATION_STEPS))), transform(data, list(AUGMENTATION_STEPS))
    for seed in range(10):
        one, other = backward(sample(BOXES), seed), forward(sample(BOXES), seed)
        assert one["image"].shape == other["image"].shape and (one["image"] == other["image"]).all()
        assert (one["boxes"] == other["boxes"]).all()


def test_ssd_is_the_list_of_its_steps():
    data = preprocessing(DataOptions(size=96))
    for seed in range(10):
        one = transform(data, "ssd")(sample(BOXES), seed)
        other = transform(data, ["flip", "iou_crop", "expand", "photometric"])(sample(BOXES), seed)
        assert (one["image"] == other["image"]).all() and one["image"].shape == (96, 96, 3)


def test_an_empty_list_changes_nothing():
    data = preprocessing(DataOptions(size=96))
    assert (transform(data, [])(sample(BOXES), 1)["image"] == transform(data)(sample(BOXES), 1)["image"]).all()


@pytest.mark.parametrize(
    ("resize", "size", "sides"),
    [
        ("fit", 100, {64, 96, 128}),  # 64 to 128
        ("squash", 100, {64, 96, 128}),
        ("fit", 8, {8}),  # no multiple of 32 between 5 and 10
        ("shorter", 60, {64 * 4 // 3}),  # 38 to 76: the shorter side has 64, and the longer one 85
    ],
)
def test_scales_are_drawn_in_steps_of_32_around_the_size(resize, size, sides):
    changed = transform(preprocessing(DataOptions(size=size, resize=resize)), "scales")
    found = [changed(sample(BOXES), seed)["image"].shape for seed in range(40)]
    assert {max(shape) for shape in found} == sides
    assert all(shape[0] == shape[1] for shape in found) == (resize == "squash")


def test_the_colours_of_ssd_change_in_its_ranges_and_by_themselves():
    grey = {"image": np.full((8, 8, 3), 100, np.uint8)}
    levels = [
        int(transform(preprocessing(DataOptions(size=8)), "photometric")(grey, seed)["image"].mean())
        for seed in range(300)
    ]
    # Grey has no hue and no saturation, and contrast leaves a plain image: brightness alone, of every second image.
    assert min(levels) >= 87 and max(levels) <= 113
    assert 0.4 < np.mean(np.array(levels) == 100) < 0.65


@pytest.mark.parametrize("augment", ["none", "ssd", ["photometric", "expand", "iou_crop", "scales", "flip"]])
@pytest.mark.parametrize("resize", ["squash", "fit", "shorter"])
@pytest.mark.parametrize("size", [(1, 1), (1, 6000), (6000, 1), (2, 3)])
def test_images_of_a_pixel_and_of_a_line_come_through(augment, resize, size):
    changed = transform(preprocessing(DataOptions(size=64, resize=resize)), augment)
    for seed in range(12):
        result = changed(sample([[0.0, 0.0, size[1], size[0]]], size), seed)
        assert min(result["image"].shape) >= 1 and max(result["image"].shape) <= 4 * 64
        assert len(result["boxes"]) == len(result["labels"]) <= 1


def test_a_large_image_is_made_smaller_before_it_is_changed():
    large = {**sample([]), "image": np.zeros((3000, 4000, 3), np.uint8), "boxes": np.array([[0.0, 0.0, 4000, 3000]])}
    large |= {key: np.zeros(1, int) for key in ("labels", "crowd", "difficult")}
    shapes = []
    steps = transform(preprocessing(DataOptions(size=100)), "ssd")._steps
    for seed in range(20):
        shapes.append(Transform(steps[:1])(large, seed)["image"].shape)
        shapes.append(Transform(steps[:3])(large, seed)["image"].shape)
    assert max(max(shape) for shape in shapes) == 400


def test_ten_thousand_boxes_come_through():
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 100, (10_000, 2))
    result = transform(preprocessing(DataOptions(size=256)), "ssd")(
        sample(np.hstack([places, places + 15]).tolist()), 5
    )
    assert 0 < len(result["boxes"]) <= 10_000 and len(result["labels"]) == len(result["boxes"])


def test_the_draw_is_that_of_the_seed_alone_in_another_process_too():
    changed = transform(preprocessing(DataOptions(size=64)), "ssd")
    again = pickle.loads(pickle.dumps(changed))
    first = [changed(sample(BOXES), seed) for seed in range(6)]
    second = [again(sample(BOXES), seed) for seed in reversed(range(6))][::-1]
    assert all((one["image"] == other["image"]).all() for one, other in zip(first, second, strict=True))
    assert len({one["image"].tobytes() for one in first}) > 3


@pytest.mark.parametrize(
    ("augment", "sentence"),
    [
        ("blur", "There is no augmentation 'blur'"),
        (["flip", "blur"], "There is no augmentation 'blur'"),
        (["flip", "photos"], "data.augment is a list with photos, which stands alone; it may hold photometric,"),
        (["none"], "data.augment is a list with none"),
    ],
)
def test_a_wrong_name_is_refused(augment, sentence):
    with pytest.raises(UsageError, match=sentence):
        transform(preprocessing(DataOptions(size=64)), augment)


RECIPE = "task: detection\nmodel: {backbone: resnet18}\ndata: {format: coco, root: ., augment: AUGMENT}\n"


def test_a_recipe_and_the_command_line_may_give_a_list(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(RECIPE.replace("AUGMENT", "[expand, flip]"))
    assert parse_recipe(str(file), []).data.augment == ["expand", "flip"]
    assert parse_recipe(str(file), [("data.augment", "[photometric, scales]")]).as_dict()["data"]["augment"] == [
        "photometric",
        "scales",
    ]
    assert parse_recipe(str(file), [("data.augment", "ssd")]).data.augment == "ssd"


@pytest.mark.parametrize(
    ("augment", "sentence"),
    [
        ("[expand, blur]", "There is no augmentation 'blur'"),
        ("[flip, none]", "data.augment is a list with none, which stands alone"),
        ("flip,expand", "There is no augmentation 'flip,expand'; the nearest are"),
        ("[1, 2]", "--data.augment is .1, 2.; it must be text or a list"),
        ("{flip: 1}", "--data.augment is .'flip': 1.; it must be text or a list"),
    ],
)
def test_a_wrong_list_is_one_sentence(tmp_path, augment, sentence):
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("AUGMENT", "flip"))
    with pytest.raises(UsageError, match=sentence):
        parse_recipe(str(tmp_path / "mine.yaml"), [("data.augment", augment)])


def test_a_crop_of_the_middle_is_refused():
    with pytest.raises(UsageError, match="crop would cut objects at the border"):
        transform(preprocessing(DataOptions(size=64, resize="crop")))
