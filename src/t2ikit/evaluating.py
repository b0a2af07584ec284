"""`t2ikit evaluate` in code: prompts of a dataset, pictures of a run, metrics of both."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from t2ikit import __version__
from t2ikit.compose import Model
from t2ikit.config import parse_setting, validate
from t2ikit.drawing import check_call, open_model
from t2ikit.errors import UserError
from t2ikit.evaluation_pictures import Costs, Pictures, costs, draw_all, reference
from t2ikit.given import real_pictures
from t2ikit.interfaces import Dataset, Drawn, Measure, Metric, NotMeasured
from t2ikit.recipe import find_dataset
from t2ikit.registry import Entry, Registry
from t2ikit.run import Run, open_run


@dataclass(frozen=True)
class Question:
    """What to draw and measure.

    Attributes:
        data: a SPEC; None takes the run's own data.
        metrics: names; empty takes all that are installed.
        n: prompts, one picture each.
        again: prompts that are drawn `copies` times more, for diversity.
        seed: what prompts and noise are drawn from.
        steps, guidance, sampler: as in `t2ikit sample`; None takes the recipe's.
        settings: sampler.KEY=VALUE and metrics.NAME.KEY=VALUE.
        weights: "ema" or "raw".
        checkpoint: step of the checkpoint; None takes the newest.
    """

    data: str | None = None
    metrics: Sequence[str] = ()
    n: int = 256
    again: int = 16
    copies: int = 4
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    settings: Sequence[str] = ()
    weights: str = "ema"
    checkpoint: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and on what.

    Attributes:
        measures: by metric and name, as "prompt-accuracy/colour".
        not_measured: by metric, what is missing.
        settings: run, checkpoint step, data, prompts, sampler, seeds: what the numbers depend on.
        costs: of drawing; depends on the machine.
        drawn: the pictures that were measured.
    """

    measures: dict[str, Measure]
    not_measured: dict[str, str]
    settings: dict[str, Any]
    costs: Costs
    drawn: Drawn = field(repr=False)

    @property
    def name(self) -> str:
        """Of its folder."""
        return name_of(self.settings)

    def table(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "settings": self.settings,
            "costs": asdict(self.costs),
            "measures": {name: asdict(measure) for name, measure in self.measures.items()},
            "not_measured": self.not_measured,
        }


