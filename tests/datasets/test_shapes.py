"""The drawn world as a data set: the contract of every task, splits that share nothing, the same bytes elsewhere."""

import hashlib
import inspect
import subprocess
import sys

import numpy as np
import pytest

from foveal.core.errors import UsageError
from foveal.datasets.shapes import DEFAULT_IMAGES, FOLDS, VIEWS, ShapesWorld, open_split
from foveal.datasets.world.videos import FRAMES

TRUTHS = {
    "classification": {"label"},
    "detection": {"boxes", "labels", "crowd", "difficult", "area"},
    "segmentation": {"mask"},
    "edges": {"edges", "annotators"},
    "depth": {"depth", "mask", "camera"},
    "tracking": {"boxes", "sequence", "frame"},
    "faces": {"identity"},
    "style": {"label"},
}


def digest(sample: dict) -> str:
    """Of everything in a sample."""
    parts = [np.asarray(sample[key]).tobytes() for key in sorted(sample) if key != "path"]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize("task", TRUTHS)
def test_contract(task):
    world = ShapesWorld(task, "val", images=12, size=64)
    assert len(world) == 12 and world.labels.dtype == np.int64
    for index in (0, 11):
        sample, truth = world[index], world.truth(index)
        assert set(sample) == {"image", "path", "size"} | TRUTHS[task] and set(truth) == TRUTHS[task]
        assert sample["image"].shape == (64, 64, 3) and sample["image"].dtype == np.uint8
        assert sample["image"].flags["C_CONTIGUOUS"] and sample["image"].std() > 3
        assert sample["size"] == (64, 64) and sample["path"] == world.path(index) == f"shapes/val/{index:06d}"
        assert all(np.array_equal(truth[key], sample[key]) for key in truth)
    with pytest.raises(IndexError):
        world[12]


@pytest.mark.parametrize("task", TRUTHS)
def test_subset_keeps_names_and_bytes(task):
    world = ShapesWorld(task, images=12, size=64)
    part = world.subset(np.array([7, 2]))
    assert len(part) == 2 and part.path(0) == world.path(7) and digest(part[1]) == digest(world[2])
    assert part.class_names == world.class_names and part.fingerprint() != world.fingerprint()
    if task in ("classification", "tracking", "faces", "style"):
        assert part.labels.tolist() == world.labels[[7, 2]].tolist()


@pytest.mark.parametrize("task", TRUTHS)
def test_no_two_splits_and_no_two_seeds_share_a_picture(task):
    worlds = [ShapesWorld(task, split, images=6, size=64) for split in ("train", "val", "test")]
    worlds += [ShapesWorld(task, images=6, size=64, seed=seed) for seed in (1, 2)]
    images = {world[index]["image"].tobytes() for world in worlds for index in range(6)}
    assert len(images) == 30
    assert len({world.fingerprint() for world in worlds}) == 5


def test_another_process_draws_the_same_in_another_order():
    code = (
        "import hashlib\nimport numpy as np\nfrom foveal.datasets.shapes import ShapesWorld\n"
        + inspect.getsource(digest)
        + "for task in reversed(TASKS):\n"
        "    world = ShapesWorld(task, images=50, size=64)\n"
        "    print(task, digest(world[49]), digest(world[3]))\n"
    ).replace("TASKS", repr(list(TRUTHS)))
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    found = dict(line.split(maxsplit=1) for line in printed.splitlines())
    for task in TRUTHS:
        world = ShapesWorld(task, images=50, size=64)
        assert found[task] == f"{digest(world[49])} {digest(world[3])}"


def test_fingerprint_is_one_of_the_arguments():
    worlds = [
        ShapesWorld("detection", images=5),
        ShapesWorld("segmentation", images=5),
        ShapesWorld("detection", images=6),
        ShapesWorld("detection", images=5, size=128),
        ShapesWorld("detection", images=5, size=(128, 256)),
        ShapesWorld("detection", images=5, seed=1),
        ShapesWorld("detection", "val", images=5),
    ]
    assert len({world.fingerprint() for world in worlds}) == 7
    assert ShapesWorld("detection", images=5, size=(256, 256)).fingerprint() == worlds[0].fingerprint()


