"""Several data sets in one run: whose classes they have, which are chosen, renamed and merged, and what is refused."""

import numpy as np
import pytest

from foveal.cli.main import main
from foveal.cli.recipe import parse_recipe
from foveal.cli.train import open_split
from foveal.core.errors import DataError, MissingSplit, UsageError
from foveal.datasets import Source, coco, csv, idx, image_folder, mask_folder, open_dataset, open_sources, voc
from foveal.datasets.mixed import mix

SIDE = 32


def boxed(*objects):
    """A sample with 8 x 8 boxes of the classes whose numbers are given, from left to right."""
    lefts = 8.0 * np.arange(len(objects))
    boxes = np.stack([lefts, np.full_like(lefts, 4), lefts + 8, np.full_like(lefts, 12)], axis=1).astype(np.float32)
    return {
        "image": np.full((SIDE, SIDE, 3), 90, np.uint8),
        "boxes": boxes.reshape(-1, 4),
        "labels": np.array(objects, np.int64),
        "crowd": np.zeros(len(objects), bool),
        "difficult": np.zeros(len(objects), bool),
    }


@pytest.fixture
def streets(tmp_path):
    """COCO's format: cars and trucks; two images for train, one for val and one for test."""
    names = ["car", "truck"]
    coco.write_split([boxed(0, 1), boxed(1)], tmp_path / "streets", split="train", class_names=names)
    for split in ("val", "test"):
        coco.write_split([boxed(0)], tmp_path / "streets", split=split, class_names=names)
    return Source("coco", str(tmp_path / "streets"))


@pytest.fixture
def squares(tmp_path):
    """VOC's format: people and trucks; two images for train, one without an object, one for val and none for test."""
    names = ["truck", "person"]
    voc.write_split([boxed(1, 0), boxed()], tmp_path / "squares", split="train", class_names=names)
    voc.write_split([boxed(1)], tmp_path / "squares", split="val", class_names=names)
    return Source("voc", str(tmp_path / "squares"))


def opened(*sources, split="train", options=None, classes=None):
    common = {"fractions": (0.65, 0.10, 0.25), "seed": 0}
    return open_sources(sources, split=split, options=options or {}, classes=classes, **common)


def objects(dataset):
    """The names of the objects in each image, and how far each lies from the left."""
    found = []
    for index in range(len(dataset)):
        truth = dataset[index]
        names = [dataset.class_names[label] for label in truth["labels"]]
        found.append(list(zip(names, truth["boxes"][:, 0].tolist(), strict=True)))
    return found


def test_classes_are_joined_by_name_and_images_stand_behind_one_another(streets, squares):
    both = opened(streets, squares)
    assert both.class_names == ["car", "truck", "person"]  # VOC's own order is person, truck
    assert objects(both) == [
        [("car", 0), ("truck", 8)],
        [("truck", 0)],
        [("person", 0), ("truck", 8)],
        [],
    ]
    assert both.labels.tolist() == [0, 1, 1, 2, 1]
    assert both.counts.tolist() == [2, 1, 2, 0]
    assert [both.path(index).split("/")[-1] for index in range(4)] == [
        "000001.jpg", "000002.jpg", "train_000000.jpg", "train_000001.jpg",
    ]  # fmt: skip
    assert [both.size(index) for index in range(4)] == [(SIDE, SIDE)] * 4
    assert both.truth(2)["labels"].tolist() == [2, 1]
    assert opened(squares, streets).class_names == ["person", "truck", "car"]


def test_a_list_of_classes_chooses_and_numbers_them(streets, squares):
    chosen = opened(streets, squares, classes=["person", "car"])
    assert chosen.class_names == ["person", "car"]
    assert objects(chosen) == [[("car", 0)], [], [("person", 0)], []]  # two images are left without an object
    assert chosen.labels.tolist() == [1, 0]
    assert chosen.counts.tolist() == [1, 0, 1, 0]


def test_a_map_of_classes_renames_and_merges(streets, squares):
    merged = opened(streets, squares, classes={"person": "pedestrian", "truck": "vehicle", "car": "vehicle"})
    assert merged.class_names == ["pedestrian", "vehicle"]
    assert objects(merged) == [
        [("vehicle", 0), ("vehicle", 8)],
        [("vehicle", 0)],
        [("pedestrian", 0), ("vehicle", 8)],
        [],
    ]
    assert merged.labels.tolist() == [1, 1, 1, 0, 1]


