"""`t2ikit compare` in code: what differs between runs, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from t2ikit.errors import UserError
from t2ikit.evaluating import Evaluator, Question, name_of
from t2ikit.evaluation_files import FOLDER, write_evaluation
from t2ikit.given import real_pictures, small_pictures
from t2ikit.interfaces import Denoiser, Measure
from t2ikit.run import Run
from t2ikit.runlog import read_log
from t2ikit.sample import sample

PROMPTS, SAMPLES = 6, 2
"""Prompts drawn side by side, and pictures of each."""
SCALES = (1.0, 2.0, 4.0, 8.0)
SCALED_PROMPTS = 3
STAGES = 4
"""Sample grids of a run, evenly chosen over its training."""
MOST = 12


@dataclass(frozen=True)
class Compared:
    """One run of a comparison.

    Attributes:
        name: of the run, unique in the comparison.
        run: its folder, opened.
        step: of the checkpoint that was drawn from.
        measures: by metric and name.
        not_measured: by metric, what is missing.
        costs: of drawing: pictures, seconds, calls.
        training_seconds: spent on the steps, from the log; None where it has no speeds.
        log: its lines.
        stages: (step, path of the sample grid).
        drawn: (P, S, 3, H, W) pictures of the common prompts.
        scaled: (P, G, 3, H, W) pictures at each of SCALES; None where the model takes no guidance.
    """

    name: str
    run: Run
    step: int
    measures: dict[str, Measure]
    not_measured: dict[str, str]
    costs: dict[str, float]
    training_seconds: float | None
    log: list[dict[str, Any]]
    stages: list[tuple[int, Path]]
    drawn: Tensor
    scaled: Tensor | None


@dataclass(frozen=True)
class Comparison:
    """Runs, and the prompts all of them were asked to draw."""

    runs: Sequence[Compared]
    prompts: Sequence[str]
    question: Question


def compare(
    paths: Sequence[Path],
    question: Question,
    prompts: Sequence[str] = (),
    *,
    plugins: Sequence[str] = (),
    device: str = "auto",
) -> Comparison:
    """Measure runs in the same way and draw the same prompts from each.

    An evaluation that was made before with the same question is read, not made again; `t2ikit evaluate` makes
    it anew, as where something was missing then.

    Args:
        paths: at least two run folders.
        question: for all of them.
        prompts: to draw side by side; empty takes the first of the first run's evaluation.
        plugins, device: as in `evaluate`.

    Raises:
        UserError: too few or too many runs, or one that cannot be evaluated.
    """
    _check(paths)
    evaluators = [Evaluator(path, question, plugins=plugins, device=device) for path in paths]
    shown = list(prompts) or list(dict.fromkeys(evaluators[0].prompts))[:PROMPTS]
    names = _names(paths)
    pairs = zip(names, evaluators)
    return Comparison([_compared(name, evaluator, shown) for name, evaluator in pairs], shown, question)


def _check(paths: Sequence[Path]) -> None:
    distinct = {path.resolve() for path in paths}
    if not 2 <= len(paths) <= MOST or len(distinct) < len(paths):
        raise UserError(
            "compare: there is nothing to compare" if len(distinct) < 2 else "compare: these runs do not do",
            expected=f"2 to {MOST} different run folders",
            got=", ".join(map(str, paths)) or "none",
            fix="t2ikit compare runs/imagen-001 runs/gigagan-001 --out report.html",
        )


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' names, with their parents' where names repeat."""
    last = [path.resolve().name for path in paths]
    return [
        name if last.count(name) == 1 else f"{path.resolve().parent.name}/{name}"
        for name, path in zip(last, paths)
    ]


def _compared(name: str, evaluator: Evaluator, prompts: Sequence[str]) -> Compared:
    run, model, seed = evaluator.run, evaluator.model, evaluator.question.seed
    table = _evaluated(evaluator)
    real = real_pictures(model.generator, evaluator.dataset, prompts, seed)
    given = small_pictures(model.generator, real, SAMPLES)
    drawn = sample(model, prompts, samples=range(SAMPLES), seed=seed, low_res=given)
    scaled = None
    if isinstance(model.generator, Denoiser) and model.generator.caption_dropout > 0:
        few = prompts[:SCALED_PROMPTS]
        given = None if given is None else given[::SAMPLES][:SCALED_PROMPTS]
        columns = [sample(model, few, seed=seed, guidance=scale, low_res=given) for scale in SCALES]
        scaled = torch.stack(columns, 1)
    log = read_log(run.path / "log.jsonl")
    return Compared(
        name,
        run,
        evaluator.step,
        {key: Measure(**value) for key, value in table["measures"].items()},
        table["not_measured"],
        table["costs"],
        training_seconds(log, int(run.table["train"]["batch"])),
        log,
        stages(run.path),
        drawn.unflatten(0, (len(prompts), SAMPLES)),
        scaled,
    )


def _evaluated(evaluator: Evaluator) -> dict[str, Any]:
    """The numbers of an evaluation, made before or now."""
    folder = evaluator.run.path / FOLDER / name_of(evaluator.settings())
    kept = folder / "evaluation.json"
    if kept.is_file():
        table: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return table
    evaluation = evaluator.measure()
    write_evaluation(evaluation, evaluator.run.path)
    return evaluation.table()


def training_seconds(log: Sequence[dict[str, Any]], batch: int) -> float | None:
    """Seconds spent on training steps, from the speeds in the log; None without any."""
    seconds, before = 0.0, 0
    for line in log:
        speed = line.get("images_per_second")
        if speed:
            seconds += (line["step"] - before) * batch / speed
            before = line["step"]
    return seconds or None


def stages(path: Path) -> list[tuple[int, Path]]:
    """Up to STAGES sample grids of a run, evenly chosen, the last always among them."""
    grids = sorted((path / "samples").glob("step-*.png"))
    count = min(STAGES, len(grids))
    chosen = [grids[(place + 1) * len(grids) // count - 1] for place in range(count)]
    return [(int(grid.stem.split("-")[1]), grid) for grid in chosen]


def differences(runs: Sequence[Compared]) -> list[tuple[str, list[str]]]:
    """Options that are not the same in all recipes: key, and the value in each run ("" where it has none)."""
    flat = [_flat(one.run.table) for one in runs]
    keys = dict.fromkeys(key for table in flat for key in table)
    rows = [(key, [table.get(key, "") for table in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return found


def best(measures: Sequence[Measure | None]) -> list[str]:
    """How each run's measure stands: "best", "near" where its interval meets the best's, else "".

    Nothing is ranked where a run has no such number, or where no way is better.
    """
    found = [measure for measure in measures if measure is not None]
    if len(found) < len(measures) or len(found) < 2 or not found[0].better:
        return ["" for _ in measures]
    sign = 1 if found[0].better == "higher" else -1
    top = max(found, key=lambda measure: sign * measure.value)
    return ["best" if one.value == top.value else "near" if _meet(one, top) else "" for one in found]


def _meet(one: Measure, other: Measure) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


def open_picture(path: Path) -> Image.Image:
    """A PNG, read whole."""
    with Image.open(path) as picture:
        return picture.convert("RGB")