def test_dense_tasks_see_one_scene():
    boxes, masks, depths, edges = (
        ShapesWorld(task, images=20, size=(96, 160)) for task in ("detection", "segmentation", "depth", "edges")
    )
    assert masks.class_names == ["background", *boxes.class_names] and depths.class_names == edges.class_names == []
    objects = 0
    for index in range(20):
        sample = boxes[index]
        image, mask = sample["image"], masks.truth(index)["mask"]
        assert image.shape == (96, 160, 3) and (masks[index]["image"] == image).all()
        assert set(np.unique(mask)) - {0} == set(sample["labels"] + 1)
        for (left, top, right, bottom), label in zip(sample["boxes"].astype(int), sample["labels"], strict=True):
            assert (mask[top:bottom, left:right] == label + 1).any()
            objects += 1
        assert (depths.truth(index)["depth"] > 0).all()
        truth = edges.truth(index)
        assert truth["annotators"].shape == (5, 96, 160) and truth["annotators"].dtype == bool
        assert truth["edges"].dtype == np.float32 and np.allclose(truth["edges"], truth["annotators"].sum(axis=0) / 5)
    assert objects > 50 and len(boxes.labels) == objects
    assert boxes.labels.tolist() == [label for index in range(20) for label in boxes.truth(index)["labels"]]


def test_classes_are_balanced():
    labels = ShapesWorld("classification", images=80).labels
    assert np.bincount(labels).tolist() == [10] * 8
    assert labels[:8].tolist() != labels[8:16].tolist()


def test_frames_of_a_sequence_lie_behind_one_another():
    world = ShapesWorld("tracking", images=FRAMES + 2, size=96)
    assert world.labels.tolist() == [0] * FRAMES + [1, 1] and len(world.class_names) == 2
    assert [world.truth(FRAMES + 1)[key] for key in ("sequence", "frame")] == [1, 1]
    boxes = [world.truth(index)["boxes"] for index in range(FRAMES)]
    assert {len(box) for box in boxes} <= {0, 1} and len(boxes[0]) == 1 and boxes[0].dtype == np.float32


