"""A dataset opened to be looked at, not to be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from t2ikit.config.toml import apply_settings, validate
from t2ikit.core.interfaces import Dataset
from t2ikit.data.configs import CaptionedConfig
from t2ikit.errors import UserError, command
from t2ikit.recipes.recipe import find_dataset
from t2ikit.registry.registry import Registry


def open_dataset(registry: Registry, spec: str, settings: Sequence[str]) -> Dataset:
    """Build the dataset that a SPEC names, however much of it is unusable.

    Args:
        registry: where datasets are looked up.
        spec: as after --data.
        settings: `data.KEY=VALUE` strings.

    Raises:
        UserError: there is no such dataset, or nothing in it that can be used.
    """
    entry = find_dataset(registry, spec)
    captioned = issubclass(entry.spec.config, CaptionedConfig)
    table: dict[str, Any] = {"spec": spec, **({"max_bad": 1.0} if captioned else {})}
    table = apply_settings({"data": table}, tuple(settings))
    others = sorted(set(table) - {"data"})
    if others:
        raise UserError(
            f"--set {others[0]}: this is no option of the data",
            expected="data.KEY=VALUE",
            got=", ".join(settings),
            fix=f"`{command('t2ikit', 'options', entry.spec.name)}` shows what can be set",
        )
    config = validate(entry.spec.config, table["data"], where="--set", key="data")
    dataset: Dataset = entry.spec.build(config, None)
    return dataset
