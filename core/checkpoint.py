"""Checkpoints: files that are there whole or not at all, and that are read as data, never as code.

Beside what Lightning needs to go on with a run, a checkpoint carries under `foveal` what is needed to use the model:
task, names of backbone and head, class names, preprocessing, the resolved recipe, metrics, versions. All plain values.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from .errors import MachineError, ModelFileError
from .inputs import find_checkpoint

# What the entry `foveal` must hold.
_ENTRY = {
    "task": str,
    "model": dict,
    "class_names": list,
    "preprocessing": dict,
    "recipe": dict,
    "metrics": dict,
    "epoch": int,
    "versions": dict,
}
FORMAT = 1  # of the `foveal` entry; a reader refuses what is newer than itself


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a foveal checkpoint; `path` may also be a run's folder, whose `best.ckpt` is read.

    Raises UsageError if there is no such file, ModelFileError if it is damaged, of another program, or would run code.
    """
    path = find_checkpoint(path)
    contents = _load(path)
    if not isinstance(contents, dict) or not isinstance(contents.get("foveal"), dict):
        raise ModelFileError(
            f"{path}: this is no checkpoint of foveal's (it has no 'foveal' entry); give one that `foveal train` "
            "wrote, or pass a file of weights as --model.weights to `foveal train`."
        )
    entry = contents["foveal"]
    if entry.get("format") != FORMAT:
        raise ModelFileError(
            f"{path}: its format is {entry.get('format')!r}, and this version of foveal reads {FORMAT}; use the "
            "version that wrote it."
        )
    wrong = [name for name, kind in _ENTRY.items() if not isinstance(entry.get(name), kind)]
    wrong += [] if isinstance(contents.get("state_dict"), dict) else ["state_dict"]
    size = entry["preprocessing"].get("size") if "preprocessing" not in wrong else 1
    wrong += [] if isinstance(size, int) and size > 0 else ["preprocessing.size"]
    if wrong or not all(isinstance(name, str) for name in entry["class_names"]):
        names = ", ".join(wrong or ["class_names"])
        raise ModelFileError(
            f"{path}: its entry {names} is missing or of another type; the file was edited or damaged."
        )
    return contents


class AtomicCheckpointIO(CheckpointIO):
    """Writes beside the target, flushes to the disk, then renames: whatever happens, a whole checkpoint stays.

    Lightning's own stages the file in TMPDIR and moves it, which over a full disk or another file system has lost both
    the old and the new one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None) -> None:
        """Raises MachineError if the file cannot be written; the previous one is then untouched."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
                temporary = Path(file.name)
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException as error:
            if temporary is not None:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
            if isinstance(error, OSError | RuntimeError):  # torch's writer turns ENOSPC into a RuntimeError
                raise MachineError(
                    f"{path}: the checkpoint could not be written ({error}); free some space."
                ) from error
            raise

    def load_checkpoint(
        self, path: str | os.PathLike, map_location: Any = None, weights_only: bool | None = None
    ) -> Any:
        """Lightning's way in when a run goes on; always as data."""
        return _load(Path(path))

    def remove_checkpoint(self, path: str | os.PathLike) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


def _load(path: Path) -> Any:
    try:
        # Explicit: TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD turns the default, but not this, into running what the file says.
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except PermissionError as error:
        raise MachineError(f"{path}: permission to read it was denied.") from error
    except Exception as error:
        if "Weights only load failed" in str(error) and _is_pickle(path):
            raise ModelFileError(
                f"{path}: refused, since reading it would run code or make objects other than tensors and plain "
                "values; ask its author for a file of weights alone."
            ) from error
        size = path.stat().st_size
        raise ModelFileError(
            f"{path}: not a readable checkpoint ({size:,} bytes; truncated, damaged, or another kind of file); "
            "copy it again."
        ) from error


def _is_pickle(path: Path) -> bool:
    # torch writes zip files, and wrote bare pickles; everything else never was a checkpoint.
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _sync_folder(folder: Path) -> None:
    # A rename is durable once its folder is on the disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
