"""`t2ikit evaluate --sweep` in code: one evaluation for each combination of sampler options."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from t2ikit.core.metric import ImageSet
from t2ikit.evaluation.evaluator import Evaluator
from t2ikit.evaluation.files import make_folder, measure_into, read_evaluation, unwritable_numbers
from t2ikit.evaluation.results import EvaluationResult, aligned, check_measured, name_of, number
from t2ikit.metrics.downloads import Needs, unmeasured
from t2ikit.recipes.axes import Axes, AxesOption
from t2ikit.runs.run import Run
from t2ikit.utils.files import save_image, write_json
from t2ikit.utils.grids import labelled_grid
from t2ikit.utils.images import to_pil

SHOWN = 3
"""Prompts of the grid."""
SWEEP = AxesOption(
    "sweep",
    "--sweep guidance=1,3,5 --sweep sampler.thresholding=none,dynamic",
    most=200,
    prefix="sampler.",
)


@dataclass(frozen=True)
class Sweep:
    """Evaluations of every combination of sampler options.

    Attributes:
        axes: option to its values, as they were typed; the first changes slowest.
        evaluations: one for each combination, in the order of `itertools.product`, with the images of
            the grid alone.
        name: of its files: the options, and a hash of their values and of the evaluation's options.
        kept: how many of the evaluations were there before and were read.
        grid: file of the grid, a column for each combination; None where it was not written.
    """

    axes: Axes
    evaluations: Sequence[EvaluationResult]
    name: str
    kept: int
    grid: Path | None = None

    @property
    def points(self) -> list[dict[str, str]]:
        """The combinations."""
        return combinations(self.axes)

    @property
    def not_measured(self) -> dict[str, str]:
        """By metric, what is missing at any of the combinations."""
        return {name: why for found in self.evaluations for name, why in found.not_measured.items()}

    @property
    def needs(self) -> dict[str, Needs]:
        """By metric, what it lacks that can be had."""
        return {name: needs for found in self.evaluations for name, needs in found.needs.items()}

    @property
    def failed(self) -> tuple[str, ...]:
        """Metrics that failed at any of the combinations."""
        return tuple(dict.fromkeys(name for found in self.evaluations for name in found.failed))

    def table(self) -> dict[str, Any]:
        """As JSON can hold it."""
        pairs = zip(self.points, self.evaluations)
        return {"axes": self.axes, "points": [{"at": point, **found.table()} for point, found in pairs]}

    def text(self) -> str:
        """A column for each combination, headed by its options; a line for each measure; notes and files."""
        rows = [[key, *(point[key] for point in self.points)] for key in self.axes]
        for name in dict.fromkeys(name for found in self.evaluations for name in found.measures):
            measures = [found.measures.get(name) for found in self.evaluations]
            rows.append([name, *("-" if m is None else number(m.value, m.unit) for m in measures)])
        lines = aligned(rows)
        lines += unmeasured(self.not_measured, self.needs)
        if self.kept:
            lines.append(f"{self.kept} of {len(self.points)} were measured before and were read")
        lines += [f"note: {note}" for note in self.evaluations[0].notes]
        return "\n".join([*lines, *([] if self.grid is None else [f"grid: {self.grid}"])])


def combinations(axes: Axes) -> list[dict[str, str]]:
    """Every combination; the first option changes slowest."""
    return [dict(zip(axes, values)) for values in itertools.product(*axes.values())]


def read_axes(given: Mapping[str, Sequence[Any]] | Sequence[str]) -> Axes:
    """Axes from Python, `{"guidance": [1, 3]}`, or as typed, `sampler.thresholding=none,dynamic`.

    Raises:
        UserError: no key or no values, a key twice, far too many combinations, or there is no axis.
    """
    if isinstance(given, Mapping):
        for key, values in given.items():
            if not isinstance(values, (list, tuple, range)):
                raise SWEEP.bad(f"{key}={values!r}")
    axes = SWEEP.read(given)
    if not axes:
        raise SWEEP.bad("no option")
    SWEEP.check_count(axes, math.prod(len(found) for found in axes.values()))
    return axes


def run_sweep(evaluator: Evaluator, axes: Axes) -> Sweep:
    """Evaluate every combination; all are checked before anything is sampled.

    Each is written into the run's folder as soon as it is measured, and one that is there already, of the
    same settings, is read.

    Raises:
        UserError: an option that the sampler does not have, a value out of bounds, or a length of the average
            that the run does not have; or the run's folder cannot be written.
    """
    points = combinations(axes)
    for point in points:
        evaluator.settings(point)
    found, kept = [], 0
    for point in points:
        before = read_evaluation(evaluator, point, SHOWN)
        kept += before is not None
        found.append(before or _without_images(measure_into(evaluator, point)))
    name = f"sweep-{'-'.join(axes)}-{name_of({**evaluator.settings(), 'sweep': axes})}"
    return Sweep(axes, found, name, kept)


def _without_images(evaluation: EvaluationResult) -> EvaluationResult:
    """An evaluation that holds the images of the grid alone."""
    assert evaluation.image_set is not None
    images, prompts = evaluation.image_set.images, evaluation.image_set.prompts
    few = ImageSet(images[:SHOWN].clone(), prompts[:SHOWN], evaluation.image_set.dataset)
    return replace(evaluation, image_set=few)


def write_sweep(sweep: Sweep, run: Run) -> Sweep:
    """Write `sweep-....json` and its grid into the run's folder of evaluations; the sweep knows the grid.

    Raises:
        UserError: they cannot be written.
    """
    folder = make_folder(run)
    try:
        write_json(folder / f"{sweep.name}.json", sweep.table())
        save_image(grid(sweep), folder / f"{sweep.name}.png")
    except OSError as error:
        raise unwritable_numbers(folder, error) from error
    return replace(sweep, grid=folder / f"{sweep.name}.png")


def grid(sweep: Sweep) -> Image.Image:
    """A column for each combination, a row for each of the first prompts; all of one noise."""
    shown = [evaluation.image_set for evaluation in sweep.evaluations if evaluation.image_set]
    rows = [to_pil(torch.stack(row)) for row in zip(*(one.images for one in shown))]
    heads = ["\n".join(f"{key} {value}" for key, value in point.items()) for point in sweep.points]
    return labelled_grid(rows, list(shown[0].prompts), heads)


def measure_and_write(evaluator: Evaluator) -> EvaluationResult:
    """Evaluate once, and write the images and numbers.

    Raises:
        UserError: the folder cannot be written, or nothing could be measured (the images are kept).
    """
    make_folder(evaluator.run)
    evaluation = measure_into(evaluator)
    check_measured([evaluation])
    return evaluation


def sweep_and_write(evaluator: Evaluator, axes: Axes) -> Sweep:
    """Evaluate every combination, and write what came of it.

    Raises:
        UserError: as in `run_sweep`; or nothing could be measured (the images are kept).
    """
    make_folder(evaluator.run)
    sweep = write_sweep(run_sweep(evaluator, axes), evaluator.run)
    check_measured(sweep.evaluations)
    return sweep
