"""csv: good tables, and every way a table can be wrong, by file, line and remedy."""

import numpy as np
import pytest
from PIL import Image

from foveal.core.errors import DataError, UsageError
from foveal.datasets import open_dataset


@pytest.fixture
def folder(tmp_path):
    """Nine pictures, 0.png to 8.png, each as wide as its number plus one."""
    (tmp_path / "im").mkdir()
    for number in range(9):
        Image.new("RGB", (number + 1, 2)).save(tmp_path / f"im/{number}.png")
    return tmp_path


def opened(root, split="train"):
    return open_dataset("csv", root, split=split)


def table(folder, text: str | bytes):
    (folder / "t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


ROWS = "".join(f"im/{n}.png,{'dog' if n % 3 else 'cat'}\n" for n in range(9))  # 3 cats, 6 dogs
SPLIT = "path,label,split\nim/0.png,b,train\nim/1.png,a,train\nim/2.png,a,{}\nim/3.png,b,{}\n"


def test_a_table_without_splits(folder):
    table(folder, "path,label\n" + ROWS)
    parts = [opened(folder, split) for split in ("train", "val", "test")]
    assert parts[0].class_names == ["cat", "dog"]
    assert sum(np.bincount(part.labels) for part in parts).tolist() == [3, 6]
    sample = opened(folder / "t.csv")[0]
    assert sample["path"].startswith(f"{folder}/im/")
    assert sample["size"] == sample["image"].shape[:2] == (2, int(sample["path"][-5]) + 1)


def test_a_table_with_splits(folder):
    table(folder, SPLIT.format("val", "test"))
    assert [len(opened(folder, split)) for split in ("train", "val", "test")] == [2, 1, 1]
    assert opened(folder, "train").labels.tolist() == [1, 0]
    assert opened(folder, "test")[0]["path"] == f"{folder}/im/3.png"


def test_val_is_drawn_from_train_where_no_row_says_val(folder):
    table(folder, "path,label,split\n" + ROWS.replace("\n", ",train\n"))
    parts = [set(opened(folder, split)._paths) for split in ("train", "val")]
    assert [len(part) for part in parts] == [7, 2]  # 9 x 0.10 / 0.75 = 1.2, and one of each class
    assert not parts[0] & parts[1]
    with pytest.raises(DataError, match="no row of it says test: mark the test images"):
        opened(folder, "test")


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfpath,label\n" + ROWS.encode(),
        b"path,label\r\n" + ROWS.replace("\n", "\r\n").encode(),
        b"Label , Path,note\n" + b"".join(b'"d%d",./im/%d.png,"x, y"\n\n' % (n // 5, n) for n in range(9)),
    ],
    ids=["BOM", "CRLF", "other columns, quotes, blank lines"],
)
def test_what_spreadsheets_write(folder, text):
    assert sum(len(opened(table(folder, text), split)) for split in ("train", "val", "test")) == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: the first line must be path,label"),
        ("path,label\n", "has a header and no rows"),
        ("file,label\nx,y\n", "line 1: no column called path in 'file,label'; the first line must be path,label"),
        ("path;label\nx;y\n", "line 1: no column called path in 'path;label'"),
        ("path,label,label\nx,y,z\n", "line 1: 2 column called label"),
        ("path,label\nim/0.png\n", "line 2: 1 values where the header has 2 columns; fill the missing"),
        ("path,label\nim/0.png,a\nim/1.png,a,b\n", "line 3: 3 values .* put quotes around a value with a comma"),
        ("path,label\nim/0.png, \n", "line 2: the label is empty; fill it"),
        ("path,label\n\n,a\n", "line 3: the path is empty"),
        ("path,label,split\nim/0.png,a,trian\n", "line 2: the split 'trian' is unknown; it must be train, val or test"),
        ("path,label,split\nim/0.png,a,\n", "line 2: the split '' is unknown"),
        ("path,label\n/etc/passwd,a\n", "line 2: '/etc/passwd' leaves the table's folder; write a path below it"),
        ("path,label\nim/../../x.png,a\n", "line 2: 'im/../../x.png' leaves the table's folder"),
        ("path,label\nC:\\x.png,a\n", r"line 2: 'C:\\x.png' leaves the table's folder"),
        ("path,label\n..\\x.png,a\n", r"line 2: '..\\x.png' leaves the table's folder"),
        ("path,label\nim/0.png,a\nim/./0.png,b\n", "line 3: 'im/0.png' is on line 2 already"),
        ("path,label\nim/0.png,a\nim/77.png,b\n", "line 3: there is no file 'im/77.png' in '.*'; correct the path"),
        ("path,label\nim/66.png,a\nim/77.png,b\n", r"line 2: .*66.png' in '.*'; .* \(1 more faults like this\)"),
        ("path,label\nim,a\n", "line 2: there is no file 'im'"),
        ("path,label\nim/0.png,a\nim/1.png,a\n", "has only one class, 'a'"),
        ("path,label\n" + ROWS + "\n", None),
        ('path,label\n"im/0.png,a\n', "line 2: not CSV"),
        ("path,label\nim/0.png,ä\n".encode("latin-1"), "is not UTF-8 text: save it as CSV in UTF-8"),
        ("path,label\nim/0.png,a\n".encode("utf-16"), "is not UTF-8 text"),
        (SPLIT.format("val", "val").replace("train", "test"), "no row whose split is train"),
        ("path,label\nim/0.png,a\nim/1.png,b\nim/2.png,b\nim/3.png,b\n", "Class 'a' has 1 image, and 3 splits"),
    ],
)
def test_wrong_tables_are_refused_by_line(folder, text, message):
    table(folder, text)
    if message is None:
        assert len(opened(folder)) > 0
        return
    with pytest.raises(DataError, match=message) as caught:
        opened(folder)
    assert str(caught.value).startswith((f"'{folder}/t.csv'", "t.csv, line ", "Class"))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_label_that_train_does_not_have(folder):
    table(folder, SPLIT.replace("im/3.png,b", "im/3.png,c").format("val", "test"))
    with pytest.raises(DataError, match="line 5: the label 'c' is on no training row"):
        opened(folder, "test")


def test_which_table(folder):
    with pytest.raises(UsageError, match=f"There is no file '{folder}/absent': pass the CSV file with --data.root"):
        opened(folder / "absent")
    with pytest.raises(DataError, match="holds no CSV file"):
        opened(folder)
    (folder / "a.csv").touch()
    (folder / "b.CSV").touch()
    with pytest.raises(DataError, match=r"holds 2 CSV files \(a.csv, b.CSV\)"):
        opened(folder)
