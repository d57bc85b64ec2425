"""`foveal predict --ray N`: the same results as those of one run, by actors of Ray on this machine."""

import json
import shutil
from pathlib import Path

import pytest

from foveal.cli.main import main


@pytest.mark.apart
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_actors_give_what_one_run_gives(digits_run, digit_files, tmp_path, same_results, capsys):
    folder = shutil.copytree(digit_files, tmp_path / "in")
    (folder / "broken.png").write_bytes(b"")
    line = ["predict", str(digits_run), str(folder), "--max-bad", "1", "--num-workers", "0", "--device", "cpu"]
    assert main([*line, "--out", str(tmp_path / "one")]) == 0
    assert main([*line, "--out", str(tmp_path / "two"), "--ray", "2"]) == 0
    same_results(tmp_path / "two", tmp_path / "one")
    assert json.loads((tmp_path / "two" / "summary.json").read_bytes())["predicted"] == 12
    assert len(list((tmp_path / "two").glob("shard-*-of-8"))) == 8
    assert main([*line, "--out", str(tmp_path / "two"), "--ray", "2", "--top-k", "2"]) == 4
    assert "of 8 shards, 1, 2, 3, 4, 5, 6, 7, 8 failed, the first: foveal: " in capsys.readouterr().err


def test_ray_and_shards_exclude_each_other(tmp_path, digits_run, digit_files, capsys):
    line = ["predict", str(digits_run), str(digit_files), "--out", str(tmp_path / "out")]
    assert main([*line, "--ray", "2", "--shard", "1/2"]) == 2
    assert "--ray makes the shards itself; leave out --shard." in capsys.readouterr().err
    assert main([*line, "--ray", "0"]) == 2
    assert "--ray is 0; it must be 1 or more." in capsys.readouterr().err
    assert not Path(tmp_path / "out").exists()
