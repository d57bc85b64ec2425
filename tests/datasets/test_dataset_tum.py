"""TUM's RGB-D sequences: which image goes with which depth map, splits in time, lists with faults and their copies."""

import os
from pathlib import Path

import numpy as np
import pytest

from foveal.cli.main import main
from foveal.core.errors import DataError, MissingSplit, UsageError
from foveal.core.images import write_image
from foveal.datasets import open_dataset
from foveal.datasets.depths import write_depth
from foveal.datasets.findings import Findings
from foveal.datasets.shapes import ShapesWorld
from foveal.datasets.tum import associate, write_split


def sequence(folder: Path, images, depths=None) -> Path:
    """A sequence of images of 2 x 1 pixels, taken at the given times; the maps have 1, 2, ... 10, 1, ... metres."""
    for kind, times in (("rgb", images), ("depth", images if depths is None else depths)):
        (folder / kind).mkdir(parents=True)
        lines = [f"# {kind}\n", "# timestamp filename\n"]
        for number, time in enumerate(times):
            file = folder / kind / f"{time:.3f}.png"
            if kind == "rgb":
                write_image(file, np.full((1, 2, 3), number, np.uint8))
            else:
                write_depth(file, np.array([[number % 10 + 1, 0]], np.float32), 5000)
            lines.append(f"{time:.3f} {kind}/{time:.3f}.png\n")
        (folder / f"{kind}.txt").write_text("".join(lines))
    return folder


def opened(root: Path, split: str = "train", fractions=(1, 0, 0), findings=None, seed: int = 0, **options):
    common = {"fractions": fractions, "findings": findings, "seed": seed}
    return open_dataset("tum", root, split=split, options=options, **common)


def stems(dataset) -> list[tuple[str, str]]:
    """The times of each image and its depth map, as their files are called."""
    return [(Path(dataset.path(index)).stem, Path(dataset.truth_path(index)).stem) for index in range(len(dataset))]


def noted(findings: Findings) -> list[tuple[str, str, str, str]]:
    return [(finding.code, finding.file, finding.place, finding.action) for finding in findings]


# --- partners in time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "depths", "pairs"),
    [
        ([1.0, 1.1, 1.2], [1.005, 1.095, 1.3], [(0, 0), (1, 1)]),
        ([1.0, 1.010], [1.009], [(1, 0)]),  # a map is used once, by the nearest image
        ([1.0, 1.010], [1.006, 1.011], [(0, 0), (1, 1)]),  # the nearest pair first; the other takes what is left
        ([1.0, 1.010], [1.009, 1.015], [(0, 1), (1, 0)]),  # ... even if the two then cross
        ([1.0], [1.5], []),
        ([], [1.0], []),
        ([1.0], [], []),
    ],
)
def test_which_goes_with_which(images, depths, pairs):
    chosen, partners = associate(np.array(images, float), np.array(depths, float))
    assert list(zip(chosen.tolist(), partners.tolist(), strict=True)) == pairs


def test_exactly_the_limit_is_too_far():
    assert len(associate(np.array([0.0]), np.array([0.5]), limit=0.5)[0]) == 0
    assert len(associate(np.array([0.0]), np.array([0.499]), limit=0.5)[0]) == 1


def test_it_is_the_greedy_choice_over_all_pairs():
    rng = np.random.default_rng(0)
    for _ in range(50):
        images, depths = (np.sort(rng.uniform(0, 1, rng.integers(1, 60))) for _ in range(2))
        apart = sorted((abs(a - b), i, j) for i, a in enumerate(images) for j, b in enumerate(depths))
        expected = {}
        for distance, i, j in apart:
            if distance < 0.02 and i not in expected and j not in expected.values():
                expected[i] = j
        chosen, partners = associate(images, depths)
        assert dict(zip(chosen.tolist(), partners.tolist(), strict=True)) == expected


