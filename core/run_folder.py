"""The folder of a prediction run: a commit makes every file in it safe, whatever happens until the next.

Some files grow (lines, tables); others are whole (masks, pictures). A commit makes the grown ones durable and notes, in
one step, how long they are and how far the run has come. A run that is taken up again cuts them to those lengths and
removes the whole files that were made since: what follows is then what an undisturbed run would have written.

While a run goes on, or waits to be taken up, `.run/` in the folder holds the list of its inputs, the last commit, the
names of whole files in the order in which they were made, and the lock of the process that works on it.
"""

import json
import os
import shutil
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import MachineError, UsageError
from .folders import make_folder, short_name

try:
    import fcntl
except ImportError:  # Windows: no lock there
    fcntl = None

SUMMARY, REPORT, PARQUET = "summary.json", "report.html", "predictions.parquet"  # made at the end of a run
# Of maps of depth: how many of their steps are a metre, where `datasets/depths.py` looks for it, and all else about
# them.
DEPTH_SCALE, DEPTH_ABOUT = "depth_scale.txt", "depth.json"
EMBEDDINGS, EMBEDDINGS_OF = "embeddings.npy", "embeddings.csv"  # made at the end too
PAIRS = "pairs.csv"  # of images that are compared, behind the end
_STATE, _MADE, _LOCK = "state.json", "made", "lock"
_THREADS = 4  # that write whole files: each holds a prediction


