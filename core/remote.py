"""Images at addresses (s3://bucket/folder, https://..., gs://...), read through fsspec. Imports no torch.

fsspec comes with torch; each kind of store wants its own package, as s3fs for s3.
"""

import re
from collections.abc import Iterator
from typing import Any

from .errors import MachineError, UsageError


def is_address(path: str) -> bool:
    """Whether a path is an address with a scheme, and no path of this machine."""
    return re.match(r"[a-z][a-z0-9+.-]+(::[^/]*)?://", path) is not None


def files(address: str) -> Iterator[str]:
    """The addresses of all files below a folder, or that a glob matches, sorted; a file's own.

    Raises UsageError for what is not there, MachineError where the store does not answer or its package is missing.
    """
    store, path = _store(address)
    try:
        if any(sign in path for sign in "*?["):
            found = sorted(each for each in store.glob(path) if store.isfile(each))
        elif store.isdir(path):
            found = sorted(store.find(path))
        else:
            found = [path] if store.exists(path) else []
    except Exception as error:  # each store has errors of its own
        raise MachineError(f"{address}: the store did not answer ({_shown(error)}).") from error
    if not found:
        raise UsageError(f"{address}: there is no such file or folder.")
    yield from map(store.unstrip_protocol, found)


def read(address: str, most: int) -> bytes:
    """The bytes of a file, of which it may have `most`; raises OSError, of which FileNotFoundError, or MachineError."""
    store, path = _store(address)
    try:
        with store.open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError:
        raise
    except Exception as error:
        raise OSError(_shown(error)) from error
    if len(data) > most:
        raise OSError(f"it has more than {most:,} bytes")
    return data


def _store(address: str) -> tuple[Any, str]:
    import fsspec

    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise MachineError(f"{address}: {_shown(error)}; install what reads such addresses.") from error


def _shown(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
