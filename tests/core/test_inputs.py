"""Which files a command line means."""

import io
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from foveal.core.errors import DataError, DataWarning, UsageError
from foveal.core.input_list import find_doubled, list_inputs, take_shard
from foveal.core.inputs import Input, sorted_in_parts


@pytest.fixture
def find(tmp_path_factory):
    """The inputs that arguments mean, in a list."""
    file = tmp_path_factory.mktemp("run") / "inputs"

    def inputs(*arguments, **options) -> list[Input]:
        listed = list_inputs([str(argument) for argument in arguments], file, **options)
        return [given for given, _ in listed.read()]

    return inputs


@pytest.fixture
def names(find):
    """Their names."""
    return lambda *arguments: [given.name for given in find(*arguments)]


@pytest.fixture
def tree(tmp_path):
    for name in ("b.png", "a.JPG", "deep/er/c.jpg", ".hidden.png", "._a.jpg", ".git/x.png", "Thumbs.db", "notes.txt"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    return tmp_path


def test_a_folder_is_searched_at_any_depth_without_hidden_files_and_litter(names, tree):
    assert names(tree) == ["a.JPG", "b.png", "deep/er/c.jpg"]


def test_globs_lists_and_files(names, tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert names("*.png") == ["b.png"]
    assert names("**/*.jpg") == ["deep/er/c.jpg"]
    Path("list.txt").write_text("\ufeffb.png\n\n  deep\nmissing.png\n", encoding="utf-8")
    assert names("@list.txt") == ["b.png", "deep/er/c.jpg", "missing.png"]  # the last will be a failure, and no end
    assert names("notes.txt") == ["notes.txt"]  # asked for by name: whatever it is, it gets an answer


def test_a_file_named_twice_counts_once(names, tree):
    assert len(names(tree / "b.png", tree, tree / "deep" / ".." / "b.png")) == 3


def test_results_of_several_folders_have_different_names(names, tree, monkeypatch):
    monkeypatch.chdir(tree)
    for name in ("one/1.png", "two/1.png"):
        Path(name).parent.mkdir()
        Path(name).touch()
    assert names("one", "two") == ["one/1.png", "two/1.png"]
    assert names("*/") == ["deep/er/c.jpg", "one/1.png", "two/1.png"]
    monkeypatch.chdir(tree / "deep")
    Path("b.png").touch()
    assert names("b.png", "../b.png") == ["b.png", "b~2.png"]


def test_an_image_behind_a_link_is_found_wherever_it_lies(names, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / ".store").mkdir()
    (tmp_path / "photos" / ".store" / "abcdef").touch()  # as git-annex and hub caches keep them
    (tmp_path / "photos" / "a.png").symlink_to(tmp_path / "photos" / ".store" / "abcdef")
    assert names(tmp_path / "photos") == ["a.png"]


def test_the_folder_for_results_is_not_searched_and_links_to_its_own_files_are_files(find, tree):
    (tree / "link.png").symlink_to(tree / "b.png")
    (tree / "out").mkdir()
    (tree / "out" / "drawn.png").touch()
    found = find(tree, leave_out=tree / "out")
    assert [image.name for image in found] == ["a.JPG", "b.png", "link.png", "deep/er/c.jpg"]


def test_a_loop_of_links_ends(names, tree):
    (tree / "deep" / "loop").symlink_to(tree)
    assert len(names(tree)) == 3


def test_names_for_results_stay_below_the_output_folder(names, tree, monkeypatch):
    monkeypatch.chdir(tree / "deep")
    assert names("../b.png") == ["b.png"]
    assert not names(str(tree / "b.png"))[0].startswith(("/", ".."))


def test_a_name_in_any_bytes_is_found(find, tree):
    with open(os.fsencode(tree) + b"/caf\xe9.png", "wb"):
        pass
    (found,) = [image for image in find(tree) if "caf" in image.name]
    assert os.fsencode(found.name) == b"caf\xe9.png"


def test_a_list_from_standard_input(names, tree, monkeypatch):
    monkeypatch.chdir(tree)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"b.png\n\n deep \r\nmissing.png")))
    assert names("-") == ["b.png", "deep/er/c.jpg", "missing.png"]


