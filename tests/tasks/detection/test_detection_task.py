"""The task: losses and metrics, what a checkpoint keeps, and that it learns."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from foveal.cli.main import main
from foveal.core.checkpoint import read_checkpoint
from foveal.core.data import DataOptions, collate, preprocessing, to_tensor
from foveal.core.errors import UsageError
from foveal.core.images import write_image
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks import load
from foveal.tasks.detection.options import AnchorOptions, DetectionOptions, MixOptions
from foveal.tasks.detection.task import DetectionTask

KEYS = ("boxes", "labels", "crowd", "difficult")
SPLITS = ["--data.splits", "[0.5, 0.25, 0.25]"]
SMALL = ["--data.format", "shapes", "--data.size", "64", "--data.batch_size", "2", "--data.num_workers", "0"]
SMALL += ["--model.backbone", "mobilenet_v2", "--model.channels", "16", "--trainer.accelerator", "cpu"]


def make_task(names, size=64, **options):
    torch.manual_seed(0)
    options = DetectionOptions(**{"backbone": "mobilenet_v2", "channels": 16, "regions": 16, **options})
    return DetectionTask(options, class_names=names, preprocessing=preprocessing(DataOptions(size=size, resize="fit")))


def make_batch(task, world, indices):
    """As a loader of evaluation gives it."""
    samples = []
    for index in indices:
        sample = world[index]
        truth = {key: torch.from_numpy(sample[key]) for key in KEYS}
        changed = task.transform("none")(sample, seed=0)
        prepared = {key: torch.from_numpy(np.ascontiguousarray(changed[key])) for key in KEYS}
        own = {key: sample[key] for key in ("path", "size")}
        samples.append({**own, "image": to_tensor(changed["image"]), **prepared, "truth": truth})
    return collate(samples)


@pytest.fixture(scope="module")
def world():
    return ShapesWorld("detection", "train", images=16, size=64)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a short training through the command line."""
    folder = tmp_path_factory.mktemp("runs") / "boxes"
    line = [
        "train",
        "detection/fasterrcnn_resnet18_shapes",
        "--out",
        str(folder),
        "--data.images",
        "16",
        *SPLITS,
        *SMALL,
    ]
    assert main([*line, "--trainer.max_epochs", "1", "--model.score", "0.0"]) == 0
    return folder


# --- losses -----------------------------------------------------------------------------------------------------------


def test_the_losses_have_the_names_of_the_paper_and_are_in_the_table(run):
    head = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    names = ("rpn_objectness", "rpn_box", "classification", "box", "loss")
    assert {f"{phase}/{name}" for phase in ("train", "val") for name in names} <= set(head)
    assert {f"val/{name}" for name in ("ap", "ap50", "ap75", "ap_small", "ar100", "voc_ap", "voc_ap_11")} <= set(head)


def test_validation_has_losses_without_touching_anything(world):
    task = make_task(world.class_names).eval()
    before = {key: value.clone() for key, value in task.state_dict().items()}
    batch = make_batch(task, world, range(4))
    values = []
    for seed in (1, 2):  # of a training that goes on: neither moved by a validation nor moving it
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        task.evaluate(batch)
        assert torch.equal(torch.get_rng_state(), state)
        values.append(task.compute_metrics())
    assert values[0] == values[1]
    assert values[0]["loss"] == pytest.approx(
        sum(values[0][name] for name in ("rpn_objectness", "rpn_box", "classification", "box")), rel=1e-5
    )
    assert all(torch.equal(value, before[key]) for key, value in task.state_dict().items())


def test_the_validation_loss_is_the_mean_over_the_images_of_all_batches(world):
    task = make_task(world.class_names, head="fcos", channels=64).eval()  # which samples nothing
    for indices in (range(3), range(3, 4)):
        task.evaluate(make_batch(task, world, indices))
    together = task.compute_metrics()
    apart = []
    for index in range(4):
        task.evaluate(make_batch(task, world, [index]))
        apart.append(task.compute_metrics()["classification"])
    task.evaluate(make_batch(task, world, range(3)))
    first = task.compute_metrics()["classification"]
    assert together["classification"] == pytest.approx((3 * first + apart[3]) / 4, rel=1e-4)


