"""What the Hub reads of a model card: licence, datasets, figures, and a prompt to try."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from t2ikit.data.mixing.config import specs_in
from t2ikit.recipes.compose import Model
from t2ikit.runs.run import Run
from t2ikit.utils.quoting import visible


@dataclass(frozen=True)
class Known:
    """Of a dataset that comes with t2ikit.

    Attributes:
        licence: that models trained on it may have, by the Hub's names.
        prompt: one that they know.
    """

    licence: str
    prompt: str


KNOWN = {
    "creatures": Known("apache-2.0", "a green cat with red eyes"),
    "openmoji": Known("cc-by-sa-4.0", "red apple"),  # whose share-alike holds for what is made from it
    "fluent-emoji": Known("mit", "red apple"),
}


def metadata(run: Run, model: Model, measures: Mapping[str, Mapping[str, Any]]) -> ModelCardData:
    """The card's YAML.

    Args:
        run: what was exported.
        model: the run's.
        measures: by name, as an evaluation.json has them: those that the card states.
    """
    task = "text-to-image" if model.generator.super_resolution is None else "image-to-image"
    spec = str(run.table["data"]["spec"])
    hub = [one.removeprefix("hf:").partition(":")[0] for one in specs_in(spec) if one.startswith("hf:")]
    prompt = _prompt(run) if task == "text-to-image" else None
    return ModelCardData(
        library_name="diffusers",
        license=licence_of(run),
        datasets=hub or None,
        model_name=visible(run.name),
        pipeline_tag=task,
        tags=["t2ikit", task],
        eval_results=[_result(task, run, name, one) for name, one in measures.items() if _finite(one)]
        or None,
        widget=[{"text": prompt}] if prompt else None,
    )


def licence_of(run: Run) -> str | None:
    """The licence that a model has from its data; None: only who trained it can tell.

    Weights that it began with count, too: they must be of the same data.
    """
    known, data = KNOWN.get(run.table["data"]["spec"]), run.info["data_fingerprint"]
    origin = run.info.get("origin")
    while isinstance(origin, Mapping):
        known = known if origin.get("data") == data else None
        origin = origin.get("origin")
    return known.licence if known else None


def _prompt(run: Run) -> str | None:
    """The first validation prompt of the recipe, or one that a dataset of t2ikit has."""
    known = KNOWN.get(run.table["data"]["spec"])
    of_recipe = run.table["train"].get("prompts") or [known.prompt if known else ""]
    return visible(str(of_recipe[0])) or None


def _finite(measure: Mapping[str, Any]) -> bool:
    return math.isfinite(measure["value"])


def _result(task: str, run: Run, name: str, measure: Mapping[str, Any]) -> EvalResult:
    data = visible(str(run.table["data"]["spec"]))
    return EvalResult(
        task_type=task,
        dataset_type=data,
        dataset_name=data,
        dataset_revision=visible(str(run.info["data_fingerprint"])),
        metric_type=visible(name),
        metric_value=float(f"{measure['value']:.4g}"),
        metric_name=visible(f"{name}, {measure['unit']}" if measure["unit"] else name),
    )