def test_what_was_left_out_is_counted(tree, tmp_path):
    listed = list_inputs([str(tree)], tmp_path / "list")
    assert (listed.images, listed.videos, listed.left_out) == (3, 0, 4)


def test_videos_come_last(names, tree, monkeypatch):
    monkeypatch.chdir(tree)
    Path("a.mp4").touch()
    assert names("a.mp4", "b.png") == ["b.png", "a.mp4"]


def test_a_list_is_read_from_any_place(tree, tmp_path):
    listed = list_inputs([str(tree)], tmp_path / "list")
    offsets = [offset for _, offset in listed.read()]
    for number, offset in enumerate(offsets, 1):
        assert [given.name for given, _ in listed.read(offset)] == ["a.JPG", "b.png", "deep/er/c.jpg"][number:]


@pytest.mark.parametrize(("count", "run"), [(0, 3), (2, 3), (3, 3), (10, 3), (5000, 1500)])
def test_many_names_are_sorted_in_parts(count, run):
    numbers = np.random.default_rng(0).permutation(count)
    names = [f"caf\udce9{number}" if number % 3 else f"ü{number}" for number in numbers]
    assert list(sorted_in_parts(iter(names), run)) == sorted(names)


def test_the_paths_of_many_files_are_not_held(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.jpg").touch()
    for number in range(100_000):
        if number % 30_000 == 0:  # a file system has no more than 65,000 links to one file
            (source := tmp_path / f"{number}.jpg").touch()
        os.link(source, tmp_path / "in" / f"{number:06d}_photo.jpg")
    tracemalloc.start()
    try:
        listed = list_inputs([str(tmp_path / "in")], tmp_path / "list")
        assert sum(1 for _ in listed.read()) == len(listed) == 100_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 9e6  # 50,000 names are sorted at once, with 16 letters each and 57 bytes for Python


@pytest.mark.parametrize("argument", ["nowhere", "nothing/*.png", "@nolist.txt"])
def test_what_does_not_exist_is_a_wrong_command(find, argument):
    with pytest.raises(UsageError, match=r"nowhere|nothing|nolist"):
        find(argument)


def test_a_folder_without_images_says_what_is_taken(find, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"no image in there; foveal takes files that end in \.apng \.avif "):
        find(tmp_path)


def test_a_link_to_itself_ends_no_search(names, tree):
    (tree / "loop").symlink_to("loop")
    (tree / "loop.jpg").symlink_to("loop.jpg")
    assert names(tree) == ["a.JPG", "b.png", "loop.jpg", "deep/er/c.jpg"]  # whoever reads it says what is wrong


def test_a_folder_that_may_not_be_read_is_left_out_with_a_warning(names, tree, monkeypatch):
    (tree / "lost+found").mkdir()
    scandir = os.scandir

    def refused(path):
        if str(path).endswith("lost+found"):  # as for anyone but root
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.warns(DataWarning, match=r"lost\+found: the folder cannot be searched \(Permission denied\); let it"):
        assert names(tree) == ["a.JPG", "b.png", "deep/er/c.jpg"]
    with pytest.raises(UsageError, match="the folder cannot be searched"):
        names(tree / "lost+found")


def test_a_pattern_does_not_reach_into_the_folder_for_results(find, tree):
    for name in ("out/pictures/a.jpg", "out/b.png"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    for pattern in ("*", "**/*.*", "**"):
        found = [
            Path(given.path).relative_to(tree).as_posix() for given in find(tree / pattern, leave_out=tree / "out")
        ]
        assert found and not any(name.startswith("out") for name in found)


def test_a_name_that_no_file_can_have_is_an_input(names, tmp_path):
    (tmp_path / "list.txt").write_bytes(b"x\0y/c.jpg\n")
    assert names(f"@{tmp_path}/list.txt") == ["x\0y/c.jpg"]


def test_names_that_a_suffix_alone_tells_apart_are_found(tree, tmp_path):
    for name in ("a.png", "b.gif", "deep/b.png", "a.jpg"):
        (tree / name).touch()
    listed = find_doubled(list_inputs([str(tree)], tmp_path / "list"))
    assert [given.name for given, _ in listed.read()][:5] == ["a.JPG", "a.jpg", "a.png", "b.gif", "b.png"]
    assert listed.doubled == ("a.jpg", "a.png", "b.png")
    assert take_shard(listed, 2, 2).doubled == listed.doubled
