"""The classification task through its public door."""

import numpy as np
import pytest
import torch

from foveal.core.data import preprocessing
from foveal.core.options import DataOptions
from foveal.tasks.classification.heads import LinearHead
from foveal.tasks.classification.options import ClassificationOptions, LossOptions, MixOptions
from foveal.tasks.classification.task import ClassificationTask

GREY32 = preprocessing(DataOptions(size=32, grey=True))


def lenet(classes=3, counts=None, **options) -> ClassificationTask:
    names = [f"class {number}" for number in range(classes)]
    model = ClassificationOptions(backbone="lenet5_modern", **options)
    return ClassificationTask(model, class_names=names, class_counts=counts, preprocessing=GREY32)


def batch(count=4, classes=3):
    generator = torch.Generator().manual_seed(0)
    return {
        "image": torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator),
        "label": torch.arange(count) % classes,
        "path": [f"{number}.png" for number in range(count)],
        "size": [(10, 20)] * count,
    }


def test_the_head_averages_the_coarsest_map():
    head = LinearHead((2, 3), num_classes=2)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 1.0]]))
        head.linear.bias.copy_(torch.tensor([0.5, 0.0]))
    coarse = torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]], [[5.0, 5.0]]]])  # means 2, 2, 5
    assert head([torch.zeros(1, 2, 4, 4), coarse]).tolist() == [[2.5, 7.0]]


def test_images_are_normalised_on_the_way_in():
    task = ClassificationTask(ClassificationOptions(backbone="lenet5_modern"), class_names=["a", "b"])
    grey = task.normalise(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    assert grey[0, :, 0, 0].tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rel=1e-5
    )


def test_grey_is_luma():
    image = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    assert lenet().normalise(image).item() == pytest.approx((0.299 - 0.459) / 0.226, rel=1e-4)


def test_predictions_name_the_first_classes_by_falling_probability():
    task = lenet(classes=7).eval()
    task.prediction_options.top_k = 3
    first, second = task.predict(batch(2))
    assert first["path"] == "0.png" and first["size"] == (10, 20)
    assert len(first["names"]) == len(first["scores"]) == 3
    probabilities = task(batch(2)["image"]).softmax(dim=1)[1]
    assert second["labels"].tolist() == probabilities.argsort(descending=True)[:3].tolist()
    assert second["scores"].tolist() == pytest.approx(probabilities.sort(descending=True).values[:3].tolist())
    assert second["names"] == [f"class {label}" for label in second["labels"].tolist()]


@pytest.mark.parametrize("mix", [MixOptions(mixup=0.5), MixOptions(cutmix=1.0), MixOptions(mixup=0.2, cutmix=1.0)])
def test_mixing_keeps_the_sum_of_the_labels_and_happens_in_training_only(mix):
    task = lenet(mix=mix)
    mixed = task.mix(batch())
    assert mixed["label"].shape == (4, 3) and mixed["label"].sum(dim=1).tolist() == pytest.approx([1] * 4)
    assert mixed["image"].dtype == torch.float32 and mixed["image"].shape == (4, 1, 32, 32)
    assert task.losses(mixed)["cross_entropy"].isfinite()
    task.eval().evaluate(batch())  # takes the plain labels
    assert lenet().mix(batch())["image"].dtype == torch.uint8


def test_balanced_weights_are_counted_and_saved():
    task = lenet(classes=2, counts=[1, 3], loss=LossOptions(class_weights="balanced"))
    assert task.state_dict()["class_weights"].tolist() == pytest.approx([2, 2 / 3])
    again = lenet(classes=2, loss=LossOptions(class_weights="balanced"))
    again.load_state_dict(task.state_dict())
    assert again.class_weights.tolist() == task.class_weights.tolist()


def test_the_validation_loss_does_not_depend_on_the_batches():
    task = lenet(classes=2, counts=[1, 3], loss=LossOptions(class_weights="balanced")).eval()
    images = batch(6, classes=2)
    by_class = torch.tensor([0, 2, 4, 1, 3, 5])  # sorted by class, as data sets are
    for cut in ((6,), (3, 3), (1, 5)):
        for part in by_class.split(list(cut)):
            task.evaluate({"image": images["image"][part], "label": images["label"][part]})
        losses = task.compute_metrics()["loss"]
        assert losses == pytest.approx(task.losses(images)["cross_entropy"].item(), rel=1e-5)


def test_it_overfits_eight_images():
    task, images = lenet(classes=4), batch(8, classes=4)
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        task.losses(images)["cross_entropy"].backward()
        optimizer.step()
    assert (task(images["image"]).argmax(dim=1) == images["label"]).all()
    assert task.losses(images)["cross_entropy"] < 0.05


def test_the_drawn_picture_holds_the_image_and_a_caption():
    task = lenet().eval()
    image = np.full((8, 8, 3), 200, np.uint8)
    picture = task.draw(image, task.predict(batch(1))[0])
    assert picture.dtype == np.uint8 and picture.shape[0] > 240 and picture.shape[1] >= 240
    assert (picture == 200).all(axis=2).sum() >= 240 * 240  # every pixel of the image, thirty times as large each way


@pytest.mark.parametrize(("resize", "shape"), [("squash", (64, 64, 3)), ("crop", (64, 64, 3))])
def test_any_image_becomes_the_input_of_the_network(resize, shape):
    options = DataOptions(size=64, resize=resize)
    task = ClassificationTask(
        ClassificationOptions(backbone="lenet5_modern"), class_names=["a", "b"], preprocessing=preprocessing(options)
    )
    for height, width in ((100, 300), (300, 100), (20, 31), (1, 500)):
        for augment in ("none", "characters", "photos", "crops"):
            sample = {"image": np.zeros((height, width, 3), np.uint8)}
            assert task.transform(augment)(sample, seed=1)["image"].shape == shape


def test_the_names_of_the_augmentations_are_those_that_are_made():
    from foveal.tasks.classification import options, transforms

    assert set(options.AUGMENTATIONS) == set(transforms.AUGMENTATIONS)
