"""check-data: what it says, how it ends, and that a mended copy is clean."""

import csv
import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from foveal.cli.main import main
from foveal.core.images import write_image


def scene(seed, height=120, width=160):
    """Smooth colours that no other seed gives: uint8 (height, width, 3)."""
    colors = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(colors, (width, height), interpolation=cv2.INTER_CUBIC)


def put(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, image)


def brighter(image):
    return np.clip(image.astype(int) + 8, 0, 255).astype(np.uint8)


def run(capsys, *words):
    """Exit code, standard output and standard error of `foveal check-data ...`."""
    capsys.readouterr()
    code = main(["check-data", *map(str, words)])
    return code, *capsys.readouterr()


def run_json(capsys, *words):
    """Exit code, and the report."""
    code, out, _ = run(capsys, *words, "--json")
    return code, json.loads(out)


def found(report):
    """Code, file and action of every finding, sorted."""
    return sorted((entry["code"], entry["file"], entry["action"]) for entry in report["findings"])


def assert_mends(capsys, format, root, out, *options):
    """`--fix` leaves nothing wrong, and logs every change; returns the log."""
    code, report = run_json(capsys, format, root, "--fix", out, *options)
    assert code == 3 and report["wrong"] > 0
    with (out / "changes.csv").open(newline="") as file:
        log = list(csv.DictReader(file))
    assert len(log) == report["fixed"]["changes"] > 0
    assert all(row["file"] and row["code"] and row["change"] for row in log)
    again = out if root.is_dir() else out / root.name
    code, report = run_json(capsys, format, again, *options)
    assert code == 0 and report["wrong"] == 0, report["findings"]
    return log


