"""check-data --fix of what no copy can mend: nothing is made, claimed or offered."""

import pytest

from foveal.cli.main import main
from foveal.core.errors import MachineError


def run(capsys, *words):
    """Exit code, standard output and standard error of `foveal check-data ...`."""
    capsys.readouterr()
    code = main(["check-data", *map(str, words)])
    return code, *capsys.readouterr()


def empty_table(folder):
    (folder / "labels.csv").write_bytes(b"")


def empty_part(folder):
    (folder / "annotations/instances_test.json").write_bytes(b"")


def no_pairs(folder):
    (folder / "pairs.txt").unlink()


@pytest.mark.parametrize(("format", "break_it"), [("csv", empty_table), ("coco", empty_part), ("lfw", no_pairs)])
@pytest.mark.parametrize("made", [False, True])
def test_no_copy_is_made_or_offered_of_what_cannot_be_read(format, break_it, made, tmp_path, capsys):
    data, out = tmp_path / "a", tmp_path / "b"
    assert main(["draw-data", format, str(data), "--images", "50", "--size", "32"]) == 0
    break_it(data)
    code, _, err = run(capsys, format, data)
    assert code == 3 and "NOT_USABLE" in err and "--fix OUT" not in err
    if made:
        out.mkdir()
    code, shown, err = run(capsys, format, data, "--fix", out)
    assert code == 3 and "NOT_USABLE" in shown and "A copy without" not in shown
    assert err.count("\n") == 1 and "do it by hand" in err
    assert out.exists() == made and not list(out.glob("*"))


def test_a_copy_that_fails_half_way_leaves_nothing(tmp_path, capsys, monkeypatch):
    def full(file, log):
        raise MachineError(f"'{file}' cannot be written: No space left on device.")

    monkeypatch.setattr("foveal.datasets.mend._write_log", full)
    assert main(["draw-data", "csv", str(tmp_path / "a"), "--images", "12", "--size", "32"]) == 0
    code, _, err = run(capsys, "csv", tmp_path / "a", "--fix", tmp_path / "out")
    assert code != 0 and "No space left" in err and not (tmp_path / "out").exists()
    assert len(list((tmp_path / "a/images").iterdir())) == 12
