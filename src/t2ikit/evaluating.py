"""`t2ikit evaluate` in code: prompts of a dataset, pictures of a run, metrics of both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from t2ikit import checkpoint as ckpt
from t2ikit.config import validate
from t2ikit.drawing import check_call, open_model
from t2ikit.errors import UserError
from t2ikit.files import write_json
from t2ikit.interfaces import Dataset, Measure, Metric
from t2ikit.progress import counting
from t2ikit.recipe import find_dataset
from t2ikit.registry import Registry
from t2ikit.run import Run, open_run
from t2ikit.sample import sample

METRICS = ("prompt-accuracy",)


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and on what.

    Attributes:
        measures: by metric and name, as "prompt-accuracy/colour".
        settings: run, checkpoint step, data, prompts, sampler, seeds: what the numbers depend on.
        seconds: for drawing the pictures.
    """

    measures: dict[str, Measure]
    settings: dict[str, Any]
    seconds: float

    def table(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "settings": self.settings,
            "seconds": self.seconds,
            "measures": {name: asdict(measure) for name, measure in self.measures.items()},
        }


def evaluation_data(run: Run, registry: Registry, spec: str | None) -> Dataset:
    """The dataset whose prompts are used: the run's own, or the one a SPEC names."""
    table = {**run.table["data"], **({"spec": spec} if spec is not None else {})}
    entry = find_dataset(registry, table["spec"])
    own = {key: value for key, value in table.items() if key in entry.spec.config.model_fields}
    config = validate(entry.spec.config, own, where=str(run.path / "recipe.toml"), key="data")
    dataset: Dataset = entry.spec.build(config, None)
    return dataset


def evaluate(
    path: Path,
    *,
    data: str | None = None,
    metrics: Sequence[str] = METRICS,
    n: int = 256,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
    settings: Sequence[str] = (),
    weights: str = "ema",
    plugins: Sequence[str] = (),
    device: str = "auto",
) -> Evaluation:
    """Draw one picture for each of `n` prompts the run was not trained on, and measure them.

    Raises:
        UserError: what is not a run, an unknown metric, or one that cannot read these prompts.
    """
    run = open_run(path)
    registry = Registry.load(plugins)
    built = _metrics(registry, metrics)
    model = open_model(
        run, sampler=sampler, settings=settings, weights=weights, plugins=plugins, device=device
    )
    check_call(model, "steps", steps)
    check_call(model, "guidance", guidance)
    dataset = evaluation_data(run, registry, data)
    prompts = dataset.prompts(n, seed)
    began = time.perf_counter()
    with counting("drawing") as progress:
        images = sample(model, prompts, seed=seed, steps=steps, guidance=guidance, progress=progress)
    seconds = time.perf_counter() - began
    measures = {
        f"{metric}/{name}": measure
        for metric, compute in built.items()
        for name, measure in compute(images, prompts, dataset).items()
    }
    facts = {
        "run": path.name,
        "step": ckpt.load_latest(path)[0].step,
        "weights": weights,
        "data": dataset.fingerprint,
        "n": n,
        "seed": seed,
        "sampler": model.recipe.parts["sampler"].table(),
        "steps": steps or model.sampler.steps,
        "guidance": model.sampler.guidance if guidance is None else guidance,
    }
    return Evaluation(measures, facts, seconds)


def _metrics(registry: Registry, names: Sequence[str]) -> dict[str, Metric]:
    """The metrics called so, built, by their short names."""
    if not names:
        raise UserError(
            "--metrics: there is nothing to measure",
            expected="names separated by commas: "
            + ", ".join(entry.spec.name for entry in registry.entries("metrics")),
            got="no name",
            fix="leave --metrics out for " + ", ".join(METRICS),
        )
    specs = [registry.find("metrics", name).spec for name in names]
    return {spec.name: spec.build(spec.config(), None) for spec in specs}


def check_target(path: Path) -> None:
    """Refuse a file for the numbers that cannot be written, before anything is computed.

    Raises:
        UserError: its folder is missing, or it is a folder itself.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(
            f"--json {path}: the file cannot be written",
            expected="a file in a folder that exists",
            got="a folder" if path.is_dir() else f"there is no folder {path.parent}",
            fix="choose another path, or make the folder",
        )


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation as JSON.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        write_json(path, evaluation.table())
    except OSError as error:
        raise UserError(
            f"--json {path}: the file cannot be written",
            expected="a path in a folder that exists and can be written",
            got=error,
            fix="choose another path",
        ) from error


def describe(evaluation: Evaluation) -> str:
    """The numbers as lines of text."""
    lines = []
    for name, measure in evaluation.measures.items():
        interval = "" if measure.low is None else f"  [{measure.low:.1f}, {measure.high:.1f}]"
        lines.append(f"{name:<44} {measure.value:6.1f} {measure.unit:<2}{interval:<16}  n={measure.n}")
    return "\n".join(lines)
