"""`foveal`: finds the command, runs it, and turns whatever ends it into one sentence and an exit code.

Imports nothing heavy: `foveal --help`, `--version` and mistakes in a command line answer in a few hundredths of a
second.
"""

import argparse
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn, TextIO

from .. import __version__
from ..core.errors import DataWarning, FovealError, Interrupted, UsageError, unknown

COMMANDS = {
    "demo": "draw a small data set, train, predict, and show what came out",
    "train": "train a recipe; leaves a run folder with checkpoints, metrics and plots",
    "evaluate": "metrics of a checkpoint on a data set",
    "predict": "results for images, videos, folders, globs and list files",
    "enroll": "the people of a folder into a gallery, by which `foveal predict` names faces",
    "calibrate": "scale and shift of a depth network, from distances that are known",
    "merge": "the results of a prediction that was done in shards, as one",
    "info": "what is in a checkpoint",
    "list": "ready-made models, backbones, recipes, tasks or datasets there are",
    "draw-data": "write a drawn data set in any format, with known truth",
    "check-data": "what is wrong with a data set, file by file",
    "fit-anchors": "anchors that fit a detection data set, as lines for its recipe",
    "fit-detector": "train MTCNN, a detector of faces, on drawn people",
    "prepare": "cut the crops that a tracker learns from, once, to decode less in each epoch",
}

# Of a RuntimeError of torch's that is about the machine, and not about our code.
_MACHINE_SIGNS = (
    "DataLoader worker (pid",
    "shared memory",
    "can't allocate memory",
    "CUDA error",
    "CUDA out of memory",
)

_STOPS = ("SIGTERM", "SIGHUP")  # beside Ctrl-C, of which Python itself makes a KeyboardInterrupt

_EXIT_CODES = """exit codes:
  0 done   2 wrong command or recipe   3 bad data   4 disk, memory, permission or device
  5 NaN or infinite loss   6 model file refused   70 a fault of foveal's own   75 interrupted; what was done is saved"""


def entry_point() -> NoReturn:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run one command line (without the program's name) and return its exit code; never raises, but with --debug."""
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a class name may hold what the terminal cannot show
    arguments = [argument for argument in arguments if argument != "--debug"]
    before = _stop_on_signals()
    warnings.showwarning, shown_before = _show_warning, warnings.showwarning
    try:
        return _run(arguments)
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, message = _explain(error)
        _tell(message)
        return code
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning makes a SystemExit of a KeyboardInterrupt; argparse has one after --help, rich for a closed pipe.
        cause = error if isinstance(error, KeyboardInterrupt) else error.__context__
        if not isinstance(cause, KeyboardInterrupt):
            return 0
        sender = next((name for name in _STOPS if name in cause.args), "Ctrl-C")
        _tell(f"Stopped by {sender}; what was written until then stays.")
        return Interrupted.exit_code
    finally:
        warnings.showwarning = shown_before
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="foveal",
        usage="foveal COMMAND ... [--debug]",
        description="Vision tasks on shared CNN backbones: train, evaluate, predict on folders.",
        epilog="commands:\n"
        + "\n".join(f"  {name:<11} {what}" for name, what in COMMANDS.items())
        + "\n\n`foveal COMMAND --help` says more.\n\n"
        + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    if not arguments or arguments[0] in ("-h", "--help"):
        print(parser.format_help())
        return 0 if arguments else UsageError.exit_code
    if arguments[0] == "--version":
        print(f"foveal {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        raise unknown("command", arguments[0], COMMANDS, "`foveal --help` shows them all.")
    command = import_module(f".{arguments[0].replace('-', '_')}", __package__)
    return command.run(arguments[1:])


class CommandParser(argparse.ArgumentParser):
    """argparse that raises UsageError in place of printing its usage and exiting."""

    def __init__(self, prog: str, description: str | None, *, epilog: str | None = None, add_help: bool = True) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, None, description, epilog, formatter_class=layout, add_help=add_help, allow_abbrev=False)
        self.add_argument("--debug", action="store_true", help="show where an error came from")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where help is."""
        raise UsageError(f"{message}; `{self.prog} --help` shows what there is.")


def _explain(error: Exception) -> tuple[int, str]:
    """Exit code and sentence of an error."""
    if isinstance(error, FovealError):
        return error.exit_code, str(error)
    name = type(error).__name__
    if isinstance(error, BrokenPipeError):
        _let_go(sys.stdout)
        return 0, "the reader of the output went away."
    if isinstance(error, MemoryError) or name == "OutOfMemoryError":  # the latter torch's, of a GPU
        again = "halve --data.batch_size and double --trainer.accumulate_grad_batches, or halve --batch-size"
        return 4, f"The memory is too small; {again}."
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return 4, f"{place}{error.strerror or error}."
    text = " ".join(str(error).split())
    if isinstance(error, RuntimeError) and any(sign in text for sign in _MACHINE_SIGNS):
        return (
            4,
            f"{text}; a GPU, its memory or the shared memory gave out: try --data.num_workers 0 or smaller batches.",
        )
    return 70, f"A fault of foveal's own: {name}: {text}; run it again with --debug and report what it shows."


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **rest: Any) -> None:
    # What was left out of a data set is a sentence for its owner; where our code noticed it is not.
    if issubclass(category, DataWarning):
        _tell(str(message))
    else:
        sys.stderr.write(warnings.formatwarning(message, category, *place[:2]))


def _tell(message: str) -> None:
    """A sentence on standard error, whose reader may be gone: the exit code stays what it is."""
    try:
        print(f"foveal: {message}", file=sys.stderr, flush=True)
    except OSError:
        _let_go(sys.stderr)


def _let_go(stream: TextIO) -> None:
    """What is left for a reader that went away goes nowhere: the interpreter would complain of it when it ends."""
    with suppress(OSError):  # no file: a test's, or another program's
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _stop_on_signals() -> dict[int, Any]:
    """Have those that end a process raise KeyboardInterrupt with their name; returns what handled them before.

    One that is ignored stays so: whoever starts a job with nohup wants it to outlive the terminal.
    """

    def stop(number: int, _frame: Any) -> NoReturn:
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would report the end of its workers in our place
        # No Exception: libraries catch those, and go on with whatever was half made.
        raise KeyboardInterrupt(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():  # Python allows no other to handle signals
        return {}
    numbers = [getattr(signal, name) for name in _STOPS if hasattr(signal, name)]  # Windows has no SIGHUP
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, stop) for number in heard}
