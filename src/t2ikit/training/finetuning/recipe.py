"""The recipe of a fine-tuning: that of the run it begins from, gentler and shorter. Starts without torch."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2ikit.config.toml import parse_setting
from t2ikit.data.mixing.config import specs_in
from t2ikit.errors import UserError, option
from t2ikit.recipes.datasets import data_of_run
from t2ikit.recipes.read import read_recipe
from t2ikit.recipes.recipe import Recipe
from t2ikit.registry.registry import Registry
from t2ikit.runs.plugins import check_present
from t2ikit.utils.quoting import visible

if TYPE_CHECKING:
    from t2ikit.runs.run import Run

SHARE = 0.25
"""Of the run's steps and learning rates."""
LORA_RATE = 1e-3
"""Learning rate of adapters, by AdamW."""
WARMUP = 20
"""Steps over which the learning rate rises: the optimiser's moments begin at 0, the weights do not."""


def recipe_to_fine_tune(
    run: Run, registry: Registry, name: str | None, data: str | None, settings: list[str]
) -> Recipe:
    """The recipe of a fine-tuning.

    Args:
        run: whose weights it begins with.
        registry: where parts are looked up.
        name: a recipe, which is then taken as it stands; None takes the run's own, made `gentler`.
        data: a SPEC in place of the recipe's.
        settings: `key=value` strings, applied last.

    Raises:
        UserErrors: everything that is wrong with it, together.
    """
    if name is not None:
        return read_recipe(registry, name, data=data, settings=settings)
    _check_asked(run, registry)
    check_present(run.name, run.info["plugins"], registry)
    base = gentler(as_asked(run, registry), other_data=data is not None, lora=_wants_lora(settings))
    return read_recipe(registry, str(run.path / "recipe.toml"), data=data, settings=settings, base=base)


def as_asked(run: Run, registry: Registry) -> dict[str, Any]:
    """A run's recipe before it was begun: what says "auto" is chosen anew."""
    table = run.asked_table
    with contextlib.suppress(UserError):  # of data that is elsewhere: told when the recipe is checked
        table["data"] = data_of_run(registry, table["data"])
    return table


def _wants_lora(settings: list[str]) -> bool:
    """Whether settings ask for adapters; one that cannot be read is told with the others."""
    with contextlib.suppress(UserError):
        return bool(dict(map(parse_setting, settings)).get(("train", "lora")))
    return False


def gentler(table: Mapping[str, Any], *, other_data: bool, lora: bool = False) -> dict[str, Any]:
    """A resolved recipe with a quarter of its steps and learning rates, and a short warm-up.

    Args:
        table: the recipe.
        other_data: it is trained on other data: validation prompts are then those of that data.
        lora: adapters are trained, which begin at 0: at a rate of their own.
    """
    train = dict(table["train"])
    train |= {"steps": max(1, round(SHARE * train["steps"])), "minutes": 0.0, "lora": 0}
    if other_data:
        train["prompts"] = []
    optimizer = {
        player: {**own, "lr": SHARE * own["lr"], "warmup_steps": WARMUP}
        for player, own in table["optimizer"].items()
    }
    if lora:
        optimizer["generator"] |= {"kind": "adamw", "lr": LORA_RATE}
    return {**table, "train": train, "optimizer": optimizer}


def _check_asked(run: Run, registry: Registry) -> None:
    """Refuse a plugin whose default recipe may be meant: with a run, it is the run's own that is taken."""
    recipes = {entry.plugin for entry in registry.entries("recipes") if entry.spec.name == "default"}
    others = [name for name in registry.requested if name in recipes and not run.samples_with(name)]
    if others:
        raise UserError(
            f"{option('plugin')} {others[0]}: the run {run.name} is of another plugin",
            expected=f"{option('init')} alone, which takes the run's own recipe, or {option('recipe')} too",
            got=f"a run of {run.table['generator']['use']}",
            fix=f"leave it out; {option('recipe')} {others[0]}/default takes that recipe instead",
        )


def describe(run: Run, step: int, recipe: Recipe) -> str:
    """What a fine-tuning begins with and how it trains, in a line."""
    train = recipe.train
    length = f"{train.minutes:g} minutes" if train.minutes else f"{train.steps} steps"
    rates = ", ".join(
        f"optimizer.{player}.lr {config.lr:g} after {config.warmup_steps} steps of warm-up"
        for player, config in recipe.optimizer.items()
    )
    return f"fine-tuning {run.name} from step {step}: {length}, {rates}"


def fading(run: Run, recipe: Recipe) -> str | None:
    """That what the run could draw is forgotten, where none of its data is trained on, and what keeps it."""
    old = specs_in(str(run.table["data"]["spec"]))
    new = specs_in(str(recipe.parts["data"].table()["spec"]))
    if set(map(_place, old)) & set(map(_place, new)):
        return None
    kept = " ".join(f"{option('data')} {visible(shlex.quote(one))}" for one in old)
    return f"data: what {run.name} was trained on is not shown and fades; {kept} beside the new data keeps it"


def _place(spec: str) -> str:
    """A SPEC, folders and files by where they are, however they are written."""
    path = Path(spec).expanduser()
    return str(path.resolve()) if path.exists() else spec