def test_times_in_a_wrong_unit_need_no_table_of_all_with_all():
    times = np.arange(100_000) * 1e-9  # all within the limit of each other: 10 ** 10 pairs
    chosen, partners = associate(times, times)
    assert (chosen == partners).all() and len(chosen) == len(times)


def test_a_sequence(tmp_path):
    sequence(tmp_path, [10.000, 10.033, 10.067, 10.100], [10.010, 10.025, 10.095, 10.200, 10.300])
    findings = Findings()
    dataset = opened(tmp_path, findings=findings)
    assert stems(dataset) == [("10.000", "10.010"), ("10.033", "10.025"), ("10.100", "10.095")]
    sample = dataset[1]
    assert set(sample) == {"image", "path", "size", "depth"}
    assert sample["image"][0, 0].tolist() == [1, 1, 1]
    assert sample["depth"].dtype == np.float32 and sample["depth"].tolist() == [[2.0, 0.0]]
    assert [(finding.code, finding.file, finding.text, finding.action) for finding in findings] == [
        ("NO_PARTNER", "rgb.txt", "1 of 4 images have no depth map within 0.02 seconds", "noted"),
        ("NO_PARTNER", "depth.txt", "2 of 5 depth maps have no image within 0.02 seconds", "noted"),
    ]


def test_steps_to_the_metre(tmp_path):
    sequence(tmp_path / "one", [1.0])
    assert opened(tmp_path).truth(0)["depth"].tolist() == [[1.0, 0.0]]  # 5000 / 5000
    assert opened(tmp_path, depth_scale=1000).truth(0)["depth"].tolist() == [[5.0, 0.0]]
    (tmp_path / "depth_scale.txt").write_text("2500")
    assert opened(tmp_path).truth(0)["depth"].tolist() == [[2.0, 0.0]]
    (tmp_path / "one/depth_scale.txt").write_text("10000")
    assert opened(tmp_path).truth(0)["depth"].tolist() == [[0.5, 0.0]]
    sequence(tmp_path / "two", [1.0])
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    assert str(caught.value) == (
        f"'{tmp_path}' holds sequences of several scales, 10000 in 'one' and 2500 in 'two' by their depth_scale.txt: "
        "mix them with data.sources, or say one scale with data.depth_scale."
    )
    assert opened(tmp_path, depth_scale=5000).truth(1)["depth"].tolist() == [[1.0, 0.0]]
    for scale in (0, -5000):
        with pytest.raises(UsageError, match=f"data.depth_scale is {scale}; it must be a number above 0"):
            opened(tmp_path, depth_scale=scale)


# --- splits -----------------------------------------------------------------------------------------------------------


def test_no_two_splits_share_a_sequence(tmp_path):
    for number in range(8):
        sequence(tmp_path / f"freiburg/{number}", [1.0, 2.0, 3.0])
    (tmp_path / "litter").mkdir()
    splits = {}
    for split in ("train", "val", "test"):
        dataset = opened(tmp_path, split, (0.5, 0.25, 0.25))
        splits[split] = [Path(dataset.path(index)).parts[-3] for index in range(len(dataset))]
    assert {split: len(set(names)) for split, names in splits.items()} == {"train": 4, "val": 2, "test": 2}
    assert all(names.count(name) == 3 for names in splits.values() for name in names)
    assert sorted(set().union(*splits.values())) == [str(number) for number in range(8)]
    other = opened(tmp_path, "test", (0.5, 0.25, 0.25), seed=1)
    assert other.fingerprint() != opened(tmp_path, "test", (0.5, 0.25, 0.25)).fingerprint()


def test_one_sequence_is_cut_in_time_and_not_shuffled(tmp_path):
    sequence(tmp_path / "only", np.arange(10, 30))
    parts, findings = [], Findings()
    for split in ("train", "val", "test"):
        dataset = opened(tmp_path, split, (0.65, 0.10, 0.25), findings, seed=7)
        parts.append([float(image) for image, _ in stems(dataset)])
    assert parts == [list(range(10, 23)), [23, 24], list(range(25, 30))]
    assert {str(finding) for finding in findings} == {
        f"{tmp_path}: one scene for 3 splits: its frames are cut into 3 parts, one behind another"
    }
    assert [finding.action for finding in findings] == ["noted"] * 3


