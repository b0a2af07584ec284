"""`t2ikit compare` in code: what differs between runs, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from t2ikit.core.interfaces import Denoiser
from t2ikit.core.metric import Measure
from t2ikit.errors import UserError
from t2ikit.evaluation.evaluator import Evaluator
from t2ikit.evaluation.files import NUMBERS, make_folder, measure_into, read_result
from t2ikit.evaluation.results import EvaluationOptions, EvaluationResult, name_of
from t2ikit.metrics.downloads import lacking
from t2ikit.metrics.intervals import FEWEST
from t2ikit.recipes.compose import Model
from t2ikit.recipes.settings import Plugins
from t2ikit.runs.log import read_log
from t2ikit.runs.run import Run
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.low_res import low_res_images, real_images
from t2ikit.sampling.outputs import evaluations_of
from t2ikit.utils.images import flattened
from t2ikit.utils.progress import phase

PROMPTS, SAMPLES = 6, 2
"""Prompts shown side by side, and images of each."""
SCALES = (1.0, 2.0, 4.0, 8.0)
SCALED_PROMPTS = 3
STAGES = 4
"""Sample grids of a run, evenly chosen over its training."""
MOST = 12
MOST_PROMPTS = 200
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises for a PNG that is damaged, and `int` for a name without a step."""


@dataclass(frozen=True)
class Compared:
    """One run of a comparison.

    Attributes:
        name: of the run, unique in the comparison.
        run: its folder, opened.
        step: of the checkpoint that was sampled.
        notes: which newer checkpoints are damaged and were passed over.
        data: fingerprint of the data it was measured on.
        result: of its evaluation, without the images.
        training_seconds: spent on the steps, from the log; None where it has no speeds.
        log: its lines.
        stages: (step, path of the sample grid).
        images: (P, S, 3, H, W), of the common prompts.
        guided: (P, G, 3, H, W) images at each of SCALES; None where the model takes no guidance.
    """

    name: str
    run: Run
    step: int
    notes: tuple[str, ...]
    data: str
    result: EvaluationResult
    training_seconds: float | None
    log: list[dict[str, Any]]
    stages: list[tuple[int, Path]]
    images: Tensor
    guided: Tensor | None


@dataclass(frozen=True)
class Comparison:
    """Runs, and the prompts that all of them sampled."""

    runs: Sequence[Compared]
    prompts: Sequence[str]
    options: EvaluationOptions


def compare_runs(
    runs: Sequence[Run | str | Path],
    options: EvaluationOptions,
    prompts: Sequence[str] = (),
    *,
    plugins: Plugins = (),
    device: str = "auto",
    log: Callable[[str], None] = print,
) -> Comparison:
    """Measure runs in the same way and sample the same prompts from each.

    An evaluation that was made before with the same options is read, not made again, unless it is damaged or
    a metric failed in it; `t2ikit evaluate` makes it anew, as where something was missing then.

    Args:
        runs: at least two runs, or their folders or names.
        options: for all of them.
        prompts: to sample side by side, at most 200; empty takes the first of the first run's evaluation.
        plugins, device: as in `evaluate`.
        log: told of files of a run that are damaged and left out, and of metrics that need a download.

    Raises:
        UserError: too few or too many runs or prompts, or a run that cannot be evaluated.
    """
    paths = [Path(run.known_as or run.path) if isinstance(run, Run) else Path(run) for run in runs]
    _check(paths)
    _check_prompts(prompts)
    evaluators = [Evaluator(run, options, plugins=plugins, device=device) for run in runs]
    for line in lacking({name: needs for one in evaluators for name, needs in one.needs.items()}):
        log(line)
    shown = list(dict.fromkeys(prompts)) or list(dict.fromkeys(evaluators[0].prompts))[:PROMPTS]
    # Before the first is measured, for either may be the user's to mend.
    logs = [read_log(one.run.path / "log.jsonl") for one in evaluators]
    real = [real_images(one.model.generator, one.dataset, shown, options.seed) for one in evaluators]
    each = zip(short_names(paths), evaluators, logs, real)
    return Comparison([_compared(*about, shown, log) for about in each], shown, options)


def _check(paths: Sequence[Path]) -> None:
    distinct = {path.resolve() for path in paths}
    if not 2 <= len(paths) <= MOST or len(distinct) < len(paths):
        raise UserError(
            "compare: there is nothing to compare" if len(distinct) < 2 else "compare: these runs do not do",
            expected=f"2 to {MOST} different run folders",
            got=", ".join(map(str, paths)) or "none",
            fix="t2ikit compare runs/imagen-001 runs/gigagan-001 --out report.html",
        )


def _check_prompts(prompts: Sequence[str]) -> None:
    if len(prompts) > MOST_PROMPTS:
        raise UserError(
            "--prompts: these are too many to look at side by side",
            expected=f"at most {MOST_PROMPTS} prompts",
            got=len(prompts),
            fix="give fewer; the images that are measured are of -n prompts of the data, whatever is shown",
        )


