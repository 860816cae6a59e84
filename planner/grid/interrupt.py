"""Ctrl-C and SIGTERM as a question that a long computation asks between two parts of its work, instead of an exception anywhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from types import FrameType, TracebackType
from typing import Self


class Interruption:
    """While it lasts, the first signal is only noted; a second one raises KeyboardInterrupt. What was started with SIGINT ignored goes on ignoring it."""

    def __init__(self) -> None:
        self.signal = 0
        self._restore: list[Callable[[], object]] = []
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        """Note from now on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._restore.append(partial(signal.signal, number, signal.signal(number, self._note)))
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """As before."""
        for restore in self._restore:
            restore()

    @property
    def exit_code(self) -> int:
        """What a shell gives a program that this signal ended."""
        return 128 + (self.signal or signal.SIGINT)

    def _note(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a worker, forked a moment ago
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number


def leave_signals() -> None:
    """In a worker: signals are for the process that started it, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