def test_pairs_of_faces():
    world = ShapesWorld("faces", "test", images=100)
    identities = world.labels
    assert identities.tolist() == [index // VIEWS for index in range(100)] and world[99]["identity"] == 19
    first, second = identities[world.pairs].T
    assert ((first == second) == world.same).all() and world.same.mean() == 0.5
    assert (world.pairs[:, 0] != world.pairs[:, 1]).all()
    # two people a fold, each with 5 x 4 / 2 = 10 pairs of pictures, and as many pairs of the two
    assert np.bincount(world.folds).tolist() == [40] * FOLDS
    people = [set(first[world.folds == fold]) | set(second[world.folds == fold]) for fold in range(FOLDS)]
    assert sum(map(len, people)) == len(set().union(*people)) == 20
    assert world[0]["size"] == (112, 112)


def test_nobody_is_in_two_splits_and_few_people_still_make_pairs():
    names = [set(ShapesWorld("faces", split, images=50).class_names) for split in ("train", "val", "test")]
    assert [len(name) for name in names] == [10, 10, 10] and len(set().union(*names)) == 30
    two = ShapesWorld("faces", images=10)
    assert two.same.mean() == 0.5 and set(two.folds) == set(range(FOLDS))
    assert ShapesWorld("faces", images=5).pairs.shape == ShapesWorld("style", images=5).pairs.shape == (0, 2)


def test_open_split_shares_the_images_out():
    lengths = {}
    for split in ("train", "val", "test"):
        world = open_split(None, split=split, fractions=(0.65, 0.10, 0.25), seed=4, task="detection", images=40)
        assert world.fingerprint() == ShapesWorld("detection", split, images=len(world), seed=4).fingerprint()
        lengths[split] = len(world)
    assert lengths == {"train": 26, "val": 4, "test": 10}
    assert len(open_split(None, split="val", fractions=(0.99, 0.01, 0.0), seed=0, images=10)) == 1
    assert len(open_split(None, split="test", fractions=(0.99, 0.01, 0.0), seed=0, images=10)) == 0
    assert len(ShapesWorld("depth", "val")) == DEFAULT_IMAGES["val"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"task": "detecton"}, "drawn task 'detecton'; the nearest are detection"),
        ({"task": "depth", "split": "validation"}, "split 'validation'"),
        ({"task": "depth", "images": -1}, "-1 images"),
        ({"task": "depth", "size": 8}, "8 x 8"),
        ({"task": "depth", "size": (64, 9000)}, "64 x 9000"),
        ({"task": "faces", "size": (64, 96)}, "squares"),
        ({"task": "depth", "seed": -1}, "seed is -1"),
    ],
)
def test_bad_arguments_end_in_one_sentence(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        ShapesWorld(**arguments)


def test_classes_of_images_are_chosen_renamed_and_merged():
    world = ShapesWorld("classification", images=16, size=32)
    chosen = world.with_classes({"star": "pointed", "triangle": "pointed", "disc": "round"})
    old = [world.class_names[label] for label in world.labels]
    assert chosen.class_names == ["pointed", "round"]
    assert chosen.labels.tolist() == [int(name == "disc") for name in old if name in ("star", "triangle", "disc")]
    assert [chosen[index]["label"] for index in range(len(chosen))] == chosen.labels.tolist()
    assert chosen.truth(0) == {"label": chosen.labels[0]}
    alone = chosen.with_classes({"round": "disc"})
    assert len(alone) == 2 and alone.labels.tolist() == [0, 0] and alone.class_names == ["disc"]
    assert len({part.fingerprint() for part in (world, chosen, alone)}) == 3


def test_classes_of_objects_are_chosen_and_images_without_one_stay():
    world = ShapesWorld("detection", images=12, size=64)
    chosen = world.with_classes({"ring": "ring", "disc": "disc"})
    assert len(chosen) == 12 and chosen.class_names == ["ring", "disc"]
    for index in range(12):
        before, after = world[index], chosen[index]
        rows = np.isin(before["labels"], [world.class_names.index(name) for name in chosen.class_names])
        assert np.array_equal(after["boxes"], before["boxes"][rows]) and len(after["crowd"]) == rows.sum()
        names = [world.class_names[label] for label in before["labels"][rows]]
        assert [chosen.class_names[label] for label in after["labels"]] == names
    assert len(chosen.labels) == sum(len(chosen.truth(index)["labels"]) for index in range(12)) > 0


def test_depth_has_no_classes_to_choose():
    with pytest.raises(UsageError, match="not in a drawn depth set"):
        ShapesWorld("depth", images=1, size=32).with_classes({"disc": "disc"})


@pytest.mark.parametrize("task", ["detection", "segmentation", "edges", "depth"])
def test_portraits_are_scenes_of_one_large_body(task):
    world = ShapesWorld(task, "train", images=6, size=64, portraits=True)
    again = ShapesWorld(task, "train", images=6, size=64, portraits=True).subset(np.arange(3, 6))
    assert np.array_equal(world[4]["image"], again[1]["image"])
    assert world.fingerprint() != ShapesWorld(task, "train", images=6, size=64).fingerprint()
    truths = ShapesWorld("detection", "train", images=40, size=64, portraits=True)
    for index in range(40):
        boxes = truths.truth(index)["boxes"]
        assert boxes.shape == (1, 4) and (boxes[:, 2:] - boxes[:, :2]).max() > 0.2 * 64
    assert len(set(truths.labels.tolist())) == 8


def test_level_scenes_have_their_horizon_in_the_middle_and_are_else_the_same():
    level, other = (ShapesWorld("depth", "train", images=8, size=(64, 96), level=level) for level in (True, False))
    assert level.fingerprint() != other.fingerprint() and level.subset(np.arange(2)).truth(0)["camera"][2] == 31.5
    shifted = [other.truth(index)["camera"][2] for index in range(8)]
    assert len(set(shifted)) == 8 and all(0.25 * 64 - 0.5 <= row <= 0.6 * 64 - 0.5 for row in shifted)
    for index in range(8):
        truth = level.truth(index)
        assert truth["camera"].tolist() == [80, 47.5, 31.5]
        # The lowest row of the ground, 31.5 pixels below the axis of a camera 1.2 m above it.
        ground = truth["depth"][-1][truth["mask"][-1] == 0]
        assert ground == pytest.approx(80 * 1.2 / 31.5, rel=1e-5)


def test_portraits_are_no_choice_where_there_are_no_scenes():
    with pytest.raises(UsageError, match=r"data\.level is for drawn scenes"):
        ShapesWorld("tracking", level=True)
    with pytest.raises(UsageError, match="is for drawn scenes; those of tracking are not such"):
        ShapesWorld("tracking", portraits=True)
