"""Launches training steps: as Python does, compiled, or captured as one CUDA graph and replayed.

A graph is one for each combination of losses that are due, and of sizes. Its first two steps run as they are;
the third is captured, replayed, and compared with what Python makes of the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

from torch import Tensor

from t2ikit.core.batch import Batch
from t2ikit.core.out_of_memory import release_memory
from t2ikit.nn.cuda_graphs import CudaGraphs
from t2ikit.training.launching.choice import Choice, Repaid
from t2ikit.training.launching.comparing import (
    Values,
    copy,
    difference,
    distance,
    exchange,
    off,
    reason,
    stacked,
)
from t2ikit.training.launching.compiling import WITHOUT

Due = tuple[tuple[str, ...], ...]
"""The losses of each player that are due at a step."""
ROUNDING = 0.02
"""By how much the losses of a replayed step may differ from those of Python's, relative to the largest."""
DRIFT = 0.25
"""By how much its change of the weights may differ, relative to the change: optimisers amplify rounding."""


class Steps(Protocol):
    """What a launcher launches."""

    micro_batch: int

    def whole_step(self, batch: Batch, step: int | None, due: Due) -> dict[str, Tensor]:
        """One step of every player: losses and gradient norms, scalars. `step` is None in a captured step."""

    def compile_players(self, batch: Batch, step: int, backend: str) -> bool:
        """Compile what can be; whether anything was."""

    def seed(self, step: int) -> None:
        """Seed what draws from torch's own generators."""

    def state(self) -> list[Tensor]:
        """Every tensor that a step changes."""

    def abandon(self) -> None:
        """Forget the gradients of a step that failed."""

    def left(self, step: int) -> int:
        """Steps that are still to be made."""


class Launcher:
    """Launches steps.

    Args:
        steps: the steps.
        log: told of what the user should know.

    Attributes:
        graphs: the captured steps; None where Python launches every kernel.
        repaid: says when it is time to compile; None: never, or it was done.
    """

    def __init__(self, steps: Steps, log: Callable[[str], None]) -> None:
        self.steps, self.log = steps, log
        self.graphs: CudaGraphs | None = None
        self.repaid: Repaid | None = None
        self.backend = "inductor"
        self._names: dict[Due, tuple[str, ...]] = {}

    def choose(self, choice: Choice) -> None:
        """From now on, launch as it was chosen."""
        self.graphs = None if choice.recorder is None else CudaGraphs(choice.recorder)
        self.repaid, self.backend = choice.repaid, choice.backend

    def __call__(self, batch: Batch, step: int, due: Due) -> Values:
        """Make one step."""
        if self.repaid is not None and self.repaid.compile_now(self.steps.left(step)):
            self._compile(batch, step)
        if self.graphs is None:
            return self._by_python(batch, step, due)
        if self.graphs.state_of(self._key(due), batch) == "to be captured":
            return self._first_replay(batch, step, due)
        return self._replay(batch, step, due)

    def _compile(self, batch: Batch, step: int) -> None:
        self.repaid = None
        if self.steps.compile_players(batch, step, self.backend):
            self.forget()
        self.steps.seed(step)

    def forget(self) -> None:
        """Give back the memory of the captured steps, which are captured anew."""
        if self.graphs is not None:
            self.graphs.clear()
            release_memory()

    def _key(self, due: Due) -> Hashable:
        return due, self.steps.micro_batch

    def _by_python(self, batch: Batch, step: int, due: Due) -> Values:
        return stacked(self.steps.whole_step(batch, step, due))

    def _replay(self, batch: Batch, step: int, due: Due) -> Values:
        assert self.graphs is not None

        def whole(inputs: Batch, captured: bool) -> dict[str, Tensor]:
            names, values = stacked(self.steps.whole_step(inputs, None if captured else step, due))
            self._names[due] = tuple(names)
            return {"values": values}

        values = self.graphs(self._key(due), whole, batch)["values"]
        return self._names[due], values

    def _first_replay(self, batch: Batch, step: int, due: Due) -> Values:
        """Capture a step; where what it gives is not what Python gives, that of Python stands.

        Meanwhile the state is held twice: as it was before Python's step, then as it is after it.
        """
        state = self.steps.state()
        other = [one.detach().clone() for one in state]
        expected = self._by_python(batch, step, due)
        moved = distance(state, other)
        exchange(state, other)
        self.steps.seed(step)
        try:
            found = self._replay(batch, step, due)
            problem = difference(expected, found, ROUNDING)
            if problem is None and not off(distance(other, state), moved) <= DRIFT:
                problem = "weights change otherwise"
            if problem is None:
                return found
            problem = f"a captured step gives other numbers: {problem}"
        except Exception as error:  # noqa: BLE001 - capturing may raise anything, also from a plugin's code
            self.steps.abandon()
            problem = f"a step cannot be captured as a CUDA graph: {reason(error)}"
        copy(state, other)
        self.graphs = None
        release_memory()
        self.log(f"{problem}; {WITHOUT}")
        return expected
