"""Datasets by SPEC: which one it names, in a recipe or to be looked at alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2ikit.config.base import DatasetConfig
from t2ikit.config.toml import apply_settings, load_toml, readable
from t2ikit.config.validation import validate
from t2ikit.data.configs import CaptionedConfig, before_splits
from t2ikit.data.mixing.config import as_spec, specs_in
from t2ikit.errors import UserError, command, did_you_mean, empty
from t2ikit.recipes.mixes import mixed_entry
from t2ikit.registry.registry import Entry, Registry

if TYPE_CHECKING:
    from t2ikit.core.interfaces import Dataset


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
    with readable(settings) as good:
        table = apply_settings({"data": table}, good)
        others = sorted(set(table) - {"data"})
        if others:
            raise UserError(
                f"--set {others[0]}: this is no option of the data",
                expected="data.KEY=VALUE",
                got=", ".join(good),
                fix=f"`{command('t2ikit', 'options', entry.spec.name)}` shows what can be set",
            )
        config = validate(entry.spec.config, table["data"], where="--set", key="data")
    dataset: Dataset = entry.spec.build(config, None)
    return dataset


def find_dataset(registry: Registry, spec: str) -> Entry:
    """The dataset that a SPEC names, or that accepts it; a mix of those that several name.

    Raises:
        UserError: no dataset knows what to do with it.
    """
    if not spec.strip():
        raise empty("--data")
    specs = specs_in(spec)
    if len(specs) > 1:
        return mixed_entry(specs, [find_dataset(registry, one) for one in specs])
    known = registry.entries("datasets")
    named = [e for e in known if spec.split(":", 1)[0] in (e.spec.name, e.canonical)]
    accepting = named or [entry for entry in known if entry.spec.accepts(spec)]
    if accepting:
        return accepting[0]
    if Path(spec).expanduser().is_file():
        raise _unread_file(Path(spec))
    raise UserError(
        f"--data {spec}: there is no such dataset or folder",
        expected="a folder of captioned images, a .jsonl, .csv or .parquet file, hf:owner/name, "
        "wds:shards-{000..099}.tar, or a name such as creatures or openmoji",
        got=spec,
        fix=did_you_mean(spec, [e.spec.name for e in known]),
    )


def _unread_file(path: Path) -> UserError:
    """That a file is there, but of no kind that holds a dataset, and what would be."""
    kind = path.suffix.lower()
    return UserError(
        f"--data {path}: the file is there, but no such kind is read",
        expected="a .jsonl, .csv, .tsv, .parquet or .tar file, or a folder of captioned images",
        got=f"a {kind} file" if kind else "a file without an ending",
        fix="write one of those, or give the folder that the images are in",
    )


def recipe_for(registry: Registry, spec: str, plugin: str = "imagen") -> str | None:
    """The first recipe of a plugin that is made for a dataset; None: there is none.

    Args:
        registry: where recipes are looked up.
        spec: what the dataset is called.
        plugin: whose recipes; those of others learn the same, but not as quickly.
    """
    for entry in registry.entries("recipes"):
        if entry.plugin == plugin:
            table: Any = load_toml(entry.spec.path).get("data", {})
            if table.get("spec") == spec:
                return entry.canonical
    return None


def data_of_run(registry: Registry, table: Mapping[str, Any]) -> dict[str, Any]:
    """A run's [data], with what was meant by options that an older version did not write.

    Raises:
        UserError: no dataset knows what to do with its SPEC.
    """
    return before_splits(find_dataset(registry, str(table.get("spec", ""))).spec.config, table)


def replace_data(registry: Registry, table: Any, spec: str) -> dict[str, Any]:
    """Another dataset in place of the recipe's: the options that all datasets share stay."""
    table = table if isinstance(table, dict) else {}
    names = [name for e in registry.entries("datasets") for name in (e.spec.name, e.canonical)]
    spec = as_spec([one if one in names else _from_anywhere(one) for one in specs_in(spec)])
    try:
        same = find_dataset(registry, spec) == find_dataset(registry, str(table.get("spec", spec)))
    except UserError:
        same = False  # reported with whatever else is wrong, when the table is checked
    kept = table if same else {key: table[key] for key in DatasetConfig.model_fields if key in table}
    return {**kept, "spec": spec}


def _from_anywhere(spec: str) -> str:
    """A SPEC whose paths are absolute: the run may go on from elsewhere."""
    scheme = "wds:" if spec.startswith("wds:") else ""
    path = spec.removeprefix(scheme)
    known = Path(path).expanduser()
    local = bool(scheme) and "://" not in path and "::" not in path and not path.startswith("pipe:")
    if local or known.is_file() or known.is_dir():
        return scheme + os.path.abspath(known)
    return spec
