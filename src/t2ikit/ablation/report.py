"""An ablation as one self-contained HTML file: no network, no script."""

from __future__ import annotations

import importlib.resources
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from PIL import Image

from t2ikit import __version__
from t2ikit.ablation.plan import WITHOUT, Plan
from t2ikit.ablation.results import PairedResult, Row, interval, signed
from t2ikit.ablation.trials import Record
from t2ikit.ablation.verdict import deciding, outcome, sentence
from t2ikit.evaluation.results import number
from t2ikit.utils.files import page_style
from t2ikit.utils.grids import SEEN, fit
from t2ikit.utils.images import embed
from t2ikit.utils.quoting import shortened

IMAGE_BYTES = 20_000
"""The most an image takes."""
LARGEST, PROMPT = 256, 400
"""Sampled images are shrunk to this side, pixels; prompts are cut after so many characters."""


def render(
    folder: Path,
    plan: Plan,
    results: Sequence[PairedResult],
    records: Mapping[str, Record],
    verdict: str,
) -> str:
    """The HTML."""
    template = importlib.resources.files("t2ikit.ablation").joinpath("ablation.html.j2")
    environment = Environment(autoescape=True, trim_blocks=True)
    first = next(iter(records.values()))
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        style=page_style(),
        title="t2ikit ablate: " + ", ".join(dict.fromkeys(pair.variant.label for pair in plan.pairs)),
        made=", ".join(filter(None, (f"t2ikit {__version__}", first.device))),
        verdict=verdict,
        plan=plan,
        results=[_shown(folder, plan, one, records) for one in results],
        not_measured=first.not_measured,
    )


def _shown(folder: Path, plan: Plan, result: PairedResult, records: Mapping[str, Record]) -> dict[str, Any]:
    """One recipe and variant: its sentence, its table, the differences of each seed, images side by side."""
    row = deciding(result)
    seed = plan.seeds[0]
    arms = [records[plan.trial(result.pair.base, one, seed).name] for one in (WITHOUT, result.pair.variant)]
    return {
        "name": result.pair.base.name,
        "label": result.pair.variant.label,
        "sentence": sentence(result),
        "rows": [_cells(one, one is row, outcome(result)) for one in result.rows],
        "seeds": [] if row is None else _by_seed(result, row),
        "deciding": "" if row is None else row.name,
        "groups": _side_by_side(folder, arms),
        "seed": seed,
        "settings": result.pair.variant.settings,
        "slower": None if result.slower is None else f"{round(result.slower.mean):+d} %",
    }


def _cells(row: Row, decides: bool, found: str) -> dict[str, str]:
    arrow = {"higher": " ↑", "lower": " ↓"}.get(row.better, "")
    return {
        "label": row.name + arrow,
        "without": f"{number(row.without, row.unit)} {row.unit}",
        "with_it": f"{number(row.with_it, row.unit)} {row.unit}",
        "difference": f"{signed(row.difference.mean, row.unit)} {row.difference_unit}",
        "interval": interval(row),
        "mark": {"helps": "best", "harms": "worst"}.get(found, "") if decides else "",
    }


def _by_seed(result: PairedResult, row: Row) -> list[tuple[int, str]]:
    values = (f"{signed(value, row.unit)} {row.difference_unit}" for value in row.difference.values)
    return list(zip(result.seeds, values))


def _side_by_side(folder: Path, arms: Sequence[Record]) -> list[dict[str, Any]]:
    """For each prompt the image without and the image with, as far as they are still there."""
    groups = []
    for place, prompt in enumerate(arms[0].prompts):
        images = [_embedded(folder / record.images[place]) for record in arms]
        cells = [
            {"label": label, "image": image} for label, image in zip(("without", "with"), images) if image
        ]
        if cells:
            groups.append({"prompt": shortened(prompt, PROMPT), "cells": cells})
    return groups


def _embedded(path: Path) -> str:
    """An image as a data URI; empty where it was deleted or is damaged."""
    try:
        with Image.open(path) as image:
            side = min(LARGEST, max(image.size) * math.ceil(SEEN / max(image.size)))
            return embed(fit(image.convert("RGB"), side), IMAGE_BYTES)
    except OSError:
        return ""