def test_one_set_alone_can_be_chosen_from_and_is_itself_where_nothing_changes(streets):
    assert objects(opened(streets, classes={"truck": "lorry"})) == [[("lorry", 8)], [("lorry", 0)]]
    alone = opened(streets, classes=["car", "truck"])
    assert type(alone) is type(open_dataset(*streets, split="train"))
    assert opened(streets, classes=["truck", "car"]).labels.tolist() == [1, 0, 0]


def test_classes_of_arrays_are_chosen_and_renamed(tmp_path):
    images = [np.full((SIDE, SIDE, 3), 40 * number, np.uint8) for number in range(6)]
    samples = [{"image": image, "label": label} for image, label in zip(images, (2, 0, 1, 2, 0, 1), strict=True)]
    for split in ("train", "test"):
        idx.write_split(samples, tmp_path, split=split, class_names=["0", "1", "2"])
    clothes = opened(Source("idx", str(tmp_path)), split="test", classes={"2": "coat", "0": "shirt"})
    assert clothes.class_names == ["coat", "shirt"]
    assert clothes.labels.tolist() == [0, 1, 0, 1]
    assert [clothes[index]["image"][0, 0, 0] for index in range(4)] == [0, 40, 120, 160]


def test_parts_are_chosen_by_index_from_both_ends(streets, squares):
    part = opened(streets, squares).subset(np.array([1, 2]))
    assert objects(part) == [[("truck", 0)], [("person", 0), ("truck", 8)]]
    assert part.truth(-1)["labels"].tolist() == [2, 1]
    with pytest.raises(IndexError):
        part.path(2)


def test_a_class_that_no_set_has_is_named_with_those_that_there_are(streets, squares):
    with pytest.raises(
        UsageError, match=r"data.classes names 'bus', which the data does not have.* car, truck, person"
    ):
        opened(streets, squares, classes=["car", "bus"])


def test_a_set_without_images_for_testing_adds_none(streets, squares):
    assert objects(opened(streets, squares, split="val")) == [[("car", 0)], [("person", 0)]]
    assert objects(opened(streets, squares, split="test")) == [[("car", 0)]]
    with pytest.raises(MissingSplit, match="squares' has images for train and val and none for test"):
        opened(squares, split="test")
    with pytest.raises(MissingSplit):
        opened(squares, squares, split="test")


def test_a_set_without_images_for_training_is_an_error_that_names_it(streets, tmp_path):
    coco.write_split([boxed(0)], tmp_path / "tested", split="test", class_names=["car"])
    with pytest.raises(DataError, match="tested' has images for test and none for train"):
        opened(streets, Source("coco", str(tmp_path / "tested")))


def test_the_fingerprint_is_that_of_sets_and_choice(streets, squares):
    prints = [
        opened(streets).fingerprint(),
        opened(streets, squares).fingerprint(),
        opened(squares, streets).fingerprint(),
        opened(streets, squares, split="val").fingerprint(),
        opened(streets, squares, classes=["car", "truck"]).fingerprint(),
        opened(streets, squares, classes=["truck", "car"]).fingerprint(),
        opened(streets, squares, classes={"car": "car", "truck": "car"}).fingerprint(),
    ]
    assert len(set(prints)) == len(prints)
    assert opened(streets, squares).fingerprint() == prints[1]


def write_masks(folder, class_names):
    """One image for train and one for val, whose diagonal is of the second class."""
    sample = {"image": np.full((SIDE, SIDE, 3), 90, np.uint8), "mask": np.eye(SIDE, dtype=np.int64)}
    for split in ("train", "val"):
        mask_folder.write_split([sample], folder, split=split, class_names=class_names)
    return Source("mask_folder", str(folder))


def test_options_go_to_the_sets_that_take_them(tmp_path, streets):
    source = write_masks(tmp_path / "a", ["x", "y"])
    dataset = opened(source, options={"mask_values": {1: "road", 0: "field"}})
    assert dataset.class_names == ["road", "field"]
    assert np.array_equal(dataset[0]["mask"], 1 - np.eye(SIDE, dtype=np.int64))
    with pytest.raises(UsageError, match=r"data\.mask_values means nothing to coco; it is for mask_folder"):
        opened(streets, options={"mask_values": {0: "field", 1: "road"}})
    with pytest.raises(UsageError, match="There is no data format 'coca'; the nearest are coco"):
        opened(Source("coca", "."), options={"mask_values": {0: "field"}})


