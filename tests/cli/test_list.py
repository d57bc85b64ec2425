"""`foveal list`: what there is to name."""

import subprocess
import sys


def listed(*arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "-m", "foveal", "list", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_backbones_are_a_table():
    head, *rows = listed("backbones", "resnet1*")
    assert head.split() == [
        "NAME",
        "PARAMETERS",
        "MULTIPLY-ADDS",
        "STRIDES",
        "CHANNELS",
        "FROM",
        "WEIGHTS",
        "LICENCE",
        "PAPER",
    ]
    assert [row.split()[0] for row in rows] == ["resnet18", "resnet101", "resnet110", "resnet152"]
    assert rows[0].split()[1:4] == ["11,176,512", "1.814", "G"]  # without the 513,000 of the classifier
    assert "2 4 8 16 32" in rows[0] and "IMAGENET1K_V1, 69.8 %" in rows[0] and "BSD-3-Clause" in rows[0]
    assert len({row.index("He, Zhang") for row in rows}) == 1  # columns stand below each other


def test_networks_of_timm_are_listed_by_pattern():
    rows = listed("backbones", "timm/resnet1*")
    assert any(row.startswith("timm/resnet18 ") for row in rows)
    assert not any(row.startswith("timm/") for row in listed("backbones"))


def test_nothing_found_says_where_to_look():
    done = subprocess.run(
        [sys.executable, "-m", "foveal", "list", "backbones", "resnett*"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "No backbones match 'resnett*'; `foveal list backbones` shows them all." in done.stderr
