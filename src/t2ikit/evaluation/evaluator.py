"""`t2ikit evaluate` in code: prompts of a dataset, images of a run, metrics of both."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from t2ikit import __version__
from t2ikit.config.toml import parse_setting
from t2ikit.core.metric import Measure, NotMeasured
from t2ikit.errors import UserError
from t2ikit.evaluation.data import evaluation_data, is_of_the_mix
from t2ikit.evaluation.images import canvas_of, described, sample_image_set, stacked, training_images
from t2ikit.evaluation.lengths import EMA, Lengths
from t2ikit.evaluation.results import EvaluationOptions, EvaluationResult
from t2ikit.metrics.downloads import Needs
from t2ikit.metrics.identity import versions
from t2ikit.metrics.intervals import FEWEST
from t2ikit.metrics.selection import Failed, SelectedMetric, fetch_missing, select_metrics
from t2ikit.recipes.compose import Model, build_sampler
from t2ikit.recipes.recipe import SAMPLING
from t2ikit.recipes.resolve import resolve
from t2ikit.recipes.settings import Plugins
from t2ikit.runs.open import as_run, plugins_of
from t2ikit.runs.run import Run
from t2ikit.sampling.costs import measure_costs
from t2ikit.sampling.low_res import real_images
from t2ikit.sampling.open import Guides, check_call, named_sampler, open_model, sampling_table
from t2ikit.utils.progress import phase

ENOUGH = 100
"""Images below which every number is to be read with care."""


class Evaluator:
    """A run that is opened once and measured any number of times, as a sweep does.

    Args:
        run: a run, its folder or name.
        options: what to sample and measure.
        plugins: ./file.py plugins that the run or a metric needs.
        device: where to compute.

    Attributes:
        prompts: each once, so fewer than the options ask for where the data has no more.

    Raises:
        UserError: what is not a run, an unknown metric, or an option that does not fit.
    """

    def __init__(
        self,
        run: Run | str | Path,
        options: EvaluationOptions,
        *,
        plugins: Plugins = (),
        device: str = "auto",
    ) -> None:
        self.run, self.options = as_run(run), options
        self.registry = plugins_of(self.run, plugins)
        weights = [setting for setting in options.settings if is_of_the_mix(setting)]
        others = [setting for setting in options.settings if setting not in weights]
        for_sampler, for_metrics = sort_settings(others)
        self._sampler, self._sampler_settings = named_sampler(options.sampler, for_sampler)
        self.metrics = select_metrics(self.registry, options.metrics, for_metrics)
        self._guides = Guides(self.run, self.registry)
        self.model = open_model(
            self.run,
            sampler=self._sampler,
            settings=self._sampler_settings,
            weights=options.weights,
            checkpoint=options.checkpoint,
            ema=options.ema,
            plugins=plugins,
            device=device,
            guides=self._guides,
        )
        self._lengths = Lengths(self.run, self.model, options.ema)
        check_call(self.model, "steps", options.steps)
        check_call(self.model, "guidance", options.guidance)
        self.dataset = evaluation_data(self.run, self.registry, options.data, weights)
        # An image depends on its prompt and the seed alone: a repeated prompt would count twice.
        self.prompts = list(dict.fromkeys(self.dataset.prompts(options.n, options.seed)))
        self.step = self.model.step or 0
        self._canvas = canvas_of(self.model, self.dataset, self.prompts, options.seed)
        self._notes = few(len(self.prompts), options.n) + described(self._canvas)
        if options.data is None and self.dataset.trained_prompts:
            self._notes.append("the prompts are captions of training images: this run held none out")
        self.metrics = fetch_missing(self.metrics, asked=bool(options.metrics))  # after all else is in order

    def sampling_model(self, changes: dict[str, str]) -> Model:
        """The model with options of its sampler changed, as `{"guidance": "3"}`; its weights are shared.

        `ema`, the length of the average, is checked alone: `sample` has other weights while it samples.

        Raises:
            UserError: an option that the sampler does not have, or a value out of bounds.
        """
        changes = {key.removeprefix("sampler."): value for key, value in changes.items() if key != EMA}
        if not changes:
            return self.model
        use, settings = changes.pop("use", None), self._sampler_settings
        if use is not None:  # keep the settings that it knows
            known = self.registry.find("samplers", use).spec.config.model_fields
            settings = [setting for setting in settings if parse_setting(setting)[0][1] in known]
        settings = settings + [f"sampler.{key}={value}" for key, value in changes.items()]
        where = str(self.run.path / "recipe.toml")
        table = sampling_table(self.registry, self.run.table, use or self._sampler, settings)
        recipe = resolve(self.registry, table, where, settings=settings, only=SAMPLING)
        sampler = build_sampler(recipe.parts["sampler"], self.model.context, self.model.generator)
        return self._guides.attach(replace(self.model, recipe=recipe, sampler=sampler))

    def measure(self, changes: dict[str, str] | None = None) -> EvaluationResult:
        """Sample and measure; `changes` are options of the sampler for this time, as in `sampling_model`.

        Raises:
            UserError: a change that does not fit the sampler.
        """
        return self.compute(self.sample(changes))

    def sample(self, changes: dict[str, str] | None = None) -> EvaluationResult:
        """Sample the images that `compute` measures: a result without measures.

        Raises:
            UserError: a change that does not fit the sampler.
        """
        model, options = self.sampling_model(changes or {}), self._call(changes or {})
        compared = (self.prompts, self.dataset, self._real, self._train)
        repeats = (self.repeated_prompts, self.options.images_per_prompt)
        options |= {"seed": self.options.seed, "repeats": repeats, "canvas": self._canvas}
        weights = self._lengths.averaged(changes or {})
        with weights, measure_costs(model, len(self.prompts) + repeats[0] * repeats[1]) as spent:
            images = sample_image_set(model, *compared, **options)
        return EvaluationResult(
            measures={},
            not_measured={},
            costs=spent(),
            settings=self.settings(changes),
            image_set=images,
            notes=tuple(self._notes),
            checkpoint_notes=self.model.notes,
            needs=self.needs,
        )

    def compute(self, sampled: EvaluationResult) -> EvaluationResult:
        """Measure sampled images; a metric that fails leaves the others alone."""
        return measured(self.metrics, sampled)

    @property
    def needs(self) -> dict[str, Needs]:
        """By metric, what it lacks that can be installed or downloaded."""
        return {name: metric.needs for name, metric in self.metrics.items() if metric.needs}

    @property
    def repeated_prompts(self) -> int:
        """Prompts of which several images are sampled: none where no metric looks at them."""
        used = any(metric.uses_images_per_prompt for metric in self.metrics.values())
        return min(self.options.repeated_prompts, len(self.prompts)) if used else 0

    @cached_property
    def _real(self) -> Tensor | None:
        """Real images (N, 3, H, W) of the prompts."""
        seed = self.options.seed
        found = self.dataset.images(self.prompts, seed)
        if found is None:  # which a model that upscales images cannot do without
            return real_images(self.model.generator, self.dataset, self.prompts, seed)
        return stacked(found, self._canvas)

    @cached_property
    def _train(self) -> Tensor | None:
        """Training images of the run, whatever data the prompts are of; None where they cannot be opened."""
        if self.options.data is None:
            return training_images(self.dataset, self._canvas)
        try:
            own = evaluation_data(self.run, self.registry, None)
        except UserError as error:
            self._notes.append(f"the run's own data cannot be opened: {error.what}")
            return None
        return training_images(own, self._canvas)

    def _call(self, changes: dict[str, str]) -> dict[str, Any]:
        """Steps and guidance for one call of the sampler; None where the sampler's own are meant."""
        return {
            "steps": None if "steps" in changes else self.options.steps,
            "guidance": None if "guidance" in changes else self.options.guidance,
        }

    def settings(self, changes: dict[str, str] | None = None) -> dict[str, Any]:
        """What the numbers of `measure` depend on."""
        model, call = self.sampling_model(changes or {}), self._call(changes or {})
        ema = self._lengths.of(changes or {})
        return {
            "run": self.run.name,
            "step": self.step,
            "weights": self.options.weights,
            **({} if ema is None else {"ema": ema}),
            **self._guides.about(model),
            "data": self.dataset.fingerprint,
            "n": len(self.prompts),
            "again": [self.repeated_prompts, self.options.images_per_prompt],
            "seed": self.options.seed,
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


def measured(metrics: Mapping[str, SelectedMetric], result: EvaluationResult) -> EvaluationResult:
    """A result with what the metrics say of its images; one that fails leaves the others alone."""
    assert result.image_set is not None
    measures: dict[str, Measure] = {}
    missing: dict[str, str] = {}
    failed = []
    for name, metric in metrics.items():
        try:
            with phase(f"measuring {name}"):
                found = metric.measure(result.image_set)
        except NotMeasured as error:
            missing[name] = str(error)
            failed += [name] * isinstance(error, Failed)
        else:
            measures |= {f"{name}/{label}": measure for label, measure in found.items()}
    return replace(result, measures=measures, not_measured=missing, failed=tuple(failed))


def few(count: int, asked: int) -> list[str]:
    """What should be known of a number of prompts or images."""
    notes = []
    if count < asked:
        notes.append(f"only {count} different captions; -n {asked} asked")
    images = f"{count} image is" if count == 1 else f"{count} images are"
    if count < FEWEST:
        notes.append(f"{images} too few for distances, and for intervals of means, which need {FEWEST}")
    elif count < ENOUGH:
        notes.append(
            f"{images} few: intervals are wide, and distances, precision and recall depend on their number; "
            "compare at equal -n alone"
        )
    return notes


def measure_run(
    run: Run | str | Path,
    options: EvaluationOptions | None = None,
    *,
    plugins: Plugins = (),
    device: str = "auto",
) -> EvaluationResult:
    """Sample one image for each of a number of prompts the run was not trained on, and measure them.

    Nothing is written.

    Raises:
        UserError: what is not a run, an unknown metric, or an option that does not fit.
    """
    return Evaluator(run, options or EvaluationOptions(), plugins=plugins, device=device).measure()


def sort_settings(settings: Sequence[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
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
