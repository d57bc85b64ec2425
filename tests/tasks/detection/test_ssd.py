"""SSD's losses and boxes, against numbers worked out by hand, and the images that are no squares."""

import math
from functools import partial

import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from foveal.tasks.detection.matching import match
from foveal.tasks.detection.ssd import SSDOutputs

NAMES = ["ssd", "ssdlite"]


@pytest.fixture(scope="module")
def build(build_detector):
    return partial(build_detector, backbone="resnet18", channels=32)


@pytest.fixture(scope="module")
def head(build):
    torch.manual_seed(0)
    return build("ssd")[1].eval()


# Six places of which none touches another, and what each says: the logits of the background; both classes have 0.
PLACES = torch.tensor([[40.0 * number, 0, 40 * number + 10, 10] for number in range(6)])
BACKGROUND = torch.tensor([1, 1, 2, 2, 6, 6]).log()  # cross-entropies ln 3, ln 3, ln 2, ln 2, ln 4/3, ln 4/3


def outputs_of(images=1, background=BACKGROUND):
    logits = torch.zeros(images, 6, 3)
    logits[:, :, 0] = background
    return SSDOutputs(logits.requires_grad_(), torch.zeros(images, 6, 4), PLACES, [(300, 300)] * images)


def objects(*boxes):
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.arange(len(boxes))}


def test_classification_is_of_the_object_and_the_three_hardest_of_five_others(head):
    losses = head.losses(outputs_of(), [objects([0.0, 0, 10, 10])])
    assert losses["classification"].item() == pytest.approx(math.log(3) + math.log(3) + 2 * math.log(2))
    assert losses["localisation"].item() == 0


def test_two_objects_share_the_sum_of_their_losses(head):
    # The second lies 1 pixel beside its place, of 10: a delta of 10 * 1 / 10, of which smooth L1 makes 0.5. Six hard
    # negatives are wanted, and there are four; no place is counted twice.
    losses = head.losses(outputs_of(), [objects([0.0, 0, 10, 10], [41.0, 0, 51, 10])])
    entropies = 2 * (math.log(3) + math.log(2) + math.log(4 / 3))
    assert losses["classification"].item() == pytest.approx(entropies / 2)
    assert losses["localisation"].item() == pytest.approx(0.5 / 2)


def test_an_image_without_objects_teaches_its_three_hardest_places(head):
    losses = head.losses(outputs_of(), [objects()])
    assert losses["classification"].item() == pytest.approx(math.log(3) + math.log(3) + math.log(2))
    assert losses["localisation"].item() == 0


def test_an_image_without_objects_counts_as_one_object(head):
    losses = head.losses(outputs_of(2), [objects([0.0, 0, 10, 10]), objects()])
    with_object, without = 2 * math.log(3) + 2 * math.log(2), 2 * math.log(3) + math.log(2)
    assert losses["classification"].item() == pytest.approx((with_object + without) / 2)


@pytest.mark.parametrize(("number", "learning"), [(0, 3), (1, 4), (2, 6)])
def test_no_more_than_three_negatives_are_learnt_for_each_positive(head, number, learning):
    outputs = outputs_of()
    head.losses(outputs, [objects(*PLACES[:number].tolist())])["classification"].backward()
    assert outputs.logits.grad is not None
    assert int((outputs.logits.grad.abs().sum(dim=2) > 0).sum()) == learning


def test_what_is_not_a_number_is_not_left_out(head):
    losses = head.losses(outputs_of(background=BACKGROUND * torch.nan), [objects()])
    assert losses["classification"].isnan()


def test_every_object_gets_a_default_box(head):
    default_boxes = head.default_boxes([torch.zeros(1, 1, side, side) for side in (8, 4, 2, 1)], (64, 64))
    generator = torch.Generator().manual_seed(0)
    corners = torch.tensor([[x, y] for x in (1.0, 17, 33, 49) for y in (1.0, 17, 33, 49)])
    boxes = torch.cat([corners, corners + 1 + 13 * torch.rand(16, 2, generator=generator)], dim=1)
    matches = match(default_boxes, boxes, low=0.5, high=0.5, rescue="best")
    assert set(range(16)) <= set(matches.tolist())


def test_what_is_encoded_is_decoded(head):
    boxes = torch.tensor([[3.0, 5, 20, 9], [45.0, 1, 49, 12]])
    deltas = torch.zeros(1, 6, 4)
    deltas[0, :2] = head.box_coder.encode_single(boxes, PLACES[:2])
    logits = torch.full((1, 6, 3), -20.0)
    logits[0, 0, 2] = logits[0, 1, 1] = 20
    logits[0, 2:, 0] = 20
    found = head.candidates(SSDOutputs(logits, deltas, PLACES, [(300, 300)]))[0]
    order = found.boxes[:, 0].argsort()
    torch.testing.assert_close(found.boxes[order], boxes, atol=1e-4, rtol=0)
    assert found.labels[order].tolist() == [1, 0]


