"""A comparison as one HTML file that needs nothing beside it: no network, no script."""

from __future__ import annotations

import base64
import importlib.resources
import io
import math
import platform
from collections.abc import Sequence
from typing import Any

import torch
from jinja2 import Environment
from PIL import Image
from torch import Tensor

from t2ikit import __version__
from t2ikit.comparing import SCALES, Compared, Comparison, best, differences, open_picture
from t2ikit.curves import draw_curves
from t2ikit.evaluation_files import number
from t2ikit.grids import labelled_grid, to_pil
from t2ikit.interfaces import Measure

WIDEST = 900
"""Sample grids of training are shrunk to this width, pixels."""
HIDDEN = ("unseen-pairs/", "held-out-captions/", "shuffled/", "real-")
"""Measures whose names hold one of these are parts of others, shown on request."""


def render(comparison: Comparison) -> str:
    """The HTML."""
    template = importlib.resources.files("t2ikit").joinpath("templates/compare.html.j2")
    runs = comparison.runs
    rows = _numbers(runs)
    environment = Environment(autoescape=True, trim_blocks=True)
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        title="t2ikit: " + ", ".join(one.name for one in runs),
        made=f"t2ikit {__version__}, torch {torch.__version__}, {platform.machine()}",
        n=comparison.question.n,
        seed=comparison.question.seed,
        samples=runs[0].drawn.shape[1],
        names=[one.name for one in runs],
        facts=_facts(runs),
        numbers=[row for row in rows if not any(part in row["label"] for part in HIDDEN)],
        details=[row for row in rows if any(part in row["label"] for part in HIDDEN)],
        missing=_missing(runs),
        cautions=_cautions(runs),
        side_by_side=_embed(_side_by_side(comparison)),
        scaled=[
            {"name": one.name, "picture": _embed(_scaled(one.scaled, comparison.prompts))}
            for one in runs
            if one.scaled is not None
        ],
        stages=[{"name": one.name, "figures": _stages(one)} for one in runs if one.stages],
        curves=[{"name": one.name, "picture": _embed(draw_curves(one.log))} for one in runs],
        differences=differences(runs),
    )


def _facts(runs: Sequence[Compared]) -> list[dict[str, Any]]:
    def row(label: str, cells: list[str]) -> dict[str, Any]:
        return {"label": label, "cells": cells}

    return [
        row("steps trained", [str(one.step) for one in runs]),
        row("seconds to train", [_seconds(one.training_seconds) for one in runs]),
        row("trained on", [str(one.run.info.get("device", "")) for one in runs]),
        row(
            "milliseconds to draw a picture",
            [f"{1000 * one.costs['seconds'] / one.costs['pictures']:.3g}" for one in runs],
        ),
        row("network calls a picture", [f"{one.costs['calls']:g}" for one in runs]),
    ]


def _seconds(value: float | None) -> str:
    return "not logged" if value is None else f"{value:.0f}"


def _numbers(runs: Sequence[Compared]) -> list[dict[str, Any]]:
    """A row for each measure that any run has."""
    rows = []
    for name in dict.fromkeys(name for one in runs for name in one.measures):
        measures = [one.measures.get(name) for one in runs]
        known = next(measure for measure in measures if measure is not None)
        cells = [_cell(measure, mark) for measure, mark in zip(measures, best(measures))]
        arrow = {"higher": " ↑", "lower": " ↓"}.get(known.better, "")
        rows.append({"label": name + arrow, "provenance": known.provenance, "cells": cells})
    return rows


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
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in runs:
        for metric, reason in one.not_measured.items():
            reasons.setdefault((metric, reason), []).append(one.name)
    return [
        {"label": metric, "reason": reason if len(who) == len(runs) else f"{', '.join(who)}: {reason}"}
        for (metric, reason), who in reasons.items()
    ]


def _cautions(runs: Sequence[Compared]) -> list[str]:
    found = {f"{name}: {m.warning}" for one in runs for name, m in one.measures.items() if m.warning}
    fingerprints = {str(one.run.info.get("data_fingerprint")) for one in runs}
    if len(fingerprints) > 1:
        found.add("These runs were not trained on the same data: their numbers do not compare as such.")
    return sorted(found)


def _side_by_side(comparison: Comparison) -> Image.Image:
    """A row for each prompt; the runs' pictures of it, run by run."""
    rows = [
        [picture for one in comparison.runs for picture in to_pil(one.drawn[place])]
        for place in range(len(comparison.prompts))
    ]
    samples = comparison.runs[0].drawn.shape[1]
    heads = [one.name if k == 0 else "" for one in comparison.runs for k in range(samples)]
    return labelled_grid(rows, list(comparison.prompts), heads)


def _scaled(pictures: Tensor, prompts: Sequence[str]) -> Image.Image:
    rows = [to_pil(row) for row in pictures]
    return labelled_grid(rows, list(prompts[: len(rows)]), [f"guidance {scale:g}" for scale in SCALES])


def _stages(one: Compared) -> list[dict[str, Any]]:
    figures = []
    for step, path in one.stages:
        picture = open_picture(path)
        if picture.width > WIDEST:
            picture = picture.resize((WIDEST, math.ceil(picture.height * WIDEST / picture.width)))
        figures.append({"step": step, "picture": _embed(picture)})
    return figures


def _embed(picture: Image.Image) -> str:
    """A data URL; WebP without loss, a third of a PNG."""
    content = io.BytesIO()
    picture.save(content, "WEBP", lossless=True, quality=60)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