def test_folders_of_splits(tmp_path):
    sequence(tmp_path / "train/a", [1.0])
    sequence(tmp_path / "train/b", [2.0])
    sequence(tmp_path / "Testing", [3.0])
    assert stems(opened(tmp_path, "test")) == [("3.000", "3.000")]
    drawn = [stems(opened(tmp_path, split, (0.5, 0.5, 0))) for split in ("train", "val")]
    assert sorted(drawn) == [[("1.000", "1.000")], [("2.000", "2.000")]]
    (tmp_path / "Testing").rename(tmp_path / "train/c")
    with pytest.raises(MissingSplit):
        opened(tmp_path, "test")


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_lists_with_faults(tmp_path):
    sequence(tmp_path, [1.0, 2.0, 3.0, 4.0])
    (tmp_path / "rgb/4.000.png").unlink()
    (tmp_path / "depth/3.000.png").unlink()
    with (tmp_path / "rgb.txt").open("a") as file:
        file.write("\nfive rgb/5.png\n6.0\nnan rgb/1.000.png\n2.000 rgb/1.000.png\n")
    findings = Findings()
    assert stems(opened(tmp_path, findings=findings)) == [("1.000", "1.000"), ("2.000", "2.000")]
    assert noted(findings) == [
        ("NOT_A_FRAME", "rgb.txt", "line 8", "left out"),
        ("NOT_A_FRAME", "rgb.txt", "line 9", "left out"),
        ("NOT_A_FRAME", "rgb.txt", "line 10", "left out"),
        ("SAME_TIME", "rgb.txt", "line 11", "left out"),
        ("MISSING_IMAGE", "rgb.txt", "line 6", "left out"),
        ("MISSING_DEPTH", "depth.txt", "line 5", "left out"),
        ("NO_PARTNER", "rgb.txt", "", "noted"),
        ("NO_PARTNER", "depth.txt", "", "noted"),
    ]
    assert findings[0].text == "'five rgb/5.png': expected a time and a name"
    assert findings[3].text == "the time 2.000 is that of line 4, too"
    assert findings[4].text == "there is no file 'rgb/4.000.png'"


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "C:\\secret.png", "rgb/../../secret.png"])
def test_a_list_does_not_lead_out_of_its_folder(tmp_path, name):
    sequence(tmp_path / "inside", [1.0])
    write_image(tmp_path / "secret.png", np.zeros((1, 2, 3), np.uint8))
    with (tmp_path / "inside/rgb.txt").open("a") as file:
        file.write(f"2.0 {name}\n")
    with pytest.raises(DataError, match=r"rgb.txt, line 4: '.*' leaves the folder of the list"):
        opened(tmp_path / "inside")


def test_lists_as_people_write_them(tmp_path):
    sequence(tmp_path, [1.0, 2.0])
    (tmp_path / "rgb/1.000.png").rename(tmp_path / "rgb/one two.png")
    (tmp_path / "rgb.txt").write_bytes(b"\xef\xbb\xbf2.0,rgb/2.000.png\r\n  1e0 \t rgb/one two.png\r\n\r\n# end")
    assert stems(opened(tmp_path)) == [("one two", "1.000"), ("2.000", "2.000")]


def test_names_that_are_not_utf8(tmp_path):
    sequence(tmp_path, [1.0])
    os.rename(tmp_path / "rgb/1.000.png", os.fsencode(tmp_path) + b"/rgb/\xff.png")
    (tmp_path / "rgb.txt").write_bytes(b"1.0 rgb/\xff.png\n")
    assert opened(tmp_path)[0]["depth"].tolist() == [[1.0, 0.0]]


