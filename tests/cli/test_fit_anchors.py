"""`foveal fit-anchors RECIPE`: its lines, put into the recipe, are the anchors that it found."""

import json
import re

import numpy as np
import pytest
import yaml

from foveal.cli.main import main
from foveal.cli.recipe import parse_recipe
from foveal.tasks.detection.anchors import anchor_generator, default_anchors
from foveal.tasks.detection.default_boxes import with_options

SIDES = [(24, 24), (60, 60), (200, 200)]  # of the image files; the network's input is half as large


def write_boxes(root, sides=SIDES, images=30, **fields):
    """COCO's JSON with a box of each of `sides` in each image of 640 x 480; image files without a byte."""
    rng = np.random.default_rng(0)
    annotations = []
    for image in range(images):
        for width, height in sides:
            left, top = rng.uniform(0, 640 - width), rng.uniform(0, 480 - height)
            entry = {"id": len(annotations) + 1, "image_id": image, "category_id": 1 + len(annotations) % 2}
            annotations.append({**entry, "bbox": [left, top, width, height], "area": width * height, **fields})
    document = {
        "images": [{"id": n, "file_name": f"{n:03d}.png", "width": 640, "height": 480} for n in range(images)],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "plate"}],
        "annotations": annotations,
    }
    root.mkdir(parents=True, exist_ok=True)
    for image in document["images"]:
        (root / image["file_name"]).touch()
    (root / "instances.json").write_text(json.dumps(document))
    return root


def write_recipe(folder, **sections):
    values = {
        "task": "detection",
        "model": {"backbone": "resnet18", "head": "fasterrcnn_c4"},
        "data": {"format": "coco", "size": 320, "resize": "fit", "splits": [0.8, 0.2, 0.0]},
    }
    for name, section in sections.items():
        values[name] |= section
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def run(capsys, *words):
    """Exit code, standard output and standard error of `foveal fit-anchors ...`."""
    capsys.readouterr()
    code = main(["fit-anchors", *map(str, words)])
    return code, *capsys.readouterr()


def section_in(text):
    """The `model` section that was printed."""
    (line,) = re.findall(r"^model: .*$", text, re.MULTILINE)
    return yaml.safe_load(line)["model"]


@pytest.fixture
def data(tmp_path):
    return write_boxes(tmp_path / "data")


def test_the_sizes_of_the_boxes_are_found_without_reading_an_image(data, tmp_path, capsys):
    code, out, err = run(capsys, write_recipe(tmp_path), "--data.root", data)
    assert (code, err) == (0, "")
    assert section_in(out)["anchors"]["sizes"] == [[12.0, 30.0, 100.0]]
    assert "72 boxes of 2 classes" in out  # 3 in each of 24 images: 0.8 of 30


@pytest.mark.parametrize("head", ["fasterrcnn_fpn", "fasterrcnn_c4", "fasterrcnn_dc5", "retinanet"])
def test_the_printed_section_and_the_options_give_the_fitted_anchors(head, data, tmp_path, capsys):
    recipe = write_recipe(tmp_path, model={"head": head})
    _, out, _ = run(capsys, recipe, "--data.root", data)
    printed = section_in(out)
    pasted = parse_recipe(str(write_recipe(tmp_path, model={"head": head, **printed})), []).model
    words = re.findall(r"--(model\.anchors\.\w+) '([^']+)'", out)
    assert parse_recipe(str(write_recipe(tmp_path, model={"head": head})), words).model == pasted
    default = default_anchors(pasted, 320)
    generator = anchor_generator(pasted.anchors, sizes=default.sizes, ratios=default.ratios)
    assert [list(of_map) for of_map in generator.sizes] == printed["anchors"]["sizes"]
    assert [list(of_map) for of_map in generator.aspect_ratios] == printed["anchors"]["ratios"] * len(default.sizes)


@pytest.mark.parametrize("head", ["ssd", "ssdlite"])
def test_the_printed_section_gives_the_fitted_default_boxes(head, data, tmp_path, capsys):
    _, out, _ = run(capsys, write_recipe(tmp_path, model={"head": head}), "--data.root", data)
    printed = section_in(out)
    pasted = parse_recipe(str(write_recipe(tmp_path, model={"head": head, **printed})), []).model
    default = default_anchors(pasted, 320)
    assert len(printed["anchors"]["sizes"]) == len(default.strides)
    found = with_options(default, pasted.anchors)
    assert {"sizes": found.sizes, "ratios": found.ratios} == printed["anchors"]


def test_the_same_command_prints_the_same_lines(data, tmp_path, capsys):
    recipe = write_recipe(tmp_path, model={"head": "retinanet"})
    assert run(capsys, recipe, "--data.root", data) == run(capsys, recipe, "--data.root", data)


def test_options_change_the_recipe_as_in_training(data, tmp_path, capsys):
    _, out, _ = run(capsys, write_recipe(tmp_path), "--data.root", data, "--data.size=640")
    assert section_in(out)["anchors"]["sizes"] == [[24.0, 60.0, 200.0]]


def test_it_says_which_boxes_are_smaller_than_a_cell(data, tmp_path, capsys):
    _, out, _ = run(capsys, write_recipe(tmp_path), "--data.root", data)
    # 24 boxes of 12 x 12 pixels at the input, of two classes in turn; a cell is 16 x 16.
    assert "16 x 16 pixels): cup 12 of 36, plate 12 of 36" in out
    _, out, _ = run(capsys, write_recipe(tmp_path), "--data.root", data, "--model.head", "fasterrcnn_fpn")
    assert "No box is smaller than a cell of the finest map (4 x 4 pixels)" in out


def test_it_says_when_the_default_is_as_good(tmp_path, capsys):
    data = write_boxes(tmp_path / "data", [(256, 256), (362, 181), (181, 362)])  # 128 at the input: c4's own
    _, out, _ = run(capsys, write_recipe(tmp_path), "--data.root", data)
    assert "The default anchors of fasterrcnn_c4 are as good" in out


def test_it_does_not_say_so_when_they_are_not(data, tmp_path, capsys):
    _, out, _ = run(capsys, write_recipe(tmp_path), "--data.root", data)
    assert "as good" not in out
    default, fitted = (float(value) for value in re.findall(r"^(?:default|fitted) +([\d.]+)", out, re.MULTILINE))
    assert fitted > default + 0.3


def test_crowds_are_not_fitted(tmp_path, capsys):
    data = write_boxes(tmp_path / "data", iscrowd=1)
    code, _, err = run(capsys, write_recipe(tmp_path), "--data.root", data)
    assert code == 3 and "no box to fit anchors to" in err


def test_the_drawn_world_needs_no_root(tmp_path, capsys):
    recipe = write_recipe(tmp_path, data={"format": "shapes", "images": 20})
    code, out, _ = run(capsys, recipe)
    assert code == 0 and section_in(out)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model.head", "fcos"], "fcos has no anchors"),
        (["--data.resize", "crop"], "data.resize is crop"),
        (["--data.root", "nowhere"], "nowhere: there is no such folder or file"),
        (["--model.hed", "ssd"], "model.head"),
    ],
)
def test_what_cannot_be_fitted_is_refused(words, sentence, data, tmp_path, capsys):
    code, _, err = run(capsys, write_recipe(tmp_path), "--data.root", data, *words)
    assert code == 2 and sentence in err and err.count("\n") == 1


def test_a_recipe_of_another_task_is_refused(capsys):
    code, _, err = run(capsys, "classification/lenet5_digits")
    assert code == 2 and "is for classification" in err
