"""Processes that work through jobs, and are watched: one that dies or hangs costs one item, and never the run.

torch's loader ends with its first dead worker; here the item that it was at is named, another process takes its place,
and the job goes on behind that item.
"""

import multiprocessing
import os
import pickle
import signal
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, NamedTuple

from .data import limit_threads

_LOOK = 0.5  # seconds between two looks at the clock
# Where cores are shared, who computes on what was read goes first: its threads wait for each other at every layer, and
# for each that a reader holds up, all wait. What they leave is enough for readers, who only have to be in time.
_NICE = 10
_AHEAD = 2  # jobs a process that have been begun before they are asked for


class Job(NamedTuple):
    """Items to work on together, by one process."""

    items: Sequence[Any]


class Done(NamedTuple):
    """A part of what a job gives. With it the first `items` of its items need not be worked on again."""

    value: Any
    items: int


class Lost(NamedTuple):
    """An item at which a process died, or for which it took more than the time there is; `detail` is the signal or that
    time.
    """

    item: Any
    how: Literal["crashed", "timeout"]
    detail: str


Beat = Callable[[int], None]
# Returns when no other process holds what it asked this for, until the next item.
Alone = Callable[[], None]
# Works on the items of a job, one after another; tells before each, and now and then within a long one, at which it is;
# asks to be alone before it takes more memory than each of several processes should.
Work = Callable[[Sequence[Any], Beat, Alone], Iterator[Done]]


class Pool:
    """`workers` processes that run `work`; without any, this one does. A context manager.

    `timeout`: seconds an item may take between two signs of life; then it is lost, and so is one at which a process
    dies twice. Time in which this process was stopped too, as by Ctrl-Z, does not count. `check` is called at least
    twice a second while the pool waits, and before each job; what it raises ends the run. The processes end with this
    one, however that ends.
    """

    def __init__(self, work: Work, workers: int, timeout: float, check: Callable[[], None] = lambda: None) -> None:
        self._work = work
        self._timeout = timeout
        self._check = check
        self._workers = [_Worker(work) for _ in range(workers)]
        self._looked = time.monotonic(), time.thread_time()  # when the clocks were looked at

    def run(self, jobs: Iterable[Job]) -> Iterator[Done | Lost | None]:
        """What each job gives, in the order of the jobs, and None behind each job."""
        if not self._workers:
            for job in jobs:
                self._check()
                yield from self._work(job.items, lambda position: None, lambda: None)
                yield None
            return
        source = iter(jobs)
        waiting: deque[_Begun] = deque()
        turn = 0
        while True:
            while len(waiting) < _AHEAD * len(self._workers):
                job = next(source, None)
                if job is None:
                    break
                turn += 1
                waiting.append(_Begun(job.items, self._workers[turn % len(self._workers)]))
            if not waiting:
                return
            self._start_jobs(waiting)
            yield from self._finish(waiting)
            waiting.popleft()
            yield None

    def _start_jobs(self, jobs: Iterable["_Begun"]) -> None:
        """Give each idle process the first of its jobs that has not begun."""
        for job in jobs:
            if job.worker.job is None and not job.ended:
                job.worker.begin(job)

    def _finish(self, jobs: "deque[_Begun]") -> Iterator[Done | Lost]:
        """All that the first of `jobs` gives, while the others are worked on."""
        first = jobs[0]
        while True:
            while first.results:
                yield first.results.popleft()
            if first.ended:
                return
            if first.asks:
                first.worker.let_be_alone()
            self._receive(full=first)
            self._start_jobs(jobs)

    def _receive(self, full: "_Begun") -> None:
        """Take what processes have, but of jobs that are not `full` no more than one part ahead: memory is bounded."""
        self._check()
        open_ = [worker for worker in self._workers if worker.job is not None and worker.may_send(full)]
        ready = wait([worker.pipe for worker in open_], timeout=_LOOK)
        for worker in open_:
            if worker.pipe in ready:
                worker.receive()
        stopped = self._time_stopped()
        for worker in self._workers:
            worker.check_clock(self._timeout, stopped)

    def _time_stopped(self) -> float:
        """Seconds since the last look in which this process neither waited nor computed: it was stopped, and so may the
        others have been. If it only waited for a disk, it gives them more time than they need.
        """
        now, computed = time.monotonic(), time.thread_time()
        idle = (now - self._looked[0]) - (computed - self._looked[1])
        self._looked = now, computed
        return idle if idle > 2 * _LOOK else 0.0

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()


@dataclass
class _Begun:
    """A job on its way."""

    items: Sequence[Any]
    worker: "_Worker"
    results: deque[Done | Lost] = field(default_factory=deque)
    ended: bool = False
    finished: int = 0  # of its items, those that need not be worked on again
    suspect: int = -1  # the item at which a process has died once
    asks: bool = False  # to be alone, for which its process waits until no job is before this one


class _Ask(NamedTuple):
    """What a process sends that wants to be alone."""


