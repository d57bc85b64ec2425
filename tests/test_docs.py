"""Every command and every piece of Python in README and docs runs, in order, in a folder with the data that they speak
of.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INSTALL = ("python3 -m venv", ". .venv", "pip install", "pytest")
# Commands that fine-tune on a user's photographs run here on 16 drawn ones, without a download.
SMALL = "--model.weights null --trainer.max_epochs 1 --data.size 32 --data.num_workers 0"


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(path: Path) -> list[str]:
    lines = [line for block in blocks(path, "bash") for line in block.splitlines() if line.strip()]
    return [part.strip() for line in lines for part in line.split("&&")]


@pytest.fixture
def workplace(tmp_path, write_blobs) -> Path:
    write_blobs(tmp_path / "photos", names=("cat", "dog"))
    for file in (tmp_path / "photos" / "dog").iterdir():
        file.rename(file.with_suffix(".jpg"))  # files are read by content
    (tmp_path / "list.txt").write_text("photos/cat/00.png\n")
    return tmp_path


def run(command: str, folder: Path) -> None:
    if "_folder " in command and command.startswith("foveal train"):
        command += f" {SMALL}"
    words = re.sub(r"^foveal ", f"{shlex.quote(sys.executable)} -m foveal ", command)
    words = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", words)
    done = subprocess.run(words, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.timeout(900)  # a page is a dozen commands, each with torch to import
@pytest.mark.parametrize("name", ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_every_command_runs(name, workplace, digits_run):
    if name != "README.md":  # which makes this one
        shutil.copytree(digits_run, workplace / "runs" / "pets")
    for command in commands(ROOT / name):
        if not command.startswith(INSTALL):
            run(command, workplace)
    for block in blocks(ROOT / name, "python"):
        subprocess.run([sys.executable, "-c", block], cwd=workplace, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_every_example_runs(example, tmp_path):
    done = subprocess.run([sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(re.findall(r"([\d.]+)%", done.stdout)[-1]) > 85  # of unseen digits are right


def test_ci_runs_the_test_command_of_the_readme():
    test = next(command for command in commands(ROOT / "README.md") if command.startswith("pytest"))
    assert test in (ROOT / ".ci" / "run").read_text().splitlines()


def test_links_between_pages_exist():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text()):
            meant = page.parent / target if target else page
            assert meant.exists(), f"{page.name}: {target}"
            assert not heading or heading in anchors(meant), f"{page.name}: {target}#{heading}"


def anchors(page: Path) -> list[str]:
    """What a heading is called in a link."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
