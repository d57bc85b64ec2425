"""Folders for results. Imports no torch."""

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


def require_empty(folder: Path) -> None:
    """Raise UsageError where `folder` holds something already, or is a file."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"{folder}: something is there already; give a folder that is empty or not there.")
