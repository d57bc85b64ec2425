"""Processes that are watched: who is lost, who is not, and who is alone."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from foveal.core import pool
from foveal.core.pool import Done, Job, Lost, Pool

_fork = multiprocessing.get_context("fork")


@pytest.fixture
def jump(monkeypatch) -> Callable[[float], None]:
    """Lets the clock of this process, and of no other that there is already, jump by some seconds."""
    ahead = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0], thread_time=time.thread_time)
    monkeypatch.setattr(pool, "time", clock)

    def jump(seconds: float) -> None:
        ahead[0] += seconds

    return jump


def results(pool_: Pool, jobs: list[list[int]]) -> list[object]:
    found = [each for each in pool_.run(map(Job, jobs)) if each is not None]
    return [each.value if isinstance(each, Done) else each for each in found]


def test_time_in_which_all_were_stopped_does_not_count(jump):
    begun, go = _fork.Event(), _fork.Event()

    def work(items, beat, alone):
        for number, item in enumerate(items):
            beat(number)
            begun.set()
            assert go.wait(60)
            yield Done(item, number + 1)

    looks = iter(range(1000))

    def check() -> None:
        assert begun.wait(60)
        look = next(looks)
        if look in (1, 3):
            jump(100)  # 200 s in all, of which 60 would be too many
        if look == 5:
            go.set()

    with Pool(work, 1, timeout=60, check=check) as pool_:
        assert results(pool_, [[7, 8]]) == [7, 8]


def test_one_that_hangs_is_lost_also_where_its_time_was_stopped_before(jump):
    def work(items, beat, alone):
        for number, item in enumerate(items):
            beat(number)
            if item == 8:
                time.sleep(100)
            yield Done(item, number + 1)

    looks = iter(range(1000))

    def check() -> None:
        if next(looks) == 2:
            jump(100)

    with Pool(work, 1, timeout=1, check=check) as pool_:
        assert results(pool_, [[7, 8, 9]]) == [7, Lost(8, "timeout", "1 s"), 9]


@pytest.mark.parametrize("workers", [0, 3])
def test_one_at_a_time_is_alone(workers):
    inside = _fork.Value("i", 0)

    def work(items, beat, alone):
        for number, item in enumerate(items):
            beat(number)
            if item % 3 == 0:
                alone()
                with inside.get_lock():
                    inside.value += 1
                    there = inside.value
                time.sleep(0.02)  # long enough for another to come
                for part in range(3):
                    yield Done((item, part, there), number)
                inside.value -= 1
            yield Done(item, number + 1)

    with Pool(work, workers, timeout=60) as pool_:
        found = results(pool_, [[0, 1], [2, 3], [6], [9, 12], [4, 5]])
    of_large = {number: [(number, 0, 1), (number, 1, 1), (number, 2, 1), number] for number in (0, 3, 6, 9, 12)}
    assert found == [each for number in (0, 1, 2, 3, 6, 9, 12, 4, 5) for each in of_large.get(number, [number])]


def test_who_waits_to_be_alone_has_time_and_is_replaced_when_killed():
    killed = _fork.Event()

    def work(items, beat, alone):
        for number, item in enumerate(items):
            beat(number)
            if item == 1:
                time.sleep(0.4)  # in time, while the other waits for as long
                beat(number)
                time.sleep(0.4)
            if item == 2:
                alone()
            if item == 2 and not killed.is_set():
                killed.set()
                os.kill(os.getpid(), signal.SIGKILL)
            yield Done(item, number + 1)

    with Pool(work, 2, timeout=0.7) as pool_:
        assert results(pool_, [[1], [2, 3]]) == [1, 2, 3]
