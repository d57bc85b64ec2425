"""person_folder, lfw and pairs_csv: people apart in the splits, pairs and folds by hand, faults and mended copies."""

import os
import pickle
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from foveal.core.errors import DataError, MissingSplit, UsageError
from foveal.core.images import write_image
from foveal.core.options import SPLITS
from foveal.datasets import open_dataset, reader
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld

FORMATS = ("person_folder", "lfw", "pairs_csv")


def fill(root: Path, *names: str) -> Path:
    """Pictures 5 wide and 4 high whose brightness is their place."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name, np.full((4, 5, 3), number, np.uint8))
    return root


def people(root: Path, **counts: int) -> Path:
    """Folders as in LFW: Ann=2 makes Ann/Ann_0001.png and Ann/Ann_0002.png."""
    return fill(
        root, *(f"{name}/{name}_{number:04d}.png" for name, count in counts.items() for number in range(1, count + 1))
    )


def opened(format: str, root: Path, split: str = "train", **options):
    """The data set and its findings."""
    findings = Findings()
    return open_dataset(format, root, split=split, findings=findings, **options), findings


def said(findings) -> list[tuple]:
    return [(finding.code, finding.file, finding.place, finding.action) for finding in findings]


def shown(dataset) -> list[tuple]:
    """Each pair as the names of its files, whether they are one person's, and its fold."""
    names = [Path(dataset.path(index)).stem for index in range(len(dataset))]
    rows = zip(dataset.pairs.tolist(), dataset.same.tolist(), dataset.folds.tolist(), strict=True)
    return [(names[first], names[second], same, fold) for (first, second), same, fold in rows]


def mended(format: str, root: Path, split: str, dropped=None, **options) -> tuple[Path, list]:
    """A copy of the root with the mended file in place of its own, and the log."""
    _, findings = opened(format, root, split, **options)
    log = reader(format).mend(root, root.parent / "out", findings, dropped or {})
    clean = root.parent / "clean"
    shutil.copytree(root, clean)
    shutil.copytree(root.parent / "out", clean, dirs_exist_ok=True)
    return clean, log


# --- person_folder ----------------------------------------------------------------------------------------------------


def test_a_face_is_a_sample(tmp_path):
    fill(tmp_path, "s10/1.png", "s2/deep/er/1.png", "s2/2.png")
    dataset, _ = opened("person_folder", tmp_path, fractions=(1, 0, 0))
    assert dataset.class_names == ["s2", "s10"]
    assert dataset.labels.tolist() == [0, 0, 1]
    sample = dataset[1]
    assert set(sample) == {"image", "path", "size", "identity"}
    assert (sample["path"], sample["size"], sample["identity"]) == (f"{tmp_path}/s2/deep/er/1.png", (4, 5), 0)
    assert sample["image"][0, 0].tolist() == [1, 1, 1]
    assert (dataset.pairs.shape, dataset.same.tolist(), dataset.folds.tolist()) == ((0, 2), [], [])


def test_no_two_splits_share_a_person(tmp_path):
    fill(tmp_path, *(f"p{person}/{number}.png" for person in range(10) for number in range(3)))
    parts = [opened("person_folder", tmp_path, split, fractions=(0.5, 0.2, 0.3))[0] for split in SPLITS]
    assert [(len(part), len(part.class_names)) for part in parts] == [(15, 5), (6, 2), (9, 3)]
    assert sorted(name for part in parts for name in part.class_names) == [f"p{person}" for person in range(10)]
    for part in parts:
        assert part.labels.tolist() == [label for label in range(len(part.class_names)) for _ in range(3)]
        owners = [Path(part.path(index)).parent.name for index in range(len(part))]
        assert owners == [part.class_names[label] for label in part.labels]
    drawn = {tuple(opened("person_folder", tmp_path, "val", seed=seed)[0].class_names) for seed in range(4)}
    assert len(drawn) > 1


