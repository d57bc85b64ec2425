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
    """Takes over Ctrl-C, SIGTERM and SIGHUP while it is open, as a context manager."""

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self._signal is not None:
            raise Interrupted(f"Stopped by {self._signal.name}.")

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():  # Python allows no other to handle signals
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number)