@pytest.fixture
def folder(tmp_path):
    """Two classes in three splits of their own, with a fault of each kind."""
    root = tmp_path / "set"
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for label in ("cat", "dog"):
            for number in range(count):
                seed = 1000 * ("train", "val", "test").index(split) + 10 * number + (label == "dog")
                put(root / split / label / f"{number}.jpg", scene(seed))
    whole = (root / "train/cat/0.jpg").read_bytes()
    (root / "train/cat/0.jpg").write_bytes(whole[: len(whole) // 2])
    shutil.copy(root / "train/cat/1.jpg", root / "train/cat/again.jpg")
    shutil.copy(root / "test/dog/1.jpg", root / "train/dog/leak.jpg")
    put(root / "val/cat/bright.jpg", brighter(scene(20)))  # of train/cat/2.jpg
    return root


FAULTS = [
    ("DUPLICATE", "train/cat/again.jpg", "kept"),
    ("LEAK", "train/cat/2.jpg", "kept"),
    ("LEAK", "train/dog/leak.jpg", "kept"),
    ("TRUNCATED", "train/cat/0.jpg", "refused"),
]


def test_a_clean_set_ends_with_0(blobs, capsys):
    code, out, err = run(capsys, "image_folder", blobs)
    assert code == 0 and err == ""
    assert "Nothing is wrong with these 16 images." in out
    assert "circle" in out and "56 x 48" in out


def test_faults_are_shown_with_file_and_place_and_end_with_3(folder, capsys):
    code, out, err = run(capsys, "image_folder", folder)
    assert code == 3
    assert "TRUNCATED (1)  training refuses this" in out
    assert "train/cat/0.jpg: is cut off" in out
    assert "LEAK (2)  used in training as it is" in out
    assert err.startswith(f"foveal: {folder}: 4 faults (2 LEAK, 1 ") and "--fix OUT" in err and err.count("\n") == 1


def test_json_is_all_there_is_on_standard_output(folder, capsys):
    code, report = run_json(capsys, "image_folder", folder)
    assert code == 3
    assert found(report) == FAULTS
    assert report["wrong"] == 4 and report["task"] == "classification"
    assert report["splits"]["train"]["classes"] == {"cat": 5, "dog": 5}
    assert report["splits"]["train"]["images"] == 10 and report["splits"]["train"]["formats"] == {"JPEG": 9}


def test_quick_finds_cut_files_and_exact_duplicates(folder, capsys):
    code, report = run_json(capsys, "image_folder", folder, "--quick")
    assert code == 3 and found(report) == [fault for fault in FAULTS if fault[1] != "train/cat/2.jpg"]
    code, report = run_json(capsys, "image_folder", folder, "--full")
    assert code == 3 and found(report) == FAULTS


def test_ten_places_of_a_kind_or_all(tmp_path, capsys):
    for number in range(14):
        put(tmp_path / "ab"[number % 2] / f"{number}.png", scene(number))
        (tmp_path / "ab"[number % 2] / f"empty{number}.png").touch()
    _, out, _ = run(capsys, "image_folder", tmp_path)
    assert out.count("is empty") == 10 and "... 4 more; --all shows them" in out
    _, out, _ = run(capsys, "image_folder", tmp_path, "--all")
    assert out.count("is empty") == 14 and "more" not in out


def test_many_classes_are_cut_to_the_commonest_and_rarest(tmp_path, capsys):
    for label in range(30):
        for number in range(30 - label + 3):
            put(tmp_path / f"class{label:02d}" / f"{number}.png", np.full((8, 8, 3), label + number, np.uint8))
    _, out, _ = run(capsys, "image_folder", tmp_path, "--quick")
    assert "class00" in out and "class29" in out and "class15" not in out and "... 6 more (--all)" in out
    _, out, _ = run(capsys, "image_folder", tmp_path, "--quick", "--all")
    assert "class15" in out


def test_a_set_that_cannot_be_opened_is_the_one_fault(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("file,class\n")
    code, report = run_json(capsys, "csv", tmp_path)
    assert code == 3 and [entry["code"] for entry in report["findings"]] == ["NOT_USABLE"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["RECIPE|FORMAT"]),
        (["image_foldr", "."], ["no recipe or data format 'image_foldr'", "image_folder"]),
        (["image_folder"], ["say where, as PATH"]),
        (["image_folder", "nowhere"], ["nowhere: there is no such folder or file"]),
        (["image_folder", ".", "--data.root", "x"], ["given twice"]),
        (["image_folder", ".", "--data.size", "3"], ["--data.size"]),
        (["image_folder", ".", "--data.depth_scale", "256"], ["data.depth_scale means nothing to"]),
        (["image_folder", ".", "--data.splits", "[0.5, 0.1]"], ["--data.splits is", "a list of 3 numbers"]),
        (["image_folder", ".", "--data.splits", "[0.5, 0.1, 0.1]"], ["data.splits", "sum is 1"]),
        (["image_folder", ".", "--seed", "x"], ["--seed is 'x'; it must be a whole number"]),
        (["image_folder", ".", "--quick", "--full"], ["not allowed with"]),
        (["digits", "--fix", "OUT"], ["the format digits has no files to copy"]),
        (["shapes"], ["say which with --task"]),
        (["shapes", "--task", "detecton"], ["no drawn task 'detecton'", "detection"]),
        (["my.yaml", "."], ["my.yaml: there is no such recipe file"]),
        (["classification/lenet5_digit"], ["classification/lenet5_digits"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_commands_end_with_2(words, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert code == 2 and out == ""
    assert err.startswith("foveal: ") and err.count("\n") == 1
    for part in parts:
        assert part in err


def test_a_recipe_says_format_options_and_root(folder, capsys, tmp_path):
    code, report = run_json(capsys, "classification/lenet5_digits")
    assert code == 0 and report["format"] == "digits"
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"task: classification\nmodel: {{backbone: resnet18}}\ndata: {{format: image_folder, root: {folder}}}\n"
    )
    code, report = run_json(capsys, recipe)
    assert code == 3 and found(report) == FAULTS
    code, report = run_json(capsys, recipe, folder / "train")
    assert report["root"] == str(folder / "train")
    assert sum(split["images"] for split in report["splits"].values()) == 10


def test_options_reach_the_reader(tmp_path, capsys):
    for number in range(9):
        put(tmp_path / f"images/{number}.png", scene(number))
        put(tmp_path / f"masks/{number}.png", np.full((120, 160), 40 * (number % 3), np.uint8))
    options = ["--data.mask_values", "{0: ground, 40: road}", "--data.ignore_value", "80"]
    code, report = run_json(capsys, "mask_folder", tmp_path, *options, "--data.splits", "[0.4, 0.3, 0.3]")
    assert code == 0
    assert [report["splits"][split]["images"] for split in ("train", "val", "test")] == [3, 3, 3]
    pixels = [report["splits"][split]["classes"] for split in ("train", "val", "test")]
    assert {name: sum(part[name] for part in pixels) for name in pixels[0]} == {"ground": 57600, "road": 57600}
    assert found(report) == [("ALL_IGNORED", f"masks/{number}.png", "noted") for number in (2, 5, 8)]


def test_no_torch_and_quick_answers_to_mistakes(tmp_path, write_blobs):
    folder = write_blobs(tmp_path / "blobs")
    program = (
        "import sys; from foveal.cli.main import main; code = main(sys.argv[1:]); "
        "heavy = 'torch lightning albumentations matplotlib' + ' cv2 jsonargparse' * (code > 0); "
        "print(sorted(set(heavy.split()) & set(sys.modules)), code)"
    )
    for words, code in ((["image_folder", folder], 0), (["image_foldr", folder], 2), (["image_folder", "no"], 2)):
        line = [sys.executable, "-c", program, "check-data", *map(str, words)]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == f"[] {code}"


# --- mended copies ----------------------------------------------------------------------------------------------------


def test_fix_refuses_a_place_that_is_taken(folder, tmp_path, capsys):
    code, _, err = run(capsys, "image_folder", folder, "--fix", folder)
    assert code == 2 and "something is there already" in err
    code, _, err = run(capsys, "image_folder", folder, "--fix", folder / "clean")
    assert code == 2 and "a copy within the data set" in err
    assert not (folder / "clean").exists()


def test_fix_of_folders_links_the_good_files(folder, tmp_path, capsys):
    log = assert_mends(capsys, "image_folder", folder, tmp_path / "out")
    assert sorted((row["code"], row["file"]) for row in log) == [fault[:2] for fault in FAULTS]
    kept = {os.path.relpath(path, tmp_path / "out") for path in (tmp_path / "out").rglob("*.jpg")}
    all_of_them = {os.path.relpath(path, folder) for path in folder.rglob("*.jpg")}
    assert kept == all_of_them - {fault[1] for fault in FAULTS}
    assert (tmp_path / "out/val/cat/bright.jpg").resolve() == folder / "val/cat/bright.jpg"


def test_fix_of_drawn_splits_keeps_one_of_pictures_that_are_nearly_the_same(tmp_path, capsys):
    # Whichever splits are drawn from the copy, no two of these can come to lie in train and in test.
    for number in range(20):
        put(tmp_path / f"set/{'ab'[number % 2]}/{number:02d}.png", scene(number))
    for number in range(10):
        put(tmp_path / f"set/{'ab'[number % 2]}/near{number:02d}.png", brighter(scene(number)))
    assert_mends(capsys, "image_folder", tmp_path / "set", tmp_path / "out")
    assert sum(1 for path in (tmp_path / "out").rglob("*.png")) == 20
    for seed in range(4):
        code, report = run_json(capsys, "image_folder", tmp_path / "out", "--seed", seed)
        assert code == 0 and report["findings"] == []


def test_fix_of_masks_leaves_out_images_with_their_masks(tmp_path, capsys):
    root = tmp_path / "set"
    for number in range(12):
        put(root / f"images/{number:02d}.png", scene(number))
        put(root / f"masks/{number:02d}.png", np.full((120, 160), number % 2, np.uint8))
    (root / "classes.txt").write_text("ground\nroad\n")
    put(root / "masks/03.png", np.full((120, 160), 9, np.uint8))
    put(root / "masks/04.png", np.zeros((60, 80), np.uint8))
    (root / "images/05.png").write_bytes((root / "images/05.png").read_bytes()[:-30])
    (root / "masks/06.png").unlink()
    log = assert_mends(capsys, "mask_folder", root, tmp_path / "out")
    assert {(row["code"], row["file"]) for row in log} == {
        ("BAD_TRUTH", "images/03.png"), ("BAD_TRUTH", "masks/03.png"),
        ("SIZE_DIFFERS", "images/04.png"), ("SIZE_DIFFERS", "masks/04.png"),
        ("TRUNCATED", "images/05.png"), ("TRUNCATED", "masks/05.png"),
        ("NO_TRUTH", "images/06.png"),
    }  # fmt: skip
    for name in ("images", "masks"):
        kept = sorted(path.name for path in (tmp_path / "out" / name).iterdir())
        assert kept == [f"{number:02d}.png" for number in (0, 1, 2, 7, 8, 9, 10, 11)]


def test_fix_of_a_table_takes_out_its_bad_rows(tmp_path, capsys):
    root = tmp_path / "set"
    for number in range(12):
        put(root / f"im/{number}.png", scene(number))
    shutil.copy(root / "im/0.png", root / "im/copy.png")
    (root / "im/5.png").write_bytes(b"no picture")
    rows = [f'im/{number}.png,{"dog" if number % 2 else "cat"},train,"a, note"' for number in range(8)]
    rows += [f"im/{number}.png,{'dog' if number % 2 else 'cat'},test," for number in range(8, 12)]
    odd = ["im/copy.png,cat,test,", "../x.png,cat,train,", "im/99.png,cat,train,", "im/1.png,dog,test,",
           "im/11.png,bird,tset,", "im/2.png"]  # fmt: skip
    (root / "list.csv").write_bytes("\r\n".join(["path,label,split,note", "", *rows, *odd, ""]).encode())
    code, report = run_json(capsys, "csv", root)
    places = {(entry["code"], entry["place"] or entry["file"]) for entry in report["findings"]}
    assert code == 3 and places == {
        ("NOT_AN_IMAGE", "im/5.png"), ("LEAK", "im/0.png"), ("LEAVES_ROOT", "line 16"), ("MISSING_IMAGE", "line 17"),
        ("LISTED_TWICE", "line 18"), ("UNKNOWN_SPLIT", "line 19"), ("BAD_ROW", "line 20"),
    }  # fmt: skip
    assert_mends(capsys, "csv", root, tmp_path / "out")
    kept = [row for row in rows if not row.startswith(("im/0.png", "im/5.png"))]
    expected = "\r\n".join(["path,label,split,note", "", *kept, odd[0], ""]).encode()
    assert (tmp_path / "out/list.csv").read_bytes() == expected
    assert_mends(capsys, "csv", root / "list.csv", tmp_path / "out2")


def write_coco(root):
    """Six pictures with one box each: one is cut, one box is empty, one picture has the size of another."""
    for number in range(6):
        put(root / f"train/{number}.jpg", scene(number))
    whole = (root / "train/1.jpg").read_bytes()
    (root / "train/1.jpg").write_bytes(whole[:-50])
    document = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": 60 if n == 2 else 120, "width": 160} for n in range(6)],
        "categories": [{"id": 1, "name": "cup"}],
        "annotations": [
            {"id": n, "image_id": n % 6, "category_id": 1, "bbox": [5, 6, 0 if n == 6 else 30, 20], "iscrowd": 0}
            for n in range(7)
        ],
    }
    (root / "annotations").mkdir()
    (root / "annotations/instances_train.json").write_text(json.dumps(document))


def test_fix_of_coco(tmp_path, capsys):
    write_coco(tmp_path / "set")
    log = assert_mends(capsys, "coco", tmp_path / "set", tmp_path / "out")
    assert {row["code"] for row in log} == {"TRUNCATED", "SIZE_DIFFERS", "NO_AREA", "FOLLOWS"}
    assert [row["place"] for row in log if row["code"] == "FOLLOWS"] == ["annotation 1", "annotation 2"]
    document = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert [entry["id"] for entry in document["images"]] == [0, 3, 4, 5]
    assert [entry["id"] for entry in document["annotations"]] == [0, 3, 4, 5]
    assert sorted(path.name for path in (tmp_path / "out/train").iterdir()) == ["0.jpg", "3.jpg", "4.jpg", "5.jpg"]


def test_the_links_of_a_copy_are_one_remark(tmp_path, capsys):
    for number in range(12):
        put(tmp_path / f"set/train/{number}.jpg", scene(number))
    images = [{"id": n, "file_name": f"{n}.jpg", "height": 120, "width": 160} for n in range(12)]
    entry = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [5, 6, 0, 20], "iscrowd": 0}
    document = {"images": images, "categories": [{"id": 1, "name": "cup"}], "annotations": [entry]}
    (tmp_path / "set/annotations").mkdir()
    (tmp_path / "set/annotations/instances_train.json").write_text(json.dumps(document))
    assert_mends(capsys, "coco", tmp_path / "set", tmp_path / "out")
    _, report = run_json(capsys, "coco", tmp_path / "out")
    links = [entry["text"] for entry in report["findings"] if entry["code"] == "LINK_OUTSIDE"]
    assert len(links) == 1 and links[0].endswith("; so are 11 more")


def test_fix_of_voc_mends_the_two_boxes_of_the_blood_cells(real_data, tmp_path, capsys):
    log = assert_mends(capsys, "voc", real_data / "bccd", tmp_path / "out")
    assert [(row["file"].split("_")[-1], row["code"]) for row in log] == [
        ("00338.xml", "NO_AREA"),
        ("00343.xml", "NO_AREA"),
    ]


def test_names_that_are_not_utf_8_survive(folder, tmp_path, capsys):
    odd = os.fsdecode(b"caf\xe9.jpg")
    shutil.copy(folder / "train/cat/3.jpg", folder / "train/cat" / odd)
    code, report = run_json(capsys, "image_folder", folder)
    assert code == 3
    assert ("DUPLICATE", f"train/cat/{odd}", "kept") in found(report)
    assert run(capsys, "image_folder", folder, "--fix", tmp_path / "out")[0] == 3
    assert b"train/cat/caf\xe9.jpg,,DUPLICATE" in (tmp_path / "out/changes.csv").read_bytes()


@pytest.mark.parametrize("format", ["frame_folder", "otb", "got10k"])
def test_no_copy_gives_the_boxes_of_a_broken_frame_to_the_next(format, tmp_path, capsys):
    assert main(["draw-data", format, str(tmp_path / "a"), "--images", "12", "--size", "48"]) == 0
    frame = sorted((tmp_path / "a/train").rglob("*.jpg"))[0]
    frame.write_bytes(frame.read_bytes()[:300])
    assert main(["check-data", format, str(tmp_path / "a"), "--fix", str(tmp_path / "b")]) == 3
    assert "1 frame cannot be kept" in capsys.readouterr().err and not (tmp_path / "b").exists()


def test_what_no_copy_can_mend_is_said_and_no_copy_made(tmp_path, capsys):
    assert main(["draw-data", "csv", str(tmp_path / "a"), "--images", "12", "--size", "32"]) == 0
    (tmp_path / "a/labels.csv").write_text("")
    assert main(["check-data", "csv", str(tmp_path / "a"), "--fix", str(tmp_path / "b")]) == 3
    assert "do it by hand" in capsys.readouterr().err and not (tmp_path / "b").exists()


@pytest.mark.parametrize("images", [12, 100])
def test_drawn_pairs_are_clean_and_a_mended_table_is_read_beside_its_log(images, tmp_path, capsys):
    assert main(["draw-data", "pairs_csv", str(tmp_path / "a"), "--images", str(images), "--size", "48"]) == 0
    assert main(["check-data", "pairs_csv", str(tmp_path / "a"), "--fix", str(tmp_path / "b")]) == 0
    assert (tmp_path / "b/changes.csv").is_file()
    assert main(["check-data", "pairs_csv", str(tmp_path / "b")]) == 0


def test_a_video_that_ends_too_early_is_found_where_frames_are_decoded(tmp_path, capsys):
    assert main(["draw-data", "video", str(tmp_path / "v"), "--images", "60", "--size", "48"]) == 0
    assert main(["check-data", "video", str(tmp_path / "v"), "--full"]) == 0
    file = tmp_path / "v/train/sequence_0000.avi"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    capsys.readouterr()
    assert main(["check-data", "video", str(tmp_path / "v"), "--full"]) == 3
    said = capsys.readouterr()
    assert "sequence_0000.avi" in said.out and "1 fault (1 BROKEN_FRAMES)" in said.err
    assert main(["check-data", "video", str(tmp_path / "v"), "--full", "--fix", str(tmp_path / "w")]) == 3
    assert "do it by hand" in capsys.readouterr().err and not (tmp_path / "w").exists()