class GrowingFile:
    """A file that is written at its end alone; `head` is what it begins with, and `tail` stands behind what was
    flushed, until more is.

    Nothing reaches the file before a flush, and `position` is where the next flush writes.
    """

    def __init__(self, path: Path, position: int | None, *, head: bytes = b"", tail: bytes = b"") -> None:
        self._path = path
        self._tail = tail
        self._waiting: list[bytes] = [] if position is not None else [head]
        self._length = sum(map(len, self._waiting))  # of what waits
        self._head = len(head)
        self.position = position or 0
        with _said(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            os.ftruncate(self._file, self.position)
            _write_at(self._file, tail if position is not None else b"", self.position)

    @property
    def empty(self) -> bool:
        """Whether nothing was written behind its head."""
        return self.position + self._length <= self._head

    @property
    def waiting(self) -> int:
        """Bytes that were written since the last flush."""
        return self._length

    def write(self, data: bytes) -> None:
        """Add something, to be written with the next flush."""
        self._waiting.append(data)
        self._length += len(data)

    def flush(self) -> None:
        """Hand all to the operating system; raises MachineError where that fails, and the file is as it was before."""
        data = b"".join(self._waiting)
        if not data:
            return
        with _said(self._path):
            try:
                _write_at(self._file, data + self._tail, self.position)
            except OSError:
                os.ftruncate(self._file, self.position)
                raise
        self.position += len(data)
        self._waiting.clear()
        self._length = 0

    def sync(self) -> None:
        """Flush, and wait until the disk has it."""
        self.flush()
        with _said(self._path):
            os.fsync(self._file)

    def cut(self, position: int) -> None:
        """Forget what lies behind `position`, and what waits."""
        self._waiting.clear()
        self._length = 0
        self.position = position
        with suppress(OSError):
            os.ftruncate(self._file, position)
            _write_at(self._file, self._tail, position)

    def close(self) -> None:
        """Let go of the file; what waits is not written."""
        os.close(self._file)


class RunFolder:
    """The folder of one run; a context manager, which leaves the folder as the last commit has it.

    `identity` is what the results depend on, as values for JSON. Where the folder holds an unfinished run of the same
    identity, `state` is its last commit, else None. Where it holds a finished one, `summary` is what that said of
    itself. Raises UsageError where it holds anything else that a run would write, if not `overwrite`; MachineError
    where it cannot be written or another process works on it.
    """

    def __init__(
        self, path: Path, identity: Mapping[str, Any], names: Sequence[str], *, overwrite: bool = False
    ) -> None:
        self.path = path
        self.state: dict[str, Any] | None = None
        self.summary: dict[str, Any] | None = None
        self._identity: dict[str, Any] = json.loads(json.dumps(dict(identity)))  # as it comes back from a file
        self._names = names
        self._growing: dict[str, GrowingFile] = {}
        self._made: GrowingFile | None = None
        self._threads = ThreadPoolExecutor(_THREADS, "foveal-writer")
        self._writing: deque[Future[None]] = deque()
        self._promised: set[str] = set()  # names of files that are written later, since the last commit
        self._new = not path.exists()
        make_folder(path)
        self._hidden = path / ".run"
        self._lock = self._locked()
        try:
            self._look(overwrite)
        except BaseException:
            self._unlock()
            raise

    @property
    def inputs(self) -> Path:
        """Where the list of the run's inputs is kept until its end."""
        return self._hidden / "inputs"

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the results depend on, as it comes back from a file."""
        return self._identity

    def growing(self, name: str, *, head: bytes = b"", tail: bytes = b"") -> GrowingFile:
        """The file `name`, as the last commit has it."""
        position = self.state["files"].get(name) if self.state is not None else None
        self._growing[name] = GrowingFile(self.path / name, position, head=head, tail=tail)
        return self._growing[name]

    def place(self, folder: str, stems: Sequence[str], ending: str, *, later: bool = False) -> Path:
        """A path for a whole file below `folder`: the first of `stems`, with `ending`, that is not there yet, or else
        the last with a number behind it. Its folder is made. Nobody else gets it, also where it is written `later`.
        """
        numbered = (f"{stems[-1]}~{number}" for number in count(2))
        below = (
            self._with_room(os.path.join(folder, short_name(f"{stem}{ending}"))) for stem in chain(stems, numbered)
        )
        name = next(name for name in below if name not in self._promised and not os.path.lexists(self.path / name))
        if later:
            self._promised.add(name)
        if self._made is None:
            self._made = GrowingFile(self._hidden / _MADE, self.state["made"] if self.state is not None else 0)
        self._made.write(json.dumps(name).encode("ascii") + b"\n")
        self._made.flush()  # before there is such a file
        target = self.path / name
        with _said(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _with_room(self, name: str) -> str:
        """`name`, with another for each of its folders that is a file: pictures/a.jpg.jpg of the image a.jpg."""
        parts = name.split("/")
        for number in range(1, len(parts) - 1):
            while self._is_file("/".join(parts[: number + 1])):
                parts[number] += "~"
        return "/".join(parts)

    def _is_file(self, name: str) -> bool:
        path = self.path / name
        return name in self._promised or (os.path.lexists(path) and not path.is_dir())

    def later(self, write: Callable[..., None], *arguments: Any) -> None:
        """Call `write`, which makes whole files, in a thread; waits for an earlier one where all threads are busy.

        What one raises is raised here by a later call, or by the next commit at the latest.
        """
        while len(self._writing) >= _THREADS:
            self._writing.popleft().result()
        self._writing.append(self._threads.submit(write, *arguments))

    def settle(self) -> None:
        """Wait for all that is written `later`; raises what it raises."""
        while self._writing:
            self._writing.popleft().result()

    @contextmanager
    def whole(self, name: str) -> Iterator[Path]:
        """A path to write the file `name` at, which is put into the folder in one step; raises MachineError where that
        fails.
        """
        draft = self._hidden / name
        with _said(self.path / name):
            try:
                yield draft
                with draft.open("rb") as file:
                    os.fsync(file.fileno())
                draft.replace(self.path / name)
            except OSError:
                draft.unlink(missing_ok=True)
                raise

    def commit(self, progress: Mapping[str, Any]) -> None:
        """Make all that was written safe, and `progress` with it; raises MachineError where the disk is full."""
        self.sync()
        files = {name: file.position for name, file in self._growing.items()}
        made = self._made.position if self._made is not None else (self.state or {}).get("made", 0)
        state = {"identity": self._identity, "files": files, "made": made, **progress}
        replace_json(self._hidden / _STATE, state)
        self.state = state

    def sync(self) -> None:
        """Wait until all is written, and the disk has what grows, without a commit; raises MachineError where it is
        full.
        """
        self.settle()
        self._promised.clear()
        for file in self._growing.values():
            file.sync()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Leave a whole run: with `summary`, and without what served to take it up again."""
        replace_json(self.path / SUMMARY, {**summary, "run": self._identity})
        self.state = None
        (self._hidden / _STATE).unlink(missing_ok=True)  # first: without the list it could not be taken up
        shutil.rmtree(self._hidden, ignore_errors=True)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)  # those at work end: what they make is rolled back
        self._roll_back()
        for file in self._growing.values():
            file.close()
        if self._made is not None:
            self._made.close()
        self._unlock()

    def _look(self, overwrite: bool) -> None:
        """Find out what is there, and make room for a new run unless one is to be gone on with."""
        self.state = _read_json(self._hidden / _STATE)
        self.summary = _read_json(self.path / SUMMARY)
        found = self.state["identity"] if self.state else self.summary.get("run") if self.summary else None
        if not overwrite and found is not None:
            if found != self._identity:
                raise UsageError(_difference(self.path, found, self._identity))
            if self.state is not None:
                self.summary = None
                self._roll_back()
            return
        there = [self.path / name for name in self._names if os.path.lexists(self.path / name)]
        ours = found is not None or (self.path / "predictions.jsonl").exists()
        if there and not ours:  # a data set has masks/ too
            raise UsageError(f"{there[0]} is there already, and no predictions.jsonl beside it: give another --out.")
        if there and not overwrite:
            raise UsageError(f"{self.path}: results are already there; give another --out, or --overwrite them.")
        self.state = self.summary = None
        (self.path / SUMMARY).unlink(missing_ok=True)
        for name in (_STATE, _MADE):
            (self._hidden / name).unlink(missing_ok=True)
        for path in reversed(there):  # predictions.jsonl last: it says that all this is ours
            _remove(path)

    def _roll_back(self) -> None:
        """Undo what was done since the last commit, if the run is not finished."""
        if self.state is None:
            return
        for name, file in self._growing.items():
            file.cut(self.state["files"].get(name, 0))
        made = self._hidden / _MADE
        if made.exists():
            for line in made.read_bytes()[self.state["made"] :].splitlines():
                with suppress(ValueError):  # the last line may be cut
                    _remove(self.path / json.loads(line))

    def _locked(self) -> int | None:
        with _said(self._hidden):
            self._hidden.mkdir(exist_ok=True)
            lock = os.open(self._hidden / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is None:
            return lock
        try:
            # Of POSIX's kind: forked processes do not hold it, which may live a moment longer than this one.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(lock, 500, 0).decode(errors="replace")
            os.close(lock)
            reason = f"another run writes here ({owner}); wait for it, or give another --out"
            raise MachineError(f"{self.path}: {reason}.") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        return lock

    def _unlock(self) -> None:
        if self._lock is not None:
            if self.state is None:
                shutil.rmtree(self._hidden, ignore_errors=True)
                if self._new:
                    with suppress(OSError):  # something was written
                        self.path.rmdir()
            os.close(self._lock)
            self._lock = None


def write_file(path: Path, data: bytes) -> None:
    """Write a small file, and make its folder; raises MachineError."""
    with _said(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def replace_json(path: Path, value: Any) -> None:
    """Put `value` into a file in one step, which outlives a loss of power; raises MachineError."""
    draft = path.with_name(f"{path.name}.draft")
    with _said(path):
        try:
            with draft.open("wb") as file:
                file.write(json.dumps(value, indent=1).encode("ascii") + b"\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        with suppress(OSError):  # not all systems let a folder be opened
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _write_at(file: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, position)
        view, position = view[written:], position + written


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _difference(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    keys = [key for key in dict.fromkeys((*found, *wanted)) if found.get(key) != wanted.get(key)]
    shown = "; ".join(f"{key} {json.dumps(found.get(key))}, now {json.dumps(wanted.get(key))}" for key in keys[:3])
    return f"{folder}: results of another command are already there ({shown}); give another --out, or --overwrite them."


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise MachineError(f"{shown}: cannot be written ({error.strerror or error}).") from error
