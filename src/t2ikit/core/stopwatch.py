"""The time of training, and how much of it the device waited for data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")


@dataclass
class Lap:
    """A stretch of training.

    Attributes:
        steps: made in it.
        seconds: without validation, images and checkpoints.
        waited: seconds of these that were waited for data.
    """

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def __add__(self, other: Lap) -> Lap:
        """Both together."""
        return Lap(self.steps + other.steps, self.seconds + other.seconds, self.waited + other.waited)

    def record(self, batch: int, flops: int, peak: float | None) -> dict[str, float]:
        """What the log holds of it.

        Args:
            batch: images a step.
            flops: model FLOPs of the steps, on one device.
            peak: FLOP/s of the device; None leaves out `mfu`.
        """
        seconds = max(self.seconds, 1e-9)
        record = {"images_per_second": self.steps * batch / seconds}
        if peak is not None:
            record["mfu"] = flops / seconds / peak
        return record | {"data_wait": min(1.0, self.waited / seconds)}


class StopWatch:
    """Measures training since the last line of the log.

    Waiting is the time from asking for the next batch until it is made. On CUDA the host asks ahead of the
    device, and its waiting counts only as far as the device has no step left to compute meanwhile: events
    around it tell when the device was done with one step and could begin the next.

    Args:
        step: steps done.
        device: that computes the steps.
    """

    def __init__(self, step: int, device: torch.device) -> None:
        self.step, self.device = step, device
        self._whole, self._busy = Lap(), 0.0
        self._began: float | None = time.monotonic()
        self._waits: list[tuple[float, Any, Any]] = []

    def lap(self, step: int) -> Lap:
        """End a lap after `step` steps and begin the next."""
        self.pause()
        lap = Lap(step - self.step, self._busy, sum(map(_waited, self._waits)))
        self.step, self._busy, self._whole = step, 0.0, self._whole + lap
        self._waits.clear()
        self.go_on()
        return lap

    def end(self, step: int) -> Lap:
        """All laps together, where training ends after `step` steps."""
        self.lap(step)
        return self._whole

    def pause(self) -> None:
        """Count the time until now, and none after it."""
        if self._began is not None:
            self._busy += time.monotonic() - self._began
            self._began = None

    def go_on(self) -> None:
        """Count the time from now on."""
        self._began = time.monotonic()

    def awaited(self, items: Iterable[A], make: Callable[[A], B]) -> Iterator[tuple[A, B]]:
        """Each item, once it has come, with what is made of it; both are waited for."""
        coming = iter(items)
        while True:
            began, before = time.monotonic(), self._event()
            try:
                item = next(coming)
            except StopIteration:
                return
            made = make(item)
            self._waits.append((time.monotonic() - began, before, self._event()))
            yield item, made

    def _event(self) -> Any:
        """Something that knows when the device comes to it; None on the CPU, which computes at once."""
        if self.device.type != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event


def _waited(wait: tuple[float, Any, Any]) -> float:
    """Seconds that the host waited, but no more than passed on the device meanwhile."""
    seconds, before, after = wait
    if before is None:
        return seconds
    after.synchronize()
    return min(seconds, float(before.elapsed_time(after)) / 1000)
