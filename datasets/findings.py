"""What is wrong with a data set, entry by entry, and what was done about it.

A reader does not stop at the first fault: it notes each one, leaves out or mends what can be, and goes on. Training
warns once for each kind of fault, or refuses the data set; `foveal check-data` shows them all, and mends the files.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..core.errors import DataError

# What the reader did: mended (the entry is used with another value), left out (it is not used), noted (it is used as it
# is), refused (training would learn something wrong, so it does not begin); or that only `foveal check-data` looks for
# it: kept (it is used as it is, and should not be).
Action = Literal["mended", "left out", "noted", "refused", "kept"]

_TOLD = ("mended", "left out")
_GRAVE = ("SHARED_PERSON",)  # used as it is, and scores and thresholds are then of people whom training has seen


class Finding(NamedTuple):
    """One fault of one entry."""

    code: str  # for programs: NO_AREA, UNKNOWN_CATEGORY, ...
    file: str  # relative to the data set's root
    place: str  # within the file, for people: "object 3", "annotation 17", "line 4"; "" where the file itself is meant
    text: str  # what came, what was expected
    action: Action
    index: int | None = None  # of the entry in its file, from 0: what `--fix` needs to find it again
    value: Sequence[float] | None = None  # of a mended entry: what it became

    def __str__(self) -> str:
        """The fault in one line."""
        return f"{self.file}{', ' if self.place else ''}{self.place}: {self.text}"


class Findings(list[Finding]):
    """All faults of a data set, in the order in which they were met."""

    def note(
        self,
        code: str,
        file: str,
        text: str,
        *,
        place: str = "",
        action: Action = "left out",
        index: int | None = None,
        value: Sequence[float] | None = None,
    ) -> None:
        """Add one."""
        self.append(Finding(code, file, place, text, action, index, value))

    def require_usable(self) -> None:
        """Raise DataError, naming the first, if any was refused."""
        refused = [finding for finding in self if finding.action == "refused"]
        if refused:
            more = f" ({len(refused) - 1} more faults like this)" if len(refused) > 1 else ""
            raise DataError(f"{refused[0]}{more}; `foveal check-data` shows them all.")

    def sentences(self) -> list[str]:
        """What training says of faults that it worked around: one sentence for each kind, with the first place."""
        kinds = Counter((each.code, each.action) for each in self if each.action in _TOLD or each.code in _GRAVE)
        first = {(finding.code, finding.action): finding for finding in reversed(self)}
        return [
            f"{count} faults of the kind {code} were {action}; the first: {first[code, action]}. "
            "`foveal check-data` shows them all."
            if count > 1
            else f"One fault of the kind {code} was {action}: {first[code, action]}."
            for (code, action), count in kinds.items()
        ]
