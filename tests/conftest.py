"""What several test files need: real data where there is some, small folders of images, and one small trained run."""

import faulthandler
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from _pytest.faulthandler import fault_handler_stderr_fd_key

from foveal.cli.main import main


def pytest_collection_modifyitems(items):
    """The documents first: theirs are the longest tests, and at the end one of two processes would wait for them."""
    items.sort(key=lambda item: item.path.name != "test_docs.py")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """What is marked `apart` runs in a process of its own: Ray and torch's compiler leave threads and processes behind,
    with which all later tests would have to live.
    """
    if pyfuncitem.get_closest_marker("apart") is None or "FOVEAL_TEST_APART" in os.environ:
        return None
    line = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", pyfuncitem.nodeid]
    environment = {**os.environ, "FOVEAL_TEST_APART": "1"}
    done = subprocess.run(line, cwd=pyfuncitem.config.rootpath, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr  # nor was it skipped
    return True


@pytest.fixture(autouse=True)
def _signals_are_heard():
    """Also where whoever started the tests ignores them, as nohup and a shell's & do, which processes inherit."""
    for number, handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _crashes_are_told(request):
    """Lightning, after each training, takes SIGSEGV from pytest's handler, which says where a process died."""
    if (file := request.config.stash.get(fault_handler_stderr_fd_key, None)) is not None:
        faulthandler.disable()  # else the second line does nothing
        faulthandler.enable(file)


@pytest.fixture(autouse=True)
def _same_numbers_everywhere():
    torch.manual_seed(0)
    torch.set_num_threads(1)  # two test processes share two cores


@pytest.fixture(scope="session", autouse=True)
def kept(tmp_path_factory) -> Iterator[Path]:
    """The folder that foveal keeps exported networks in, in place of the user's, so that each is made once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEAL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets that FOVEAL_TEST_DATA names; without it the test is skipped."""
    folder = os.environ.get("FOVEAL_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set FOVEAL_TEST_DATA to a folder with att_faces, bccd and weights")
    return Path(folder)


def _write_blobs(folder: Path, names=("circle", "square"), count: int = 8, size: int = 48) -> Path:
    """One folder a class: discs on dark and squares on light ground, which any classifier can tell apart."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 60, (size, size + 8, 3), dtype=np.uint8) + np.uint8(90 * number)
            place = tuple(int(value) for value in rng.integers(size // 3, 2 * size // 3, 2))
            if number % 2:
                cv2.rectangle(image, (place[0] - 9, place[1] - 9), (place[0] + 9, place[1] + 9), (255, 255, 255), -1)
            else:
                cv2.circle(image, place, 10, (250, 80, 40), -1)
            (folder / name / f"{index:02d}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return folder


@pytest.fixture(scope="session")
def blobs(tmp_path_factory) -> Path:
    """A folder of two easy classes with eight images each."""
    return _write_blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture
def write_blobs():
    """The function that draws such a folder: (folder, names of the classes)."""
    return _write_blobs


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory) -> Path:
    """The folder of a short training of LeNet-5 on the digits, through the command line."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    line = ["train", "classification/lenet5_digits", "--trainer.max_epochs", "3", "--out", str(folder)]
    assert main(line) == 0
    return folder


@pytest.fixture(scope="session")
def digit_files(tmp_path_factory) -> Path:
    """Twelve digits as PNG files, in two folders."""
    from foveal.core.images import write_image
    from foveal.datasets import open_dataset

    folder = tmp_path_factory.mktemp("digit_files")
    digits = open_dataset("digits", None, split="test", fractions=(0.65, 0.10, 0.25), seed=0)
    for index in range(12):
        sample = digits[index]
        target = folder / ("first" if index < 6 else "second") / f"{index:02d}_is_{sample['label']}.png"
        target.parent.mkdir(exist_ok=True)
        write_image(target, sample["image"])
    return folder


@pytest.fixture
def stop_once(tmp_path, monkeypatch):
    """The function that lets the next run end as by SIGTERM in its second epoch: (training, validation or between)."""
    from foveal.core.callbacks import SafeStop

    def stop(place: str) -> None:
        def signalled(self, trainer, *_):
            here = trainer.validating if place == "validation" else not trainer.validating
            late = trainer.current_epoch == 1 and trainer.global_step >= 11
            if here and late and not (tmp_path / "stopped").exists():
                (tmp_path / "stopped").touch()
                self._stop.signal = signal.SIGTERM

        steps = ("on_train_batch_end", "on_validation_batch_start")
        for hook in ("on_train_epoch_end",) if place == "between" else steps:
            before = getattr(SafeStop, hook)
            monkeypatch.setattr(SafeStop, hook, lambda *all, before=before: (signalled(*all), before(*all))[1])

    return stop
