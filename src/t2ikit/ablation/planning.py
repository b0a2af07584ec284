"""From what was asked for to a plan: which recipes, which variants fit them, and why others do not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from t2ikit.ablation.plan import WITHOUT, Base, Pair, Plan, Variant, changed, check_sources, digests
from t2ikit.ablation.variants import losses_of, make_variants, read_axes, tested_losses
from t2ikit.data.mixing.config import as_spec, specs_in
from t2ikit.errors import UserError, command, each_of, option
from t2ikit.recipes.axes import GivenAxes
from t2ikit.recipes.compose import build_model
from t2ikit.recipes.read import read_recipe
from t2ikit.recipes.recipe import Recipe
from t2ikit.registry.registry import Entry, Registry

DENOISING = frozenset({"target", "snr"})
"""What a loss may need that one-step models do not have."""


def make_plan(
    target: str | None,
    plugins: Sequence[str],
    recipes: Sequence[str],
    axes: GivenAxes | None,
    settings: Sequence[str],
    data: Sequence[str],
    seeds: Sequence[int],
    n: int,
    metrics: Sequence[str] = (),
) -> Plan:
    """Find recipes and variants, and check each pair of them, before anything is trained.

    Raises:
        UserError: a plugin, recipe or setting that is none; or no variant fits any recipe.
    """
    asked = tuple(dict.fromkeys(_whole(one) for one in ([target] if target else []) + list(plugins)))
    registry = Registry.load(asked)
    losses = losses_of(registry, registry.requested[0]) if target else []
    values = read_axes(axes)
    variants, tested = make_variants(values, losses), tested_losses(values, losses)
    bases = find_bases(registry, recipes, registry.requested[bool(target) :])
    pairs: list[Pair] = []
    left_out: dict[str, str] = {}
    resolved: dict[str, Recipe] = {}
    refused: UserError | None = None
    for base in bases:
        resolved[base.name] = fitted(registry, base, WITHOUT, settings, data)  # which must work anyhow
        _check_base(registry, base, settings, resolved[base.name], tested)
        for variant in variants:
            what = _called(base, variant)
            try:
                resolved[what] = fitted(registry, base, variant, settings, data)
                _check_differs(resolved[what], resolved[base.name])
            except UserError as error:
                left_out[what], refused = _reason(error), error
            else:
                pairs.append(Pair(base, variant))
    if not pairs:
        assert refused is not None
        raise refused
    whole = specs_in(resolved[bases[0].name].parts["data"].config.spec) if data else []
    runs = (tuple(settings), tuple(whole), tuple(seeds), n, tuple(metrics))
    hashes = {what: _digest(recipe) for what, recipe in resolved.items()}
    return Plan(asked, digests(asked), tuple(pairs), left_out, *runs, hashes)


def _check_base(
    registry: Registry, base: Base, settings: Sequence[str], without: Recipe, tested: Sequence[Entry]
) -> None:
    """Refuse settings of all runs that put a tested loss into the runs without it.

    Raises:
        UserError: there is one.
    """
    added = [name for name, use in without.losses.items() if use.part.entry in tested]
    if not added or set(added) <= set(read_recipe(registry, base.recipe).losses):
        return
    given = [one for one in settings if one.strip().startswith(tuple(f"losses.{name}" for name in added))]
    raise UserError(
        f"{option('base')} {' '.join(given)}: that would put the tested loss into all runs",
        expected="settings that are of all runs",
        got=f"a setting of {', '.join(added)}",
        fix=" ".join(command("--set", setting) for setting in given),
    )


def _check_differs(recipe: Recipe, without: Recipe) -> None:
    """Refuse to train the same run twice.

    Raises:
        UserError: the recipe with the variant is the one without.
    """
    if _digest(recipe) == _digest(without):
        raise UserError(
            "its runs would be the same as those without it",
            expected="a value that the recipe does not have",
            got="the value that the recipe has",
            fix="leave it out, or test another value",
        )


def _called(base: Base, variant: Variant) -> str:
    return f"{base.name}: {variant.label}" if variant.label else base.name


def _digest(recipe: Recipe) -> str:
    return hashlib.sha256(json.dumps(recipe.table(), sort_keys=True).encode()).hexdigest()


def check_unchanged(plan: Plan) -> None:
    """Refuse to train with other plugin files, or from other recipes, than the plan was made of.

    Raises:
        UserError: one has changed, or is gone.
    """
    check_sources(plan)
    registry = Registry.load(plan.plugins)
    arms = [(base, WITHOUT) for base in plan.bases] + [(pair.base, pair.variant) for pair in plan.pairs]
    for base, variant in arms:
        what = _called(base, variant)
        found = _digest(fitted(registry, base, variant, plan.settings, plan.data))
        expected = plan.recipes.get(what, found)  # plans of older versions have none
        if found != expected:
            raise changed(f"the recipe {what}", f"settings with SHA-256 {expected[:12]}...", "others")


def _whole(plugin: str) -> str:
    """A plugin file by its whole path, so that the ablation goes on from anywhere."""
    return str(Path(plugin).expanduser().resolve()) if plugin.endswith(".py") else plugin


def _reason(error: UserError) -> str:
    return "; ".join(one.what for one in each_of(error))


def find_bases(registry: Registry, recipes: Sequence[str], plugins: Sequence[str]) -> list[Base]:
    """The recipes asked for; else the defaults of the plugins asked for; else those of all plugins.

    Raises:
        UserError: there is none, or two would have one name.
    """
    found = [
        entry
        for entry in registry.entries("recipes")
        if entry.spec.name == "default" and (entry.plugin in plugins or not plugins)
    ]
    if not recipes and not found:  # a plugin file without a recipe, say
        found = [entry for entry in registry.entries("recipes") if entry.spec.name == "default"]
    bases = [Base(entry.plugin, entry.canonical) for entry in found]
    if recipes:
        bases = [_named(registry, one) for one in dict.fromkeys(recipes)]
    if not bases or len({base.name for base in bases}) < len(bases):
        raise UserError(
            "the recipes cannot be told apart" if bases else "there is no recipe to test with",
            expected="one or more recipes of different names",
            got=", ".join(base.recipe for base in bases) or "no plugin with a default recipe",
            fix="name them with --recipe (`t2ikit recipes` lists them)",
        )
    return bases


def _named(registry: Registry, recipe: str) -> Base:
    if recipe.endswith(".toml"):
        path = Path(recipe).expanduser().resolve()
        return Base(path.stem, str(path))
    entry = registry.find("recipes", recipe)
    default = entry.spec.name == "default"
    return Base(entry.plugin if default else entry.canonical.replace("/", "-"), entry.canonical)


def fitted(
    registry: Registry, base: Base, variant: Variant, settings: Sequence[str], data: Sequence[str]
) -> Recipe:
    """The recipe with a variant.

    Raises:
        UserError: the variant does not fit it.
    """
    spec = as_spec(list(data)) if data else None
    recipe = read_recipe(registry, base.recipe, data=spec, settings=[*settings, *variant.settings])
    for name, use in recipe.losses.items():
        missing, kind = _missing(registry, recipe, set(use.part.entry.spec.needs))
        if missing:
            raise UserError(
                f"the loss {name} needs {' and '.join(missing)}, which {kind} does not have",
                expected="a loss that fits the recipe",
                got=base.recipe,
                fix=f"leave {base.recipe} out",
            )
    return recipe


def _missing(registry: Registry, recipe: Recipe, needs: set[str]) -> tuple[list[str], str]:
    """What a loss needs and a recipe does not have, and what kind of recipe that is."""
    one_step = recipe.parts["sampler"].entry.spec.requires == "OneStep"
    if one_step and needs & DENOISING:
        return sorted(needs & DENOISING), "a one-step model"
    if "critic" in needs and not recipe.critics:
        return ["critic"], "a recipe without critics"
    if "low_res" in needs and not _upscales(registry, recipe):
        return ["low_res"], "a model that samples from text alone"
    return [], ""


def _upscales(registry: Registry, recipe: Recipe) -> bool:
    """Whether the generator is one of super-resolution, which it says once it is built."""
    data = recipe.parts["data"].config
    of_images = {"image_channels": data.image_channels}
    model = build_model(recipe, registry, torch.device("cpu"), data.size, **of_images)
    return model.generator.super_resolution is not None
