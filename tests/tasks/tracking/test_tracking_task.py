"""The tracking task: what it learns, what it predicts of videos, and what its evaluation counts."""

import numpy as np
import pytest
import torch

import foveal
from foveal.cli.main import main
from foveal.core.data import DataModule, collate, preprocessing, to_tensor
from foveal.core.errors import UsageError
from foveal.core.options import DataOptions
from foveal.datasets.shapes import ShapesWorld
from foveal.tasks.tracking.evaluation import Evaluation
from foveal.tasks.tracking.options import TrackingOptions
from foveal.tasks.tracking.task import TrackingTask

SMALL = {"backbone": "resnet18", "stage": 8, "exemplar_size": 63, "search_size": 127, "radius": 8.0}


def task(**changes) -> TrackingTask:
    torch.manual_seed(0)
    return TrackingTask(TrackingOptions(**{**SMALL, **changes})).eval()


def square(x: float, y: float, side: int = 24, size: int = 96) -> np.ndarray:
    """A white square with a black middle on grey."""
    image = np.full((size, size, 3), 128, np.uint8)
    image[int(y) : int(y) + side, int(x) : int(x) + side] = 255
    image[int(y) + 8 : int(y) + 16, int(x) + 8 : int(x) + 16] = 0
    return image


def frames(images, path="clip.mp4", start=0):
    return collate(
        [
            {"image": to_tensor(image), "path": path, "size": image.shape[:2], "frame": number}
            for number, image in enumerate(images, start)
        ]
    )


@pytest.mark.parametrize("head", ["siamfc", "cfnet", "goturn", "siamrpn"])
def test_every_head_learns_from_a_batch_and_follows(head):
    network = task(head=head, **({"exemplar_size": 95, "search_size": 95} if head == "goturn" else {}))
    data = DataModule(lambda split: ShapesWorld("tracking", split, images=48, size=96), DataOptions(batch_size=2))
    data.transform, data.training_data = network.transform, network.training_data
    data.options.augment, data.options.num_workers = "goturn" if head == "goturn" else "siamfc", 0
    batch = next(iter(data.train_dataloader()))
    losses = network.train().losses(batch)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)
    network.eval().prediction_options.targets = {"clip.mp4": [[30, 30, 54, 54]]}
    found = network.predict(frames([square(30, 30)] * 2))
    assert found[0]["boxes"].tolist() == [[30, 30, 54, 54]]
    assert torch.isfinite(found[1]["boxes"]).all()


def test_siamfc_learns_two_videos_by_heart():
    network = task(width=32, margin=1).train()
    world = ShapesWorld("tracking", "train", images=96, size=128)
    data = DataModule(lambda split: world, DataOptions(batch_size=8, num_workers=0, augment="siamfc"))
    data.transform, data.training_data = network.transform, network.training_data
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(5):
        for batch in data.train_dataloader():
            loss = sum(network.losses(batch).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss < 0.2  # 0.69 of a network that knows nothing
    evaluation = Evaluation({"network": network.eval().tracker})
    for index in range(len(world)):
        sample = world[index]
        evaluation.follow(sample["image"], sample["path"], sample["sequence"], sample["boxes"])
    evaluation.finish()
    assert evaluation.measured["network"].summary()["ao"] > 0.6


def test_videos_are_followed_from_batch_to_batch_and_each_anew():
    network = task()
    network.prediction_options.targets = {"a.mp4": [[30, 30, 54, 54]], "b.mp4": [[10, 20, 34, 44]]}
    images = [square(30 + 2 * step, 30) for step in range(4)]
    at_once = network.predict(frames(images, "a.mp4"))
    network.predict(frames([square(10, 20)], "b.mp4"))
    parts = network.predict(frames(images[:1], "a.mp4")) + network.predict(frames(images[1:], "a.mp4", start=1))
    for one, other in zip(at_once, parts, strict=True):
        assert torch.equal(one["boxes"], other["boxes"])
    assert network.predict(frames([square(10, 20)], "b.mp4"))[0]["boxes"].tolist() == [[10, 20, 34, 44]]


def test_several_targets_keep_their_order_and_have_names():
    network = task()
    network.prediction_options.targets = {"clip.mp4": [[30, 30, 54, 54], [4, 4, 20, 20]]}
    found = network.predict(frames([square(30, 30)] * 2))[1]
    assert found["names"] == ["target 1", "target 2"]
    assert found["boxes"].shape == (2, 4) and found["scores"].shape == (2,) and found["lost"].shape == (2,)


def test_a_score_below_the_threshold_is_a_lost_target():
    network = task()
    network.prediction_options.targets = {"clip.mp4": [[30, 30, 54, 54]]}
    network.prediction_options.score = 1.0
    first, second = network.predict(frames([square(30, 30)] * 2))
    assert first["lost"].tolist() == [False] and second["lost"].tolist() == [True]


def test_the_threshold_of_the_checkpoint_counts_where_none_is_given():
    network = task()
    network.prediction_options.targets = {"clip.mp4": [[30, 30, 54, 54]]}
    network.thresholds = [1.0]
    assert network.predict(frames([square(30, 30)] * 2))[1]["lost"].tolist() == [True]


def test_an_image_without_a_target_is_refused():
    network = task()
    with pytest.raises(UsageError, match="needs the target's box"):
        network.predict(frames([square(30, 30)]))


def test_margins_shrink_with_the_crops_and_are_not_for_goturn():
    assert task().head.margin == 2  # 4 cells of 127 pixels
    assert task(margin=1).head.margin == 1
    assert task(head="goturn", exemplar_size=95, search_size=95).head.margin == 0
    assert TrackingTask(TrackingOptions()).head.margin == 0  # siamfc_alexnet has no padding


def test_a_checkpoint_brings_the_tracker_back(tmp_path):
    line = ["train", "tracking/siamfc_resnet18_shapes", "--out", str(tmp_path / "run"), "--data.images", "192"]
    line += ["--data.splits", "[0.5, 0.25, 0.25]", "--model.pairs_per_sequence", "4", "--data.num_workers", "0"]
    assert main(line) == 0
    assert main([*line, "--overwrite"]) == 0
    tracker = foveal.load(tmp_path / "run").tracker()
    tracker.init(square(30, 30), np.array([30.0, 30, 54, 54]))
    box, score = tracker.update(square(30, 30))
    assert box.shape == (4,) and 0 <= score <= 1
    for name in ("success.png", "precision.png", "sequences.csv", "got10k.zip", "recipe.yaml"):
        assert (tmp_path / "run" / name).is_file(), name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"margin": 4}, "model.margin cuts off 4 cells"),
        ({"scales": 4}, "must be odd"),
        ({"backbone": "siamfc_alexnet", "stage": None}, "needs 87 pixels"),
        ({"search_size": 120}, "take 111 or 127"),
    ],
)
def test_sizes_of_which_nothing_is_left_are_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        task(**changes)


