"""The task of faces: what it learns from, what it measures, and what a checkpoint of it holds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from foveal.core.data import DataModule, preprocessing
from foveal.core.errors import DataError, ModelFileError, UsageError
from foveal.core.options import DataOptions, PredictionOptions
from foveal.datasets.pairs import FaceFiles
from foveal.tasks.faces.evaluation import Evaluation, Pairs, distances_of, raw_pixels
from foveal.tasks.faces.gallery import Gallery
from foveal.tasks.faces.head import EmbeddingHead, cells_of
from foveal.tasks.faces.identification import split_gallery
from foveal.tasks.faces.loss_options import LossOptions
from foveal.tasks.faces.network import _start_head
from foveal.tasks.faces.options import FacesOptions
from foveal.tasks.faces.recognition import Naming, Seen
from foveal.tasks.faces.task import FacesTask
from foveal.tasks.faces.thresholds import MISSING, Threshold, chosen_threshold, rates_of

SIZE = 32
SEEN = preprocessing(DataOptions(size=SIZE))
NORM = ("weight", "bias", "running_mean", "running_var")


def options(**given):
    return FacesOptions(**{"backbone": "lenet5", "width": 8, **given})


@pytest.fixture
def task():
    torch.manual_seed(0)
    return FacesTask(options(), preprocessing=SEEN).eval()


def files(tmp_path, labels, **pairs):
    names = [f"person {number}" for number in range(max(labels) + 1)]
    return FaceFiles(tmp_path, [f"{index}.png" for index in range(len(labels))], labels, names, **pairs)


# --- network ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "weights"), [("average", 4 * 8), ("depthwise", 4 * 6 + 4 * 8), ("flat", 4 * 6 * 8)])
def test_heads_and_their_weights(kind, weights):
    """Of 4 channels in 2 x 3 cells to 8 numbers; norms have no part in the count."""
    head = EmbeddingHead((2, 4), 8, kind=kind, cells=(2, 3))
    layers = [module for module in head.modules() if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)]
    assert sum(parameter.numel() for layer in layers for parameter in layer.parameters()) == weights
    assert head([torch.zeros(5, 2, 4, 6), torch.rand(5, 4, 2, 3)]).shape == (5, 8)


def test_the_average_does_not_see_where_something_is_and_the_others_do():
    maps = torch.rand(3, 4, 2, 3)
    for kind, blind in (("average", True), ("depthwise", False), ("flat", False)):
        torch.manual_seed(0)
        head = EmbeddingHead((4,), 8, kind=kind, cells=(2, 3)).eval()
        assert torch.allclose(head([maps]), head([maps.flip(3)]), atol=1e-6) is blind, kind


def test_cells_of_a_network_that_stays_in_training():
    backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2))
    backbone.forward = lambda images: [images, torch.nn.functional.conv2d(images, backbone[0].weight, stride=2)]
    assert cells_of(backbone, 3, 9) == (4, 4) and backbone.training


def test_images_of_many_shapes_are_refused():
    with pytest.raises(UsageError, match=r"data\.resize fit leaves images of many shapes"):
        FacesTask(options(), preprocessing=preprocessing(DataOptions(size=SIZE, resize="fit")))


@pytest.mark.parametrize(("name", "size", "channels"), [("deepface", 80, 16), ("deepid", 64, 320)])
def test_networks_of_aligned_faces(name, size, channels):
    seen = preprocessing(DataOptions(size=size))
    with torch.device("meta"):  # DeepFace has millions of weights
        task = FacesTask(options(backbone=name, patches=2), preprocessing=seen)
        assert task(torch.zeros(2, 3, size, size)).shape == (2, 8)
    assert task.head.linear.in_features == channels
    with pytest.raises(UsageError, match=f"{name} has none to start from"):
        FacesTask(options(backbone=name, weights="imagenet"), preprocessing=seen)


def test_a_deepface_of_too_small_faces_is_refused():
    with pytest.raises(UsageError, match="DeepFace needs 72 x 72 or more"):
        FacesTask(options(backbone="deepface"), preprocessing=preprocessing(DataOptions(size=64)))


def test_the_published_embedding_of_a_facenet_file_is_gone_on_with(monkeypatch):
    held = {"last_linear.weight": torch.randn(8, 4), **{f"last_bn.{key}": torch.rand(8) for key in NORM}}
    held["last_bn.num_batches_tracked"] = torch.tensor(3)
    monkeypatch.setattr("foveal.tasks.faces.network.read_weights", lambda source, name: held)
    head = EmbeddingHead((4,), 8)
    _start_head(head, options(backbone="inception_resnet_v1", weights="20180402.pt"))
    assert torch.equal(head.linear.weight, held["last_linear.weight"])
    assert torch.equal(head.norm.running_var, held["last_bn.running_var"])
    other = EmbeddingHead((4,), 6)
    before = other.linear.weight.clone()
    _start_head(other, options(backbone="inception_resnet_v1", weights="20180402.pt"))  # of another width
    assert torch.equal(other.linear.weight, before)


def test_embeddings_have_length_one_and_mirrored_faces_one_embedding(task):
    images = torch.randint(0, 256, (4, 3, SIZE, SIZE), dtype=torch.uint8)
    with torch.no_grad():
        assert task.embed(images).norm(dim=1) == pytest.approx(1, abs=1e-5)
        both, mirrored = task.embed(images, flip=True), task.embed(images.flip(3), flip=True)
        assert torch.allclose(both, mirrored, atol=1e-5)
        assert not torch.allclose(task.embed(images), both, atol=1e-2)


# --- training ---------------------------------------------------------------------------------------------------------


def built(tmp_path, loss="arcface", labels=(0, 0, 1, 1, 2)):
    data = files(tmp_path, list(labels))
    return FacesTask.build(
        options(loss=LossOptions(name=loss)), class_names=data.class_names, preprocessing=SEEN, training=data
    ), data


def test_the_loss_knows_the_people_and_a_checkpoint_to_use_does_not(tmp_path):
    task, _ = built(tmp_path)
    assert task.loss.weight.shape == (3, 8) and task.class_names == []
    batch = {
        "image": torch.randint(0, 256, (4, 3, SIZE, SIZE), dtype=torch.uint8),
        "identity": torch.tensor([0, 0, 1, 2]),
    }
    assert list(task.losses(batch)) == ["arcface"] and task.losses(batch)["arcface"] > 0
    task._trainer = type("T", (), {"max_epochs": 1, "current_epoch": 0})()
    last = {"state_dict": task.state_dict(), "optimizer_states": []}
    best = {"state_dict": task.state_dict()}
    for checkpoint in (last, best):
        task.on_save_checkpoint(checkpoint)
        assert not any(key.startswith("loss.") for key in checkpoint["state_dict"])
    assert "training_weights" not in best and list(last["training_weights"]) == ["loss.weight"]
    assert "person 0" not in str(best["foveal"])
    used = FacesTask.from_checkpoint(best)
    assert used.loss is None and used.fingerprint == task.fingerprint
    again, _ = built(tmp_path)
    again.on_load_checkpoint(last)
    again.load_state_dict(last["state_dict"])
    assert torch.equal(again.loss.weight, task.loss.weight)
    again.load_state_dict(best["state_dict"])  # as after a training
    with pytest.raises(RuntimeError, match="head"):
        again.load_state_dict({key: value for key, value in best["state_dict"].items() if key != "head.linear.weight"})


def test_people_with_one_image_are_left_out_where_images_are_compared(tmp_path):
    with pytest.warns(UserWarning, match="1 of 3 people have one image"):
        task, data = built(tmp_path, "triplet")
    assert task.training_data(data, "none").labels.tolist() == [0, 0, 1, 1]
    task, data = built(tmp_path)
    assert task.training_data(data, "none") is data


def test_one_image_of_everybody_is_enough_for_margins_and_not_for_triplets(tmp_path):
    built(tmp_path, "arcface", labels=(0, 1, 2))
    with pytest.raises(DataError, match="two images or more"):
        built(tmp_path, "triplet", labels=(0, 1, 2))


def batches_of(tmp_path, **given):
    data = files(tmp_path, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    module = DataModule(lambda split: data, DataOptions(sampling="people", num_workers=0, **given), seed=0)
    module.transform = lambda augment: FacesTask(options(), preprocessing=SEEN).transform(augment)
    return [[data.labels[draw.index] for draw in batch] for batch in module.train_dataloader().batch_sampler]


def test_batches_of_people(tmp_path):
    for batch in batches_of(tmp_path, batch_size=4, images_per_person=2):
        assert len(batch) == 4 and sorted(np.unique(batch, return_counts=True)[1]) == [2, 2]
    with pytest.raises(UsageError, match=r"data\.batch_size is 3, too small for two people"):
        batches_of(tmp_path, batch_size=3, images_per_person=2)


# --- evaluation -------------------------------------------------------------------------------------------------------


def evaluated(data, rows, *, stored=None, **given):
    evaluation = Evaluation(data, options(**given), stored=stored)
    images = torch.zeros(len(rows), 3, 8, 8, dtype=torch.uint8)
    evaluation.add([data.path(index) for index in range(len(rows))], torch.tensor(rows), images)
    evaluation.compute()
    return evaluation


def test_all_pairs_of_four_images_by_hand(tmp_path):
    """Cosines: 0.8 and 0 of one person, 0, 0.6, 1 and 0.6 of two; the distances are 1 less these."""
    east, north, between = [1.0, 0.0], [0.0, 1.0], [0.8, 0.6]
    data = files(tmp_path, [0, 0, 1, 1])
    found = evaluated(data, [east, between, north, east], fars=[0.5], far=0.5)
    measured = found._measured["network"]
    assert sorted(measured.distances[found._same].tolist()) == pytest.approx([0.2, 1.0])
    assert sorted(measured.distances[~found._same].tolist()) == pytest.approx([0.0, 0.2, 0.4, 1.0])
    # A pair of one person is nearer than one of two in 2.5 of 4 cases, and in 0.5 of 4.
    assert found.summary()["auc"] == pytest.approx(3 / 8)
    assert found.thresholds() == [MISSING]  # 20 pairs of two people are needed for 0.5, and there are four
    assert "tar" not in found.summary() and found.tables()["FAR"]["TAR"] == {"0.5": None}
    assert "There are 4 pairs of two people, too few" in found.remark() and "threshold" not in found.tables()


def test_the_distances_that_predictions_go_by_are_measured(tmp_path):
    """Of the same pairs: below 0.3 one of two of one person and two of four of others, below 0.1 none and one."""
    east, north, between = [1.0, 0.0], [0.0, 1.0], [0.8, 0.6]
    found = evaluated(files(tmp_path, [0, 0, 1, 1]), [east, between, north, east], stored={0.01: 0.1, 0.1: 0.3})
    assert found.tables()["threshold"] == {
        "distance": {"for FAR 0.1": 0.3, "for FAR 0.01": 0.1},
        "FAR": {"for FAR 0.1": 0.5, "for FAR 0.01": 0.25},
        "TAR": {"for FAR 0.1": 0.5, "for FAR 0.01": 0.0},
    }


def test_thresholds_keep_their_rates_when_an_evaluation_asks_for_others(task):
    task.thresholds = [0.2, *[MISSING] * 5]
    far = task.options.far
    task.evaluate_by(replace(task.options, far=0.25))
    assert task.threshold() == (0.2, far)


def test_who_it_is_by_hand(tmp_path):
    """Seven of ten people are enrolled with one of two equal pictures, so the other one finds all but those who look
    like somebody else: of two who are enrolled, each picture is as near to either.
    """
    labels = [person for person in range(10) for _ in range(2)]
    one, other = np.unique(np.array(labels)[split_gallery(np.array(labels), unknown=0.3).gallery])[:2]
    rows = [np.eye(10, dtype=np.float32)[one if person == other else person].tolist() for person in labels]
    evaluation = Evaluation(files(tmp_path, labels), options(), identify=True)
    evaluation.add([f"{tmp_path}/{index}.png" for index in range(20)], torch.tensor(rows), torch.zeros(20, 3, 8, 8))
    evaluation.compute()
    columns = evaluation.tables()["identification"]["network"]
    assert columns["rank 1"] == pytest.approx(1 - 2 / 7) and columns["rank 5"] == 1.0
    assert columns["rank 1 at FAR 0.1"] is None  # six pictures of strangers, of a hundred that it takes
    assert "identification" not in evaluated(files(tmp_path, labels), rows).tables()


def test_named_pairs_and_folds_are_those_of_the_protocol(tmp_path):
    """One pair of each kind in each of two folds: the threshold of the other fold is right for both pairs."""
    data = files(tmp_path, [0, 0, 1, 1], pairs=[(0, 1), (0, 2), (2, 3), (1, 3)], folds=[0, 0, 1, 1])
    near = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    assert evaluated(data, near).summary()["accuracy"] == 1.0
    data.identified = False  # only these four pairs are known
    assert len(evaluated(data, near)._same) == 4
    assert len(evaluated(files(tmp_path, [0, 0, 1, 1]), near)._same) == 6


def test_where_nothing_can_be_verified_there_is_no_number(tmp_path):
    found = evaluated(files(tmp_path, [0, 1]), [[1.0, 0.0], [0.0, 1.0]])
    assert found.summary()["accuracy"] == MISSING and found.thresholds() == [] and found.tables() == {}
    assert "Nothing can be verified" in found.remark()


def test_images_that_were_skipped_take_their_pairs_with_them(tmp_path):
    data = files(tmp_path, [0, 0, 0, 1, 1])
    evaluation = Evaluation(data, options())
    evaluation.add(
        [data.path(index) for index in (0, 2, 3, 4)], torch.eye(4), torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    )
    evaluation.compute()
    assert evaluation._same.sum() == 2 and (~evaluation._same).sum() == 4


def test_distances_pair_by_pair_are_those_of_the_matrix(monkeypatch):
    rows = torch.nn.functional.normalize(torch.randn(20, 6), dim=1)
    pairs = Pairs(np.arange(10), np.arange(10) + 5, np.zeros(10, bool), np.zeros(10, np.int64))
    whole = distances_of(rows, pairs)
    monkeypatch.setattr("foveal.tasks.faces.evaluation._MATRIX", 1)
    monkeypatch.setattr("foveal.tasks.faces.evaluation._BLOCK", 3)
    assert distances_of(rows, pairs) == pytest.approx(whole, abs=1e-6)
    assert whole[0] == pytest.approx(1 - float(rows[0] @ rows[5]), abs=1e-6)


def test_pixels_do_not_see_how_bright_an_image_is():
    image = torch.randint(0, 100, (1, 3, 40, 40), dtype=torch.uint8)
    rows = raw_pixels(torch.cat([image, image + 100]))
    assert rows.shape == (2, 1024) and float(rows[0] @ rows[1]) == pytest.approx(1, abs=1e-3)


# --- thresholds and names ---------------------------------------------------------------------------------------------


def test_the_threshold_of_a_far_or_of_the_next_larger_one():
    said = options(far=1e-3, fars=[0.1, 1e-3, 0.01])
    assert rates_of(said) == [1e-3, 0.1, 0.01]
    assert chosen_threshold([0.2, 0.6, 0.4], said) == Threshold(0.2, 1e-3)
    assert chosen_threshold([0.2, 0.6, 0.4], said, 0.1) == Threshold(0.6, 0.1)
    assert chosen_threshold([MISSING, 0.6, 0.4], said) == Threshold(0.4, 0.01)
    assert chosen_threshold([MISSING] * 3, said) is None and chosen_threshold([], said) is None
    with pytest.raises(UsageError, match=r"--far is 0.001, .* it has some for 0.01, 0.1"):
        chosen_threshold([MISSING, 0.6, 0.4], said, 1e-3)
    with pytest.raises(UsageError, match=r"model.fars holds 0.7"):
        rates_of(options(fars=[0.7]))


def test_faces_are_named_below_the_threshold_the_surest_first():
    gallery = Gallery(["ann", "bob", "ann"], torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]), "print")
    naming = Naming(gallery, Threshold(0.1, 0.01))
    boxes = torch.arange(12.0).reshape(3, 4)
    rows = torch.tensor([[-1.0, 0.0], [0.8, 0.6], [0.28, 0.96]])
    nobody = Seen("b.jpg", (10, 10), boxes[:0], rows[:0])
    found, none = naming.predictions([Seen("a.jpg", (10, 10), boxes, rows), nobody])
    assert found["names"] == ["ann", "bob", "unknown"] and found["labels"].tolist() == [0, 1, 2]
    assert found["scores"].tolist() == pytest.approx([1.0, 0.96, 0.0], abs=1e-6)
    assert torch.equal(found["boxes"], boxes[[1, 2, 0]])
    assert naming.mistaken == pytest.approx(0.03)  # three embeddings, each at a FAR of 0.01
    assert none["names"] == [] == naming.predictions([nobody])[0]["names"] and none["path"] == "b.jpg"
    gallery.names[0] = "unknown"
    with pytest.raises(UsageError, match="a person called unknown"):
        Naming(gallery, Threshold(0.1, 0.01))
    gallery.names[0] = "ann"
    with pytest.raises(UsageError, match="no threshold"):
        Naming(gallery, None)


def test_a_gallery_of_another_network_is_refused(task, tmp_path):
    Gallery(["ann"], torch.eye(8)[:1], "another").write(tmp_path / "g.safetensors")
    with pytest.raises(ModelFileError, match="another model"):
        task.predict_by(PredictionOptions(gallery=str(tmp_path / "g.safetensors")))


class TwoFaces:
    """A detector that finds the left and the right half of each image."""

    def detect(self, image):
        from foveal.tasks.faces.detector import Face

        height, width = image.shape[:2]
        boxes = np.array([[0, 0, width / 2, height], [width / 2, 0, width, height]], np.float32)
        return [Face(box, score, None) for box, score in zip(boxes, (0.9, 0.8), strict=True)]


def test_faces_that_a_detector_finds_are_embedded_as_if_they_were_cut_out(task, monkeypatch, tmp_path):
    (tmp_path / "net.onnx").touch()
    monkeypatch.setattr("foveal.tasks.faces.recognition.build_detector", lambda name, path: TwoFaces())
    rng = np.random.default_rng(0)
    halves = [rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(2)]
    task.predict_by(PredictionOptions(detector=str(tmp_path / "net.onnx")))
    whole = torch.from_numpy(np.concatenate(halves, axis=1)).permute(2, 0, 1)[None]
    size = (SIZE, 2 * SIZE)
    with torch.no_grad():
        (found,) = task.predict({"image": whole, "path": ["a.jpg"], "size": [size], "shape": [size]})
        alone = task.embed(torch.from_numpy(np.stack(halves)).permute(0, 3, 1, 2))
    assert torch.allclose(found["embeddings"], alone, atol=1e-5) and found["scores"].tolist() == pytest.approx(
        [0.9, 0.8]
    )
    assert found["boxes"].tolist() == [[0, 0, SIZE, SIZE], [SIZE, 0, 2 * SIZE, SIZE]]
    assert task.transform("none")({"image": halves[0]}, seed=0)["image"].shape == (SIZE, SIZE, 3)
    assert task.preprocessing["resize"] == "keep" and task.seen["resize"] == "squash"
    with pytest.raises(UsageError, match="there is no such file"):
        task.predict_by(PredictionOptions(detector="nowhere.onnx"))


def test_pictures(task):
    image = np.full((SIZE, SIZE, 3), 128, np.uint8)
    row = torch.nn.functional.normalize(torch.randn(8), dim=0)
    plain = {"path": "a.jpg", "size": (SIZE, SIZE), "labels": torch.zeros(0), "scores": torch.zeros(0), "names": []}
    drawn = task.draw(image, {**plain, "embedding": row})
    assert drawn.shape[0] > drawn.shape[1]  # the stripes
    gallery = Gallery(["ann"], torch.eye(8)[:1], "print")
    task.naming = Naming(gallery, Threshold(0.1, 0.01))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    box = torch.tensor([[16.0, 16.0, 48.0, 48.0]])
    (found,) = task.naming.predictions([Seen("a.jpg", (64, 64), box, torch.eye(8)[1:2])])
    sharp = task.draw(noise, found)
    task.prediction_options = PredictionOptions(blur_unknown=True)
    blurred = task.draw(noise, found)
    middle = tuple(slice(side * 3 // 8, side * 5 // 8) for side in sharp.shape[:2])
    assert blurred[middle].std() < sharp[middle].std() / 3