def test_of_each_class_400_boxes_are_candidates(head):
    places = PLACES[:1].repeat(500, 1)
    outputs = SSDOutputs(torch.randn(1, 500, 3), torch.zeros(1, 500, 4), places, [(300, 300)])
    assert head.candidates(outputs)[0].labels.bincount().tolist() == [400, 400]


def test_boxes_end_at_their_own_image_and_none_lies_in_the_padding(head):
    # Places 0 to 80 pixels from the left; of the second, which is half in the image, the half stays.
    outputs = SSDOutputs(torch.zeros(2, 6, 3), torch.zeros(2, 6, 4), PLACES, [(300, 300), (5, 45)])
    whole, padded = head.candidates(outputs)
    assert len(whole.boxes) == 6 * 2
    assert padded.boxes.unique(dim=0).tolist() == [[0, 0, 10, 5], [40, 0, 45, 5]]


def test_sure_of_nothing_is_an_empty_answer(head):
    outputs = SSDOutputs(torch.tensor([20.0, 0, 0]).expand(1, 6, 3), torch.zeros(1, 6, 4), PLACES, [(300, 300)])
    found = head.detect(outputs)[0]
    assert found.boxes.shape == (0, 4) and found.scores.shape == found.labels.shape == (0,)


def run(backbone, head, shapes, size=None):
    height, width = size or (max(shape[0] for shape in shapes), max(shape[1] for shape in shapes))
    images = torch.randn(len(shapes), 3, height, width)
    return head(backbone(images), ImageList(images, list(shapes)))


def test_ten_thousand_objects_in_an_image(build):
    backbone, head = build("ssd")
    corners = torch.rand(10_000, 2) * 60
    target = {"boxes": torch.cat([corners, corners + 3], dim=1), "labels": torch.zeros(10_000, dtype=torch.int64)}
    losses = head.losses(run(backbone, head, [(64, 64)]), [target])
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("name", NAMES)
def test_an_image_of_one_pixel_is_padded_to_what_the_network_reads(build, name):
    backbone, head = build(name)
    outputs = run(backbone.eval(), head.eval(), [(1, 1)], size=(head.divisor, head.divisor))
    found = head.detect(outputs)[0]
    assert head.divisor == 32 and found.boxes.numel() and found.boxes.min() >= 0 and found.boxes.max() <= 1


@pytest.mark.parametrize(("size", "divisor"), [(300, 50), (512, 32), (320, 32), (128, 32), (100, 50), (97, 97)])
def test_images_of_the_recipes_size_are_not_padded(build, size, divisor):
    with torch.device("meta"):
        assert build("ssd", size=size)[1].divisor == divisor


@pytest.mark.parametrize("padded", [(300, 100), (100, 300), (300, 500), (50, 50)])
def test_vgg16_reads_long_images_down_to_its_last_map(build, padded):
    with torch.device("meta"):
        backbone, head = build("ssd", backbone="vgg16", size=300, channels=256)
        maps = head.maps(backbone(torch.empty(1, 3, *padded)))
        outputs = run(backbone, head, [padded])
    assert len(maps) == 6 and min(min(x.shape[2:]) for x in maps) == 1
    assert outputs.logits.shape[1] == len(outputs.default_boxes)


@pytest.mark.parametrize("name", NAMES)
def test_a_last_batch_of_one_image_can_be_learnt(build, name):
    backbone, head = build(name, size=128)
    backbone.eval()  # its own last map is larger in use
    outputs = run(backbone, head.train(), [(128, 128)])
    losses = head.losses(outputs, [objects([10.0, 10, 60, 60])])
    torch.stack(list(losses.values())).sum().backward()
    assert all(loss.isfinite() for loss in losses.values())


def test_losses_in_evaluation_mode_change_no_statistics(build):
    backbone, head = build("ssdlite")
    before = {key: value.clone() for key, value in head.eval().state_dict().items()}
    head.losses(run(backbone.eval(), head, [(64, 64)]), [objects([10.0, 10, 60, 60])])
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_under_bfloat16_losses_and_boxes_are_float32(build, name):
    backbone, head = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = run(backbone.eval(), head.eval(), [(64, 64)])
        losses = head.losses(outputs, [objects([10.0, 10, 60, 60])])
    found = head.detect(outputs)[0]
    assert {x.dtype for x in (*losses.values(), found.boxes, found.scores)} == {torch.float32}


def test_a_recipe_sets_what_is_kept(build):
    head = build("ssd", score=0.3, nms_iou=0.6, most=7)[1]
    assert (head.suppression.score, head.suppression.iou, head.suppression.most) == (0.3, 0.6, 7)
    own = build("ssd")[1].suppression
    assert (own.score, own.iou, own.most) == (0.01, 0.45, 200)
