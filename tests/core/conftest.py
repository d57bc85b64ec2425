"""What tests of results need: a writer into a folder of a run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from foveal.core.input_list import write_list
from foveal.core.inputs import Input
from foveal.core.run_folder import RunFolder
from foveal.core.writers import NAMES, FolderWriter


@pytest.fixture
def writing() -> Callable[..., AbstractContextManager[FolderWriter]]:
    """A writer into a folder, of the results of files (name to path), as a context manager: with (folder, files,
    overwrite, and the writer's own options).
    """

    @contextmanager
    def write(
        folder: Path, files: Mapping[str, str] | None = None, overwrite: bool = False, **options
    ) -> Iterator[FolderWriter]:
        with RunFolder(folder, {}, NAMES, overwrite=overwrite) as run:
            inputs = write_list(run.inputs, [Input(path, name) for name, path in (files or {}).items()])
            writer = FolderWriter(run, inputs, **options)
            yield writer
            writer.finish({})

    return write
