"""The file or folder that a detector of faces comes from. Imports no torch."""

import hashlib
from pathlib import Path


def detector_digest(path: str | Path) -> str:
    """A hash, 32 hexadecimal digits, of the file, or of the files in the folder; raises OSError where it is gone."""
    files = sorted(file for file in Path(path).iterdir() if file.is_file()) if Path(path).is_dir() else [Path(path)]
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()
