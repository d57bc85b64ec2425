"""Folders for results. Imports no torch."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import MachineError, UsageError


def make_folder(folder: Path) -> None:
    """Make a folder for results and try to write to it, before any work; raises MachineError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MachineError(f"{folder}: cannot be written ({error.strerror}); give another folder.") from error


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file, or of those in a folder, in hexadecimal digits; raises OSError where one can't be read."""
    if Path(path).is_dir():
        parts = [digest_of(file) for file in sorted(Path(path).iterdir()) if file.is_file()]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[None]:
    """Make a folder, which must be empty or not there, and where its filling fails leave it as it was: half a data set
    looks like a whole one. Raises as `make_folder`.
    """
    new = not folder.exists()
    make_folder(folder)
    try:
        yield
    except BaseException:
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)
        if new:
            folder.rmdir()
        raise


def require_empty(folder: Path) -> None:
    """Raise UsageError where `folder` holds something already, or is a file."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"{folder}: something is there already; give a folder that is empty or not there.")


def short_name(name: str) -> str:
    """`name`, a path, with parts that a file system takes: of more than 255 bytes, their beginning and a hash."""
    return name if len(name) < 64 else "/".join(_short_part(part) for part in name.split("/"))


def _short_part(part: str) -> str:
    data = os.fsencode(part)
    if len(data) <= 255:
        return part
    ending = os.path.splitext(part)[1]
    ending = ending if len(os.fsencode(ending)) <= 32 else ""
    return os.fsdecode(data[:200]) + f"~{hashlib.blake2b(data, digest_size=8).hexdigest()}{ending}"
