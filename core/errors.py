"""What foveal says, and with which exit code it ends, when something outside of its code is wrong.

An error is raised once, at the border, in one sentence: what came (with its file), what was expected, what to do. The
command line prints that sentence and exits with the class's code; `--debug` shows the traceback as well. Imports no
torch: the command line's own mistakes must answer at once.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class FovealError(Exception):
    """Anything that is not a fault of foveal's own code; `exit_code` is what the command line returns."""

    exit_code = 70


class UsageError(FovealError):
    """A wrong command, option, name or recipe."""

    exit_code = 2


class DataError(FovealError):
    """A data set or an image that cannot be used."""

    exit_code = 3


class MissingSplit(DataError):
    """A data set with splits of its own that lacks the one asked for."""


class DataWarning(UserWarning):
    """Something of a data set was left out or mended, and the rest is used; the command line prints it as one line."""


class MachineError(FovealError):
    """The environment: disk, memory, permission, device."""

    exit_code = 4


class NumericalError(FovealError):
    """NaN or infinite numbers where a finite one was needed."""

    exit_code = 5


class ModelFileError(FovealError):
    """A checkpoint or a file of weights that is damaged, foreign, or would run code."""

    exit_code = 6


class Interrupted(FovealError):
    """Stopped by Ctrl-C or SIGTERM; what was done is saved, and a training can go on later."""

    exit_code = 75


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UsageError:
    """An error for a name that is in no registry, with the nearest names that are.

    `kind` is the noun of the sentence ("backbone"), `hint` a last sentence that says where to look.
    """
    known = list(known)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    offer = f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(sorted(known)[:12])}"
    return UsageError(f"There is no {kind} '{name}'; {offer}.{' ' + hint if hint else ''}")
