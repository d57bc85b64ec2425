"""The package: what a wheel holds, what an import costs, what is written in pyproject.toml."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OUTSIDE = {"tests", "benchmarks", "docs", "examples", "build", "dist", "runs"}


def _code_folders() -> set[str]:
    """Every folder of the package that holds Python files, as a dotted name."""
    folders = set()
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).parent.parts
        if not parts or not (parts[0] in OUTSIDE or any(part.startswith((".", "__")) for part in parts)):
            folders.add(".".join(("foveal", *parts)))
    return folders


def test_the_list_of_packages_is_that_of_the_folders():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(listed) == _code_folders()
    assert len(listed) == len(set(listed))


def test_every_folder_of_the_package_has_an_init():
    for name in _code_folders():
        assert (ROOT.joinpath(*name.split(".")[1:]) / "__init__.py").is_file(), name


def test_every_dependency_says_why():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("dependencies = [")
    block = lines[start + 1 : lines.index("]", start)]
    for above, line in zip(["", *block], block, strict=False):
        if line.strip().startswith('"'):
            assert "#" in line or above.strip().startswith("#"), line


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_has_every_subpackage_and_recipe(tmp_path):
    # A copy, so that the build leaves nothing in the tree.
    source = tmp_path / "source"
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.splitlines():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            target.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("foveal-*.whl")

    inside = {name for name in zipfile.ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")}
    expected = {
        f"foveal/{path.relative_to(ROOT).as_posix()}"
        for package in _code_folders()
        for path in ROOT.joinpath(*package.split(".")[1:]).glob("*.py")
    }
    expected |= {f"foveal/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("configs/*/*.yaml")}
    assert inside == expected | {"foveal/py.typed", "foveal/backbones/figures.csv"}

    empty = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(empty)], check=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(empty),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    recipes = subprocess.run(
        [empty / "bin" / "foveal", "list", "recipes"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "classification/lenet5_digits" in recipes.stdout
    version = subprocess.run(
        [empty / "bin" / "foveal", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert version.stdout.strip() == "foveal 0.1.0"


def _modules_after(code: str) -> set[str]:
    program = f"{code}\nimport sys\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"torch", "torchvision", "lightning", "albumentations", "cv2", "matplotlib", "sklearn", "torchmetrics", "numba"}


@pytest.mark.parametrize(
    "line",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["predict", "--help"],
        ["evaluate", "--help"],
        ["trian"],
        ["train"],
        ["train", "classification/lenet"],
        ["train", "classification/lenet5_digits", "--help"],
        ["train", "classification/lenet5_digits", "--model.bakbone", "x"],
        ["train", "classification/lenet5_digits", "--model.backbone", "resnet19"],
        ["train", "classification/lenet5_digits", "--trainer.max_epochs", "many"],
        ["predict", "nothing.ckpt", "nowhere"],
        ["predict", "pyproject.toml", ".", "--device", "tpu"],
        ["train", "classification/resnet18_folder", "--data.root", "nowhere"],
        ["list", "backbones"],
        ["list", "recipes"],
    ],
    ids=" ".join,
)
def test_the_command_line_answers_without_the_heavy_libraries(line):
    modules = _modules_after(f"from foveal.cli.main import main\nmain({line!r})")
    assert not modules & HEAVY


def test_importing_foveal_costs_nothing_and_gives_the_face_on_first_use():
    assert not _modules_after("import foveal; foveal.__version__") & HEAVY
    assert "torch" in _modules_after("import foveal; foveal.create_backbone")
    assert not _modules_after("import foveal; foveal.create_backbone('lenet5')") & {
        "lightning",
        "albumentations",
        "cv2",
    }


def test_a_name_that_the_face_has_not_is_an_attribute_error():
    import foveal

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = foveal.nothing


def test_the_package_called_datasets_stays_importable_beside_foveal():
    # Nothing of ours may ever be importable as a top-level `datasets`, `tasks`, ...
    for name in ("datasets", "tasks", "backbones", "core", "cli", "configs"):
        program = f"import foveal.tasks, importlib.util; print(importlib.util.find_spec('{name}'))"
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/")
        assert str(ROOT) not in found.stdout
