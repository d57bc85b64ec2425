"""What computes a task's network in place of plain torch: torch's own compiler, or ONNX Runtime or OpenVINO on a CPU.

All of them take the place of `Task.network`, the layers; what a task does around them stays the same code.

For the latter two the network is exported once, as ONNX, compared with torch's answers, and kept in a folder of the
user's cache, under a digest of its weights, its layers and all versions. A graph takes any number of images. Where a
task sees images of several sizes, one graph takes them all if it can be had so; else there is a graph a size.
"""

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from .engine_options import ENGINES
from .errors import MachineError, UsageError
from .runtimes import RUNTIMES, Run
from .task import Task, versions

Say = Callable[[str], None]

# What an exported network may be off by in 32 bits, as shares of the largest answer: in the mean, where 1e-6 is usual,
# and anywhere. The two are far apart for networks that pass on which of two like numbers was the larger one.
_CLOSE, _CLOSE_ANYWHERE = 1e-4, 1e-2
_DIVISOR = 32  # of images, where a head names none


def accelerate(
    task: Task,
    device: torch.device,
    *,
    engine: str = "torch",
    compiled: bool = False,
    precision: Literal["32", "bf16"] = "32",
    batch_size: int = 32,
    say: Say = lambda text: None,
) -> None:
    """Let `engine`, of ENGINES, or with `compiled` torch's compiler compute the network of `task`, and make it ready
    for batches of `batch_size` images. `say` is told what takes long.

    The task must not be trained afterwards. Raises UsageError for a network that the engine can't take, MachineError
    where the compiler fails.
    """
    if (compiled or engine != "torch") and not any(True for _ in task.parameters()):
        option = "--compile" if compiled else f"--engine {engine}"
        raise UsageError(f"{option} is for networks, and this model has none, as filters of edges; leave it out.")
    task.to(device).to(memory_format=torch.channels_last).eval()
    task.__dict__.pop("network", None)  # of an earlier call
    if compiled:
        _quiet("torch.utils.cpp_extension")  # which warns of a missing CUDA where none is wanted
        say("Compiling the network: half a minute, or more for a large one")
        task.network = _Compiled(task)
        try:
            _warm_up(task, device, precision, batch_size)
        except (torch.OutOfMemoryError, MemoryError):
            pass  # of the whole batch: a run takes halves
        except Exception as error:
            wanted = "install a C++ compiler, as g++, or " if "C++ compiler" in str(error) else ""
            raise MachineError(
                f"--compile: torch's compiler fails here ({_reason(error)}); {wanted}leave the option out."
            ) from error
    elif engine != "torch":
        task.network = _Exported(task, engine, precision, say)
        _warm_up(task, device, precision, 2)


def engine_versions(engine: str) -> dict[str, str]:
    """Of the packages that results of `engine` depend on."""
    return {package: version(package) for package in ENGINES[engine]}


def engines_folder() -> Path:
    """Where exported networks are kept: FOVEAL_CACHE/engines, or `foveal/engines` in the user's folder for caches."""
    own = os.environ.get("FOVEAL_CACHE")
    if own:
        return Path(own).expanduser() / "engines"
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(caches)) / "foveal" / "engines"


def _warm_up(task: Task, device: torch.device, precision: str, number: int) -> None:
    """The first batch: what has to be made is made, or fails, before any file is read."""
    size = task.preprocessing["size"]
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        images = torch.zeros(number, size, size, 3, dtype=torch.uint8, device=device)  # here: as a run's images are
        task(images.permute(0, 3, 1, 2))


def _sizes_vary(task: Task) -> bool:
    """Whether the network sees images of more than one height and width."""
    wanted = task.prediction_options
    return (
        task.preprocessing["resize"] in ("fit", "shorter", "keep")
        or wanted.tile is not None
        or tuple(wanted.scales) != (1.0,)
    )


def _quiet(logger: str) -> None:
    logging.getLogger(logger).setLevel(logging.ERROR)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"


# --- torch's compiler -------------------------------------------------------------------------------------------------


