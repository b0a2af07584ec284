"""What an evaluation leaves behind: pictures that other tools can score, the numbers, and text to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from t2ikit.errors import UserError
from t2ikit.evaluating import Evaluation
from t2ikit.files import save_picture, write_json, write_text
from t2ikit.grids import contact_sheet, to_pil
from t2ikit.interfaces import Drawn, Measure
from t2ikit.metrics.neighbours import nearest

SHOWN = 24
"""Pictures on the sheet of nearest neighbours."""
FOLDER = "evaluations"


def make_folder(run: Path) -> Path:
    """The folder of a run's evaluations, made before anything is computed.

    Raises:
        UserError: it cannot be made.
    """
    folder = run / FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder


def unwritable(folder: Path, error: OSError) -> UserError:
    """The error of a folder that cannot be written."""
    return UserError(
        f"{folder}: what is measured cannot be written",
        expected="a run folder in which files can be written, with room for them",
        got=error,
        fix="free some space, or evaluate a copy of the run",
    )


def write_evaluation(evaluation: Evaluation, run: Path) -> Path:
    """Write an evaluation into the run's folder; returns its own folder there.

    `drawn/`, `real/` and `again/` hold the pictures as they were measured, numbered like the lines of
    `prompts.jsonl`; `evaluation.json` the numbers, `neighbours.png` some pictures beside the nearest
    training picture.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = run / FOLDER / evaluation.name
    try:
        _write_pictures(evaluation.drawn, folder)
        write_json(folder / "evaluation.json", evaluation.table())
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder


def _write_pictures(drawn: Drawn, folder: Path) -> None:
    sets = {"drawn": drawn.images, "real": drawn.real}
    if drawn.again is not None:
        sets["again"] = drawn.again.flatten(0, 1)
    for name, images in sets.items():
        if images is not None:
            (folder / name).mkdir(parents=True, exist_ok=True)
            for number, picture in enumerate(to_pil(images)):
                picture.save(folder / name / f"{number:05d}.png")
    lines = [json.dumps({"prompt": prompt}, ensure_ascii=False) for prompt in drawn.prompts]
    write_text(folder / "prompts.jsonl", "\n".join(lines) + "\n")
    if drawn.train is not None:
        sheet = neighbour_sheet(drawn.images[:SHOWN], drawn.train, drawn.prompts)
        save_picture(sheet, folder / "neighbours.png")


def neighbour_sheet(images: Tensor, train: Tensor, prompts: Sequence[str]) -> Image.Image:
    """Pictures, each beside its nearest training picture, with its prompt and their distance."""
    distances, places = nearest(images, train)
    beside = torch.cat([images, train[places]], 3)
    texts = [f"{prompt} ({distance:.0f})" for prompt, distance in zip(prompts, distances)]
    return contact_sheet(to_pil(beside), texts, columns=4)


def describe(evaluation: Evaluation) -> str:
    """The numbers as lines of text, what could not be measured, and what should be read with care."""
    lines = [line(name, measure) for name, measure in evaluation.measures.items()]
    costs = evaluation.costs
    milliseconds = f"{1000 * costs.seconds / costs.pictures:.3g} ms"
    lines.append(f"{'drawing a picture':<44} {milliseconds}, {costs.calls:g} network calls")
    lines += [f"{name:<44} not measured: {reason}" for name, reason in evaluation.not_measured.items()]
    cautions: dict[str, list[str]] = {}
    for name, measure in evaluation.measures.items():
        if measure.warning:
            cautions.setdefault(measure.warning, []).append(name)
    return "\n".join([*lines, *(f"note: {', '.join(names)}: {text}" for text, names in cautions.items())])


def line(name: str, measure: Measure) -> str:
    """A measure as a line of text."""
    interval = ""
    if measure.low is not None and measure.high is not None:
        interval = f"[{number(measure.low, measure.unit)}, {number(measure.high, measure.unit)}]"
    value = f"{number(measure.value, measure.unit)} {measure.unit}"
    return f"{name:<44} {value:<14} {interval:<18} n={measure.n}"


def number(value: float, unit: str) -> str:
    """A value with the digits that mean something: one after the point of a percentage, else four in all."""
    return f"{value:.1f}" if unit == "%" else f"{value:.4g}"
