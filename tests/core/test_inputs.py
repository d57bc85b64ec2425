"""Which files a command line means."""

import os
from pathlib import Path

import pytest

from foveal.core.errors import DataError, UsageError
from foveal.core.inputs import find_images

SUFFIXES = frozenset({".png", ".jpg"})


def names(*arguments):
    return [image.name for image in find_images([str(argument) for argument in arguments], SUFFIXES)]


@pytest.fixture
def tree(tmp_path):
    for name in ("b.png", "a.JPG", "deep/er/c.jpg", ".hidden.png", "._a.jpg", ".git/x.png", "Thumbs.db", "notes.txt"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    return tmp_path


def test_a_folder_is_searched_at_any_depth_without_hidden_files_and_litter(tree):
    assert names(tree) == ["a.JPG", "b.png", "deep/er/c.jpg"]


def test_globs_lists_and_files(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert names("*.png") == ["b.png"]
    assert names("**/*.jpg") == ["deep/er/c.jpg"]
    Path("list.txt").write_text("\ufeffb.png\n\n  deep\nmissing.png\n", encoding="utf-8")
    assert names("@list.txt") == ["b.png", "deep/er/c.jpg", "missing.png"]  # the last will be a failure, and no end
    assert names("notes.txt") == ["notes.txt"]  # asked for by name: whatever it is, it gets an answer


def test_a_file_named_twice_counts_once(tree):
    assert len(names(tree / "b.png", tree, tree / "deep" / ".." / "b.png")) == 3


def test_results_of_several_folders_have_different_names(tree, monkeypatch):
    monkeypatch.chdir(tree)
    for name in ("one/1.png", "two/1.png"):
        Path(name).parent.mkdir()
        Path(name).touch()
    assert names("one", "two") == ["one/1.png", "two/1.png"]
    assert names("*/") == ["deep/er/c.jpg", "one/1.png", "two/1.png"]
    monkeypatch.chdir(tree / "deep")
    Path("b.png").touch()
    assert names("b.png", "../b.png") == ["b.png", "b~2.png"]


def test_an_image_behind_a_link_is_found_wherever_it_lies(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / ".store").mkdir()
    (tmp_path / "photos" / ".store" / "abcdef").touch()  # as git-annex and hub caches keep them
    (tmp_path / "photos" / "a.png").symlink_to(tmp_path / "photos" / ".store" / "abcdef")
    assert names(tmp_path / "photos") == ["a.png"]


def test_the_folder_for_results_is_not_searched_and_links_to_its_own_files_count_once(tree):
    (tree / "link.png").symlink_to(tree / "b.png")
    (tree / "out").mkdir()
    (tree / "out" / "drawn.png").touch()
    found = find_images([str(tree)], SUFFIXES, leave_out=tree / "out")
    assert [image.name for image in found] == ["a.JPG", "b.png", "deep/er/c.jpg"]


def test_a_loop_of_links_ends(tree):
    (tree / "deep" / "loop").symlink_to(tree)
    assert len(names(tree)) == 3


def test_names_for_results_stay_below_the_output_folder(tree, monkeypatch):
    monkeypatch.chdir(tree / "deep")
    assert names("../b.png") == ["b.png"]
    assert not names(str(tree / "b.png"))[0].startswith(("/", ".."))


def test_a_name_in_any_bytes_is_found(tree):
    with open(os.fsencode(tree) + b"/caf\xe9.png", "wb"):
        pass
    (found,) = [image for image in find_images([str(tree)], SUFFIXES) if "caf" in image.name]
    assert os.fsencode(found.name) == b"caf\xe9.png"


@pytest.mark.parametrize("argument", ["nowhere", "nothing/*.png", "@nolist.txt"])
def test_what_does_not_exist_is_a_wrong_command(argument):
    with pytest.raises(UsageError, match=r"nowhere|nothing|nolist"):
        find_images([argument], SUFFIXES)


def test_a_folder_without_images_says_what_is_taken(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"no image in there; foveal takes files that end in \.jpg \.png"):
        find_images([str(tmp_path)], SUFFIXES)
