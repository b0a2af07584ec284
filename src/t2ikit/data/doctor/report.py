"""A diagnosis as one self-contained HTML file: no network, no script."""

from __future__ import annotations

import importlib.resources
import io
from typing import Any

from jinja2 import Environment

from t2ikit import __version__
from t2ikit.data.doctor.diagnosis import Diagnosis
from t2ikit.data.doctor.findings import Example, Finding
from t2ikit.data.doctor.specimens import Specimen
from t2ikit.data.doctor.survey import shown
from t2ikit.data.image_files import UNREADABLE, open_image, to_channels
from t2ikit.errors import command
from t2ikit.utils.files import page_style
from t2ikit.utils.grids import fit
from t2ikit.utils.images import embed
from t2ikit.utils.quoting import shortened, visible

THUMBNAIL = 128
"""Side of an image on the page, pixels."""
BYTES = 8_000
"""The most an image takes: of 36 on the sheet and 12 findings of 8 pairs, some 2.5 MB in base64."""
EXAMPLES = 8
"""Examples that are shown of a finding."""
CAPTION = 200
"""Characters of a caption or name that are shown."""


def render(diagnosis: Diagnosis, count: int) -> str:
    """The HTML, with `count` images on its contact sheet."""
    template = importlib.resources.files("t2ikit.data.doctor").joinpath("report.html.j2")
    environment = Environment(autoescape=True, trim_blocks=True)
    items = shown(diagnosis.specimens, count)
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        style=page_style(),
        made=f"t2ikit {__version__}",
        spec=visible(diagnosis.spec),
        rows=[(label, visible(value)) for label, value in diagnosis.survey.rows],
        problems=[
            [visible(line.strip()) for line in text.splitlines()] for text in diagnosis.survey.problems
        ],
        findings=[_finding(finding) for finding in diagnosis.findings],
        histograms=[
            (one.title, max(count for _, count in one.counts), one.counts) for one in diagnosis.histograms
        ],
        advice=diagnosis.advice.rows,
        command=command(*diagnosis.advice.words),
        sheet=[{**_cell(item), "image": embed(fit(item.as_pil(), THUMBNAIL), BYTES)} for item in items],
        scope=diagnosis.specimens.scope,
    )


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "count": finding.count,
        "sentence": finding.sentence,
        "fix": finding.fix,
        "serious": finding.serious,
        "examples": [_example(example) for example in finding.examples[:EXAMPLES]],
        "more": max(0, len(finding.examples) - EXAMPLES),
    }


def _example(example: Example) -> dict[str, Any]:
    cells = [{**_cell(item), "image": _image(item)} for item in example.images]
    return {"cells": cells, "note": shortened(visible(example.note), CAPTION)}


def _cell(item: Specimen) -> dict[str, str]:
    return {
        "name": shortened(item.name, CAPTION),
        "caption": shortened(visible(item.captions[0]), CAPTION),
        "split": item.split,
    }


def _image(item: Specimen) -> str:
    """An image as its file has it, whole, or else as training sees it."""
    if item.content is not None:
        try:
            with open_image(io.BytesIO(item.content())) as image:
                image.draft("RGB", (THUMBNAIL, THUMBNAIL))
                return embed(fit(to_channels(image, channels=4).convert("RGBA"), THUMBNAIL), BYTES)
        except UNREADABLE:
            pass
    return embed(fit(item.as_pil(), THUMBNAIL), BYTES)