class _Worker:
    """One process with its pipe, replaced when it dies."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.job: _Begun | None = None
        self._first = 0  # of the job's items, the one that the process calls 0
        self._stopped = 0.0, 0.0  # the last sign of life, and the seconds since it that do not count
        self._start()

    def begin(self, job: _Begun) -> None:
        """Send it what is not finished of a job."""
        self.job, self._first, job.asks = job, job.finished, False
        self._clock[0] = -1
        try:
            _send(self.pipe, job.items[job.finished :])
        except OSError:  # it died idle
            self._restart()
            _send(self.pipe, job.items[job.finished :])

    def may_send(self, full: _Begun) -> bool:
        """Whether there is room for another part of its job."""
        return self.job is full or (self.job is not None and not self.job.results)

    def let_be_alone(self) -> None:
        """Let it go on that has asked for it."""
        assert self.job is not None
        self.job.asks = False
        with suppress(OSError):  # it died, as it will be found
            _send(self.pipe, None)

    def receive(self) -> None:
        """Take one part, the end of the job, a wish, the work's exception, or the news that the process is dead."""
        assert self.job is not None
        try:
            value = _receive(self.pipe)
        except (EOFError, OSError):
            self._process.join()
            self._died(_how_it_ended(self._process.exitcode))
            return
        if value is None:
            self.job.ended, self.job = True, None
        elif isinstance(value, BaseException):
            raise value
        elif isinstance(value, _Ask):
            self.job.asks = True
        else:
            self.job.finished = self._first + value.items
            self.job.results.append(value)

    def check_clock(self, timeout: float, stopped: float) -> None:
        """Kill a process that has been at one item for too long, not counting the seconds that were `stopped`."""
        position, since = self._clock
        self._stopped = since, stopped + (self._stopped[1] if since == self._stopped[0] else 0.0)
        if self.job is None or position < 0 or time.monotonic() - since - self._stopped[1] <= timeout:
            return
        self._process.kill()
        self._lose(self._first + int(position), "timeout", f"{timeout:g} s")

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join(1)  # one that waits for a dead disk cannot be killed
        _ours.discard(self.pipe)
        self.pipe.close()

    def _died(self, how: str) -> None:
        job, position = self.job, int(self._clock[0])
        assert job is not None
        item = self._first + position
        if position >= 0 and (job.suspect == item or item < job.finished):
            self._lose(item, "crashed", how)
            return
        # Once may be an accident, as a want of memory is.
        job.suspect = item if position >= 0 else job.suspect
        self._restart()
        self.begin(job)

    def _lose(self, item: int, how: Literal["crashed", "timeout"], detail: str) -> None:
        """Go on with a new process, without an item; what was read before it and not sent is read again."""
        job = self.job
        assert job is not None
        job.results.append(Lost(job.items[item], how, detail))
        job.items = [*job.items[:item], *job.items[item + 1 :]]
        job.finished -= item < job.finished
        job.suspect = -1
        self._restart()
        if job.finished < len(job.items):
            self.begin(job)
        else:
            job.ended, self.job = True, None

    def _restart(self) -> None:
        self.end()
        self._start()

    def _start(self) -> None:
        kinds = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context("fork" if "fork" in kinds else "spawn")
        self.pipe, theirs = context.Pipe()
        _ours.add(self.pipe)
        self._clock = context.RawArray("d", [-1, 0])  # the item it is at, -1 for none, and since when
        self._process = context.Process(target=_serve, args=(self._work, theirs, self._clock), daemon=True)
        self._process.start()
        theirs.close()


# This process's ends of all pipes. A forked process gets copies, with which a pipe would outlive this process: it would
# wait for more work forever.
_ours: set[Connection] = set()


def _serve(work: Work, pipe: Connection, clock: Any) -> None:
    """What a process does until nobody gives it work any more."""
    for pipe_of_parent in _ours:
        pipe_of_parent.close()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # to all processes of a run: its first one decides
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    limit_threads(0)
    if hasattr(os, "nice"):  # not on Windows
        os.nice(_NICE)

    def beat(position: int) -> None:
        clock[1] = time.monotonic()
        clock[0] = position

    def alone() -> None:
        position, clock[0] = int(clock[0]), -1  # how long it waits is not its own doing
        try:
            _send(pipe, _Ask())
            _receive(pipe)
        except (EOFError, OSError):
            os._exit(0)  # the work would take it for a fault of its item, and go on
        beat(position)

    while True:
        try:
            items = _receive(pipe)
        except (EOFError, OSError):
            return
        try:
            for done in work(items, beat, alone):
                clock[0] = -1
                _send(pipe, done)
            clock[0] = -1
            _send(pipe, None)
        except BrokenPipeError:
            return
        except Exception as error:
            _send(pipe, error)


def _send(pipe: Connection, value: Any) -> None:
    """Send arrays from where they lie: pickled with the rest, they would be copied twice more."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [data, *(buffer.raw() for buffer in buffers)]
    pipe.send_bytes(struct.pack(f"<{len(parts)}Q", *map(len, parts)))
    for part in parts:
        pipe.send_bytes(part)


def _receive(pipe: Connection) -> Any:
    sizes = pipe.recv_bytes()
    parts = []
    for size in struct.unpack(f"<{len(sizes) // 8}Q", sizes):
        parts.append(bytearray(size))
        pipe.recv_bytes_into(parts[-1])
    return pickle.loads(parts[0], buffers=parts[1:])


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
