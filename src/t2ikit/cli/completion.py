"""Shell completion of parts, runs and settings, without heavy imports.

If nothing here matches, the shell completes file names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Names = Callable[[str], list[str]]


def plugin_names(incomplete: str) -> list[str]:
    """Installed plugins."""
    from t2ikit.registry.registry import BUILTIN, Registry

    return [name for name in Registry.load().plugins if name != BUILTIN]


def recipe_names(incomplete: str) -> list[str]:
    """Recipes of all plugins."""
    return _canonical("recipes")


def sampler_names(incomplete: str) -> list[str]:
    """Samplers of all plugins."""
    return _short("samplers")


def exporter_names(incomplete: str) -> list[str]:
    """Formats to export to; a name that several plugins have means that of the run's own."""
    from t2ikit.registry.registry import Registry

    return list(dict.fromkeys(entry.spec.name for entry in Registry.load().entries("exporters")))


def metric_names(incomplete: str) -> list[str]:
    """Metrics, behind those that are there already."""
    before, comma, _ = incomplete.rpartition(",")
    given = before.split(",")
    return [before + comma + name for name in _short("metrics") if name not in given]


def data_specs(incomplete: str) -> list[str]:
    """Datasets that have a name."""
    return _short("datasets")


def part_names(incomplete: str) -> list[str]:
    """Whatever `t2ikit options` describes."""
    from t2ikit.recipes.options import NAMES
    from t2ikit.recipes.schema import SECTIONS
    from t2ikit.registry.specs import KINDS, RecipeSpec

    parts = [name for spec in KINDS if spec is not RecipeSpec for name in _canonical(spec.kind)]
    return [*dict.fromkeys([*NAMES, *SECTIONS, *parts])]


def run_folders(incomplete: str) -> list[str]:
    """The runs of this folder."""
    return sorted(path.parent.as_posix() for path in Path("runs").glob("*/recipe.toml"))


def run_names(incomplete: str) -> list[str]:
    """The runs of this folder, and the models that come with t2ikit."""
    from t2ikit.runs.named import packaged_names

    return [*run_folders(incomplete), *packaged_names()]


def setting_keys(incomplete: str) -> list[str]:
    """What can be set of training."""
    from t2ikit.recipes.schema import SECTIONS

    return [f"train.{key}=" for key in SECTIONS["train"].model_fields]


COMPLETIONS: dict[str, Names] = {
    "plugin": plugin_names,
    "plugin check.target": plugin_names,
    "recipe": recipe_names,
    "recipes.name": recipe_names,
    "options.name": part_names,
    "sampler": sampler_names,
    "format": exporter_names,
    "metrics": metric_names,
    "data": data_specs,
    "spec": data_specs,
    "run": run_names,
    "runs": run_names,
    "init": run_names,
    "resume": run_folders,
    "upscale": run_folders,
    "watch.runs": run_folders,
    "train.settings": setting_keys,
}
"""By a parameter's name, or by that of its command and its own."""


def completion(command: str, parameter: str) -> Names | None:
    """What completes a command's parameter; None leaves it to the shell."""
    return COMPLETIONS.get(f"{command}.{parameter}") or COMPLETIONS.get(parameter)


def _canonical(kind: str) -> list[str]:
    from t2ikit.registry.registry import Registry

    return [entry.canonical for entry in Registry.load().entries(kind)]


def _short(kind: str) -> list[str]:
    """Names, whole where several plugins have one of that name."""
    from t2ikit.registry.registry import Registry

    entries = Registry.load().entries(kind)
    short = [entry.spec.name for entry in entries]
    return [entry.spec.name if short.count(entry.spec.name) == 1 else entry.canonical for entry in entries]
