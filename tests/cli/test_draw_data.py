"""`foveal draw-data`: every format, read again, gives the drawn world's own truth; and docs/datasets.md's entries."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from foveal.cli.main import main
from foveal.cli.recipe import parse_data, parse_recipe
from foveal.cli.train import open_split
from foveal.core.options import SPLITS
from foveal.datasets import FORMATS, open_dataset
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld

WRITTEN = [name for name, format in FORMATS.items() if not format.embedded]
SIZE, SEED = 96, 3
# 50 faces are seven, one and three people; a sequence has 48 frames, so that 150 are two and a part, a part and a part;
# 40 images of eight classes are as few as can be shared out anew.
IMAGES = {"faces": 50, "tracking": 150, "classification": 40}
# MNIST's files have no val, and LFW's none but a test: what is for train and val lies together, and is drawn anew.
WITHOUT_VAL = ("idx", "lfw")
LOOKED_AT = 3  # samples of each split, from its first to its last
# Grey levels that JPEG may change, on the average of an image: it makes up to 5.3, and a frame of a video differs by 7
# from the next one.
NEARLY = 6.0


@pytest.mark.parametrize("format", WRITTEN)
def test_what_is_drawn_is_read_again(format, tmp_path, capsys):
    folder, task = tmp_path / "drawn", FORMATS[format].task
    counts = draw(format, folder, capsys)
    read, found = read_all(format, folder)
    worlds = {split: ShapesWorld(task, split, images=counts[split], size=SIZE, seed=SEED) for split in SPLITS}
    assert [str(finding) for finding in found if finding.action != "noted"] == []

    if format in WITHOUT_VAL:
        assert len(read["train"]) + len(read["val"]) == counts["train"] + counts["val"]
        assert len(read["test"]) == counts["test"]
    else:
        assert {split: len(read[split]) for split in SPLITS} == counts
    COMPARED.get(format, TRUTH[task])(read, worlds)

    assert main(["check-data", format, str(folder)]) == 0
    assert "Nothing is wrong with these" in capsys.readouterr().out


@pytest.mark.parametrize("format", WRITTEN)
def test_a_seed_draws_the_same_files_again_and_another_seed_other_images(format, tmp_path, capsys):
    one, again, other = (tmp_path / name for name in ("one", "again", "other"))
    for folder, seed in ((one, SEED), (again, SEED), (other, SEED + 1)):
        draw(format, folder, capsys, seed)
    assert files_of(one) == files_of(again)
    images, others = (images_of(read_all(format, folder)[0]) for folder in (one, other))
    assert images.isdisjoint(others)


def draw(format, folder, capsys, seed=SEED):
    """The numbers of images that the command announces, for each split."""
    images = IMAGES.get(FORMATS[format].task, 20)
    line = ["draw-data", format, str(folder), "--images", str(images), "--size", str(SIZE), "--seed", str(seed)]
    assert main(line) == 0
    said = re.search(r"Done: (\d+) images \((\d+) for train, (\d+) for val, (\d+) for test\)", capsys.readouterr().out)
    total, *numbers = map(int, said.groups())
    assert total == sum(numbers) and abs(total - images) <= 1  # shares are rounded
    return dict(zip(SPLITS, numbers, strict=True))


def read_all(format, folder):
    """The data set of each split, and what its reader found."""
    found = Findings()
    return {split: open_dataset(format, folder, split=split, findings=found) for split in SPLITS}, found


def files_of(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def images_of(read):
    return {part[index]["image"].tobytes() for part in read.values() for index in range(0, len(part), 5)}


def looked_at(read, worlds):
    """Pairs of a sample as it was read and as it was drawn; both are in the same order. Images are nearly the same."""
    for split in SPLITS:
        for index in np.linspace(0, len(worlds[split]) - 1, LOOKED_AT).astype(int).tolist():
            sample, drawn = read[split][index], worlds[split][index]
            assert nearly(sample, drawn)
            assert sample["size"] == drawn["size"]
            yield sample, drawn


def nearly(sample, drawn):
    return np.abs(sample["image"].astype(float) - drawn["image"]).mean() < NEARLY


# --- what must be the same --------------------------------------------------------------------------------------------


def labels_are_the_same(read, worlds):
    """Images of classes are PNG, and the same to the byte; folders sort them by class, so they go by their number."""
    for split, world in worlds.items():
        part = read[split]
        assert part.class_names == sorted(world.class_names)
        places = {int(Path(part.path(index)).stem[-6:]): index for index in range(len(part))}
        assert sorted(places) == list(range(len(world)))
        for number in range(0, len(world), max(1, len(world) // LOOKED_AT)):
            sample, drawn = part[places[number]], world[number]
            assert part.class_names[sample["label"]] == world.class_names[drawn["label"]]
            assert np.array_equal(sample["image"], drawn["image"])


def grey_images_are_the_same(read, worlds):
    """In MNIST's files images are grey; train and val are one."""
    for splits in (("train", "val"), ("test",)):
        came = [read[split][index] for split in splits for index in range(len(read[split]))]
        drawn = [worlds[split][index] for split in splits for index in range(len(worlds[split]))]
        assert sorted(sample["label"] for sample in came) == sorted(sample["label"] for sample in drawn)
        for sample in came:
            alike = [other["label"] for other in drawn if np.abs(grey(other) - sample["image"][:, :, 0]).max() < 1]
            assert alike == [sample["label"]]


