"""Averages of several lengths in one evaluator: `t2ikit evaluate RUN --ema 0.05,0.1`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

from t2ikit.errors import UserError
from t2ikit.recipes.compose import Model
from t2ikit.runs.averages import check_average
from t2ikit.runs.checkpoint import Snapshot
from t2ikit.runs.run import Run

EMA = "ema"
"""The change of an evaluation that is not one of its sampler: the length of the average."""


def read_lengths(text: str) -> list[float]:
    """Lengths with commas between them.

    Raises:
        UserError: one of them is no number.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(
            f"--ema {text}: this is no length",
            expected="a share of the training such as 0.1, or several with commas between them",
            got=text,
            fix="t2ikit evaluate RUN --ema 0.05,0.1,0.2",
        ) from error


class Lengths:
    """Gives a model averages of other lengths, for as long as it samples.

    Args:
        run: trained with `train.ema_snapshots`, if a length is asked for.
        model: of one of its checkpoints.
        usual: the length that the model has; None: of the average that training kept.
    """

    def __init__(self, run: Run, model: Model, usual: float | None) -> None:
        self.run, self.model, self.usual = run, model, usual

    @cached_property
    def _snapshot(self) -> Snapshot:
        return self.run.snapshot(None if self.run.exported else self.model.step)

    def of(self, changes: Mapping[str, str]) -> float | None:
        """The length that is sampled; None: that of the average that training kept.

        Raises:
            UserError: it is no number, or the run has no such average.
        """
        if EMA not in changes:
            return self.usual
        (width,) = read_lengths(changes[EMA])
        check_average(self.run.path, self._snapshot, width)
        return width

    @contextmanager
    def averaged(self, changes: Mapping[str, str]) -> Iterator[None]:
        """The model has the average that the changes ask for inside, its own weights again afterwards."""
        if EMA not in changes:
            yield
            return
        generator = self.model.generator
        own = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
        generator.load_state_dict(self.run.weights(self._snapshot, ema=self.of(changes)))
        try:
            yield
        finally:
            generator.load_state_dict(own)
