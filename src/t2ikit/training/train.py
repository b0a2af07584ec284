"""`t2ikit.train` and `t2ikit.read_recipe`: what `t2ikit train` does, in Python. Starts without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from t2ikit.config.arguments import checked
from t2ikit.data.mixing.config import as_spec
from t2ikit.errors import UserError, option
from t2ikit.recipes import read
from t2ikit.recipes.recipe import Recipe
from t2ikit.recipes.settings import Plugins, Settings, as_settings
from t2ikit.registry.callbacks import observing
from t2ikit.registry.registry import Registry

if TYPE_CHECKING:
    from t2ikit.runs.run import Run


@checked
def train(
    plugin: Plugins = (),
    *,
    recipe: str | Path | None = None,
    data: str | Path | Sequence[str | Path] | None = None,
    set: Settings = None,
    out: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    minutes: float | None = None,
    resume: Run | str | Path | None = None,
    callbacks: Sequence[object] = (),
    progress: bool = True,
) -> Run:
    """Train a model from a recipe, or go on with a run.

        run = t2ikit.train("imagen", data="my-images", set={"train.steps": 500}, out="runs/first")
        run = t2ikit.train(resume=run, set={"train.steps": 1000})

    Ctrl-C and SIGTERM finish the step, save, and return the run with `finished` False; a second one stops.

    Args:
        plugin: a plugin's name or the path of a file, or several; one of them gives the recipe.
        recipe: its name or a TOML file; None takes the plugin's default.
        data: creatures, openmoji, a folder, a file, hf:OWNER/NAME, wds:SHARDS, or several, to be mixed.
        set: settings laid over the recipe: a mapping such as {"train.steps": 500}, or "KEY=VALUE" strings.
        out: the new run folder; None takes runs/PLUGIN-001, 002, and so on.
        seed, device: the setting train.seed; auto, cpu, cuda or mps.
        minutes: train for so many minutes, in all, in place of train.steps.
        resume: a run or its folder to go on with; then recipe, data, out and seed stay as they were.
        callbacks: objects with `step_end(run, step, scalars)`, `images(run, step, prompts, images)` or both.
        progress: show on standard error how far it is.

    Raises:
        UserError: what cannot work, before anything is computed.
    """
    check_options(resume, recipe=recipe, data=data, out=out, seed=seed)
    registry = registry_for(plugin, resume)
    settings = training_settings(set, seed, minutes)
    if resume is not None:
        from t2ikit.training.start import resume_run

        with observing(registry, callbacks):
            path = run_folder(resume)
            return resume_run(registry, path, settings=settings, device=device, progress=progress)
    chosen = read_recipe(recipe, data=data, set=settings, registry=registry)
    from t2ikit.training.start import start_run

    with observing(registry, callbacks):
        return start_run(registry, chosen, as_path(out), device=device, progress=progress)


def registry_for(plugin: Plugins, resume: Run | str | Path | None) -> Registry:
    """The plugins asked for; where none is, those of the run that goes on."""
    known = getattr(resume, "registry", None)
    return load_registry(plugin) if plugin or known is None else known


def run_folder(run: Run | str | Path) -> Path:
    """Where a run is."""
    return Path(run) if isinstance(run, (str, Path)) else run.path


def as_path(out: str | Path | None) -> Path | None:
    """A path as it was typed, with ~ for the home folder."""
    return None if out is None else Path(out).expanduser()


@checked
def read_recipe(
    recipe: str | Path | None = None,
    *,
    plugin: Plugins = (),
    data: str | Path | Sequence[str | Path] | None = None,
    set: Settings = None,
    registry: Registry | None = None,
) -> Recipe:
    """Find and check a recipe: `t2ikit.read_recipe("imagen-64", set={"train.batch": 8}).table()`.

    Args:
        recipe: its name or a TOML file; None takes the plugin's default.
        plugin: a plugin's name or the path of a file, or several.
        data: in place of the recipe's.
        set: settings laid over it, as `train` takes them.
        registry: where names are looked up, in place of the installed plugins and `plugin`.

    Raises:
        UserErrors: everything that is wrong, together.
    """
    registry = registry or load_registry(plugin)
    name = str(recipe) if recipe is not None else None
    spec = as_spec(data) if data is not None else None
    return read.read_recipe(registry, name, data=spec, settings=as_settings(set))


def load_registry(plugin: Plugins = ()) -> Registry:
    """The installed plugins, and those asked for."""
    asked = [plugin] if isinstance(plugin, (str, Path)) else plugin
    return Registry.load([str(one) for one in asked])


def training_settings(set: Settings, seed: int | None = None, minutes: float | None = None) -> list[str]:
    """Settings as strings, with what has an option of its own.

    Raises:
        UserError: minutes that are none.
    """
    settings = as_settings(set)
    if seed is not None:
        settings.append(f"train.seed={seed}")
    if minutes is None:
        return settings
    if not 0 < minutes < float("inf"):
        raise UserError(
            f"{option('minutes')}: this is no time to train for",
            expected="a number of minutes above 0, such as 10 or 0.5",
            got=minutes,
            fix="leave it out to train train.steps steps",
        )
    return [*settings, f"train.minutes={float(minutes)}"]


def check_options(resume: object, **others: object) -> None:
    """Refuse what a run that goes on cannot be given.

    Raises:
        UserError: one of `others` is given beside `resume`.
    """
    given = [option(name) for name, value in others.items() if value is not None]
    allowed = ", ".join(map(option, ("plugin", "device", "minutes")))
    if resume is not None and given:
        raise UserError(
            f"{option('resume')} does not go with {', '.join(given)}",
            expected=f"{option('resume')} RUN alone, or with {allowed} and {option('set')} train.*",
            got=" ".join([option("resume"), *given]),
            fix="leave them out: a run goes on with the recipe it began with",
        )