def test_folders_of_splits_and_people_in_two_of_them(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png", "test/b/3.png", "test/c/1.png")
    test, findings = opened("person_folder", tmp_path, "test")
    assert test.class_names == ["b", "c"]
    assert said(findings) == [
        ("ONE_IMAGE", "test/b/3.png", "", "noted"),
        ("ONE_IMAGE", "test/c/1.png", "", "noted"),
        ("SHARED_PERSON", "test", "", "noted"),
    ]
    assert findings[2].text == "people of test who are in train too: 1, such as 'b'; a test is of people unseen"
    assert [sentence for sentence in findings.sentences() if "people of test who are in train too" in sentence]
    names = [opened("person_folder", tmp_path, split)[0].class_names for split in ("train", "val")]
    assert sorted(chain(*names)) == ["a", "b"]
    shutil.rmtree(tmp_path / "test")
    with pytest.raises(MissingSplit, match="has images for train and none for test"):
        opened("person_folder", tmp_path, "test")


def test_folders_that_are_no_people(tmp_path):
    fill(tmp_path, "a/1.png", "a/2.png", "b/1.png", "loose.png", "also.png", ".hidden/1.png")
    (tmp_path / "void").mkdir()
    dataset, findings = opened("person_folder", tmp_path, fractions=(1, 0, 0))
    assert dataset.class_names == ["a", "b"]
    assert said(findings) == [
        ("NO_PERSON", "also.png", "", "noted"),
        ("NO_IMAGE", "void", "", "left out"),
        ("ONE_IMAGE", "b/1.png", "", "noted"),
    ]
    with pytest.raises(DataError, match=r"has too few people \(2\) for 3 splits"):
        opened("person_folder", tmp_path)
    with pytest.raises(DataError, match=r"void' is empty"):
        opened("person_folder", tmp_path / "void")
    with pytest.raises(DataError, match=r"There is nobody in '.*', only 2 files \(2 .png\): expected one folder per"):
        opened("person_folder", tmp_path / "a")


def test_a_folder_linked_from_outside_is_noted(tmp_path):
    fill(tmp_path / "set", "a/1.png", "a/2.png")
    fill(tmp_path / "outside", "1.png", "2.png")
    (tmp_path / "set/b").symlink_to(tmp_path / "outside")
    dataset, findings = opened("person_folder", tmp_path / "set", fractions=(1, 0, 0))
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert said(findings) == [("LINK_OUTSIDE", "b", "", "noted")]


def test_the_orl_faces(real_data):
    parts = [opened("person_folder", real_data / "att_faces", split) for split in SPLITS]
    assert [(len(part), len(part.class_names)) for part, _ in parts] == [(260, 26), (40, 4), (100, 10)]
    names = [name for part, _ in parts for name in part.class_names]
    assert sorted(names, key=lambda name: int(name[1:])) == [f"s{number}" for number in range(1, 41)]
    assert not [finding for _, findings in parts for finding in findings]
    assert parts[0][0][0]["image"].ndim == 3


# --- lfw --------------------------------------------------------------------------------------------------------------

PAIRS = """2\t2
Ann_Lee\t1\t2
Bob\t1\t3
Ann_Lee\t2\tBob\t1
Bob\t2\tCy\t1
Dee\t1\t2
Dee\t2\t3
Dee\t1\tEd\t1
Ed\t1\tFay\t1
"""


def lfw(root: Path, pairs: str = PAIRS, inside: str = "") -> Path:
    people(root / inside, Ann_Lee=2, Bob=3, Cy=1, Dee=3, Ed=1, Fay=2, Gus=2, Hal=1, Ivy=3)
    (root / "pairs.txt").write_text(pairs)
    return root


@pytest.mark.parametrize("inside", ["", "lfw_funneled"])
@pytest.mark.parametrize("pairs", [PAIRS, PAIRS.replace("\t", " "), PAIRS.replace("\n", "\r\n")])
def test_pairs_and_folds(tmp_path, pairs, inside):
    dataset, findings = opened("lfw", lfw(tmp_path, pairs, inside), "test")
    assert not findings
    assert shown(dataset) == [
        ("Ann_Lee_0001", "Ann_Lee_0002", True, 0),
        ("Bob_0001", "Bob_0003", True, 0),
        ("Ann_Lee_0002", "Bob_0001", False, 0),
        ("Bob_0002", "Cy_0001", False, 0),
        ("Dee_0001", "Dee_0002", True, 1),
        ("Dee_0002", "Dee_0003", True, 1),
        ("Dee_0001", "Ed_0001", False, 1),
        ("Ed_0001", "Fay_0001", False, 1),
    ]
    assert dataset.class_names == ["Ann_Lee", "Bob", "Cy", "Dee", "Ed", "Fay"]
    assert dataset.labels.tolist() == [0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 5]  # Fay_0002 is in no pair
    assert (dataset.pairs.dtype, dataset.same.dtype, dataset.folds.dtype) == (np.int64, bool, np.int64)
    assert dataset[10]["identity"] == 5


def test_training_is_on_those_whom_no_pair_names(tmp_path):
    lfw(tmp_path)
    found = {}
    for split, fractions in (("train", (0.6, 0.3, 0.1)), ("val", (0.6, 0.3, 0.1))):
        dataset, findings = opened("lfw", tmp_path, split, fractions=fractions)
        assert said(findings) == [("ONE_IMAGE", "Hal/Hal_0001.png", "", "noted")]
        found[split] = dataset.class_names
        assert len(dataset.pairs) == 0
    assert (len(found["train"]), len(found["val"])) == (2, 1)
    assert sorted(found["train"] + found["val"]) == ["Gus", "Hal", "Ivy"]
    for name in ("Gus", "Hal", "Ivy"):
        shutil.rmtree(tmp_path / name)
    with pytest.raises(DataError, match=r"Everybody in '.*' is in pairs.txt, so nobody is left for train"):
        opened("lfw", tmp_path, "train")


def test_the_development_view(tmp_path):
    people(tmp_path, Ann=3, Bob=3, Cy=2, Dee=2, Ed=2)
    (tmp_path / "pairsDevTrain.txt").write_text("2\nAnn\t1\t2\nBob\t1\t2\nAnn\t3\tBob\t3\nAnn\t1\tCy\t1\n")
    (tmp_path / "pairsDevTest.txt").write_text("1\nDee\t1\t2\nDee\t1\tEd\t2\n")
    test, findings = opened("lfw", tmp_path, "test")
    assert shown(test) == [("Dee_0001", "Dee_0002", True, 0), ("Dee_0001", "Ed_0002", False, 0)]
    train, findings = opened("lfw", tmp_path, "train", fractions=(0.75, 0.0, 0.25))
    assert len(shown(train)) == 4
    assert not findings
    parts = [opened("lfw", tmp_path, split, fractions=(0.5, 0.3, 0.2)) for split in ("train", "val")]
    assert sorted(chain(*(part.class_names for part, _ in parts))) == ["Ann", "Bob", "Cy"]
    assert [finding.code for finding in parts[0][1]] == ["TORN_PAIRS"]
    (tmp_path / "pairs.txt").write_text("1\t1\nDee\t1\t2\nDee\t1\tEd\t2\n")
    assert opened("lfw", tmp_path, "train", fractions=(1, 0, 0))[0].class_names == ["Ann", "Bob", "Cy"]


WRONG = (
    PAIRS.replace("Bob\t1\t3", "Bob\t1\t9")  # line 3: no such image
    .replace("Bob\t2\tCy\t1", "Bob\t2\tBob\t1")  # line 5: one person among the pairs of two
    .replace("Dee\t2\t3", "Dee\ttwo\t3")  # line 7
    .replace("Ed\t1\tFay\t1", "../Ed\t1\tFay\t1")  # line 9
)


def test_faults_of_pairs_and_the_mended_file(tmp_path):
    root = lfw(tmp_path / "set", WRONG)
    dataset, findings = opened("lfw", root, "test")
    assert said(findings) == [
        ("CONTRADICTION", "pairs.txt", "line 5", "refused"),
        ("NOT_A_PAIR", "pairs.txt", "line 7", "refused"),
        ("LEAVES_ROOT", "pairs.txt", "line 9", "refused"),
        ("NO_IMAGE", "pairs.txt", "line 3", "left out"),
    ]
    assert findings[3].text == "there is no image Bob/Bob_0009.jpg"
    assert findings[1].text == "'Dee two 3' is no pair of one person: expected name, number and number"
    assert len(shown(dataset)) == 4
    with pytest.raises(DataError, match=r"pairs.txt, line 5: 'Bob 2 Bob 1' is one person, .* \(2 more faults"):
        open_dataset("lfw", root, split="test")
    clean, log = mended("lfw", root, "test")
    assert (clean / "pairs.txt").read_text() == ("2\t1\nAnn_Lee\t1\t2\nAnn_Lee\t2\tBob\t1\nDee\t1\t2\nDee\t1\tEd\t1\n")
    assert [change[1] for change in log] == ["line 3", "line 5", "line 7", "line 9", "line 1"]
    assert log[-1] == ("pairs.txt", "line 1", "set to 2 1")
    again, findings = opened("lfw", clean, "test")
    assert not findings
    assert shown(again) == shown(dataset)


def test_one_pair_less_in_a_fold_is_one_less_in_all(tmp_path):
    root = lfw(tmp_path / "set")
    clean, log = mended("lfw", root, "test", {"Ann_Lee/Ann_Lee_0001.png": "unreadable"})
    assert (clean / "pairs.txt").read_text() == "2\t1\nBob\t1\t3\nAnn_Lee\t2\tBob\t1\nDee\t1\t2\nDee\t1\tEd\t1\n"
    assert log[0] == ("pairs.txt", "line 2", "removed: an image was dropped, unreadable")
    assert log[1] == ("pairs.txt", "line 5", "removed: every fold must have as many pairs of each kind, now 1")
    assert len(log) == 5


def test_wrong_counts_of_lines_are_refused(tmp_path):
    root = lfw(tmp_path / "set", PAIRS.replace("Bob\t2\tCy\t1\n", ""))
    dataset, findings = opened("lfw", root, "test")
    assert said(findings) == [("WRONG_COUNT", "pairs.txt", "line 8", "refused")]
    assert findings[0].text == "the last of 7 lines of pairs, but line 1 promises 8 (folds x 2 x pairs)"
    assert dataset.folds.tolist() == [0, 0, 0, 1, 1, 1, 1]
    clean, _ = mended("lfw", root, "test")
    again, findings = opened("lfw", clean, "test")
    assert not findings
    assert again.folds.tolist() == [0, 0, 1, 1]
    lfw(tmp_path / "order", PAIRS.replace("Bob\t1\t3\nAnn_Lee\t2\tBob\t1", "Ann_Lee\t2\tBob\t1\nBob\t1\t3"))
    _, findings = opened("lfw", tmp_path / "order", "test")
    assert [(finding.code, finding.place) for finding in findings] == [
        ("NOT_A_PAIR", "line 3"),
        ("NOT_A_PAIR", "line 4"),
    ]


@pytest.mark.parametrize("header", ["", "ten\t300", "10\t300\t1", "0\t3", "2\t0"])
def test_a_first_line_that_is_none(tmp_path, header):
    with pytest.raises(DataError, match=r"pairs.txt', line 1: '.*' is not the number of folds and of pairs"):
        opened("lfw", lfw(tmp_path, header + PAIRS[3:]), "test")


def test_folders_that_are_not_lfw(tmp_path):
    with pytest.raises(DataError, match=r"There is no pairs.txt in '.*', nor pairsDevTrain.txt .* read the folder as"):
        opened("lfw", people(tmp_path / "a", Ann=2))
    with pytest.raises(DataError, match=r"There is no image called like Ann_Lee/Ann_Lee_0001.jpg in '.*', only 1 file"):
        opened("lfw", fill(tmp_path / "b", "x/1.png"))
    lfw(tmp_path / "c", inside="lfw")
    with pytest.raises(DataError, match="holds people in 'lfw' and 'lfw2': move all but one"):
        opened("lfw", lfw(tmp_path / "c", inside="lfw2"))
    with pytest.raises(UsageError, match="There is no folder '/absent'"):
        opened("lfw", "/absent")


# --- pairs_csv --------------------------------------------------------------------------------------------------------

TABLE = (
    "a,b,same,fold\n1.png,2.png,1,0\n3.png,2.png,TRUE,0\n1.png,4.png,0,1\n5.png,6.png,same,1\n7.png,5.png,different,2\n"
)


def table(root: Path, text: str | bytes = TABLE) -> Path:
    fill(root, *(f"{number}.png" for number in range(1, 10)))
    (root / "pairs.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def test_people_are_chains_of_pairs(tmp_path):
    dataset, findings = opened("pairs_csv", table(tmp_path), fractions=(1, 0, 0))
    assert not findings
    assert dataset.labels.tolist() == [0, 0, 0, 1, 2, 2, 3]
    assert dataset.class_names == ["1.png", "4.png", "5.png", "7.png"]
    assert shown(dataset) == [
        ("1", "2", True, 0),
        ("3", "2", True, 0),
        ("1", "4", False, 1),
        ("5", "6", True, 1),
        ("7", "5", False, 2),
    ]
    assert dataset[3]["identity"] == 1
    direct = open_dataset("pairs_csv", tmp_path / "pairs.csv", split="train", fractions=(1, 0, 0))
    assert direct.fingerprint() == dataset.fingerprint()


def test_pairs_over_two_splits_are_in_none(tmp_path):
    parts = [opened("pairs_csv", table(tmp_path), split, fractions=(0.5, 0.25, 0.25)) for split in SPLITS]
    names = [name for part, _ in parts for name in part.class_names]
    assert sorted(names) == ["1.png", "4.png", "5.png", "7.png"]
    assert sum(len(part) for part, _ in parts) == 7
    assert sum(part.same.sum() for part, _ in parts) == 3  # no pair of one person is torn
    for part, findings in parts:
        torn = [finding for finding in findings if finding.code == "TORN_PAIRS"]
        assert all((finding.file, finding.action) == ("pairs.csv", "noted") for finding in torn)
        assert len(part.class_names) > 1 or torn


def test_a_column_of_splits(tmp_path):
    text = "split,same,b,a\ntrain,1,2.png,1.png\ntrain,0,3.png,1.png\nTest,1,5.png,4.png\nvalidation,0,6.png,7.png\n"
    parts = {split: opened("pairs_csv", table(tmp_path, text), split) for split in SPLITS}
    assert [shown(part) for part, _ in parts.values()] == [
        [("1", "2", True, 0), ("1", "3", False, 0)],
        [("7", "6", False, 0)],
        [("4", "5", True, 0)],
    ]
    assert not any(findings for _, findings in parts.values())
    table(tmp_path, text.replace("validation,0,6.png", "validation,0,2.png"))
    assert [finding.code for finding in opened("pairs_csv", tmp_path, "val")[1]] == ["SHARED_PERSON"]
    table(tmp_path, text.replace("validation", "train").replace("Test", "train"))
    names = [opened("pairs_csv", tmp_path, split)[0].class_names for split in ("train", "val")]
    assert sorted(chain(*names)) == ["1.png", "3.png", "4.png", "6.png", "7.png"]
    with pytest.raises(MissingSplit, match=r"pairs.csv' has images for train and none for test"):
        opened("pairs_csv", tmp_path, "test")


FAULTY = """a,b,same,fold,split,note
1.png,2.png,1,0,train,ok
2.png,3.png,1,0,train,"kept
to the letter"
1.png,3.png,0,0,train,
2.png,1.png,1,0,train,
1.png,1.png,1,0,train,
1.png,66.png,1,0,train,

../x.png,1.png,0,0,train,
1.png,C:\\x.png,0,0,train,
1.png,4.png,maybe,0,train,
1.png,4.png,1,-1,train,
1.png,4.png,1,0,tset,
1.png,,1,0,train,
1.png,4.png,1
4.png,1.png,0,0,train,ok
"""


def test_faulty_rows_and_the_mended_table(tmp_path):
    root = table(tmp_path / "set", FAULTY)
    dataset, findings = opened("pairs_csv", root, fractions=(0.9, 0, 0.1))
    assert sorted(said(findings), key=lambda row: int(row[2].split()[1])) == [
        ("CONTRADICTION", "pairs.csv", "line 5", "left out"),
        ("REPEATED", "pairs.csv", "line 6", "left out"),
        ("SELF_PAIR", "pairs.csv", "line 7", "left out"),
        ("NO_IMAGE", "pairs.csv", "line 8", "left out"),
        ("LEAVES_ROOT", "pairs.csv", "line 10", "refused"),
        ("LEAVES_ROOT", "pairs.csv", "line 11", "refused"),
        ("BAD_ROW", "pairs.csv", "line 12", "left out"),
        ("BAD_ROW", "pairs.csv", "line 13", "left out"),
        ("BAD_ROW", "pairs.csv", "line 14", "left out"),
        ("BAD_ROW", "pairs.csv", "line 15", "left out"),
        ("BAD_ROW", "pairs.csv", "line 16", "left out"),
    ]
    assert shown(dataset) == [("1", "2", True, 0), ("2", "3", True, 0), ("4", "1", False, 0)]
    texts = {finding.place: finding.text for finding in findings}
    assert texts["line 6"] == "the pair is on line 2 already"
    assert texts["line 12"] == "same is 'maybe'; it must be 1 or 0"
    assert texts["line 16"] == "3 values where the header has 6 columns"
    clean, log = mended("pairs_csv", root, "train", fractions=(0.9, 0, 0.1))
    assert (clean / "pairs.csv").read_text() == (
        'a,b,same,fold,split,note\n1.png,2.png,1,0,train,ok\n2.png,3.png,1,0,train,"kept\nto the letter"\n'
        "4.png,1.png,0,0,train,ok\n"
    )
    assert len(log) == 11
    assert ("pairs.csv", "line 8", "removed: there is no file '66.png'") in log
    again, findings = opened("pairs_csv", clean, fractions=(0.9, 0, 0.1))
    assert not findings
    assert shown(again) == shown(dataset)


def test_rows_of_dropped_images_go(tmp_path):
    clean, log = mended("pairs_csv", table(tmp_path / "set"), "train", {"5.png": "unreadable"}, fractions=(1, 0, 0))
    assert (clean / "pairs.csv").read_text() == "".join(TABLE.splitlines(keepends=True)[:4])
    assert log == [("pairs.csv", f"line {line}", "removed: an image was dropped, unreadable") for line in (5, 6)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: the first line must be a,b,same"),
        ("a,b,same\n", "has a header and no rows"),
        ("a,b\n1.png,2.png\n", "line 1: no column called same in 'a,b'"),
        ("a,a,b,same\n", "line 1: 2 column called a"),
        ('a,b,same\n"1.png,2.png,1\n', "line 3: not CSV"),
        ("a,b,same\n1.png,ä.png,1\n".encode("latin-1"), "is not UTF-8 text: save it"),
        ("a,b,same\n77.png,88.png,1\n", r"has no row that can be used \(the first of 1 faults: pairs.csv, line 2: "),
    ],
)
def test_tables_that_are_none(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        opened("pairs_csv", table(tmp_path, text))
    assert str(caught.value).startswith(f"'{tmp_path}/pairs.csv'")


def test_which_table(tmp_path):
    with pytest.raises(UsageError, match="There is no file '/absent': pass the CSV file"):
        opened("pairs_csv", "/absent")
    with pytest.raises(DataError, match="holds no CSV file"):
        opened("pairs_csv", tmp_path)


# --- every format -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worlds() -> dict[str, ShapesWorld]:
    return {split: ShapesWorld("faces", split, images=18, size=32) for split in SPLITS}  # people of 5, 5, 5 and 3


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_back(tmp_path, format, worlds):
    for split, world in worlds.items():
        reader(format).write_split(world, tmp_path, split=split, class_names=world.class_names)
    images = {}
    for split, world in worlds.items():
        dataset, findings = opened(format, tmp_path, split)
        assert not findings
        images[split] = len(dataset)
        if format == "lfw" and split != "test":  # train and val are drawn anew
            continue
        assert dataset.labels.tolist() == world.labels.tolist()
        assert [dataset[index]["identity"] for index in (0, 17)] == [0, 3]
        assert np.abs(dataset[17]["image"].astype(int) - world[17]["image"]).mean() < 12  # JPEG
        if format != "pairs_csv":
            assert dataset.class_names == world.class_names
        pairs, same = dataset.pairs, dataset.same
        assert (world.labels[pairs[:, 0]] == world.labels[pairs[:, 1]]).tolist() == same.tolist()
        if format != "person_folder":
            assert 0 < same.sum() < len(same)
            assert set(pairs.ravel().tolist()) == set(range(18))
        if format == "lfw":
            assert all(same[dataset.folds == fold].mean() == 0.5 for fold in range(10))
    assert sum(images.values()) == 54
    assert images["test"] == 18


@pytest.mark.parametrize("format", FORMATS)
def test_data_sets_are_cheap_and_can_be_taken_in_part(tmp_path, format, worlds):
    world = worlds["test"]
    reader(format).write_split(world, tmp_path, split="test", class_names=world.class_names)
    dataset, _ = opened(format, tmp_path, "test")
    kept = [value for value in vars(dataset).values() if isinstance(value, list | tuple | dict)]
    assert kept == [dataset.class_names]
    part = dataset.subset(np.array([1, 2, 17]))
    assert part.labels.tolist() == [0, 0, 3]
    assert shown(part) == [
        row for row in shown(dataset) if {row[0], row[1]} <= {Path(part.path(i)).stem for i in range(3)}
    ]
    assert len(part.pairs) > 0 or format == "person_folder"
    assert part.fingerprint() != dataset.fingerprint() == pickle.loads(pickle.dumps(dataset)).fingerprint()
    merged = dataset.with_classes({name: "one" for name in dataset.class_names})
    assert merged.same.all()


def test_a_test_without_pairs_cannot_be_written_as_lfw(tmp_path):
    world = ShapesWorld("faces", "test", images=3, size=32)
    with pytest.raises(UsageError, match="needs two people or more, and two images of one"):
        reader("lfw").write_split(world, tmp_path, split="test", class_names=world.class_names)


def test_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"B\xff")
    people(tmp_path, Ann=2, **{name: 2})
    (tmp_path / "pairs.txt").write_bytes(b"1\t1\nB\xff\t1\t2\nAnn\t1\tB\xff\t1\n")
    dataset, findings = opened("lfw", tmp_path, "test")
    assert not findings
    assert dataset.class_names == ["Ann", "B\udcff"]
    assert dataset[2]["image"].shape == (4, 5, 3)
    faces, _ = opened("person_folder", tmp_path, fractions=(1, 0, 0))
    assert faces.class_names == ["Ann", "B\udcff"]
