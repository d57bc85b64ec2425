"""Every wrong input ends in one sentence, the right exit code, and no traceback."""

import os

import pytest
import torch
import yaml

from foveal.cli.main import main

FOLDER = ["train", "classification/resnet18_folder", "--model.weights", "null", "--data.num_workers", "0"]
DIGITS = ["train", "classification/lenet5_digits"]


def assert_fails(capsys, line, code, *parts):
    """`line` ends with `code` and one sentence that holds all `parts`."""
    capsys.readouterr()
    assert main([str(word) for word in line]) == code
    said = capsys.readouterr().err.strip()
    assert said.startswith("foveal: ") and "\n" not in said and "Traceback" not in said
    for part in parts:
        assert str(part) in said, said


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ([], None),
        (["trian"], ["no command 'trian'", "train"]),
        (["train"], ["RECIPE is missing"]),
        (
            ["train", "classification/lenet5_digit"],
            ["no recipe 'classification/lenet5_digit'", "classification/lenet5_digits"],
        ),
        (["train", "my.yaml"], ["my.yaml: there is no such recipe file"]),
        ([*DIGITS, "--nonsense"], ["--nonsense"]),
        ([*DIGITS, "--model.backbone", "resnet19"], ["no backbone 'resnet19'", "resnet18"]),
        ([*DIGITS, "--model.bakbone", "lenet5"], ["no entry 'model.bakbone'", "model.backbone"]),
        ([*DIGITS, "--modle.backbone", "lenet5"], ["no entry 'modle'", "model"]),
        ([*DIGITS, "--data.format", "image_foldr"], ["no data format 'image_foldr'", "image_folder"]),
        ([*DIGITS, "--data.augment", "foto", "--out", "OUT"], ["no augmentation 'foto'", "photos"]),
        ([*DIGITS, "--trainer.max_epochs", "many"], ["--trainer.max_epochs is 'many'; it must be a whole number"]),
        ([*DIGITS, "--trainer.max_epochs", "0"], ["trainer.max_epochs is 0; it must be from 1"]),
        ([*DIGITS, "--optimizer.name", "sdg"], ["optimizer.name", "sgd"]),
        ([*DIGITS, "--data.splits", "[0.5, 0.1, 0.1]"], ["data.splits", "sum is 1"]),
        ([*DIGITS, "--model.backbone"], ["--model.backbone: a value is missing"]),
        ([*DIGITS, "--task", "clasification"], ["no task 'clasification'", "classification"]),
        ([*DIGITS, "--optimizer.lr", "fast"], ["--optimizer.lr is 'fast'; it must be a number"]),
        ([*DIGITS, "--data.splits", "[0.5, 0.0, 0.5]"], ["the shares of train and val must be above 0"]),
        (["train", "classification/resnet18_folder", "--data.root", "nowhere"], ["nowhere: there is no such folder"]),
        (["predict", "README.md", ".", "--device", "tpu"], ["--device is tpu"]),
        ([*DIGITS, "--resume"], ["no last.ckpt"]),
        (["predict", "nothing.ckpt", "."], ["nothing.ckpt: there is no such checkpoint"]),
        (["predict"], ["CKPT"]),
        (["list", "bakbones"], ["bakbones"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_commands_end_with_2(line, parts, capsys, tmp_path):
    line = [str(tmp_path / "out") if word == "OUT" else word for word in line]
    if parts is None:
        assert main(line) == 2
    else:
        assert_fails(capsys, line, 2, *parts)


@pytest.mark.parametrize(
    "entry",
    [
        "optimizer.lr=.nan",
        "optimizer.lr=.inf",
        "optimizer.lr=-1",
        "optimizer.momentum=-1",
        "optimizer.weight_decay=-1",
        "optimizer.clip_norm=-1",
        "schedule.warmup_epochs=-1",
        "model.dropout=2",
        "model.frozen_stages=99",
        "model.loss.label_smoothing=5",
        "model.mix.mixup=-1",
        "model.backbone=null",
        "seed=-1",
        "seed=4294967296",
        "data.size=4",
        "data.batch_size=100000000000000000000000",
        "data.splits=[.nan, 0.5, 0.5]",
        "trainer.accumulate_grad_batches=0",
        "trainer.check_val_every_n_epoch=0",
        "trainer.limit_train_batches=1.5",
        "trainer.limit_train_batches=0",
        "trainer.max_steps=0",
        "trainer.precision=64",
    ],
)
def test_every_number_out_of_its_range_is_named(entry, capsys, tmp_path):
    name = entry.partition("=")[0]
    part = "no backbone 'null'" if entry == "model.backbone=null" else name.split(".")[-1]
    assert_fails(capsys, [*DIGITS, f"--{entry}", "--out", tmp_path / "run"], 2, part)


def test_a_recipe_that_is_not_one(capsys, tmp_path):
    path = tmp_path / "recipe.yaml"
    for text, part in (
        ("task: [", "line 1: not valid YAML"),
        ("- a\n- b\n", "a recipe is a mapping of sections"),
        ("model: {backbone: lenet5}\n", "the entry 'task' is missing"),
        ("task: segmentaton\n", "no task 'segmentaton'"),
        ("task: classification\nmodel: resnet18\n", "'model' is a section and holds entries"),
        ("task: classification\nmodel: {class_path: os.system}\n", "no entry 'model.class_path'"),
        ("task: classification\nmodel: {loss: {class_path: os.system}}\n", "no entry 'model.loss.class_path'"),
        ("task: classification\ntrainer: {logger: x}\n", "no entry 'trainer.logger'"),
        ("task: classification\nmodel: !!python/object/apply:os.mkdir ['CANARY']\n", "not valid YAML"),
    ):
        path.write_text(text.replace("CANARY", str(tmp_path / "canary")))
        assert_fails(capsys, ["train", path], 2, part)
    assert not (tmp_path / "canary").exists()


def test_a_recipe_names_no_class_to_import(capsys, tmp_path, monkeypatch):
    (tmp_path / "canary_module.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()\nclass X: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    hostile = {"class_path": "canary_module.X", "init_args": {}}
    for section, entry in (
        ("model", "backbone"),
        ("model", "weights"),
        ("data", "root"),
        ("trainer", "strategy"),
        ("optimizer", "lr"),
    ):
        recipe = {"task": "classification", section: {entry: hostile}}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        assert_fails(capsys, ["train", tmp_path / "recipe.yaml"], 2, f"{section}.{entry}")
    assert not (tmp_path / "canary").exists()


def test_data_sets_that_cannot_be_used(capsys, tmp_path, write_blobs):
    def train(root, code, *parts):
        assert_fails(capsys, [*FOLDER, "--data.root", root, "--out", tmp_path / "run"], code, *parts)

    train(tmp_path / "missing", 2, tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    train(tmp_path / "empty", 3, tmp_path / "empty")
    train(write_blobs(tmp_path / "one", names=("circle",)), 3, "circle")
    single = write_blobs(tmp_path / "single")
    for path in sorted((single / "square").iterdir())[1:]:
        path.unlink()
    train(single, 3, "Class 'square' has 1 image")
    texts = tmp_path / "texts"
    for name in ("a", "b"):
        (texts / name).mkdir(parents=True)
        (texts / name / "notes.txt").write_text("hello")
    train(texts, 3, texts, ".txt")


def test_a_root_that_is_needed_and_not_given(capsys, tmp_path):
    assert_fails(capsys, [*FOLDER, "--out", tmp_path / "run"], 2, "data.root")


def test_a_broken_image_stops_training_and_is_named(capsys, tmp_path, write_blobs):
    root = write_blobs(tmp_path / "data")
    (root / "circle" / "03.png").write_bytes(b"nonsense")
    line = [*FOLDER, "--data.root", root, "--data.size", "32", "--out", tmp_path / "run", "--trainer.max_epochs", "1"]
    assert_fails(capsys, line, 3, root / "circle" / "03.png")
    assert_fails(capsys, [*line, "--data.num_workers", "1", "--overwrite"], 3, root / "circle" / "03.png")


def test_model_files_that_are_refused_end_with_6(capsys, tmp_path, digits_run, digit_files):
    torch.save({"weights": torch.ones(2)}, tmp_path / "other.ckpt")
    (tmp_path / "cut.ckpt").write_bytes((digits_run / "best.ckpt").read_bytes()[:50_000])
    (tmp_path / "page.ckpt").write_text("<html></html>")
    torch.save({"foveal": {}, "payload": Canary(tmp_path / "canary")}, tmp_path / "evil.ckpt")
    for name in ("other", "cut", "page", "evil"):
        path = tmp_path / f"{name}.ckpt"
        assert_fails(capsys, ["info", path], 6, path)
        assert_fails(capsys, ["predict", path, digit_files, "--out", tmp_path / "out"], 6, path)
        assert_fails(capsys, ["evaluate", path], 6, path)
        assert_fails(capsys, [*DIGITS, "--model.weights", path, "--out", tmp_path / "run", "--overwrite"], 6, path)
    assert not (tmp_path / "canary").exists()


class Canary:
    """Pickled, this asks the reader to make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_edited_checkpoints_are_refused(capsys, tmp_path, digits_run, digit_files):
    def edit(part, *path_and_value):
        *path, last, value = path_and_value
        contents = torch.load(digits_run / "best.ckpt", weights_only=True)
        target = contents
        for key in path:
            target = target[key]
        if value is None:
            del target[last]
        else:
            target[last] = value
        torch.save(contents, tmp_path / "edited.ckpt")
        assert_fails(
            capsys,
            ["predict", tmp_path / "edited.ckpt", digit_files, "--out", tmp_path / "out"],
            6,
            "edited.ckpt",
            part,
        )

    edit("class_names", "foveal", "class_names", [1, 2])
    edit("epoch", "foveal", "epoch", "x")
    edit("state_dict", "state_dict", None)
    edit("no task 'poetry'", "foveal", "task", "poetry")
    edit("no backbone 'resnet19'", "foveal", "model", "backbone", "resnet19")
    edit("size", "foveal", "preprocessing", "size", -3)
    (tmp_path / "photo.ckpt").write_bytes(next(digit_files.rglob("*.png")).read_bytes())
    assert_fails(capsys, ["info", tmp_path / "photo.ckpt"], 6, "not a readable checkpoint")


def test_a_missing_file_of_weights(capsys, tmp_path):
    assert_fails(
        capsys, [*DIGITS, "--model.weights", tmp_path / "no.pth", "--out", tmp_path / "run"], 6, tmp_path / "no.pth"
    )


@pytest.mark.parametrize("command", ["train", "predict", "evaluate"])
def test_an_output_that_cannot_be_written_ends_with_4(capsys, tmp_path, digits_run, digit_files, command):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "run"
    lines = {
        "train": [*DIGITS, "--out", out],
        "predict": ["predict", digits_run, digit_files, "--out", out],
        "evaluate": ["evaluate", digits_run, "--out", out],
    }
    assert_fails(capsys, lines[command], 4, out, "cannot be written", "give another folder")


def test_a_device_that_is_not_there(capsys, tmp_path, digits_run, digit_files):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert_fails(
        capsys, ["predict", digits_run, digit_files, "--out", tmp_path / "a", "--device", "cuda"], 4, "--device cuda"
    )
    assert_fails(capsys, [*DIGITS, "--trainer.accelerator", "gpu", "--out", tmp_path / "b"], 4, "accelerator gpu")


def test_predicting_nothing(capsys, tmp_path, digits_run):
    (tmp_path / "empty").mkdir()
    assert_fails(
        capsys,
        ["predict", digits_run, tmp_path / "empty", "--out", tmp_path / "out"],
        3,
        tmp_path / "empty",
        "no image",
    )
    assert_fails(
        capsys, ["predict", digits_run, tmp_path / "nowhere", "--out", tmp_path / "out"], 2, tmp_path / "nowhere"
    )
    assert not (tmp_path / "out").exists()


def test_debug_shows_where_it_came_from(capsys):
    assert main(["train", "nope", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Bus error.", 4),
        ("CUDA error: device-side assert triggered", 4),
        ("Caught KeyError in DataLoader worker process 0.", 70),  # ours, in a worker
    ],
)
def test_a_fault_of_the_machine_is_told_from_one_of_our_own(text, code, capsys, monkeypatch):
    import foveal.cli.list

    def fail(_arguments):
        raise RuntimeError(text)

    monkeypatch.setattr(foveal.cli.list, "run", fail)
    assert_fails(capsys, ["list", "tasks"], code, text.split(".")[0])


def test_a_fault_of_our_own_is_70_and_says_so(capsys, monkeypatch):
    import foveal.cli.list

    monkeypatch.setattr(foveal.cli.list, "run", lambda arguments: 1 / 0)
    assert_fails(capsys, ["list", "tasks"], 70, "A fault of foveal's own: ZeroDivisionError", "--debug")


@pytest.mark.parametrize("classes", ["[disc]", "{disc: round, ring: round}"])
def test_classification_needs_two_classes(classes, tmp_path, capsys):
    assert main(["draw-data", "image_folder", str(tmp_path / "data"), "--images", "40", "--size", "32"]) == 0
    line = [
        "train",
        "classification/lenet5_shapes",
        "--data.root",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert_fails(capsys, [*line, "--data.classes", classes], 2, "tells two classes or more apart", "data.classes")
    assert_fails(capsys, [*line, "--data.classes", "[]"], 2, "data.classes names no class", "disc")


@pytest.mark.parametrize("sources", ["{format: csv, root: x}", "x"])
def test_sources_are_a_list(sources, tmp_path, capsys):
    line = ["train", "classification/lenet5_digits", "--data.sources", sources, "--out", str(tmp_path / "run")]
    assert_fails(capsys, line, 2, "data.sources", "must be a list")


def test_a_folder_for_a_format_that_reads_none_is_not_passed_over(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    line = [
        "train",
        "classification/lenet5_digits",
        "--data.root",
        str(tmp_path / "mine"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert_fails(capsys, line, 2, "digits reads no files", "mine")
    assert_fails(capsys, ["check-data", "digits", str(tmp_path / "mine")], 2, "digits reads no files", "mine")


def test_half_a_drawn_set_does_not_stay(tmp_path, capsys):
    line = ["draw-data", "lfw", str(tmp_path / "faces"), "--images", "20", "--size", "48"]
    assert_fails(capsys, line, 2, "draw more test images")
    assert not (tmp_path / "faces").exists()