def test_nothing_goes_together(tmp_path):
    sequence(tmp_path / "good", [1.0])
    sequence(tmp_path / "bad", [1.0, 2.0], [11.0, 12.0])
    findings = Findings()
    assert len(opened(tmp_path, findings=findings)) == 1
    assert noted(findings) == [
        ("NO_PARTNER", "bad/rgb.txt", "", "left out"),
        ("NO_PARTNER", "bad/depth.txt", "", "left out"),
    ]
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "bad")
    assert str(caught.value) == (
        f"No image of the 1 sequence in '{tmp_path}/bad' was taken within 0.02 seconds of a depth map: expected times "
        "in seconds, of one clock, in rgb.txt and depth.txt."
    )
    (tmp_path / "none/rgb").mkdir(parents=True)
    write_image(tmp_path / "none/rgb/1.png", np.zeros((1, 2, 3), np.uint8))
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "none")
    assert str(caught.value) == (
        f"There is no sequence in '{tmp_path}/none', only 1 file (1 .png): expected rgb.txt and depth.txt, which list "
        "the files of rgb/ and depth/ with their times."
    )


def test_a_loop_of_links_ends(tmp_path):
    sequence(tmp_path / "set/one", [1.0])
    (tmp_path / "set/loop").symlink_to(tmp_path / "set")
    (tmp_path / "set/same").symlink_to(tmp_path / "set/one")
    assert len(opened(tmp_path / "set")) == 1


def test_a_copy_without_the_faults(tmp_path, capsys):
    root, out = tmp_path / "set", tmp_path / "mended"
    sequence(root / "good", np.arange(1.0, 7.0))
    sequence(root / "bad", [1.0], [9.0])
    (root / "good/depth/3.000.png").unlink()
    image = root / "good/rgb/5.000.png"
    image.write_bytes(image.read_bytes()[:-20])
    with (root / "good/rgb.txt").open("a") as file:
        file.write("seven rgb/7.png\n")
    line = ["check-data", "tum", str(root), "--data.splits", "[0.5, 0.25, 0.25]"]
    assert main([*line, "--fix", str(out)]) == 3
    assert "MISSING_DEPTH" in capsys.readouterr().out
    rest = [1, 2, 3, 4, 6]
    assert (out / "good/rgb.txt").read_text().splitlines()[2:] == [f"{time}.000 rgb/{time}.000.png" for time in rest]
    assert [line[:5] for line in (out / "good/depth.txt").read_text().splitlines()[2:]] == [
        f"{time}.000" for time in (1, 2, 4, 5, 6)
    ]
    assert not (out / "bad/rgb.txt").exists() and (out / "bad/rgb/1.000.png").exists()
    line[2] = str(out)
    assert main(line) == 0
    assert stems(opened(out)) == [(f"{time}.000",) * 2 for time in (1, 2, 4, 6)]


# --- writing ----------------------------------------------------------------------------------------------------------


def test_the_drawn_world_comes_back(tmp_path):
    for split in ("train", "val", "test"):
        world = ShapesWorld("depth", split, images=3, size=(48, 64))
        samples = [world[index] for index in range(3)]
        samples[0]["depth"][:5, :7] = 0
        samples[1]["depth"][:5, :7] = 70
        write_split(samples, tmp_path, split=split, class_names=[])
    for split in ("train", "val", "test"):
        world = ShapesWorld("depth", split, images=3, size=(48, 64))
        findings = Findings()
        for dataset in (opened(tmp_path, split, findings=findings), opened(tmp_path / split)):
            assert len(dataset) == 3
            for number, sample in enumerate(dataset):
                drawn = world[number]
                drawn["depth"][:5, :7] = (0, 70, drawn["depth"][:5, :7])[number]
                assert np.abs(sample["depth"] - drawn["depth"]).max() <= 0.0005001  # half a millimetre, in float32
                assert ((sample["depth"] == 0) == (drawn["depth"] == 0)).all()
                assert (sample["image"] == drawn["image"]).all()
        assert findings == []
