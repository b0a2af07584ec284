"""Commands that a study runs, several at a time, until one fails or the study is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

Task = tuple[Any, ...]
"""A function and its arguments."""


class StudyError(Exception):
    """A command of the study failed."""


class Commands:
    """Runs commands and stops them with the study.

    Args:
        logs: folder of what they print.
        jobs: how many tasks at a time; each command gets its share of the cores.
    """

    def __init__(self, logs: Path, jobs: int) -> None:
        self.logs, self.jobs = logs, jobs
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def together(self, tasks: Sequence[Task]) -> None:
        """Call every (function, *arguments), `jobs` at a time.

        The first failure, or an interrupt, ends them all: training saves a checkpoint as it ends.

        Raises:
            StudyError: a command failed.
        """
        with ThreadPoolExecutor(self.jobs) as pool:
            waiting = [pool.submit(*task) for task in tasks]
            try:
                for future in wait(waiting, return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:
                self.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def call(self, log: str, *words: Any) -> None:
        """Run a command; what it prints is added to LOGS/`log`.log.

        Raises:
            StudyError: it failed, or the study was stopped.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{log}.log"
        with path.open("a", encoding="utf-8") as file:
            child = self._start([str(word) for word in words], file)
            try:
                status = child.wait()
            finally:
                with self._lock:
                    self._running.discard(child)
        if status:
            raise StudyError(f"{log} ended with status {status}: see {path}")

    def _start(self, words: list[str], file: Any) -> subprocess.Popen[bytes]:
        threads = max(1, (os.cpu_count() or 1) // self.jobs)
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        with self._lock:
            if self._stopped:
                raise StudyError("the study was stopped")
            # A session of its own, so that Ctrl-C reaches it once: a second one would end it without saving.
            child = subprocess.Popen(words, stdout=file, stderr=file, env=environment, start_new_session=True)
            self._running.add(child)
        return child

    def stop(self) -> None:
        """End what is running, and start nothing more."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                child.terminate()


def interruptible(function: Callable[[], None]) -> None:
    """Call it; SIGTERM and a closed terminal are as Ctrl-C meanwhile."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)
    function()
