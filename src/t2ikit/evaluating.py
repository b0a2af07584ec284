"""`t2ikit evaluate` in code: prompts of a dataset, pictures of a run, metrics of both."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from t2ikit import __version__
from t2ikit.compose import Model, build_sampler
from t2ikit.config import parse_setting, validate
from t2ikit.errors import UserError
from t2ikit.evaluation_pictures import Costs, Pictures, costs, draw_all, reference, telling
from t2ikit.given import real_pictures
from t2ikit.interfaces import Dataset, Drawn, Measure, NotMeasured
from t2ikit.metrics.chosen import Failed, choose_metrics
from t2ikit.metrics.identity import versions
from t2ikit.recipe import SAMPLING, find_dataset, resolve
from t2ikit.registry import Registry
from t2ikit.run import Run, open_run
from t2ikit.sampling.open import check_call, named_sampler, open_model, sampling_table

ENOUGH = 100
"""Pictures below which every number is to be read with care."""


@dataclass(frozen=True)
class Question:
    """What to draw and measure.

    Attributes:
        data: a SPEC; None takes the run's own data.
        metrics: names; empty takes all that are installed.
        n: prompts, one picture each; as many as are different.
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
class Drawing:
    """Pictures that were drawn and not measured yet.

    Attributes:
        drawn: the pictures, as metrics see them.
        costs: of drawing; depends on the machine.
        settings: what numbers of these pictures depend on.
    """

    drawn: Drawn = field(repr=False)
    costs: Costs
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """Of its folder."""
        return name_of(self.settings)


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and on what.

    Attributes:
        measures: by metric and name, as "prompt-accuracy/colour".
        not_measured: by metric, what is missing.
        settings: run, checkpoint step, data, prompts, sampler, seeds: what the numbers depend on.
        costs: of drawing; depends on the machine.
        drawn: the pictures that were measured; of one that was read from its folder, the first of them.
        failed: those metrics of `not_measured` that lack nothing, but raised an error.
        notes: what should be known before the numbers are read.
    """

    measures: dict[str, Measure]
    not_measured: dict[str, str]
    settings: dict[str, Any]
    costs: Costs
    drawn: Drawn = field(repr=False)
    failed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of its folder."""
        return name_of(self.settings)

    def table(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "settings": self.settings,
            "costs": asdict(self.costs),
            "notes": list(self.notes),
            "measures": {name: asdict(measure) for name, measure in self.measures.items()},
            "not_measured": self.not_measured,
            "failed": list(self.failed),
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

    Attributes:
        prompts: each once, so fewer than the question asks for where the data has no more.

    Raises:
        UserError: what is not a run, an unknown metric, or an option that does not fit.
    """

    def __init__(
        self, path: Path, question: Question, *, plugins: Sequence[str] = (), device: str = "auto"
    ) -> None:
        self.run, self.question = open_run(path), question
        self.registry = Registry.load(plugins)
        for_sampler, for_metrics = _sort_settings(question.settings)
        self._sampler, self._told = named_sampler(question.sampler, for_sampler)
        self.metrics = choose_metrics(self.registry, question.metrics, for_metrics)
        self.model = open_model(
            self.run,
            sampler=self._sampler,
            settings=self._told,
            weights=question.weights,
            checkpoint=question.checkpoint,
            plugins=plugins,
            device=device,
        )
        check_call(self.model, "steps", question.steps)
        check_call(self.model, "guidance", question.guidance)
        self.dataset = evaluation_data(self.run, self.registry, question.data)
        # A picture depends on its prompt and the seed alone: a prompt that came again would count twice.
        self.prompts = list(dict.fromkeys(self.dataset.prompts(question.n, question.seed)))
        self.step = self.run.step(question.checkpoint)
        self._notes = _few(len(self.prompts), question.n)
        if question.data is None and self.dataset.trained_prompts:
            self._notes.append("the prompts are captions of training images: this run held none out")
        self._reference: Pictures | None = None

    def sampling_model(self, changes: dict[str, str]) -> Model:
        """The model with options of its sampler changed, as `{"guidance": "3"}`; its weights are shared.

        Raises:
            UserError: an option that the sampler does not have, or a value out of bounds.
        """
        if not changes:
            return self.model
        changes = {key.removeprefix("sampler."): value for key, value in changes.items()}
        use, told = changes.pop("use", None), self._told
        if use is not None:  # what was told is of the samplers that know it
            known = self.registry.find("samplers", use).spec.config.model_fields
            told = [setting for setting in told if parse_setting(setting)[0][1] in known]
        settings = told + [f"sampler.{key}={value}" for key, value in changes.items()]
        where = str(self.run.path / "recipe.toml")
        table = sampling_table(self.registry, self.run.table, use or self._sampler, settings)
        recipe = resolve(self.registry, table, where, settings=settings, only=SAMPLING)
        sampler = build_sampler(recipe.parts["sampler"], self.model.context, self.model.generator)
        return replace(self.model, recipe=recipe, sampler=sampler)

    def measure(self, changes: dict[str, str] | None = None) -> Evaluation:
        """Draw and measure; `changes` are options of the sampler for this time, as in `sampling_model`.

        Raises:
            UserError: a change that does not fit the sampler.
        """
        return self.compute(self.draw(changes))

    def draw(self, changes: dict[str, str] | None = None) -> Drawing:
        """Draw what `compute` measures.

        Raises:
            UserError: a change that does not fit the sampler.
        """
        question, call = self.question, self._call(changes or {})
        model, beside = self.sampling_model(changes or {}), self._beside()
        with costs(model, len(self.prompts) + self.again * question.copies) as spent:
            drawn = draw_all(model, beside, replace(question, again=self.again), call)
        return Drawing(drawn, spent(), self.settings(changes))

    def compute(self, drawing: Drawing) -> Evaluation:
        """Measure what was drawn; a metric that fails leaves the others alone."""
        measures: dict[str, Measure] = {}
        missing: dict[str, str] = {}
        failed = []
        for name, metric in self.metrics.items():
            telling(f"measuring {name}")
            try:
                found = metric.measure(drawing.drawn)
            except NotMeasured as error:
                missing[name] = str(error)
                failed += [name] * isinstance(error, Failed)
            else:
                measures |= {f"{name}/{label}": measure for label, measure in found.items()}
        of_pictures = (drawing.settings, drawing.costs, drawing.drawn)
        return Evaluation(measures, missing, *of_pictures, tuple(failed), tuple(self._notes))

    @property
    def again(self) -> int:
        """Prompts that are drawn several times: none where no metric looks at that."""
        wanted = any(metric.wants_again for metric in self.metrics.values())
        return min(self.question.again, len(self.prompts)) if wanted else 0

    def _beside(self) -> Pictures:
        """What drawings are compared with, read once."""
        if self._reference is None:
            seed = self.question.seed
            self._reference = reference(self.dataset, self.prompts, seed, self._trained_on())
            if self._reference.real is None:  # a model that enlarges pictures cannot do without
                real_pictures(self.model.generator, self.dataset, self.prompts, seed)
        return self._reference

    def _trained_on(self) -> Dataset | None:
        """The run's own data, whatever the prompts are of; None where it cannot be opened."""
        if self.question.data is None:
            return self.dataset
        try:
            return evaluation_data(self.run, self.registry, None)
        except UserError as error:
            self._notes.append(f"the run's own data cannot be opened: {error.what}")
            return None

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
            "n": len(self.prompts),
            "again": [self.again, self.question.copies],
            "seed": self.question.seed,
            "sampler": model.recipe.parts["sampler"].table(),
            "steps": call["steps"] or model.sampler.steps,
            "guidance": model.sampler.guidance if call["guidance"] is None else call["guidance"],
            "metrics": {name: metric.table() for name, metric in self.metrics.items()},
            "device": str(model.context.device),
            "versions": {
                "t2ikit": __version__,
                "python": platform.python_version(),
                **versions("torch", "diffusers", "transformers", "numpy", "pillow"),
            },
        }


def _few(count: int, asked: int) -> list[str]:
    """What should be known of a number of prompts."""
    notes = []
    if count < asked:
        notes.append(f"only {count} different captions; -n {asked} asked")
    if count < ENOUGH:
        notes.append(
            f"{count} pictures are few: intervals are wide, and distances, precision and recall depend on "
            "their number; compare at equal -n alone"
        )
    return notes


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


def check_measured(evaluations: Sequence[Evaluation]) -> None:
    """Say so where nothing is there that a metric could be computed with.

    Raises:
        UserError: there is not one measure.
    """
    if any(found.measures or found.failed for found in evaluations):
        return
    reasons = evaluations[0].not_measured
    raise UserError(
        "nothing could be measured",
        expected="at least one of: " + ", ".join(reasons),
        got="; ".join(f"{name} {reason}" for name, reason in reasons.items()),
        fix="get what is missing, or choose others with --metrics (`t2ikit plugins` lists them)",
    )