def grey(sample):
    return sample["image"] @ np.array([0.299, 0.587, 0.114])  # OpenCV rounds it


def boxes_are_the_same(read, worlds, least=0.0):
    """`least`: boxes with a side up to this are not written."""
    for sample, drawn in looked_at(read, worlds):
        sides = drawn["boxes"][:, 2:] - drawn["boxes"][:, :2]
        kept = (sides > least).all(axis=1)
        assert np.array_equal(sample["boxes"], drawn["boxes"][kept])
        assert names_of(sample["labels"], read) == names_of(drawn["labels"][kept], worlds)
        assert sample["crowd"].tolist() == drawn["crowd"][kept].tolist()


def names_of(labels, datasets):
    """What the numbers stand for: formats that list no classes sort them."""
    return [datasets["train"].class_names[label] for label in labels.tolist()]


def flags_are_the_same(read, worlds, least=0.0):
    boxes_are_the_same(read, worlds, least=least)
    for sample, drawn in looked_at(read, worlds):
        kept = (drawn["boxes"][:, 2:] - drawn["boxes"][:, :2] > least).all(axis=1)
        assert sample["difficult"].tolist() == drawn["difficult"][kept].tolist()


def masks_are_the_same(read, worlds):
    city_masks_are_the_same(read, worlds)
    assert all(read[split].class_names == worlds[split].class_names for split in SPLITS)


def city_masks_are_the_same(read, worlds):
    """Classes of Cityscapes have names of their own."""
    for sample, drawn in looked_at(read, worlds):
        assert np.array_equal(sample["mask"], drawn["mask"])


def edges_are_the_same(read, worlds):
    """Fifths, of five annotators, are grey levels too."""
    for sample, drawn in looked_at(read, worlds):
        assert np.array_equal(sample["edges"], drawn["edges"])


def annotators_are_the_same(read, worlds):
    edges_are_the_same(read, worlds)
    for sample, drawn in looked_at(read, worlds):
        assert np.array_equal(sample["annotators"], drawn["annotators"])


def depths_are_the_same(read, worlds, limit=0.0):
    """`limit`: metres, half a step of a file of whole numbers and a float32's last digit."""
    for sample, drawn in looked_at(read, worlds):
        assert np.abs(sample["depth"] - drawn["depth"]).max() <= limit


def targets_are_the_same(read, worlds):
    for sample, drawn in looked_at(read, worlds):
        assert np.array_equal(sample["boxes"], drawn["boxes"])
        assert (sample["sequence"], sample["frame"]) == (drawn["sequence"], drawn["frame"])
    for split, world in worlds.items():
        assert [Path(name).name for name in read[split].class_names] == world.class_names


def people_are_the_same(read, worlds):
    """Of each person the same images in their order, and nobody in two splits; LFW's for train and val are one."""
    held = {split: people_of(part) for split, part in read.items()}
    drawn = {split: people_of(world) for split, world in worlds.items()}
    for splits in (("train", "val"), ("test",)):
        came = {name: samples for split in splits for name, samples in held[split].items()}
        assert len(came) == sum(len(held[split]) for split in splits)
        assert sorted(came) == sorted(name for split in splits for name in drawn[split])
        for name, samples in ((name, samples) for split in splits for name, samples in drawn[split].items()):
            assert all(nearly(*pair) for pair in zip(came[name], samples, strict=True))
    if len(read["test"].pairs):
        assert set(read["test"].same.tolist()) == {True, False}


def people_of(dataset):
    """The samples of each person, in the order of their files."""
    people = {}
    for index in sorted(range(len(dataset)), key=dataset.path):
        name = dataset.class_names[dataset.truth(index)["identity"]]
        # A table of pairs names nobody: a person is called by the first image, which lies in the person's folder.
        people.setdefault(Path(name).parent.name or name, []).append(dataset[index])
    return people


