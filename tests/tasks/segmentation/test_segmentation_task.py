"""The task: losses, metrics at the size of the files, masks of any image, and what a checkpoint keeps."""

import json
import re

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from foveal.cli.main import main
from foveal.core.data import DataOptions, collate, preprocessing, to_tensor
from foveal.core.errors import UsageError
from foveal.core.images import write_image
from foveal.core.options import PredictionOptions
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks import load
from foveal.tasks.segmentation.class_weights import count_pixels
from foveal.tasks.segmentation.head import SegmentationHead
from foveal.tasks.segmentation.options import SegmentationOptions
from foveal.tasks.segmentation.task import SegmentationTask

NAMES = ["background", "disc", "square"]
SMALL = ["--model.channels", "2", "--data.size", "32", "--data.batch_size", "2", "--data.num_workers", "0"]
SMALL += ["--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]


def make_task(names=NAMES, size=32, resize="squash", grey=False, **options):
    options = SegmentationOptions(**{"backbone": "resnet18", "head": "unet", "channels": 2, **options})
    wanted = preprocessing(DataOptions(size=size, resize=resize, grey=grey))
    return SegmentationTask(options, class_names=names, preprocessing=wanted)


class PerPixel(SegmentationHead):
    """Logits of a class are those of one colour: what each pixel is depends on nothing around it."""

    def forward(self, features):
        return 20 * features[0]


class Whole(nn.Module):
    def forward(self, images):
        return [images]


def make_colour_task(**options):
    """Red pixels are the background, green ones discs, blue ones squares."""
    task = make_task(**options)
    task.backbone, task.head = Whole(), PerPixel([1])
    return task.eval()


def colours(classes):
    """An image, uint8 (H, W, 3), of classes (H, W)."""
    return (np.eye(3, dtype=np.uint8)[classes] * 255).astype(np.uint8)


def make_batch(task, samples):
    """As a loader of evaluation gives it, of (image, mask)."""
    prepared = []
    for number, (image, mask) in enumerate(samples):
        changed = task.transform("none")({"image": image, "mask": mask}, seed=0)
        own = {"path": f"{number}.png", "size": image.shape[:2], "truth": {"mask": torch.from_numpy(mask)}}
        prepared.append(
            {
                **own,
                "image": to_tensor(changed["image"]),
                "mask": torch.from_numpy(np.ascontiguousarray(changed["mask"])),
            }
        )
    return collate(prepared)


def blocks(height, width, seed=0):
    """Classes (H, W) in blocks of 8 x 8 pixels."""
    cells = np.random.default_rng(seed).integers(0, 3, (-(-height // 8), -(-width // 8)))
    return cells.repeat(8, 0).repeat(8, 1)[:height, :width]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a short training through the command line, and its data."""
    folder = tmp_path_factory.mktemp("runs")
    assert main(["draw-data", "mask_folder", str(folder / "data"), "--images", "16", "--size", "40"]) == 0
    line = ["train", "segmentation/unet_resnet34_folder", "--data.root", str(folder / "data"), *SMALL]
    line += ["--model.weights", "null", "--model.backbone", "resnet18", "--out", str(folder / "run")]
    line += ["--model.class_weights", "median_frequency", "--model.auxiliary", "0.4"]
    assert main([*line, "--model.boundary_tolerance", "0.0075", "--model.trimap_width", "3"]) == 0
    return folder


# --- losses -----------------------------------------------------------------------------------------------------------


def test_losses_and_metrics_are_in_the_table(run):
    head = (run / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {f"train/{name}" for name in ("loss", "cross_entropy", "dice", "auxiliary")} <= set(head)
    names = ("loss", "cross_entropy", "miou", "pixel_accuracy", "mean_dice", "boundary_f1", "trimap_miou")
    assert {f"val/{name}" for name in names} <= set(head)


def test_the_losses_are_a_weighted_sum():
    task = make_task(loss={"cross_entropy": 2.0, "dice": 0.5}).eval()
    batch = make_batch(task, [(colours(blocks(32, 32)), blocks(32, 32))])
    once = make_task(loss={"cross_entropy": 1.0, "dice": 1.0}).eval()
    once.load_state_dict(task.state_dict())
    with torch.no_grad():
        twice, one = task.losses(batch), once.losses(batch)
    torch.testing.assert_close(twice["cross_entropy"], 2 * one["cross_entropy"])
    torch.testing.assert_close(twice["dice"], 0.5 * one["dice"])


@pytest.mark.parametrize("options", [{"head": "fcn"}, {"head": "unetpp"}])
def test_further_logits_have_a_loss_in_training_alone(options):
    task = make_task(auxiliary=0.4, **options)
    batch = make_batch(task, [(colours(blocks(32, 32, seed)), blocks(32, 32, seed)) for seed in range(2)])
    assert list(task.train().losses(batch)) == ["cross_entropy", "auxiliary"]
    assert list(task.eval().losses(batch)) == ["cross_entropy"]


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "ohem", "dice", "jaccard", "tversky", "lovasz", "boundary"])
def test_images_that_are_ignored_as_a_whole_cost_nothing(loss):
    task = make_task(loss={loss: 1.0})
    batch = make_batch(task, [(colours(blocks(32, 32)), np.full((32, 32), 255))] * 2)
    total = task.losses(batch)[loss]
    total.backward()
    assert total.item() == 0
    assert all(p.grad is None or not p.grad.isnan().any() for p in task.parameters())


def test_weights_of_classes_follow_the_pixels_of_the_training_masks():
    """Frequencies 3/4 and 1/4 of the first two classes' images, and 1/2 of the one image with the third: the median is
    1/2.
    """

    class Masks:
        masks = ([[0, 0, 0, 1]], [[0, 0, 0, 1]], [[2, 2, 255, 255]], [[2, 2, 0, 0]])

        def __len__(self):
            return len(self.masks)

        def truth(self, index):
            return {"mask": np.array(self.masks[index])}

    assert count_pixels(Masks(), 3) == ([8, 2, 4], [12, 8, 6])
    task = SegmentationTask.build(
        SegmentationOptions(backbone="resnet18", class_weights="median_frequency"),
        class_names=NAMES,
        preprocessing=preprocessing(DataOptions(size=32)),
        training=Masks(),
    )
    torch.testing.assert_close(task.class_weights, torch.tensor([1.0, (2 / 3) / (1 / 4), 1.0]))


def test_weights_of_classes_are_in_the_checkpoint(run):
    weights = load(run / "run").class_weights
    assert weights.shape == (9,) and weights[0] < 1 and weights.max() > 1


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_masks_are_compared_in_the_size_of_their_files():
    """A third class of a single pixel is lost at a quarter of the size: its IoU is 0, and not absent."""
    task = make_colour_task(size=16)
    mask = np.zeros((64, 64), np.int64)
    mask[:, 32:] = 1
    image = colours(mask)
    mask[5, 5] = 2
    task.evaluate(make_batch(task, [(image, mask)]))
    numbers = task.compute_metrics()
    assert task.per_class() == {"background": 2047 / 2048, "disc": 1.0, "square": 0.0}
    assert numbers["miou"] == pytest.approx((2047 / 2048 + 1) / 3)
    assert numbers["pixel_accuracy"] == 4095 / 4096


def test_an_evaluation_says_what_the_written_masks_say(run, tmp_path, capsys):
    data, trained = run / "data", run / "run"
    assert main(["evaluate", str(trained), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    images = data / "test" / "images"
    assert main(["predict", str(trained), str(images), "--out", str(tmp_path / "out"), "--num-workers", "0"]) == 0
    counts = np.zeros((9, 9))
    for path in sorted(images.iterdir()):
        found = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{path.name}.png"))
        truth = np.asarray(Image.open(data / "test" / "masks" / f"{path.stem}.png"))
        assert found.shape == truth.shape
        np.add.at(counts, (truth, found), 1)
    right = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - right
    assert told["miou"] == pytest.approx(np.mean(right[union > 0] / union[union > 0]))


def test_validation_changes_nothing():
    task = make_task().eval()
    before = {key: value.clone() for key, value in task.state_dict().items()}
    batch = make_batch(task, [(colours(blocks(32, 32)), blocks(32, 32))])
    task.evaluate(batch)
    first = task.compute_metrics()
    task.evaluate(batch)
    assert task.compute_metrics() == first
    assert all(torch.equal(value, before[key]) for key, value in task.state_dict().items())


# --- prediction -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resize", ["squash", "fit", "shorter"])
def test_a_mask_has_the_size_of_its_file(resize):
    task = make_colour_task(resize=resize)
    classes = blocks(48, 96)
    (found,) = task.predict(make_batch(task, [(colours(classes), classes)]))
    assert found["mask"].dtype == torch.uint8 and found["mask"].shape == (48, 96)
    assert (found["mask"].numpy() == classes).mean() > 0.85
    assert found["pixels"].sum() == 48 * 96 and found["names"][0] == NAMES[found["labels"][0]]


def test_what_is_said_of_an_image_depends_on_no_other_of_its_batch():
    task = make_task(resize="fit", head="deeplabv3").eval()
    samples = [(colours(blocks(*size)), blocks(*size)) for size in ((32, 20), (30, 32), (32, 20))]
    with torch.no_grad():
        together = task.predict(make_batch(task, samples))
        for sample, expected in zip(samples, together, strict=True):
            (alone,) = task.predict(make_batch(task, [sample]))
            assert torch.equal(alone["mask"], expected["mask"])
            torch.testing.assert_close(alone["scores"], expected["scores"])


def test_flips_are_turned_back():
    task = make_colour_task()
    classes = blocks(32, 32)
    plain = task.predict(make_batch(task, [(colours(classes), classes)]))[0]
    task.prediction_options = PredictionOptions(flip=True, scales=(1.0, 2.0))
    flipped = task.predict(make_batch(task, [(colours(classes), classes)]))[0]
    assert (plain["mask"].numpy() == classes).all() and (flipped["mask"].numpy() == classes).mean() > 0.98


def test_probabilities_are_kept_where_they_are_asked_for():
    task = make_colour_task()
    classes = blocks(40, 64)
    batch = make_batch(task, [(colours(classes), classes)])
    assert "probabilities" not in task.predict(batch)[0]
    task.prediction_options = PredictionOptions(probabilities=True)
    (found,) = task.predict(batch)
    assert found["probabilities"].shape == (3, 40, 64) and found["probabilities"].dtype == torch.float16
    torch.testing.assert_close(found["probabilities"].float().sum(0), torch.ones(40, 64), atol=2e-3, rtol=0)
    chosen = found["probabilities"].gather(0, found["mask"].long()[None])[0]
    assert torch.equal(chosen, found["probabilities"].amax(0))  # two classes may be alike in float16


def test_a_crf_draws_a_spot_to_its_surroundings():
    """One pixel is another class to the network, but of one colour with those around it."""
    task = make_task()
    logits = torch.zeros(1, 3, 32, 32)
    logits[:, 0] = 2
    logits[:, 1, 16, 16] = 4
    task.forward = lambda images: logits
    image = np.full((32, 32, 3), 90, np.uint8)
    batch = make_batch(task, [(image, np.zeros((32, 32), np.int64))])
    assert task.predict(batch)[0]["names"] == ["background", "disc"]
    task.prediction_options = PredictionOptions(crf=5)
    assert task.predict(batch)[0]["names"] == ["background"]


def test_tiles_give_what_the_whole_image_gives(tmp_path):
    task = make_colour_task()
    classes = blocks(70, 100)
    task.prediction_options = PredictionOptions(tile=32, overlap=0.25)
    joiner = task.joiner((70, 100))
    tiles = task.tiling().tiles((70, 100))
    for tile in tiles:
        part = colours(classes)[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        (found,) = task.predict(make_batch(task, [(part, np.zeros(part.shape[:2], np.int64))]))
        joiner.add(found, tile)
    assert len(tiles) > 4 and (joiner.result()["mask"].numpy() == classes).all()


def test_a_truth_is_a_prediction():
    task = make_task()
    mask = np.array([[0, 2, 2], [2, 255, 0]])
    found = task.truth({"path": "a.png", "size": (2, 3), "mask": mask})
    assert found["names"] == ["square", "background"] and found["pixels"].tolist() == [3, 2]
    assert found["mask"].tolist() == mask.tolist()


# --- what can't be ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"names": ["road"]}, "two classes or more apart, of which one may be the background; the data has road"),
        ({"resize": "crop"}, "data.resize is crop, which leaves the border of images out"),
        ({"loss": {"dise": 1.0}}, "dise"),
        ({"loss": {"dice": 0.0}}, "trains nothing"),
        ({"loss": {"dice": 1.0}, "class_weights": "median_frequency"}, "None of dice takes class weights"),
        ({"weights": "coco"}, "torchvision publishes no unet on resnet18; there are fcn on resnet50"),
        ({"backbone": "resnet20", "head": "deeplabv3"}, "maps of the strides 16, 32, but the backbone resnet20 has"),
    ],
)
def test_a_mistake_in_the_recipe_is_said_before_the_first_step(options, reason):
    with pytest.raises(UsageError, match=reason):
        make_task(**options)


@pytest.mark.parametrize(
    "value, size, reason",
    [
        (77, (40, 40), r"'.*000003.png' has values that stand for no class, 77 \(5 pixels\): expected 0 background, "),
        (1, (40, 39), r"'.*000003.png' has 39 x 40 pixels, but its image '.*' has 40 x 40: they must be of one size"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(value, size, reason, run, tmp_path, capsys):
    data = tmp_path / "data"
    assert main(["draw-data", "mask_folder", str(data), "--images", "16", "--size", "40"]) == 0
    broken = np.zeros(size, np.uint8)
    broken[0, :5] = value
    Image.fromarray(broken).save(data / "train" / "masks" / "000003.png")
    line = ["train", "segmentation/unet_resnet18_shapes", "--data.format", "mask_folder", "--data.root", str(data)]
    capsys.readouterr()
    assert main([*line, *SMALL, "--out", str(tmp_path / "run")]) == 3
    assert re.search(reason, capsys.readouterr().err)


def test_published_weights_may_be_a_file(tmp_path):
    """Of torchvision's layout, for VOC's classes in another order and one that VOC lacks."""
    theirs = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True)
    torch.save(theirs.state_dict(), tmp_path / "fcn.pth")
    task = make_task(
        names=["cat", "background", "yeti"],
        head="fcn",
        backbone="resnet50",
        channels=None,
        weights=str(tmp_path / "fcn.pth"),
        auxiliary=0.5,
    )
    for ours, layer in ((task.head, theirs.classifier[4]), (task.auxiliary, theirs.aux_classifier[4])):
        assert torch.equal(ours.layers[4].weight[:2], layer.weight[[8, 0]])
        assert not torch.equal(ours.layers[4].weight[2], layer.weight[8])
    assert torch.equal(task.backbone.layer4[2].conv3.weight, theirs.backbone.layer4[2].conv3.weight)


def test_the_drawn_world_trains_and_predicts_a_picture(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    write_image(folder / "a.png", ShapesWorld("segmentation", "test", images=1, size=(50, 70))[0]["image"])
    line = ["train", "segmentation/unet_resnet18_shapes", "--data.images", "12", *SMALL, "--out", str(tmp_path / "run")]
    assert main(line) == 0
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "run"), str(folder), "--out", str(out), "--tile", "32", "--draw"]) == 0
    assert np.asarray(Image.open(out / "masks" / "a.png.png")).shape == (50, 70)
    assert (out / "pictures").is_dir()
