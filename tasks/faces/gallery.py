"""People who are enrolled, in a file: names and embeddings, and of which model these are. No picture, no path."""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ...core.errors import MachineError, ModelFileError, UsageError

FORMAT = 1  # a reader refuses what is newer than itself
_KIND = "foveal_gallery"  # the one entry of the metadata: several are written in another order each time
_UNIT = 1e-3  # by how much a length may differ from 1


class Gallery:
    """Names and embeddings of one model.

    Args:
        names: M of them; a person may have several embeddings, and comes as often.
        embeddings: float32 (M, D), of unit length.
        fingerprint: of the model that made them, see `model_fingerprint`; those of another mean nothing to it.
    """

    def __init__(self, names: Sequence[str], embeddings: torch.Tensor, fingerprint: str) -> None:
        assert embeddings.ndim == 2 and len(names) == len(embeddings), (len(names), embeddings.shape)
        self.names = list(names)
        self.embeddings = embeddings.detach().to("cpu", torch.float32).contiguous()
        self.fingerprint = fingerprint

    def people(self) -> dict[str, int]:
        """How many embeddings each person has, in the order in which they come."""
        return dict(Counter(self.names))

    def write(self, path: str | Path) -> None:
        """Put it into a safetensors file, which is there whole or not at all; raises MachineError.

        The file holds `embeddings`, `names` (JSON as bytes) and, as metadata, its format and fingerprint. Its owner
        alone can read it: a face can be found again by its embedding.
        """
        from safetensors.torch import save

        names = torch.frombuffer(bytearray(json.dumps(self.names).encode("ascii")), dtype=torch.uint8)
        about = json.dumps({"format": FORMAT, "fingerprint": self.fingerprint})
        _replace(Path(path), save({"embeddings": self.embeddings, "names": names}, {_KIND: about}))

    @classmethod
    def read(cls, path: str | Path, *, fingerprint: str | None = None) -> "Gallery":
        """The gallery in a file; with `fingerprint`, that of the model it is to be used with.

        Raises UsageError where there is no file, MachineError where it cannot be read, ModelFileError where it is
        damaged, of another kind or format, or of another model.
        """
        path = Path(path)
        about, tensors = _opened(path)
        if about is None or set(tensors) != {"embeddings", "names"}:
            raise ModelFileError(f"{path}: this is no gallery of foveal's; make one with `foveal enroll`.")
        if about.get("format") != FORMAT:
            raise ModelFileError(
                f"{path}: its format is {about.get('format')!r}, and this version of foveal reads {FORMAT}; use the "
                "version that wrote it."
            )
        found = str(about.get("fingerprint"))
        if fingerprint is not None and found != fingerprint:
            raise ModelFileError(
                f"{path}: its embeddings are of another model, or made with another --detector or --flip (fingerprint "
                f"{found[:12]}, here it is {fingerprint[:12]}), so that distances to them mean nothing; enrol the "
                "pictures again with this checkpoint, detector and --flip."
            )
        return cls(_names(path, tensors), tensors["embeddings"], found)


def model_fingerprint(state: Mapping[str, torch.Tensor], preprocessing: Mapping[str, Any]) -> str:
    """A hash, 32 hexadecimal digits, of all that embeddings depend on: names and bits of weights, and `preprocessing`,
    plain values. The same on every device, and whichever file they were in.
    """
    digest = hashlib.blake2b(json.dumps(dict(preprocessing), sort_keys=True).encode(), digest_size=16)
    for name in sorted(state):
        values = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _opened(path: Path) -> tuple[dict[str, Any] | None, dict[str, torch.Tensor]]:
    """What is said about the file, None where it is no gallery, and its tensors."""
    from safetensors import safe_open

    if not path.is_file():
        raise UsageError(f"{path}: there is no such file; make a gallery with `foveal enroll`.")
    try:
        with safe_open(path, framework="pt") as file:
            about = (file.metadata() or {}).get(_KIND)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return None if about is None else dict(json.loads(about)), tensors
    except MemoryError:
        raise
    except OSError as error:
        raise MachineError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # safetensors' own is a plain Exception
        raise ModelFileError(
            f"{path}: not a readable gallery ({path.stat().st_size:,} bytes; truncated, damaged, or another kind of "
            "file); copy it again, or make it with `foveal enroll`."
        ) from error


def _names(path: Path, tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """The names, of embeddings that are what they should be."""
    embeddings = tensors["embeddings"]
    try:
        names = json.loads(bytes(tensors["names"].numpy()))
    except (ValueError, TypeError):
        names = None
    if (
        not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
        or embeddings.dtype != torch.float32
        or embeddings.ndim != 2
        or len(embeddings) != len(names)
        or not bool(((embeddings.norm(dim=1) - 1).abs() < _UNIT).all())  # nor NaN
    ):
        raise ModelFileError(
            f"{path}: its names and embeddings are not of one length, or no embeddings of unit length; the file was "
            "edited or damaged. Make it again with `foveal enroll`."
        )
    return names


def _replace(path: Path, data: bytes) -> None:
    """In one step, which outlives a loss of power."""
    draft = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            draft = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        with suppress(OSError):  # not all systems let a folder be opened
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
    except BaseException as error:
        if draft is not None:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise MachineError(f"{path}: cannot be written ({error.strerror or error}).") from error
        raise