TRUTH = {
    "classification": labels_are_the_same,
    "detection": flags_are_the_same,
    "segmentation": masks_are_the_same,
    "edges": edges_are_the_same,
    "depth": depths_are_the_same,
    "tracking": targets_are_the_same,
    "faces": people_are_the_same,
}
COMPARED = {
    "idx": grey_images_are_the_same,
    "voc": lambda *both: flags_are_the_same(*both, least=1.0),  # VOC has no word for a box of one pixel
    "yolo": boxes_are_the_same,  # nor YOLO one for what is difficult
    "cityscapes": city_masks_are_the_same,
    "bsds": annotators_are_the_same,
    "depth_folder": lambda *both: depths_are_the_same(*both, limit=0.501 / 256),
    "tum": lambda *both: depths_are_the_same(*both, limit=0.501 / 1000),
}


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["coco", "full"], "something is there already; give a folder that is empty or not there"),
        (["coco", "new", "--images", "2"], "--images is 2; it must be from 3 to 10000000"),
        (["coco", "new", "--size", "16"], "--size is 16; it must be from 32 to 4096"),
        (["coc", "new"], "There is no data format 'coc'; the nearest are coco"),
        (["digits", "new"], "There is no data format 'digits'"),
        (["shapes", "new"], "There is no data format 'shapes'"),
        (["coco"], "DIR"),
    ],
)
def test_a_wrong_command_ends_in_one_sentence(line, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert main(["draw-data", *line]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("foveal: ") and "\n" not in error and said in error
    assert not (tmp_path / "new").exists()
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["mine.txt"]


# --- docs/datasets.md -------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_the_page_shows_the_folders_and_the_lines_of_every_format():
    assert sorted(SECTIONS) == sorted(FORMATS)
    for format, section in SECTIONS.items():
        assert re.search(rf"^```yaml\ndata: {{format: {format}\b", section, flags=re.MULTILINE), format
        assert ("```text" in section) == (not FORMATS[format].embedded), format


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: " ".join(block.split()))
def test_the_lines_of_the_page_read_what_is_drawn(block, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = yaml.safe_load(block)["data"]
    for source in (data, *data.get("sources", ())):
        if not FORMATS[source["format"]].embedded:
            root = Path(source["root"])
            folder = root.parent if root.suffix else root
            folder.parent.mkdir(parents=True, exist_ok=True)
            draw(source["format"], folder, capsys)
    for mask in tmp_path.rglob("masks/*.png") if "mask_values" in data else ():
        spread = np.resize(list(data["mask_values"]), 256).astype(np.uint8)
        mask.write_bytes(cv2.imencode(".png", spread[cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)])[1].tobytes())

    recipe = recipe_of(data)
    names = data.get("mask_values", data.get("classes"))
    for split in SPLITS:
        dataset = open_split(recipe, split)
        assert all(dataset[index]["image"].ndim == 3 for index in (0, len(dataset) - 1))
        if names:
            assert dataset.class_names == list(dict.fromkeys(names.values()))


def recipe_of(data):
    """The entries as options, of a recipe where there is one for the task."""
    task = FORMATS[data["format"]].task
    options = [
        (f"data.{name}", value if isinstance(value, str) else yaml.safe_dump(value)) for name, value in data.items()
    ]
    if task == "classification":
        return parse_recipe("classification/resnet18_folder", options)
    return parse_data(data["format"], options + [("task", "detection")] * (task == "any"))


def test_the_report_on_the_page_is_what_the_command_says(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["draw-data", "coco", "drawn", "--images", "20"]) == 0
    spoil(Path("drawn"))
    capsys.readouterr()
    assert main(["check-data", "coco", "drawn"]) == 3
    said = "".join(capsys.readouterr())
    shown = next(
        block for block in re.findall(r"^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if "LEAK" in block
    )
    lines = [line for line in shown.splitlines() if line != "..."]
    there = [line.rstrip() for line in said.splitlines()]
    assert [line for line in lines if line not in there] == []


def spoil(folder):
    """As the page says: an image cut off, a box turned inside out, one beyond the border, a picture in two splits."""
    cut = folder / "train" / "000003.jpg"
    cut.write_bytes(cut.read_bytes()[:4000])
    (folder / "test" / "000002.jpg").write_bytes((folder / "train" / "000005.jpg").read_bytes())
    file = folder / "annotations" / "instances_train.json"
    document = json.loads(file.read_text())
    document["annotations"][4]["bbox"][2] *= -1
    document["annotations"][7]["bbox"][3] += 300
    file.write_text(json.dumps(document))