def test_masks_of_different_classes_cannot_be_mixed(tmp_path):
    first = write_masks(tmp_path / "a", ["field", "road"])
    second = write_masks(tmp_path / "b", ["field", "river"])
    with pytest.raises(UsageError, match="can be mixed for boxes and labels alone"):
        opened(first, second)
    assert len(opened(first, first)) == 2


def test_mix_of_one_part_is_that_part(streets):
    part = open_dataset(*streets, split="train")
    assert mix([part]) is part
    assert mix([part], classes=["car", "truck"]) is part


# --- from a recipe ----------------------------------------------------------------------------------------------------

RECIPE = "classification/resnet18_folder"


@pytest.fixture
def pets(tmp_path):
    """A folder of cats and dogs and a table of dogs and birds, each with four images a class for train, two for val."""
    folder, table = tmp_path / "pets", tmp_path / "table"
    rng = np.random.default_rng(0)
    for split, number in (("train", 4), ("val", 2), ("test", 2)):
        samples = [
            {"image": rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8), "label": label}
            for label in (0, 1)
            for _ in range(number)
        ]
        image_folder.write_split(samples, folder, split=split, class_names=["cat", "dog"])
        csv.write_split(samples, table, split=split, class_names=["dog", "bird"])
    return folder, table


def of_recipe(folder, *options, split="train"):
    return open_split(parse_recipe(RECIPE, [("data.root", str(folder)), *options]), split)


def test_a_recipe_mixes_a_folder_with_a_table(pets):
    folder, table = pets
    sources = ("data.sources", f"[{{format: csv, root: {table}}}]")
    both = of_recipe(folder, sources)
    assert both.class_names == ["cat", "dog", "bird"]
    assert np.bincount(both.labels).tolist() == [4, 8, 4]
    chosen = of_recipe(folder, sources, ("data.classes", "{bird: other, cat: other, dog: dog}"), split="test")
    assert chosen.class_names == ["other", "dog"]
    assert np.bincount(chosen.labels).tolist() == [4, 4]
    assert [chosen[index]["label"] for index in range(8)] == [0, 0, 1, 1, 1, 1, 0, 0]  # cat, dog; dog, bird
    few = of_recipe(folder, sources, ("data.classes", "[bird, dog]"))
    assert few.class_names == ["bird", "dog"]
    assert np.bincount(few.labels).tolist() == [4, 8]  # of labels, images of other classes go


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data.sources", "[{format: csv, path: x}]"], "each must be {format: NAME, root: PATH}"),
        (["--data.sources", "[{format: csv}]"], "each must be {format: NAME, root: PATH}"),
        (["--data.sources", "[csv]"], "each must be {format: NAME, root: PATH}"),
        (["--data.sources", "[{format: csw, root: x}]"], "There is no data format 'csw'; the nearest are csv"),
        (["--data.sources", "[{format: coco, root: x}]"], "The data format coco is for detection; for classification"),
        (["--data.sources", "[{format: csv, root: 7}]"], "--data.sources is ["),
        (["--data.sources", "[{format: csv, root: nowhere}]"], "nowhere: there is no such folder or file"),
        (["--data.classes", "cat"], "--data.classes is 'cat'; it must be a map"),
        (["--data.classes", "[cat, 7]"], "--data.classes is ["),
        (["--data.classes", "{cat: [a, b]}"], "--data.classes is {"),
        (["--data.classes", "[cat, cow]"], "data.classes names 'cow', which the data does not have"),
        (["--data.classes", "{cow: ox, cat: cat}"], "data.classes names 'cow', which the data does not have"),
        (["--data.class", "[cat]"], "There is no entry 'data.class'; the nearest are data.classes"),
        (["--data.mask_values", "{0: cat}"], "data.mask_values means nothing to image_folder; it is for mask_folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_entries_end_in_one_sentence(options, said, pets, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, _ = pets
    line = ["train", RECIPE, "--data.root", str(folder), "--model.weights", "null", "--out", "run", *options]
    assert main(line) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("foveal: ") and "\n" not in error and said in error, error
