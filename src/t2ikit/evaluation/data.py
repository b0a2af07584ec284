"""The data whose prompts and images a run is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from t2ikit.config.toml import apply_settings, parse_setting
from t2ikit.config.validation import validate
from t2ikit.core.interfaces import Dataset
from t2ikit.errors import UserError
from t2ikit.recipes.datasets import data_of_run, find_dataset
from t2ikit.registry.registry import Registry
from t2ikit.runs.plugins import check_present
from t2ikit.runs.run import Run


def is_of_the_mix(setting: str) -> bool:
    """Whether a setting is `data.weights=...`, the only one of the data that an evaluation of a run takes."""
    return parse_setting(setting)[0] == ("data", "weights")


def evaluation_data(run: Run, registry: Registry, spec: str | None, weights: Sequence[str] = ()) -> Dataset:
    """The dataset whose prompts are used: the run's own, or the one a SPEC names.

    Args:
        run: that is evaluated; the options of its data hold for another, but for the weights of a mix.
        registry: where datasets are looked up.
        spec: of another dataset, or of a mix.
        weights: settings `data.weights=...`, of a mix.

    Raises:
        UserError: there is none, or it cannot be used; the run's own may be of a plugin that is not here.
    """
    kept = {key: value for key, value in run.table["data"].items() if key not in ("splits", "weights")}
    table = _own_data(run, registry) if spec is None else {**kept, "spec": spec}
    entry = find_dataset(registry, table["spec"])
    own = {key: value for key, value in table.items() if key in entry.spec.config.model_fields}
    own = apply_settings({"data": own}, weights)["data"]
    where = "--set" if weights else str(run.path / "recipe.toml")
    config = validate(entry.spec.config, own, where=where, key="data")
    dataset: Dataset = entry.spec.build(config, None)
    return dataset


def _own_data(run: Run, registry: Registry) -> dict[str, Any]:
    try:
        return data_of_run(registry, run.table["data"])
    except UserError:
        check_present(str(run.path), run.info["plugins"], registry)
        raise
