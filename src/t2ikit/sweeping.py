"""`t2ikit evaluate --sweep` in code: one evaluation for each combination of sampler options."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from t2ikit.config import parse_setting
from t2ikit.errors import UserError
from t2ikit.evaluating import Evaluation, Evaluator, check_measured, name_of
from t2ikit.evaluation_files import (
    describe,
    make_folder,
    measure_into,
    number,
    read_evaluation,
    unwritable,
)
from t2ikit.files import save_picture, write_json
from t2ikit.grids import labelled_grid, to_pil
from t2ikit.interfaces import Drawn

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
        evaluations: one for each combination, in the order of `itertools.product`, with the pictures of
            the grid alone.
        name: of its files: the options, and a hash of their values and of the question.
        kept: how many of the evaluations were there before and were read.
    """

    axes: Axes
    evaluations: Sequence[Evaluation]
    name: str
    kept: int

    @property
    def points(self) -> list[dict[str, str]]:
        """The combinations."""
        return combinations(self.axes)

    @property
    def not_measured(self) -> dict[str, str]:
        """By metric, what is missing at any of the combinations."""
        return {name: why for found in self.evaluations for name, why in found.not_measured.items()}

    @property
    def failed(self) -> tuple[str, ...]:
        """Metrics that failed at any of the combinations."""
        return tuple(dict.fromkeys(name for found in self.evaluations for name in found.failed))

    def table(self) -> dict[str, Any]:
        """As JSON can hold it."""
        pairs = zip(self.points, self.evaluations)
        return {"axes": self.axes, "points": [{"at": point, **found.table()} for point, found in pairs]}


@dataclass(frozen=True)
class Written:
    """What came of an evaluation or a sweep.

    Attributes:
        text: the numbers as text, with the place of the files.
        table: as JSON can hold them.
        failed: metrics that failed.
    """

    text: str
    table: dict[str, Any]
    failed: tuple[str, ...]


def combinations(axes: Axes) -> list[dict[str, str]]:
    """Every combination; the first option changes slowest."""
    return [dict(zip(axes, values)) for values in itertools.product(*axes.values())]


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

    Each is written into the run's folder as soon as it is measured, and one that is there already, of the
    same settings, is read.

    Raises:
        UserError: an option that the sampler does not have, or a value out of bounds; or the run's folder
            cannot be written.
    """
    points = combinations(axes)
    for point in points:
        evaluator.sampling_model(point)
    found, kept = [], 0
    for point in points:
        before = read_evaluation(evaluator, point, SHOWN)
        kept += before is not None
        found.append(before or _without_pictures(measure_into(evaluator, point)[0]))
    name = f"sweep-{'-'.join(axes)}-{name_of({**evaluator.settings(), 'sweep': axes})}"
    return Sweep(axes, found, name, kept)


def _without_pictures(evaluation: Evaluation) -> Evaluation:
    """An evaluation that holds the pictures of the grid alone."""
    drawn = evaluation.drawn
    few = Drawn(drawn.images[:SHOWN].clone(), drawn.prompts[:SHOWN], drawn.dataset)
    return replace(evaluation, drawn=few)


def write_sweep(sweep: Sweep, run: Path) -> Path:
    """Write `sweep-....json` and its grid into the run's folder of evaluations; returns the grid's path.

    Raises:
        UserError: they cannot be written.
    """
    folder = make_folder(run)
    try:
        write_json(folder / f"{sweep.name}.json", sweep.table())
        save_picture(grid(sweep), folder / f"{sweep.name}.png")
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder / f"{sweep.name}.png"


def grid(sweep: Sweep) -> Image.Image:
    """A column for each combination, a row for each of the first prompts; all of one noise."""
    drawn = [evaluation.drawn for evaluation in sweep.evaluations]
    rows = [to_pil(torch.stack(row)) for row in zip(*(one.images for one in drawn))]
    heads = ["\n".join(f"{key} {value}" for key, value in point.items()) for point in sweep.points]
    return labelled_grid(rows, list(drawn[0].prompts), heads)


def describe_sweep(sweep: Sweep) -> str:
    """A table: a column for each combination, headed by its options; a line for each measure."""
    rows = [[key, *(point[key] for point in sweep.points)] for key in sweep.axes]
    for name in dict.fromkeys(name for found in sweep.evaluations for name in found.measures):
        measures = [found.measures.get(name) for found in sweep.evaluations]
        rows.append([name, *("-" if m is None else number(m.value, m.unit) for m in measures)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    lines += [f"{name}: not measured: {reason}" for name, reason in sweep.not_measured.items()]
    if sweep.kept:
        lines.append(f"{sweep.kept} of {len(sweep.points)} were measured before and were read")
    return "\n".join([*lines, *(f"note: {note}" for note in sweep.evaluations[0].notes)])


def measure_and_write(evaluator: Evaluator, axes: Axes) -> Written:
    """Evaluate once, or sweep where there are axes, and write what came of it into the run's folder.

    Raises:
        UserError: as in `run_sweep`; or nothing could be measured (the pictures are kept).
    """
    make_folder(evaluator.run.path)
    if axes:
        sweep = run_sweep(evaluator, axes)
        path = write_sweep(sweep, evaluator.run.path)
        check_measured(sweep.evaluations)
        return Written(f"{describe_sweep(sweep)}\ngrid: {path}", sweep.table(), sweep.failed)
    evaluation, folder = measure_into(evaluator)
    check_measured([evaluation])
    text = f"{describe(evaluation)}\npictures and numbers: {folder}"
    return Written(text, evaluation.table(), evaluation.failed)