def short_names(paths: Sequence[Path]) -> list[str]:
    """The ends of different paths, each as long as it takes to be no other's."""
    parts = [path.resolve().parts for path in paths]
    return [_end(own, [other for other in parts if other != own]) for own in parts]


def _end(own: tuple[str, ...], others: Sequence[tuple[str, ...]]) -> str:
    length = 1
    while any(other[-length:] == own[-length:] for other in others):
        length += 1
    return Path(*own[-length:]).as_posix()


def _compared(
    name: str,
    evaluator: Evaluator,
    lines: list[dict[str, Any]],
    real: Tensor | None,
    prompts: Sequence[str],
    log: Callable[[str], None],
) -> Compared:
    run, model, seed = evaluator.run, evaluator.model, evaluator.options.seed
    result = _evaluated(evaluator, log)
    low_res = low_res_images(model.generator, real, SAMPLES)
    with phase(f"sampling side by side from {name}"):
        images = sample_images(model, prompts, samples=range(SAMPLES), seed=seed, low_res=low_res)
        guided = _guided(model, prompts[:SCALED_PROMPTS], real, seed)
    return Compared(
        name,
        run,
        evaluator.step,
        model.notes,
        evaluator.dataset.fingerprint,
        result,
        training_seconds(lines, run.table["train"].get("batch", 0)),
        lines,
        stages(run.path, log),
        images.unflatten(0, (len(prompts), SAMPLES)),
        guided,
    )


def _guided(model: Model, prompts: Sequence[str], real: Tensor | None, seed: int) -> Tensor | None:
    """Images (P, G, 3, H, W) at each of SCALES; None where the model takes no guidance."""
    if not isinstance(model.generator, Denoiser) or model.generator.caption_dropout == 0:
        return None
    low_res = low_res_images(model.generator, None if real is None else real[: len(prompts)])
    columns = [sample_images(model, prompts, seed=seed, guidance=scale, low_res=low_res) for scale in SCALES]
    return torch.stack(columns, 1)


def _evaluated(evaluator: Evaluator, log: Callable[[str], None]) -> EvaluationResult:
    """An evaluation that was made before, or is made now."""
    kept = evaluations_of(evaluator.run) / name_of(evaluator.settings()) / NUMBERS
    if kept.is_file():
        try:
            result = read_result(kept)
        except (OSError, ValueError):
            log(f"{kept} is damaged: measuring anew")
        else:
            if not result.failed:
                return result
            log(f"{kept}: failed before: {', '.join(result.failed)}; measuring anew")
    make_folder(evaluator.run)
    return replace(measure_into(evaluator), image_set=None)


def training_seconds(log: Sequence[dict[str, Any]], batch: int) -> float | None:
    """Seconds spent on training steps, from the speeds in the log; None without any."""
    seconds, before = 0.0, 0
    for line in log:
        speed = line.get("images_per_second")
        if speed:
            seconds += (line["step"] - before) * batch / speed
            before = line["step"]
    return seconds or None


def stages(path: Path, log: Callable[[str], None] = print) -> list[tuple[int, Path]]:
    """Up to STAGES sample grids of a run, evenly chosen, the last always among them.

    Args:
        path: the run folder.
        log: told of each grid that is left out, as it or its name cannot be read.

    Returns:
        Step and file of each, by their steps.
    """
    grids = []
    for grid in sorted((path / "samples").glob("step-*.png")):
        try:
            open_image(grid)
            grids.append((int(grid.stem.removeprefix("step-")), grid))
        except UNREADABLE:
            log(f"{grid} is left out: it is no readable grid of a step")
    grids.sort()
    count = min(STAGES, len(grids))
    return [grids[(place + 1) * len(grids) // count - 1] for place in range(count)]


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

    Nothing is ranked where a run has no such number or one of very few images, or where no way is better.
    """
    found = [measure for measure in measures if measure is not None]
    few = any(measure.n < FEWEST for measure in found)
    if few or len(found) < len(measures) or len(found) < 2 or not found[0].better:
        return ["" for _ in measures]
    sign = 1 if found[0].better == "higher" else -1
    top = max(found, key=lambda measure: sign * measure.value)
    return ["best" if one.value == top.value else "near" if _meet(one, top) else "" for one in found]


def same_data(runs: Sequence[Compared]) -> bool:
    """All were measured on the same data: else their numbers cannot be ranked."""
    return len({one.data for one in runs}) == 1


def _meet(one: Measure, other: Measure) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


def open_image(path: Path) -> Image.Image:
    """A PNG, read whole.

    Raises:
        OSError, ValueError, SyntaxError, DecompressionBombError: it is damaged, or far too large.
    """
    with Image.open(path) as image:
        return flattened(image)