def name_of(settings: dict[str, Any]) -> str:
    """Names the checkpoint and, by a hash, everything else that numbers depend on."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=4)
    return f"step-{settings['step']:08d}-{digest.hexdigest()}"


class Evaluator:
    """A run that is opened once and measured as often as is asked, as a sweep does.

    Args:
        path: the run folder.
        question: what to measure.
        plugins: ./file.py plugins that the run or a metric needs.
        device: where to compute.

    Raises:
        UserError: what is not a run, an unknown metric, or an option that does not fit.
    """

    def __init__(
        self, path: Path, question: Question, *, plugins: Sequence[str] = (), device: str = "auto"
    ) -> None:
        self.run, self.question = open_run(path), question
        self.plugins, self.device = plugins, device
        self.registry = Registry.load(plugins)
        self._for_sampler, for_metrics = _sort_settings(question.settings)
        self.metrics = build_metrics(self.registry, question.metrics, for_metrics)
        self.model = self._model(question.sampler, self._for_sampler)
        check_call(self.model, "steps", question.steps)
        check_call(self.model, "guidance", question.guidance)
        self.dataset = evaluation_data(self.run, self.registry, question.data)
        self.prompts = self.dataset.prompts(question.n, question.seed)
        self.step = self.run.step(question.checkpoint)
        self._reference: Pictures | None = None

    def _model(self, sampler: str | None, settings: Sequence[str]) -> Model:
        options: dict[str, Any] = {
            "weights": self.question.weights,
            "checkpoint": self.question.checkpoint,
            "plugins": self.plugins,
            "device": self.device,
        }
        return open_model(self.run, sampler=sampler, settings=settings, **options)

    def sampling_model(self, changes: dict[str, str]) -> Model:
        """The model with options of its sampler changed, as `{"guidance": "3"}`.

        Raises:
            UserError: an option that the sampler does not have, or a value out of bounds.
        """
        if not changes:
            return self.model
        settings = [f"sampler.{key.removeprefix('sampler.')}={value}" for key, value in changes.items()]
        return self._model(self.question.sampler, [*self._for_sampler, *settings])

    def measure(self, changes: dict[str, str] | None = None) -> Evaluation:
        """Draw and measure; `changes` are options of the sampler for this time, as in `sampling_model`.

        Raises:
            UserError: a change that does not fit the sampler.
        """
        question, call = self.question, self._call(changes or {})
        model = self.sampling_model(changes or {})
        if self._reference is None:
            self._reference = reference(self.dataset, self.prompts, question.seed)
            if self._reference.real is None:  # a model that enlarges pictures cannot do without
                real_pictures(model.generator, self.dataset, self.prompts, question.seed)
        few = min(self.again, question.n)
        with costs(model.generator, question.n + few * question.copies) as spent:
            drawn = draw_all(model, self._reference, replace(question, again=few), call)
        measures, missing = self._compute(drawn)
        return Evaluation(measures, missing, self.settings(changes), spent(), drawn)

    @property
    def again(self) -> int:
        """Prompts that are drawn several times: none where no metric looks at that."""
        wanted = any(getattr(metric, "wants_again", False) for metric in self.metrics.values())
        return self.question.again if wanted else 0

    def _call(self, changes: dict[str, str]) -> dict[str, Any]:
        """Steps and guidance for one call of the sampler; None where the sampler's own are meant."""
        return {
            "steps": None if "steps" in changes else self.question.steps,
            "guidance": None if "guidance" in changes else self.question.guidance,
        }

    def settings(self, changes: dict[str, str] | None = None) -> dict[str, Any]:
        """What the numbers of `measure` depend on."""
        model, call = self.sampling_model(changes or {}), self._call(changes or {})
        return {
            "run": self.run.path.resolve().name,
            "step": self.step,
            "weights": self.question.weights,
            "data": self.dataset.fingerprint,
            "n": self.question.n,
            "again": [self.again, self.question.copies],
            "seed": self.question.seed,
            "sampler": model.recipe.parts["sampler"].table(),
            "steps": call["steps"] or model.sampler.steps,
            "guidance": model.sampler.guidance if call["guidance"] is None else call["guidance"],
            "metrics": {name: _options(metric) for name, metric in self.metrics.items()},
            "versions": {
                "t2ikit": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }

    def _compute(self, drawn: Drawn) -> tuple[dict[str, Measure], dict[str, str]]:
        measures: dict[str, Measure] = {}
        missing: dict[str, str] = {}
        for metric, compute in self.metrics.items():
            try:
                found = compute(drawn)
            except NotMeasured as error:
                missing[metric] = str(error)
                continue
            measures |= {f"{metric}/{name}": measure for name, measure in found.items()}
        return measures, missing


def evaluate(
    path: Path, question: Question | None = None, *, plugins: Sequence[str] = (), device: str = "auto"
) -> Evaluation:
    """Draw one picture for each of a number of prompts the run was not trained on, and measure them.

    Raises:
        UserError: what is not a run, an unknown metric, or an option that does not fit.
    """
    return Evaluator(path, question or Question(), plugins=plugins, device=device).measure()


def evaluation_data(run: Run, registry: Registry, spec: str | None) -> Dataset:
    """The dataset whose prompts are used: the run's own, or the one a SPEC names."""
    table = {**run.table["data"], **({"spec": spec} if spec is not None else {})}
    entry = find_dataset(registry, table["spec"])
    own = {key: value for key, value in table.items() if key in entry.spec.config.model_fields}
    config = validate(entry.spec.config, own, where=str(run.path / "recipe.toml"), key="data")
    dataset: Dataset = entry.spec.build(config, None)
    return dataset


def _sort_settings(settings: Sequence[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Settings of the sampler as they are, and those of metrics by their names."""
    for_sampler: list[str] = []
    for_metrics: dict[str, dict[str, Any]] = {}
    for setting in settings:
        key, value = parse_setting(setting)
        if key[0] == "sampler":
            for_sampler.append(setting)
        elif key[0] == "metrics" and len(key) == 3:
            for_metrics.setdefault(key[1], {})[key[2]] = value
        else:
            raise UserError(
                f"--set {setting}: evaluation takes options of the sampler and of metrics",
                expected="sampler.KEY=VALUE or metrics.NAME.KEY=VALUE",
                got=setting,
                fix="`t2ikit options NAME` prints the options of a sampler or metric",
            )
    return for_sampler, for_metrics


def build_metrics(
    registry: Registry, names: Sequence[str], options: dict[str, dict[str, Any]]
) -> dict[str, Metric]:
    """The metrics called so, all where no name is given, built, by their short names.

    Raises:
        UserError: an unknown metric, or options of none of them.
    """
    entries: list[Entry] = (
        [registry.find("metrics", name) for name in names] if names else list(registry.entries("metrics"))
    )
    unused = sorted(set(options) - {entry.spec.name for entry in entries})
    if unused:
        raise UserError(
            f"--set metrics.{unused[0]}: this metric is not measured",
            expected=", ".join(entry.spec.name for entry in entries),
            got=unused[0],
            fix="add it to --metrics, or check the name",
        )
    built: dict[str, Metric] = {}
    for entry in entries:
        name = entry.spec.name
        table = options.get(name, {})
        config = validate(entry.spec.config, table, where="--set", key=f"metrics.{name}")
        built[name] = entry.spec.build(config, None)
    return built


def _options(metric: Metric) -> dict[str, Any]:
    config = getattr(metric, "config", None)
    return {} if config is None else config.model_dump(mode="json")


def check_measured(evaluations: Sequence[Evaluation]) -> None:
    """Say so where no metric could be computed.

    Raises:
        UserError: there is not one measure.
    """
    if any(found.measures for found in evaluations):
        return
    reasons = evaluations[0].not_measured
    raise UserError(
        "nothing could be measured",
        expected="at least one of: " + ", ".join(reasons),
        got="; ".join(f"{name} {reason}" for name, reason in reasons.items()),
        fix="get what is missing, or choose others with --metrics (`t2ikit plugins` lists them)",
    )
