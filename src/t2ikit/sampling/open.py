"""A run opened for sampling: with another sampler, or other options of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from t2ikit.config.toml import apply_settings, parse_setting, readable
from t2ikit.config.validation import validate
from t2ikit.core.interfaces import Denoiser
from t2ikit.errors import UserError, option, raise_together
from t2ikit.recipes.compose import Model, build_sampler, check_guidance, check_steps
from t2ikit.recipes.recipe import SAMPLING
from t2ikit.recipes.resolve import resolve
from t2ikit.recipes.settings import Plugins
from t2ikit.registry.registry import Registry
from t2ikit.runs.open import plugins_of
from t2ikit.runs.run import Run
from t2ikit.utils.devices import find_device


def open_model(
    run: Run,
    *,
    sampler: str | None = None,
    settings: Sequence[str] = (),
    weights: str = "ema",
    checkpoint: int | None = None,
    plugins: Plugins = (),
    device: str = "auto",
) -> Model:
    """A run's model with another sampler or other sampler options.

    Raises:
        UserError: a setting that is not the sampler's, an unknown sampler, or one that does not fit.
    """
    registry = plugins_of(run, plugins)
    with readable(settings) as good:
        raise_together(
            [_not_of_the_sampler(setting) for setting in good if not _of_the_sampler(setting)],
            "the settings cannot be used:",
        )
        sampler, settings = named_sampler(sampler, good)
        run.check_plugins(registry, training=False)
        table = sampling_table(registry, run.table, sampler, settings)
        where = str(run.path / "recipe.toml")
        recipe = resolve(registry, table, where, settings=settings, only=SAMPLING)
    model = run.model(registry, weights=weights, checkpoint=checkpoint, device=find_device(device))
    built = build_sampler(recipe.parts["sampler"], model.context, model.generator)
    return replace(model, recipe=recipe, sampler=built)


def _of_the_sampler(setting: str) -> bool:
    return parse_setting(setting)[0][0] == "sampler"


def _not_of_the_sampler(setting: str) -> UserError:
    return UserError(
        f"--set {setting}: only the sampler can change after training",
        expected="sampler.KEY=VALUE",
        got=setting,
        fix="see `t2ikit options sampler` for the sampler's options",
    )


def named_sampler(sampler: str | None, settings: Sequence[str]) -> tuple[str | None, list[str]]:
    """The sampler that is meant, `sampler` or else the settings' sampler.use, and the other settings."""
    parsed = [(setting, *parse_setting(setting)) for setting in settings]
    named = [str(value) for _, keys, value in parsed if keys == ("sampler", "use")]
    others = [setting for setting, keys, _ in parsed if keys != ("sampler", "use")]
    return sampler or (named[-1] if named else None), others


def sampling_table(
    registry: Registry, table: dict[str, Any], sampler: str | None, settings: Sequence[str]
) -> dict[str, Any]:
    """A recipe's tables with another sampler (None: its own), and then with settings."""
    if sampler is not None:
        table = {**table, "sampler": with_sampler(registry, table["sampler"], sampler)}
    return apply_settings(table, settings)


def with_sampler(registry: Registry, now: dict[str, Any], name: str) -> dict[str, Any]:
    """A recipe's [sampler] for another sampler.

    Options that the recipe changed and that the other has, too, stay, but for the steps.
    """
    entry = registry.find("samplers", name)
    if entry.canonical == now["use"]:
        return now
    known = set(entry.spec.config.model_fields) - {"steps"}
    usual = registry.find("samplers", now["use"]).spec.config.model_construct().model_dump(mode="json")
    changed = {key: value for key, value in now.items() if key in known and value != usual.get(key)}
    return {**changed, "use": entry.canonical}


def check_call(model: Model, name: Literal["steps", "guidance"], value: float | None) -> None:
    """Refuse --steps or --guidance that the model or its sampler cannot use; None is the sampler's own.

    Raises:
        UserError: the model samples in one step, or the value is out of bounds.
    """
    if value is None:
        return
    where = f"{option(name)} {value:g}"
    if not isinstance(model.generator, Denoiser):
        raise UserError(
            f"{where}: this model samples in one step, without guidance",
            expected="a diffusion run",
            got=type(model.generator).__name__,
            fix=f"leave {option(name)} out",
        )
    config = model.recipe.parts["sampler"].config
    if name in type(config).model_fields:
        validate(type(config), {**config.model_dump(mode="json"), name: value}, where=where)
    check = check_steps if name == "steps" else check_guidance
    check(model.generator, value, where)