def test_a_tracker_to_compare_with_is_asked_for_before_a_training_and_never_to_predict():
    options = TrackingOptions(**SMALL, baselines=["KCF"])
    with pytest.raises(UsageError, match="KCF"):
        TrackingTask.build(options, training=ShapesWorld("tracking", "train", images=48, size=96))
    TrackingTask.build(options)


# --- evaluation -------------------------------------------------------------------------------------------------------


class Scripted:
    """Answers what it was told to, one box a frame."""

    def __init__(self, boxes) -> None:
        self.boxes, self.begun = list(boxes), []

    def init(self, image, box) -> None:
        self.begun.append(np.asarray(box).tolist())

    def update(self, image):
        return np.array(self.boxes.pop(0), float), 0.5


def follow(tracker, truths, path="videos/a/{}.jpg", number=0, evaluation=None):
    evaluation = evaluation or Evaluation({"scripted": lambda: tracker})
    for frame, truth in enumerate(truths):
        boxes = np.array([truth], np.float32) if truth else np.zeros((0, 4), np.float32)
        evaluation.follow(np.zeros((100, 100, 3), np.uint8), path.format(frame), number, boxes)
    return evaluation


def test_a_tracker_begins_at_the_first_frame_that_shows_its_target():
    tracker = Scripted([[0, 0, 10, 10]])
    evaluation = follow(tracker, [None, [0, 0, 10, 10], [0, 0, 10, 20]])
    evaluation.finish()
    assert tracker.begun == [[0, 0, 10, 10]]
    assert evaluation.measured["scripted"].summary()["ao"] == pytest.approx(0.5)  # of the one frame behind


def test_sequences_are_told_apart_and_named_after_their_folders():
    tracker = Scripted([[0, 0, 10, 10], [0, 0, 10, 10]])
    evaluation = follow(tracker, [[0, 0, 10, 10]] * 2)
    follow(tracker, [[0, 0, 20, 10]] * 2, "videos/b/img/{}.jpg", 1, evaluation)
    evaluation.finish()
    assert [sequence.name for sequence in evaluation.sequences] == ["a", "b"]
    assert evaluation.measured["scripted"].summary()["ao"] == pytest.approx(0.75)  # 1 and 0.5
    assert preprocessing(DataOptions())["resize"] != "keep" and task().preprocessing["resize"] == "keep"


def test_restarts_are_counted_beside_the_one_pass():
    far = [50, 50, 60, 60]
    answers = {0: [far, *[[0, 0, 10, 10]] * 8], 1: [far, *[[0, 0, 10, 10]] * 8]}  # of the one pass, and with restarts
    trackers = iter([Scripted(answers[0]), Scripted(answers[1])])
    evaluation = Evaluation({"scripted": lambda: next(trackers)}, restarts=True)
    follow(None, [[0, 0, 10, 10]] * 8, evaluation=evaluation)
    evaluation.finish()
    (restarts,) = evaluation.restarts["scripted"]
    assert restarts.failed == (1,) and restarts.starts == (0, 6)
