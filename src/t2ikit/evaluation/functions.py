"""`t2ikit.evaluate`, `t2ikit.sweep` and `t2ikit.compare`: what the command line does, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2ikit.config.arguments import checked
from t2ikit.data.mixing.config import as_spec
from t2ikit.errors import UserError, option
from t2ikit.evaluation.comparison import compare_runs
from t2ikit.evaluation.evaluator import Evaluator
from t2ikit.evaluation.folder import measure_folder
from t2ikit.evaluation.report import ComparisonReport, render
from t2ikit.evaluation.results import EvaluationOptions, EvaluationResult, check_measured
from t2ikit.evaluation.sweeps import Sweep, measure_and_write, read_axes, sweep_and_write
from t2ikit.recipes.settings import Plugins, Settings, as_settings
from t2ikit.runs.run import Run
from t2ikit.utils.console import log
from t2ikit.utils.files import check_report


@checked
def evaluate(
    run: Run | str | Path | None = None,
    *,
    images: str | Path | None = None,
    data: str | Path | Sequence[str | Path] | None = None,
    metrics: str | Sequence[str] = (),
    n: int = 256,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
    set: Settings = None,
    weights: str = "ema",
    checkpoint: int | None = None,
    ema: float | None = None,
    write: bool = True,
    plugins: Plugins = (),
    device: str = "auto",
) -> EvaluationResult:
    """Measure a run on prompts that it was not trained on, one image for each; or a folder of images.

    Args:
        run: a run, its folder, hf:OWNER/NAME or creatures.
        images: in its place, a folder of image files, which are compared with `data` (`measure_folder`).
        data, n, seed, steps, guidance, sampler, weights, checkpoint, ema: as in `EvaluationOptions`; data may
            be several, which are mixed.
        metrics: names, or one text with commas between them, or "all": these may download what they need;
            empty takes those that need no download.
        set: options of sampler and metrics, `data.weights` of a mix, `{"sampler.eta": 1}`; or strings.
        write: keep images and numbers in RUN/evaluations; for an export in ./outputs; of a folder, nothing.
        plugins: files of plugins that the run or a metric needs.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        UserError: what is no run, an option that does not fit, a folder that cannot be written, or not one
            metric that could be measured.

    Example:
        >>> result = t2ikit.evaluate("runs/imagen-001", metrics="prompt-accuracy", n=64)
        >>> result.measures["prompt-accuracy/joint"].value
    """
    options = _options(data, metrics, n, seed, steps, guidance, sampler, set, weights, checkpoint, ema)
    if images is not None and run is None:
        return measure_folder(images, options, plugins=plugins)
    evaluator = Evaluator(_only(run, images), options, plugins=plugins, device=device)
    if write:
        return measure_and_write(evaluator)
    result = evaluator.measure()
    check_measured([result])
    return result


@checked
def sweep(
    run: Run | str | Path | None,
    axes: Mapping[str, Sequence[Any]] | Sequence[str],
    *,
    data: str | Path | Sequence[str | Path] | None = None,
    metrics: str | Sequence[str] = (),
    n: int = 256,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
    set: Settings = None,
    weights: str = "ema",
    checkpoint: int | None = None,
    ema: float | None = None,
    plugins: Plugins = (),
    device: str = "auto",
) -> Sweep:
    """Evaluate a run at every combination of sampler options, as `t2ikit evaluate --sweep` does.

    Each evaluation is written into the run's folder as soon as it is made, and read where it was made before.

    Args:
        run: a run, its folder, hf:OWNER/NAME or creatures.
        axes: options of the sampler with their values, `{"guidance": [1, 3, 5]}`, or strings as after
            `--sweep`; `ema` is the length of the average. The first changes slowest.
        data, metrics, n, seed, steps, guidance, sampler, set, weights, checkpoint, ema, plugins, device: as
            in `evaluate`.

    Returns:
        The evaluations (`.evaluations`, in the order of `.points`), as a table of text (`.text()`), and the
        file of a grid with a column for each combination (`.grid`).

    Raises:
        UserError: as in `evaluate`; or a value that does not fit the sampler, before anything is sampled.

    Example:
        >>> found = t2ikit.sweep("runs/imagen-001", {"guidance": [1, 3, 5]}, metrics="colours", n=64)
        >>> print(found.text())
    """
    options = _options(data, metrics, n, seed, steps, guidance, sampler, set, weights, checkpoint, ema)
    combined = read_axes(axes)
    return sweep_and_write(Evaluator(_only(run, None), options, plugins=plugins, device=device), combined)


@checked
def compare(
    runs: Run | str | Path | Sequence[Run | str | Path],
    *,
    out: str | Path | None = None,
    prompts: str | Sequence[str] = (),
    data: str | Path | Sequence[str | Path] | None = None,
    metrics: str | Sequence[str] = (),
    n: int = 256,
    seed: int = 0,
    set: Settings = None,
    plugins: Plugins = (),
    device: str = "auto",
) -> ComparisonReport:
    """Compare runs in one HTML page: numbers, images of the same prompts, training, recipes.

    Each run is evaluated as `evaluate` does, unless it was before with the same options.

    Args:
        runs: two to twelve runs, their folders, or such names.
        out: HTML file to write; None writes none.
        prompts: to sample side by side; empty takes some of those that are measured.
        data, metrics, n, seed, set, plugins, device: as in `evaluate`.

    Returns:
        The page (`.html`), which `.save(path)` writes, and what it shows (`.comparison`).

    Raises:
        UserError: too few or too many runs, one that cannot be evaluated, or a file that cannot be written.

    Example:
        >>> t2ikit.compare(["runs/imagen-001", "runs/gigagan-001"], out="report.html", n=64)
    """
    if out is not None:
        check_report(Path(out))
    options = _options(data, metrics, n, seed, set=set)
    several = [runs] if isinstance(runs, (Run, str, Path)) else list(runs)
    shown = [prompts] if isinstance(prompts, str) else list(prompts)
    comparison = compare_runs(several, options, shown, plugins=plugins, device=device, log=log)
    report = ComparisonReport(render(comparison), comparison)
    if out is not None:
        report.save(out)
    return report


def _only(run: Run | str | Path | None, images: str | Path | None) -> Run | str | Path:
    """The run to evaluate.

    Raises:
        UserError: there is none, or a folder of images as well.
    """
    if run is not None and images is None:
        return run
    raise UserError(
        "there is no run to evaluate" if run is None else f"{option('images')} does not go with a run",
        expected=f"a run folder, or {option('images')} FOLDER in its place; a sweep takes a run",
        got="no run" if run is None else f"{run} and {option('images')} {images}",
        fix="t2ikit evaluate RUN, or t2ikit evaluate --images FOLDER --data SPEC",
    )


def _options(
    data: str | Path | Sequence[str | Path] | None,
    metrics: str | Sequence[str],
    n: int,
    seed: int,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
    set: Settings = None,
    weights: str = "ema",
    checkpoint: int | None = None,
    ema: float | None = None,
) -> EvaluationOptions:
    return EvaluationOptions(
        data=None if data is None else as_spec(data),
        metrics=_names(metrics),
        n=n,
        seed=seed,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
        settings=as_settings(set),
        weights=weights,
        checkpoint=checkpoint,
        ema=ema,
    )


def _names(metrics: str | Sequence[str]) -> list[str]:
    """Names of metrics, of which a text has commas between them.

    Raises:
        UserError: a text without one.
    """
    if not isinstance(metrics, str):
        return list(metrics)
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    if not names:
        raise UserError(
            f"{option('metrics')}: there is nothing to measure",
            expected="names separated by commas; `t2ikit plugins` lists them",
            got="no name",
            fix=f"leave {option('metrics')} out for those that need no download, or give all",
        )
    return names