class _Compiled:
    """A task's network by torch's compiler, once for batches of all lengths and, where they vary, sizes."""

    def __init__(self, task: Task) -> None:
        # Freezing lays the weights out for the processor beforehand, and casts them once: twice as fast in bfloat16.
        self._network = torch.compile(task.network, dynamic=False, options={"freezing": True})
        self._dimensions = (0, 2, 3) if _sizes_vary(task) else (0,)

    def __call__(self, images: torch.Tensor) -> Any:
        if len(images) == 1:  # which torch would compile once more, as a case of its own
            found = self(torch.cat([images, images]))
            return [answer[:1] for answer in found] if isinstance(found, list) else found[:1]
        try:
            return self._network(self._marked(images))
        except Exception as error:
            if not isinstance(error, torch._dynamo.exc.TorchDynamoException) or len(self._dimensions) == 1:  # type: ignore[attr]
                raise
            self._dimensions = self._dimensions[:1]  # a network that can't be had for all sizes: once a size
            return self._network(self._marked(images))

    def _marked(self, images: torch.Tensor) -> torch.Tensor:
        images = images[:]
        for dimension in self._dimensions:
            torch._dynamo.mark_dynamic(images, dimension)
        return images


# --- exported networks ------------------------------------------------------------------------------------------------


class _Exported:
    """A task's network by a runtime: uint8 or float32 images (N, C, H, W) in, float32 tensors out."""

    def __init__(self, task: Task, engine: str, precision: Literal["32", "bf16"], say: Say) -> None:
        self._module = _Layers(task)
        self._engine = engine
        self._start = RUNTIMES[engine](precision)
        self._say = say
        self._divisor = getattr(task.head, "divisor", _DIVISOR)
        self._step = 1 if getattr(task.head, "pads", False) else self._divisor  # from one size that comes to the next
        self._vary = _sizes_vary(task)
        self._folder = engines_folder() / f"{engine}-{_digest(task, engine)}"
        self._runs: dict[str, Run] = {}
        self._refused: set[str] = set()  # names of graphs that can't be had

    def __call__(self, images: torch.Tensor) -> Any:
        pixels = images.permute(0, 2, 3, 1).contiguous()  # as they were decoded: in most cases no copy
        found = [torch.from_numpy(answer) for answer in self._run(pixels)(pixels.numpy())]
        return found if len(found) > 1 else found[0]

    def _run(self, pixels: torch.Tensor) -> Run:
        """What runs images of this type and size, made or loaded the first time."""
        kind, (height, width) = str(pixels.dtype).removeprefix("torch."), pixels.shape[1:3]
        # By their names, graphs for all sizes whose shorter side is so long or more, and for this size alone. A map of
        # one cell is a case of its own: there is none from twice the divisor on, or of pyramids from eight times.
        leasts = [times * self._divisor for times in (2, 8)] if self._vary else []
        names = {f"{kind}-from{least}": least for least in leasts if least <= min(height, width)}
        names[f"{kind}-{height}x{width}"] = 0
        for name in names:
            run = self._runs.get(name) or self._kept(name)
            if run is not None:
                return self._runs.setdefault(name, run)
        return self._made(names, pixels)

    def _kept(self, name: str) -> Run | None:
        try:
            return self._start((self._folder / f"{name}.onnx").read_bytes(), False)
        except Exception:  # not there, or damaged: it is made anew
            return None

    def _made(self, names: Mapping[str, int], pixels: torch.Tensor) -> Run:
        self._say(
            f"Preparing the network for {self._engine}: up to a minute, and only once (see {self._folder.parent})"
        )
        failed = None
        for name, least in names.items():
            if name in self._refused:
                continue
            try:
                graph = self._export(pixels, least)
            except MemoryError:
                raise
            except Exception as error:
                failed = error
                self._refused.add(name)
                continue
            with suppress(OSError):  # no room, or a folder that can't be written: it works without
                self._keep(graph, name)
            self._runs[name] = self._start(graph, False)
            return self._runs[name]
        assert failed is not None
        raise UsageError(
            f"--engine {self._engine} can't take this network ({_reason(failed)}); leave the option out, or take "
            "--compile."
        ) from failed

    def _export(self, pixels: torch.Tensor, least: int) -> bytes:
        """The graph for images like `pixels`, or where `least` is not 0 of all sizes from there on, once its answers
        have been compared with torch's.
        """
        height, width, channels = pixels.shape[1:]
        example = _noise((2, height, width, channels), pixels.dtype)
        free = torch.export.Dim.DYNAMIC
        sizes = {0: free, 1: free, 2: free} if least else {0: free}
        others = _other_shapes(height, width, least, self._step) if least else [(1, height, width)]
        with _plain_torch():
            _quiet("onnx_ir")  # which warns of what torch gives it
            exported = torch.export.export(self._module, (example,), dynamic_shapes=(sizes,))
            exported.module()(_noise((*others[0], channels), pixels.dtype))  # the likeliest to be refused
            program: Any = torch.onnx.export(exported, dynamo=True, verbose=False)
            graph = program.model_proto.SerializeToString()
            run, traced = self._start(graph, True), exported.module()
            self._compare(run, traced, example)
            for shape in others:
                self._compare(run, traced, _noise((*shape, channels), pixels.dtype))
        return graph

    def _compare(self, run: Run, traced: nn.Module, pixels: torch.Tensor) -> None:
        """Raise an error where `run` differs from the network, or what torch has `traced` of it does not hold for such
        pixels. Those that the network itself refuses nobody will bring.
        """
        try:
            wanted = self._module(pixels)
        except Exception:
            return
        traced(pixels)  # first: a graph that does not hold for them has crashed OpenVINO
        found = [torch.from_numpy(answer) for answer in run(pixels.numpy())]
        for ours, theirs in zip(found, wanted if isinstance(wanted, list) else [wanted], strict=True):
            off, largest = (ours - theirs).abs(), theirs.abs().max() + 1e-3
            if ours.shape != theirs.shape or off.mean() > _CLOSE * largest or off.max() > _CLOSE_ANYWHERE * largest:
                size = "{} x {}".format(*pixels.shape[1:3])
                raise ValueError(f"its answers for images of {size} pixels are off by up to {off.max():.2g}")

    def _keep(self, graph: bytes, name: str) -> None:
        """Leave the graph there, whole or not at all, whoever else is at it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as file:
            try:
                file.write(graph)
                file.close()
                os.replace(file.name, self._folder / f"{name}.onnx")
            except OSError:
                os.unlink(file.name)
                raise


class _Layers(nn.Module):
    """A task's network for images (N, H, W, C)."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self._network = task.network

    def forward(self, images: torch.Tensor) -> Any:
        return self._network(images.permute(0, 3, 1, 2))


def _other_shapes(height: int, width: int, least: int, step: int) -> list[tuple[int, int, int]]:
    """(N, H, W) at the ends of what may come: smaller, longer, wider and larger than an image of that size."""
    larger = [(1, height + step, 2 * width), (1, 2 * height, width + step)]
    return [(3, least, least), (1, least, width), (1, height, least), *larger]


@contextmanager
def _plain_torch() -> Iterator[None]:
    """Neither gradients nor inference mode nor bfloat16: what an export takes."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        yield


def _noise(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if dtype == torch.uint8:
        return torch.randint(0, 256, shape, generator=generator, dtype=dtype)
    return torch.randn(shape, generator=generator, dtype=dtype)


_GRAPHS = 2  # raised when the same network is exported in another way: older graphs are then not used any more


def _digest(task: Task, engine: str) -> str:
    """Of all that a graph depends on but the images' size and type."""
    layers = re.sub(r" at 0x[0-9a-f]+", "", repr(task))
    parts = (_GRAPHS, versions(), engine_versions(engine), asdict(task.options), dict(task.preprocessing), layers)
    digest = hashlib.sha256(repr(parts).encode())
    for name, weights in task.state_dict().items():
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        digest.update(weights.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:32]
