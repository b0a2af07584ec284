"""The data whose prompts and images a run is measured on."""

from __future__ import annotations

from typing import Any

from t2ikit.config.validation import validate
from t2ikit.core.interfaces import Dataset
from t2ikit.errors import UserError
from t2ikit.recipes.datasets import data_of_run, find_dataset
from t2ikit.registry.registry import Registry
from t2ikit.runs.plugins import check_present
from t2ikit.runs.run import Run


def evaluation_data(run: Run, registry: Registry, spec: str | None) -> Dataset:
    """The dataset whose prompts are used: the run's own, or the one a SPEC names.

    Raises:
        UserError: there is none, or it cannot be used; the run's own may be of a plugin that is not here.
    """
    kept = {key: value for key, value in run.table["data"].items() if key != "splits"}
    table = _own_data(run, registry) if spec is None else {**kept, "spec": spec}
    entry = find_dataset(registry, table["spec"])
    own = {key: value for key, value in table.items() if key in entry.spec.config.model_fields}
    config = validate(entry.spec.config, own, where=str(run.path / "recipe.toml"), key="data")
    dataset: Dataset = entry.spec.build(config, None)
    return dataset


def _own_data(run: Run, registry: Registry) -> dict[str, Any]:
    try:
        return data_of_run(registry, run.table["data"])
    except UserError:
        check_present(str(run.path), run.info["plugins"], registry)
        raise
