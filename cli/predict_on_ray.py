"""`foveal predict --ray N`: the shards of a run as a job of Ray Data, on one machine or a cluster.

Each of N actors does one shard after another, as `foveal predict --shard` does; Ray gives the shard of an actor that
died to another, which goes on where that one was. The folder for results must be one that all machines see.
"""

import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from ..core.errors import MachineError, UsageError

_SHARDS_AN_ACTOR = 4  # so that one that is slow, or dies, holds up the others for a quarter of its share at most


def predict_on_ray(arguments: Sequence[str], actors: int, out: Path, *, gpus: bool) -> dict[str, Any]:
    """Run the command line `arguments` of `foveal predict`, which has no --ray, in shards, with a GPU for each actor
    where `gpus` says so; returns the summary.

    Raises UsageError where Ray is not installed, MachineError where a shard fails again and again.
    """
    from ..core.merge import merge

    count = actors * _SHARDS_AN_ACTOR
    line = [*arguments, "--max-bad", str(10**12)]
    with _ray() as ray:
        # From memory: a task that reads numbers would wait for a core that the actors hold.
        shards = ray.data.from_items([{"id": number} for number in range(count)], override_num_blocks=count)
        job = shards.map_batches(
            _Shards,
            fn_constructor_args=(line, os.getcwd(), count),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
            num_gpus=int(gpus),
        )
        failed = sorted((row for row in job.take_all() if row["code"] != 0), key=lambda row: row["id"])
    if failed:
        numbers = ", ".join(str(row["id"] + 1) for row in failed)
        raise MachineError(f"{out}: of {count} shards, {numbers} failed, the first: {failed[0]['said']}")
    return merge(out, overwrite="--overwrite" in arguments)


@contextmanager
def _ray() -> Iterator[Any]:
    """The package, connected to the cluster that RAY_ADDRESS names, or to one of this machine, which goes with it."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f'--ray needs Ray ({error}); pip install "foveal[ray]".') from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of Ray, about itself
        ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield ray
    finally:
        ray.shutdown()


class _Shards:
    """One process of the job."""

    def __init__(self, line: Sequence[str], folder: str, count: int) -> None:
        os.chdir(folder)
        self._line, self._count = ["predict", *line], count

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        from .main import main

        (number,) = batch["id"]
        with redirect_stderr(io.StringIO()) as said:
            code = main([*self._line, "--shard", f"{number + 1}/{self._count}"])
        return {"id": [number], "code": [code], "said": [said.getvalue().strip()]}
