"""What every part is given: options, commits, the time that is left, and where figures go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpu.checkouts import Checkout
from gpu.results import Results

MARGIN = 3.0
"""Seconds of the budget that are kept for writing the table."""


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        device: cuda, or cpu at toy sizes.
        repeat: how often each figure is taken.
        budget: seconds in all; None: no limit.
    """

    device: str
    repeat: int = 1
    budget: float | None = None

    @property
    def toy(self) -> bool:
        """Whether sizes are those of a trial on a CPU."""
        return self.device == "cpu"


class Bench:
    """One measurement.

    Args:
        options: how to measure.
        checkouts: "this" first.
        results: where figures go.
        folder: for runs and other files, thrown away with the machine's temporary files.
        clock: seconds.

    Attributes:
        runs: folders of trainings that were made to the end, by recipe, for the parts that need one.
        failures: what failed, rather than being left out.
    """

    def __init__(
        self,
        options: Options,
        checkouts: Sequence[Checkout],
        results: Results,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options, self.checkouts, self.results, self.folder = options, checkouts, results, folder
        self.clock, self.began = clock, clock()
        self.runs: dict[tuple[str, str], Path] = {}
        self.failures: list[str] = []
        self.part = ""
        self._files = 0

    def begin(self, part: str) -> None:
        """The next figures belong to this part."""
        self.part = part
        self.results.begin(part)
        self.say(f"== {part} ==")

    def left(self) -> float:
        """Seconds that are left; infinite without a budget."""
        if self.options.budget is None:
            return float("inf")
        return self.options.budget - MARGIN - (self.clock() - self.began)

    def fits(self, name: str, seconds: float) -> bool:
        """Whether there is time for something; where there is not, it is left out and said to be."""
        if self.left() >= seconds:
            return True
        self.leave_out(name, f"takes about {seconds:.0f} s, and {max(0.0, self.left()):.0f} s are left")
        return False

    def turns(self) -> Iterator[Checkout]:
        """Each commit in turn, as often as figures are taken."""
        for _ in range(self.options.repeat):
            yield from self.checkouts

    def new_path(self, name: str) -> Path:
        """A path in the folder that nothing has yet."""
        self._files += 1
        return self.folder / f"{self._files:03d}-{name.replace('/', '-')}"

    def add(
        self, name: str, figures: dict[str, float | None], checkout: str = "this", note: str = ""
    ) -> None:
        """Keep one repeat of figures, and print it."""
        self.results.add(self.part, name, checkout, figures, note)
        shown = "  ".join(f"{key} {value:.4g}" for key, value in figures.items() if value is not None)
        self.say(f"{name} ({checkout}): {shown}")

    def leave_out(self, name: str, why: str) -> None:
        """Keep and print what is not measured."""
        self.results.leave_out(self.part, name, why)
        self.say(f"{name}: left out: {why}")

    def failed(self, name: str, why: str) -> None:
        """The same of what was to work and did not."""
        self.failures.append(name)
        self.leave_out(name, f"failed: {why}")

    def say(self, line: str) -> None:
        """Print a line with the seconds that have passed."""
        print(f"{self.clock() - self.began:6.1f} s  {line}", flush=True)
