"""Ctrl-C while training: the first finishes the step, the second stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from typing_extensions import Self


class Interrupts:
    """While it is entered, Ctrl-C and SIGTERM ask for a stop; a second one raises KeyboardInterrupt.

    Only the main thread gets signals: elsewhere nothing is changed.

    Args:
        log: told what the user should know.

    Attributes:
        asked: whether a stop was asked for.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self.log, self.asked = log, False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGINT, signal.SIGTERM)
            self._before = {number: signal.signal(number, self._ask) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self.log("stopping after this step; press Ctrl-C again to stop at once without saving")
