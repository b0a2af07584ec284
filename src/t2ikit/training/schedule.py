"""How long a run trains, in steps or in minutes, and the learning rate on the way. Imports no torch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from t2ikit.recipes.schema import OptimizerConfig, TrainConfig

LEAP = 0.02
"""What part of a timed run its schedule covers in one step at most, unless the step takes longer itself."""
clock: Callable[[], float] = time.monotonic
"""What a timed run reads the time from, seconds."""


class Budget(Protocol):
    """How much training there is, and how much of it is done.

    Attributes:
        stop: the number of steps; None where it is not known before.
        over: no further step is to be made.
        late: the time is up, but some steps are still to be made: nothing else should take time.
    """

    stop: int | None
    over: bool
    late: bool

    def begin(self, done: int) -> None:
        """`done` steps are done, and the next one begins."""

    def end(self, done: int) -> None:
        """The step that makes it `done` has ended; validation, images and saving may follow."""

    def place(self, step: int, warmup: int) -> float:
        """Where step `step` (from 0) is in the decay of the learning rate, from 0 (its beginning) to 1."""

    def total(self, done: int) -> int:
        """Steps in all, which a timed run can only estimate."""

    def already(self, done: int) -> str:
        """That nothing is left to do after `done` steps, and how to go further."""

    def scalars(self) -> dict[str, float]:
        """What the log holds of it."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state."""


class StepBudget:
    """A fixed number of steps: everything is a function of the step alone."""

    def __init__(self, steps: int) -> None:
        self.stop: int | None = steps
        self.steps, self.over, self.late = steps, False, False

    def begin(self, done: int) -> None:
        """Whether anything is left to do."""
        self.over = done >= self.steps

    def end(self, done: int) -> None:
        """Whether that was the last step."""
        self.over = done >= self.steps

    def place(self, step: int, warmup: int) -> float:
        """The share of the steps after the warm-up."""
        return max(0.0, (step - warmup) / max(1, self.steps - warmup))

    def total(self, done: int) -> int:
        """The number of steps."""
        return self.steps

    def already(self, done: int) -> str:
        """That all steps are done, and how to go further."""
        return f"already at step {done} of {self.steps}; --set train.steps={2 * done:d} goes further"

    def scalars(self) -> dict[str, float]:
        """Nothing: each line of the log has its step."""
        return {}

    def state(self) -> dict[str, Any]:
        """Nothing: the step says it all."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""


class TimeBudget:
    """So many minutes of wall time, including validation, images and checkpoints on the way.

    The decay of the learning rate follows the time, without ever leaping: after a long validation it catches
    up over the next steps, past the end of the minutes if need be. So it always ends at about 0.

    Args:
        minutes: in all, those of earlier processes included.
        agree: given this process's number, returns that of the main process, so that all stop at one step.
    """

    def __init__(self, minutes: float, agree: Callable[[float], float] | None = None) -> None:
        self.stop: int | None = None
        self.over = self.late = False
        self._whole, self._agree = 60 * minutes, agree
        self._share, self._next = 0.0, 0.0  # the place of this step, and of the next one
        self._before, self._passed, self._step_began = 0.0, 0.0, 0.0  # seconds
        self._began: float | None = None

    def _elapsed(self) -> float:
        return self._before + (0.0 if self._began is None else clock() - self._began)

    def begin(self, done: int) -> None:
        """The first call starts the clock."""
        if self._began is None:
            self._began = clock()
        self._share, self._step_began = self._next, self._elapsed()
        self.over = self._share >= 1

    def end(self, done: int) -> None:
        """Move on by the time that has passed."""
        self._passed = self._elapsed()
        leap = max(LEAP, 2 * (self._passed - self._step_began) / self._whole)
        place = max(self._share, min(1.0, self._passed / self._whole, self._share + leap))
        late = float(self._passed >= self._whole)
        self._next, late = (self._agree(place), self._agree(late)) if self._agree else (place, late)
        self.over = self._next >= 1
        self.late = bool(late) and not self.over

    def place(self, step: int, warmup: int) -> float:
        """The share of the minutes that has passed; the decay runs beneath the warm-up too."""
        return self._share

    def total(self, done: int) -> int:
        """The number of steps, estimated from the time they have taken so far."""
        if self.over:
            return done
        return max(done + 1, round(done / self._next) if self._next else 0)

    def already(self, done: int) -> str:
        """That the minutes are over, and how to go further."""
        passed, more = self._passed / 60, math.ceil(2 * self._whole / 60)
        return f"already at step {done}, after {passed:.1f} minutes; --minutes {more:d} goes further"

    def scalars(self) -> dict[str, float]:
        """The minutes that have passed."""
        return {"minutes": self._passed / 60}

    def state(self) -> dict[str, Any]:
        """The minutes in all, the seconds that have passed and the place of the next step."""
        passed = self._passed if self.over else self._elapsed()
        return {"time": {"minutes": self._whole / 60, "seconds": passed, "share": self._next}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on with the minutes that are left; where their number has changed, the places are others.

        A run that has counted steps until now has all of its minutes before it.
        """
        kept = state.get("time")
        if kept is None:
            return
        self._before = self._passed = float(kept["seconds"])
        same = kept["minutes"] == self._whole / 60
        self._next = float(kept["share"]) if same else min(1.0, self._before / self._whole)


def make_budget(config: TrainConfig, agree: Callable[[float], float] | None = None) -> Budget:
    """The minutes of a recipe where it has them, its steps otherwise."""
    return TimeBudget(config.minutes, agree) if config.minutes else StepBudget(config.steps)


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`: linear warm-up, then decay to 0."""
    return scheduled_rate(config, step, StepBudget(steps))


def scheduled_rate(config: OptimizerConfig, step: int, budget: Budget) -> float:
    """The learning rate of step `step` (from 0): linear warm-up over steps, decay over the budget."""
    warm = min(1.0, (step + 1) / (config.warmup_steps + 1))
    place = budget.place(step, config.warmup_steps)
    fall = {"none": 1.0, "linear": 1 - place, "cosine": 0.5 * (1 + math.cos(math.pi * place))}
    return config.lr * warm * fall[config.decay]
