"""A comparison as one self-contained HTML file: no network, no script."""

from __future__ import annotations

import importlib.resources
import math
import platform
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from jinja2 import Environment
from torch import Tensor

from t2ikit import __version__
from t2ikit.core.metric import Measure
from t2ikit.evaluation.comparison import (
    SCALES,
    Compared,
    Comparison,
    best,
    differences,
    open_image,
    same_data,
)
from t2ikit.evaluation.results import number
from t2ikit.runs.curves import draw_curves
from t2ikit.sampling.costs import Costs
from t2ikit.utils.files import page_style, write_report
from t2ikit.utils.grids import SEEN, fit
from t2ikit.utils.images import embed, to_pil
from t2ikit.utils.quoting import shortened

WIDEST = 900
"""Sample grids of training are shrunk to this width, pixels."""
LARGEST = 256
"""Sampled images are shrunk to this side, pixels."""
SAMPLE_BYTES, GRID_BYTES, CURVES_BYTES = 20_000, 120_000, 150_000
"""The most an image takes: of three runs, 72 sampled ones, 12 grids and 3 of losses, 4.5 MB in base64."""
PROMPT = 400
"""Characters of a prompt that are shown; the page shows at most three lines of them."""
HIDDEN = ("unseen-pairs/", "held-out-captions/", "one-colour/", "two-colour/", "shuffled/", "real-")
"""Measures whose names hold one of these are parts of others, shown on request."""

SAMPLING_TIME = "milliseconds to sample an image"
Answer = TypeVar("Answer", bound=Hashable)


