"""`t2ikit.train` and `t2ikit.read_recipe`: what `t2ikit train` does, in Python. Starts without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from t2ikit.training.finetuning.weights import Beginning


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
    init: Run | str | Path | None = None,
    init_partial: bool = False,
    callbacks: Sequence[object] = (),
    progress: bool = True,
) -> Run:
    """Train a model from a recipe or from the weights of another run, or go on with a run.

        run = t2ikit.train("imagen", data="my-images", set={"train.steps": 500}, out="runs/first")
        run = t2ikit.train(resume=run, set={"train.steps": 1000})
        run = t2ikit.train(init=run, data="other-images")

    Ctrl-C and SIGTERM finish the step, save, and return the run with `finished` False; a second one stops.

    Args:
        plugin: a plugin's name or the path of a file, or several; one of them gives the recipe.
        recipe: its name or a TOML file; None takes the plugin's default, or that of the run in `init`.
        data: creatures, openmoji, a folder, a file, hf:OWNER/NAME or wds:SHARDS; or several, which are mixed.
        set: settings laid over the recipe: a mapping such as {"train.steps": 500}, or "KEY=VALUE" strings.
        out: the new run folder; None takes runs/PLUGIN-001, 002, and so on.
        seed, device: the setting train.seed; auto, cpu, cuda or mps.
        minutes: train for so many minutes, in all, in place of train.steps.
        resume: a run or its folder to go on with; then recipe, data, out and seed stay as they were.
        init, init_partial: a run whose averaged weights a new one begins with; whether only some need fit.
        callbacks: objects with `step_end(run, step, scalars)`, `images(run, step, prompts, images)` or both.
        progress: show on standard error how far it is.

    Raises:
        UserError: what cannot work, before anything is computed.
    """
    check_options(resume, recipe=recipe, data=data, out=out, seed=seed, init=init)
    settings = training_settings(set, seed, minutes)
    how: dict[str, Any] = {"device": device, "progress": progress}
    if resume is not None:
        return _go_on(plugin, resume, callbacks, settings=settings, **how)
    registry, chosen, begin = new_training(plugin, recipe, data, settings, init, init_partial)
    from t2ikit.training.start import start_run

    with observing(registry, callbacks):
        return start_run(registry, chosen, as_path(out), begin=begin, **how)


def _go_on(plugin: Plugins, resume: Run | str | Path, callbacks: Sequence[object], **options: Any) -> Run:
    """Go on with a run, with the options of `resume_run`."""
    registry = registry_for(plugin, resume)
    from t2ikit.training.start import resume_run

    with observing(registry, callbacks):
        return resume_run(registry, run_folder(resume), **options)


def new_training(
    plugin: Plugins,
    recipe: str | Path | None,
    data: str | Path | Sequence[str | Path] | None,
    settings: list[str],
    init: Run | str | Path | None = None,
    init_partial: bool = False,
) -> tuple[Registry, Recipe, Beginning | None]:
    """Where parts are looked up, the recipe, and what gives the model its first weights; as in `train`.

    Raises:
        UserError: what cannot work.
    """
    if init is None:
        if init_partial:
            raise UserError(
                f"{option('init_partial')} goes with {option('init')}",
                expected=f"{option('init')} RUN, whose weights are taken as far as they fit",
                got=f"{option('init_partial')} alone",
                fix="leave it out, or say which run",
            )
        registry = load_registry(plugin)
        chosen = read_recipe(recipe, data=data, set=settings, registry=registry)
        if chosen.train.lora:
            raise UserError(
                "train.lora adapts a trained model",
                expected=f"{option('init')} RUN, whose weights are adapted",
                got=f"train.lora={chosen.train.lora} for a new model",
                fix="say which run, or --set train.lora=0",
            )
        return registry, chosen, None
    from t2ikit.runs.open import as_run, plugins_of
    from t2ikit.training.finetuning.recipe import recipe_to_fine_tune
    from t2ikit.training.finetuning.weights import Beginning

    run = as_run(init)
    registry = plugins_of(run, plugin)
    name, spec = None if recipe is None else str(recipe), None if data is None else as_spec(data)
    return registry, recipe_to_fine_tune(run, registry, name, spec, settings), Beginning(run, init_partial)


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
