"""Signals that come while no command listens for them itself: in imports, in the listing of files, in a report."""

import os
import signal
import subprocess
import sys

import pytest

from foveal.cli.main import main

# A command that a signal ends, or that goes on for all of it.
PROGRAM = """
import os, signal, sys
from foveal.cli import main
for name in sys.argv[2:]:
    signal.signal(signal.Signals[name], signal.SIG_IGN)
main._run = lambda arguments: os.kill(os.getpid(), signal.Signals[sys.argv[1]]) or 0
sys.exit(main.main(["list"]))
"""


def run(*words: str, stderr: int = subprocess.PIPE) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], stderr=stderr, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(("name", "sender"), [("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGHUP"), ("SIGINT", "Ctrl-C")])
def test_a_signal_ends_a_command_with_75_and_a_sentence(name, sender):
    assert run(name) == (75, f"foveal: Stopped by {sender}; what was written until then stays.\n")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_is_ignored_stays_so(name):
    assert run(name, name) == (0, "")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_the_exit_code_stays_75_where_nobody_reads_the_sentence(name):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert run(name, stderr=writer)[0] == 75
    finally:
        os.close(writer)


def test_handlers_are_as_before_when_a_command_is_done():
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)]
    assert main(["--version"]) == 0
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)] == before