def test_crowds_and_difficult_objects_are_not_learnt(world):
    task = make_task(world.class_names)
    batch = make_batch(task, world, [0, 1])
    without = {**batch, "boxes": [boxes[:0] for boxes in batch["boxes"]], "labels": [x[:0] for x in batch["labels"]]}
    without |= {key: [flags[:0] for flags in batch[key]] for key in ("crowd", "difficult")}
    flagged = {**batch, "crowd": [torch.ones_like(batch["crowd"][0]), batch["crowd"][1]]}
    flagged["difficult"] = [batch["difficult"][0], torch.ones_like(batch["difficult"][1])]
    losses = []
    for each in (without, flagged):
        torch.manual_seed(3)
        task.eval()
        losses.append({name: value.item() for name, value in task.losses(each).items()})
    assert losses[0] == losses[1] and losses[0]["box"] == 0


def test_batch_norms_keep_their_statistics_where_they_are_asked_to(world):
    task = make_task(world.class_names, frozen_norm=True).train()
    norms = [module for module in task.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and not any(norm.training or norm.weight.requires_grad for norm in norms)
    before = [norm.running_mean.clone() for norm in norms]
    task.losses(make_batch(task, world, range(2)))
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))
    assert any(module.training for module in make_task(world.class_names).train().backbone.modules())


def test_what_pads_an_image_is_the_mean_colour_whatever_was_there(world):
    task = make_task(world.class_names).eval()
    image = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    noisy = image.clone()
    noisy[:, :, 40:] = torch.randint(0, 255, (1, 3, 24, 64), dtype=torch.uint8)
    with torch.no_grad():
        first, second = (task(x, [(40, 64)]) for x in (image, noisy))
    assert torch.equal(first.objectness, second.objectness)


def test_mosaic_and_mixup_make_other_batches(world):
    task = make_task(world.class_names, mix=MixOptions(mosaic=1.0, mixup=1.5))
    batch = make_batch(task, world, range(4))
    mixed = task.mix(batch)
    assert mixed["image"].dtype == torch.uint8 and not torch.equal(mixed["image"], batch["image"])
    assert all(value.isfinite() for value in task.losses(mixed).values())


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_keeps_the_thresholds_that_validation_found(run):
    task = load(run)
    entry = read_checkpoint(run / "best.ckpt")["foveal"]
    assert len(task.thresholds) == 8 and task.thresholds == entry["thresholds"]


def test_a_run_keeps_the_curves_and_the_confusion(run):
    assert {"precision_recall.png", "confusion.png"} <= {path.name for path in run.iterdir()}


def test_predictions_reach_the_threshold_of_their_class(world):
    task = make_task(world.class_names, score=0.0, most=100_000).eval()
    batch = make_batch(task, world, range(2))
    task.prediction_options.score = 0.0
    with torch.no_grad():
        everything = task.predict(batch)
        middle = float(everything[0]["scores"].median())
        task.prediction_options.score = None
        task.thresholds = [middle] * 4 + [2.0] * 4  # of the last four classes nothing is sure enough
        found = task.predict(batch)
    assert len(everything[0]["labels"]) > 10 and set(everything[0]["labels"].tolist()) - {0, 1, 2, 3}
    assert found[0]["scores"].min() >= middle and set(found[0]["labels"].tolist()) <= {0, 1, 2, 3}
    wanted = (everything[0]["scores"] >= middle) & (everything[0]["labels"] < 4)
    kept = {tuple(box) for box in everything[0]["boxes"][wanted].tolist()}  # whatever the order of equal scores
    assert {tuple(box) for box in found[0]["boxes"].tolist()} == kept and len(kept) > 2


def test_boxes_are_in_pixels_of_the_file_whatever_the_network_saw(world):
    task = make_task(world.class_names, score=0.0).eval()
    task.prediction_options.score = 0.0
    image = torch.randint(0, 255, (1, 3, 64, 32), dtype=torch.uint8)
    small = {"image": image, "shape": [(64, 32)], "size": [(64, 32)], "path": ["a"]}
    with torch.no_grad():
        seen, file = (task.predict(batch)[0] for batch in (small, {**small, "size": [(640, 96)]}))
    torch.testing.assert_close(file["boxes"], seen["boxes"] * torch.tensor([3.0, 10.0, 3.0, 10.0]))
    assert file["size"] == (640, 96) and file["names"] == [world.class_names[label] for label in file["labels"]]


@pytest.mark.parametrize("names", [["disc"], [f"class {number}" for number in range(9)]])
def test_a_checkpoint_with_other_classes_than_its_network_is_refused(run, tmp_path, capsys, names):
    checkpoint = torch.load(run / "best.ckpt", weights_only=True)
    checkpoint["foveal"]["class_names"] = names
    torch.save(checkpoint, tmp_path / "edited.ckpt")
    assert main(["predict", str(tmp_path / "edited.ckpt"), str(run), "--out", str(tmp_path / "out")]) in (3, 6)
    write_image(tmp_path / "a.png", np.zeros((20, 20, 3), np.uint8))
    assert main(["predict", str(tmp_path / "edited.ckpt"), str(tmp_path / "a.png"), "--out", str(tmp_path / "o")]) == 6
    assert "weights don't fit the network that it names" in capsys.readouterr().err