@dataclass(frozen=True)
class ComparisonReport:
    """Runs side by side, as one self-contained HTML page.

    Attributes:
        html: the page, with all its images in it.
        comparison: what it shows: for each run its numbers, training log and images.
    """

    html: str = field(repr=False)
    comparison: Comparison = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write the page; returns its path.

        Raises:
            UserError: it cannot be written.
        """
        write_report(self.html, Path(path))
        return Path(path)


def render(comparison: Comparison) -> str:
    """The HTML."""
    template = importlib.resources.files("t2ikit.evaluation").joinpath("compare.html.j2")
    environment = Environment(autoescape=True, trim_blocks=True)
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        style=page_style(),
        made=f"t2ikit {__version__}, torch {torch.__version__}, {platform.machine()}",
        n=comparison.options.n,
        seed=comparison.options.seed,
        **_words(comparison.runs),
        **_images(comparison),
    )


def _words(runs: Sequence[Compared]) -> dict[str, Any]:
    rows = _numbers(runs)
    hidden = [any(part in row["label"] for part in HIDDEN) for row in rows]
    return {
        "title": "t2ikit: " + ", ".join(one.name for one in runs),
        "names": [one.name for one in runs],
        "ranked": same_data(runs),
        "facts": _facts(runs),
        "numbers": [row for row, hide in zip(rows, hidden) if not hide],
        "details": [row for row, hide in zip(rows, hidden) if hide],
        "missing": _missing(runs),
        "other_data": _other_data(runs),
        "cautions": _cautions(runs),
        "provenance": _provenance(runs),
        "data": [(one.name, one.data) for one in runs],
        "differences": differences(runs),
    }


def _images(comparison: Comparison) -> dict[str, Any]:
    runs = comparison.runs
    return {
        "samples": runs[0].images.shape[1],
        "side_by_side": _side_by_side(comparison),
        "scaled": [
            {"name": one.name, "groups": _guided(one.guided, comparison.prompts)}
            for one in runs
            if one.guided is not None
        ],
        "stages": [{"name": one.name, "figures": _stages(one)} for one in runs if one.stages],
        "curves": [{"name": one.name, "image": embed(draw_curves(one.log), CURVES_BYTES)} for one in runs],
    }


def _facts(runs: Sequence[Compared]) -> list[dict[str, Any]]:
    def row(label: str, cells: list[str]) -> dict[str, Any]:
        return {"label": label, "cells": cells}

    costs = [one.result.costs for one in runs]
    return [
        row("steps trained", [str(one.step) for one in runs]),
        row("seconds to train", [_seconds(one.training_seconds) for one in runs]),
        row("trained on", [str(one.run.info.get("device", "")) for one in runs]),
        row(
            SAMPLING_TIME,
            [f"{1000 * cost.seconds / cost.images:.3g}" for cost in costs],
        ),
        row("network calls an image", [_calls(cost.calls) for cost in costs]),
    ]


def _calls(value: float | None) -> str:
    return "not reported" if value is None else f"{value:g}"


def _seconds(value: float | None) -> str:
    return "not logged" if value is None else f"{value:.0f}"


def _numbers(runs: Sequence[Compared]) -> list[dict[str, Any]]:
    """A row for each measure that any run has; nothing is marked where the data were not the same."""
    rows = []
    for name in _measured(runs):
        measures = [one.result.measures.get(name) for one in runs]
        known = next(measure for measure in measures if measure is not None)
        marks = best(measures) if same_data(runs) else [""] * len(runs)
        arrow = {"higher": " ↑", "lower": " ↓"}.get(known.better, "")
        cells = [_cell(measure, mark) for measure, mark in zip(measures, marks)]
        rows.append({"label": name + arrow, "cells": cells})
    return rows


def _measured(runs: Sequence[Compared]) -> list[str]:
    return list(dict.fromkeys(name for one in runs for name in one.result.measures))


def _cell(measure: Measure | None, mark: str) -> dict[str, str]:
    if measure is None:
        return {"value": "–", "interval": "", "mark": ""}
    interval = ""
    if measure.low is not None and measure.high is not None:
        interval = f"[{number(measure.low, measure.unit)}, {number(measure.high, measure.unit)}]"
    return {
        "value": f"{number(measure.value, measure.unit)} {measure.unit}",
        "interval": interval,
        "mark": mark,
    }


def _missing(runs: Sequence[Compared]) -> list[dict[str, str]]:
    rows = []
    for metric in dict.fromkeys(metric for one in runs for metric in one.result.not_measured):
        for reason, who in _by_answer(runs, [one.result.not_measured.get(metric) for one in runs]):
            rows.append({"label": metric, "reason": f"{who}: {reason}" if who else reason})
    return rows


def _provenance(runs: Sequence[Compared]) -> list[dict[str, Any]]:
    """How each number was made and on how many images: a row, or several where the runs differ in it."""
    answers: dict[str, list[tuple[int, str] | None]] = {
        SAMPLING_TIME: [(one.result.costs.images, _machine(one.result.costs)) for one in runs]
    }
    for name in _measured(runs):
        measures = [one.result.measures.get(name) for one in runs]
        answers[name] = [None if m is None else (m.n, m.provenance) for m in measures]
    return [
        {"label": name, "runs": who, "n": n, "how": how}
        for name, of_runs in answers.items()
        for (n, how), who in _by_answer(runs, of_runs)
    ]


def _machine(costs: Costs) -> str:
    threads = f"{costs.threads} thread{'s' * (costs.threads > 1)}" if costs.device == "cpu" else ""
    return ", ".join(word for word in (costs.device, threads, costs.processor) if word)


def _by_answer(runs: Sequence[Compared], answers: Sequence[Answer | None]) -> list[tuple[Answer, str]]:
    """Each different answer, and the runs that gave it: "" where all of them did."""
    who: dict[Answer, list[str]] = {}
    for one, answer in zip(runs, answers):
        if answer is not None:
            who.setdefault(answer, []).append(one.name)
    return [(answer, "" if len(names) == len(runs) else ", ".join(names)) for answer, names in who.items()]


def _other_data(runs: Sequence[Compared]) -> str:
    """What to say where data were not the same; numbers on the same data compare, whatever was trained on."""
    if not same_data(runs):
        return "These runs were measured on different data: their numbers do not compare, and none is marked."
    if len({str(one.run.info["data_fingerprint"]) for one in runs}) > 1:
        return "These runs were measured on the same data, but not trained on the same."
    return ""


def _cautions(runs: Sequence[Compared]) -> list[str]:
    """Notes on checkpoints, on whole evaluations, then warnings of single measures, each once."""
    notes = dict.fromkeys(note for one in runs for note in one.result.notes)
    found = [f"{one.name}: {note}" for one in runs for note in one.notes]
    for note in notes:
        for _, who in _by_answer(runs, [note if note in one.result.notes else None for one in runs]):
            found.append(f"{who}: {note}" if who else note)
    warned = [(name, m.warning) for one in runs for name, m in one.result.measures.items() if m.warning]
    return found + sorted({f"{name}: {warning}" for name, warning in warned})


def _side_by_side(comparison: Comparison) -> list[dict[str, Any]]:
    """For each prompt a cell for each run, with the run's images of it."""
    cell = _side(max(one.images.shape[-1] for one in comparison.runs))
    return [
        {
            "prompt": shortened(prompt, PROMPT),
            "cells": [_cell_of(one.name, one.images[place], cell) for one in comparison.runs],
        }
        for place, prompt in enumerate(comparison.prompts)
    ]


def _guided(images: Tensor, prompts: Sequence[str]) -> list[dict[str, Any]]:
    """For each of the first prompts a cell for each guidance scale."""
    cell = _side(images.shape[-1])
    return [
        {
            "prompt": shortened(prompt, PROMPT),
            "cells": [
                _cell_of(f"guidance {scale:g}", row[k : k + 1], cell) for k, scale in enumerate(SCALES)
            ],
        }
        for prompt, row in zip(prompts, images)
    ]


def _side(largest: int) -> int:
    """Pixels to which sampled images are upscaled or shrunk, those of the largest run and so all others."""
    return min(LARGEST, largest * math.ceil(SEEN / largest))


def _cell_of(label: str, images: Tensor, cell: int) -> dict[str, Any]:
    shown = [embed(fit(image, cell), SAMPLE_BYTES) for image in to_pil(images)]
    return {"label": label, "images": shown}


def _stages(one: Compared) -> list[dict[str, Any]]:
    figures = []
    for step, path in one.stages:
        image = open_image(path)
        if image.width > WIDEST:
            image = image.resize((WIDEST, math.ceil(image.height * WIDEST / image.width)))
        figures.append({"step": step, "image": embed(image, GRID_BYTES)})
    return figures
