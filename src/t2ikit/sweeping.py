"""`t2ikit evaluate --sweep` in code: one evaluation for each combination of sampler options."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from t2ikit.config import parse_setting
from t2ikit.errors import UserError
from t2ikit.evaluating import Evaluation, Evaluator, check_measured
from t2ikit.evaluation_files import describe, make_folder, number, unwritable, write_evaluation
from t2ikit.files import save_picture, write_json
from t2ikit.grids import labelled_grid, to_pil

MOST = 200
"""Combinations of one sweep."""
SHOWN = 3
"""Prompts of the grid."""
Axes = dict[str, list[str]]


@dataclass(frozen=True)
class Sweep:
    """Evaluations of every combination.

    Attributes:
        axes: option to its values, as they were given; the first changes slowest.
        evaluations: one for each combination, in the order of `itertools.product`.
    """

    axes: Axes
    evaluations: Sequence[Evaluation]

    @property
    def points(self) -> list[dict[str, str]]:
        """The combinations."""
        return [dict(zip(self.axes, values)) for values in itertools.product(*self.axes.values())]

    def table(self) -> dict[str, Any]:
        """As JSON can hold it."""
        pairs = zip(self.points, self.evaluations)
        return {"axes": self.axes, "points": [{"at": point, **found.table()} for point, found in pairs]}


def parse_axes(sweeps: Sequence[str]) -> Axes:
    """Read `guidance=1,3` and `sampler.thresholding=none,dynamic`.

    Raises:
        UserError: no key or no values, a key twice, or far too many combinations.
    """
    axes: Axes = {}
    for sweep in sweeps:
        key, _, values = sweep.partition("=")
        key, found = key.strip().removeprefix("sampler."), [v.strip() for v in values.split(",") if v.strip()]
        if not key or not found or key in axes or len(set(found)) < len(found):
            raise UserError(
                f"--sweep {sweep}: this is no list of values",
                expected="KEY=VALUE,VALUE,... with different values, each key once",
                got=sweep,
                fix="for example --sweep guidance=1,3,5 --sweep sampler.thresholding=none,dynamic",
            )
        for value in found:
            parse_setting(f"sampler.{key}={value}")
        axes[key] = found
    count = 1
    for found in axes.values():
        count *= len(found)
    if count > MOST:
        raise UserError(
            f"--sweep: {count} combinations are too many",
            expected=f"at most {MOST}",
            got=" x ".join(str(len(found)) for found in axes.values()),
            fix="give fewer values",
        )
    return axes


def run_sweep(evaluator: Evaluator, axes: Axes) -> Sweep:
    """Evaluate every combination; all are checked before the first is drawn.

    Raises:
        UserError: an option that the sampler does not have, or a value out of bounds.
    """
    combinations = [dict(zip(axes, values)) for values in itertools.product(*axes.values())]
    for point in combinations:
        evaluator.sampling_model(point)
    return Sweep(axes, [evaluator.measure(point) for point in combinations])


def write_sweep(sweep: Sweep, run: Path) -> Path:
    """Write `sweep-....json` and its grid into the run's folder of evaluations; returns the grid's path.

    Raises:
        UserError: they cannot be written.
    """
    name = "sweep-" + "-".join(sweep.axes) + "-" + sweep.evaluations[0].name
    folder = make_folder(run)
    try:
        write_json(folder / f"{name}.json", sweep.table())
        save_picture(grid(sweep), folder / f"{name}.png")
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder / f"{name}.png"


def grid(sweep: Sweep) -> Image.Image:
    """A column for each combination, a row for each of the first prompts; all of one noise."""
    drawn = [evaluation.drawn for evaluation in sweep.evaluations]
    count = min(SHOWN, len(drawn[0].images))
    rows = [to_pil(torch.stack([one.images[row] for one in drawn])) for row in range(count)]
    heads = ["\n".join(f"{key} {value}" for key, value in point.items()) for point in sweep.points]
    return labelled_grid(rows, list(drawn[0].prompts[: len(rows)]), heads)


def describe_sweep(sweep: Sweep) -> str:
    """A table: a column for each combination, headed by its options; a line for each measure."""
    rows = [[key, *(point[key] for point in sweep.points)] for key in sweep.axes]
    for name in dict.fromkeys(name for found in sweep.evaluations for name in found.measures):
        measures = [found.measures.get(name) for found in sweep.evaluations]
        rows.append([name, *("-" if m is None else number(m.value, m.unit) for m in measures)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    reasons = sweep.evaluations[0].not_measured
    return "\n".join([*lines, *(f"{name}: not measured: {reason}" for name, reason in reasons.items())])


def measure_and_write(evaluator: Evaluator, axes: Axes, run: Path) -> tuple[str, dict[str, Any]]:
    """Evaluate once, or sweep where there are axes, and write what came of it into the run's folder.

    Returns:
        The numbers as text, with the place of the files, and as JSON can hold them.

    Raises:
        UserError: as in `run_sweep`; or nothing could be measured (the pictures are kept).
    """
    make_folder(run)
    if axes:
        sweep = run_sweep(evaluator, axes)
        path = write_sweep(sweep, run)
        check_measured(sweep.evaluations)
        return f"{describe_sweep(sweep)}\ngrid: {path}", sweep.table()
    evaluation = evaluator.measure()
    folder = write_evaluation(evaluation, run)
    check_measured([evaluation])
    return f"{describe(evaluation)}\npictures and numbers: {folder}", evaluation.table()