def test_a_data_set_of_other_classes_is_refused(run, capsys):
    assert main(["draw-data", "coco", str(run / "cats"), "--images", "6", "--size", "64"]) == 0
    file = run / "cats" / "annotations" / "instances_train.json"
    document = json.loads(file.read_text())
    document["categories"][0]["name"] = "cat"
    for split in ("train", "val", "test"):
        file = run / "cats" / "annotations" / f"instances_{split}.json"
        own = json.loads(file.read_text())
        file.write_text(json.dumps({**own, "categories": document["categories"]}))
    line = ["evaluate", str(run), "--data.root", str(run / "cats"), "--data.format", "coco"]
    assert main(line) == 3
    assert "evaluate it on a data set with the same class names" in capsys.readouterr().err


def test_evaluate_says_the_metrics_of_each_class(run, tmp_path, capsys):
    assert main(["evaluate", str(run), "--json", "--out", str(tmp_path / "report")]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert list(metrics["per_class"]) == ShapesWorld("detection", images=0).class_names
    assert metrics["images"] == 4 and -1 <= metrics["ap"] <= 1 and metrics["loss"] > 0
    assert (tmp_path / "report" / "precision_recall.png").is_file()


# --- bad input --------------------------------------------------------------------------------------------------------


def test_no_class_at_all():
    with pytest.raises(UsageError, match="Detection finds objects of one class or more, and the data has none"):
        make_task([])


@pytest.mark.parametrize("head", ["fasterrcnn_fpn", "ssd", "retinanet"])
@pytest.mark.parametrize("side", [(1, 1), (1, 400), (400, 1)])
def test_an_image_of_one_pixel(head, side, world):
    task = make_task(world.class_names, head=head).eval()
    image = task.transform("none")({"image": np.full((*side, 3), 90, np.uint8)}, seed=0)["image"]
    batch = {"image": to_tensor(image)[None], "shape": [image.shape[:2]], "size": [side], "path": ["a"]}
    with torch.no_grad():
        boxes = task.predict(batch)[0]["boxes"]
    assert boxes.isfinite().all() and (boxes <= torch.tensor([side[1], side[0]] * 2)).all()


def test_a_batch_without_any_object(world):
    task = make_task(world.class_names).train()
    batch = make_batch(task, world, range(2))
    empty = {**batch, **{key: [value[:0] for value in batch[key]] for key in KEYS}}
    losses = task.losses(empty)
    torch.stack(list(losses.values())).sum().backward()
    assert losses["classification"] > 0 and losses["box"] == 0


def test_some_of_the_classes(tmp_path):
    line = [
        "train",
        "detection/fasterrcnn_resnet18_shapes",
        "--out",
        str(tmp_path / "run"),
        "--data.images",
        "12",
        *SMALL,
    ]
    line += ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    assert main([*line, "--data.classes", "{disc: round, ring: round, star: star}"]) == 0
    assert load(tmp_path / "run").class_names == ["round", "star"]


# --- it learns --------------------------------------------------------------------------------------------------------


def overfit(task, world, *, steps, lr, batch_size=8):
    """AP50 on the images that it was trained on."""
    batch = make_batch(task, world, range(len(world)))
    decayed = [parameter for parameter in task.parameters() if parameter.ndim > 1]
    rest = [parameter for parameter in task.parameters() if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    order: list[int] = []
    task.train()
    for _ in range(steps):
        order = order if len(order) >= batch_size else torch.randperm(len(world)).tolist()
        chosen, order = order[:batch_size], order[batch_size:]
        part = {key: value[chosen] if key == "image" else [value[i] for i in chosen] for key, value in batch.items()}
        optimizer.zero_grad()
        torch.stack(list(task.losses(part).values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        task.eval().evaluate(batch)
    return task.compute_metrics()["ap50"]


@pytest.mark.slow
@pytest.mark.timeout(900)  # minutes on an old processor
def test_faster_rcnn_on_resnet18_learns_sixteen_images_by_heart():
    torch.set_num_threads(2)
    world = ShapesWorld("detection", "train", images=16, size=128)
    anchors = AnchorOptions([[16], [32], [64], [128], [256]])
    options = {"backbone": "resnet18", "channels": 64, "regions": 128, "anchors": anchors}
    task = make_task(world.class_names, size=128, **options)
    assert overfit(task, world, steps=110, lr=1e-3) > 0.95
