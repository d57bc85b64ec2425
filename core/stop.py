"""An end that is asked for: the first signal ends a long job at its next good place, the second at once.

Imports no torch.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from .errors import Interrupted

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stop:
    """Takes over Ctrl-C, SIGTERM and SIGHUP while it is open, as a context manager; `signal` is the one that came.

    A signal that is ignored stays so: whoever starts a job with nohup wants it to outlive the terminal.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self.signal is not None:
            raise Interrupted(f"Stopped by {self.signal.name}.")

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():  # Python allows no other to handle signals
            heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        # A signal to all processes of a job ends the workers of torch's loaders too, and torch would raise their death
        # here, in the middle of whatever is being done: the step under way must end first.
        if hasattr(signal, "SIGCHLD"):
            self._before.setdefault(signal.SIGCHLD, signal.signal(signal.SIGCHLD, signal.SIG_DFL))
