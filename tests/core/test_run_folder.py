"""The folder of a run: whole files that threads write."""

import threading
from pathlib import Path

import pytest

from foveal.core import run_folder
from foveal.core.errors import MachineError
from foveal.core.run_folder import RunFolder


@pytest.fixture
def gate():
    """What threads wait for; open at the end of a test in any case."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_place_is_given_once_also_where_its_file_comes_later(tmp_path, gate):
    def write(path: Path, text: str) -> None:
        gate.wait()
        path.write_text(text)

    with RunFolder(tmp_path, {}, ()) as run:
        places = []
        for text in ("first", "second", "third"):
            places.append(run.place("masks", ("a", "a.png"), ".txt", later=True))
            run.later(write, places[-1], text)
        assert not (tmp_path / "masks" / "a.txt").exists()
        gate.set()
        run.commit({})
    assert [place.name for place in places] == ["a.txt", "a.png.txt", "a.png~2.txt"]
    assert [place.read_text() for place in places] == ["first", "second", "third"]


def test_a_commit_says_what_a_thread_could_not_write_and_nothing_of_it_stays(tmp_path):
    def write(path: Path) -> None:
        path.touch()
        raise MachineError("no room")

    with RunFolder(tmp_path, {}, ()) as run:
        run.commit({})
        run.later(write, run.place("masks", ("a",), ".png", later=True))
        with pytest.raises(MachineError, match=r"^no room$"):
            run.commit({})
    assert not (tmp_path / "masks" / "a.png").exists()


def test_what_is_at_work_at_an_error_ends_before_it_is_removed(tmp_path, gate):
    def write(path: Path) -> None:
        gate.wait()
        path.touch()

    run = RunFolder(tmp_path, {}, ())
    run.commit({})
    with pytest.raises(ValueError, match="of another kind"), run:
        run.later(write, run.place("masks", ("a",), ".png", later=True))
        threading.Timer(0.05, gate.set).start()
        raise ValueError("of another kind")
    assert list((tmp_path / "masks").iterdir()) == []


def test_so_many_wait_at_most(tmp_path, gate):
    """Each holds a prediction in memory."""
    begun = []

    def write(number: int) -> None:
        begun.append(number)
        gate.wait()

    with RunFolder(tmp_path, {}, ()) as run:
        for number in range(4):
            run.later(write, number)
        fifth = threading.Thread(target=run.later, args=(write, 4))
        fifth.start()
        fifth.join(0.1)
        assert fifth.is_alive() and 4 not in begun
        gate.set()
        fifth.join()
        run.commit({})
    assert sorted(begun) == [0, 1, 2, 3, 4]


def test_an_image_called_like_another_ones_result_has_a_place(tmp_path):
    with RunFolder(tmp_path, {}, ()) as run:
        first = run.place("pictures", ("a.jpg",), ".jpg", later=True)
        second = run.place("pictures", ("a.jpg.jpg/b.jpg",), ".jpg", later=True)
        first.touch()
        second.touch()
        third = run.place("pictures", ("a.jpg.jpg/c.jpg",), ".jpg")
        fourth = run.place("pictures", ("a.jpg.jpg~",), "")
        run.commit({})
    below = [path.relative_to(tmp_path).as_posix() for path in (first, second, third, fourth)]
    assert below == [
        "pictures/a.jpg.jpg",
        "pictures/a.jpg.jpg~/b.jpg.jpg",
        "pictures/a.jpg.jpg~/c.jpg.jpg",
        "pictures/a.jpg.jpg~~2",
    ]


def test_folders_of_any_length_have_a_place(tmp_path):
    with RunFolder(tmp_path, {}, ()) as run:
        path = run.place("pictures", (f"{'x' * 300}/{'y' * 300}.jpg",), ".jpg")
        path.touch()
        run.commit({})
    assert [len(part) for part in path.relative_to(tmp_path).parts[1:]] == [200 + 17, 200 + 17 + 4]


def test_what_says_that_a_folder_is_ours_goes_last(tmp_path, monkeypatch):
    names = ("predictions.jsonl", "masks", "pictures")
    for name in names:
        (tmp_path / name).touch()
    gone: list[str] = []
    monkeypatch.setattr(run_folder, "_remove", lambda path: gone.append(path.name))
    with RunFolder(tmp_path, {}, names, overwrite=True):
        pass
    assert gone == ["pictures", "masks", "predictions.jsonl"]


def test_a_run_killed_while_it_cleans_up_is_done(tmp_path, monkeypatch):
    with RunFolder(tmp_path, {"a": 1}, ("predictions.jsonl",)) as run:
        run.growing("predictions.jsonl")
        run.inputs.touch()
        run.commit({})
        with monkeypatch.context() as patch:
            patch.setattr(run_folder.shutil, "rmtree", lambda *_, **__: None)  # as if killed before it
            run.finish({"predicted": 0})
    with RunFolder(tmp_path, {"a": 1}, ("predictions.jsonl",)) as again:
        assert again.state is None and again.summary == {"predicted": 0, "run": {"a": 1}}
