"""From `--set KEY=A,B` and a plugin with losses to the variants that are tested."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from t2ikit.ablation.plan import Variant
from t2ikit.errors import UserError
from t2ikit.recipes.axes import Axes, AxesOption, GivenAxes
from t2ikit.registry.registry import Entry, Registry

TESTED = AxesOption("set", "--set losses.huber.weight=0.1,0.3", most=12)


def read_axes(given: GivenAxes | None) -> Axes:
    """Keys with the values to try, from `KEY=A,B` strings or a mapping whose lists are values to try.

    Raises:
        UserError: a key twice, or a key or value that is none.
    """
    return TESTED.read(given or ())


def losses_of(registry: Registry, plugin: str) -> list[Entry]:
    """The losses that a plugin brings."""
    return [entry for entry in registry.entries("losses") if entry.plugin == plugin]


def tested_losses(axes: Axes, losses: Sequence[Entry]) -> list[Entry]:
    """Those of a plugin's losses that are tested: where a key sets one, those that are set; else all."""
    named = [entry for entry in losses if any(key.startswith(f"losses.{entry.spec.name}.") for key in axes)]
    return named or list(losses)


def make_variants(axes: Axes, losses: Sequence[Entry]) -> list[Variant]:
    """Every combination of values; with the losses of a plugin, of weight 1 where no key says otherwise.

    Args:
        axes: keys with their values; the first changes slowest.
        losses: that the tested plugin brings. Where a key sets the weight of one, the others stay out.

    Raises:
        UserError: there is nothing to test, or there are too many combinations.
    """
    used = tested_losses(axes, losses)
    fixed = [f"losses.{entry.spec.name}.use={entry.canonical}" for entry in used]
    weights = [key for entry in used if (key := f"losses.{entry.spec.name}.weight") not in axes]
    if not axes and not used:
        raise UserError(
            "there is nothing to test",
            expected="a plugin with a loss, or --set KEY=VALUE",
            got="neither",
            fix="t2ikit ablate ./my_loss.py, or t2ikit ablate --set losses.NAME.weight=0.1,0.3",
        )
    variants = []
    for values in itertools.product(*axes.values()):
        chosen = [f"{key}={value}" for key, value in zip(axes, values)]
        label = " ".join([*(f"{key}=1" for key in weights), *chosen])
        variants.append(Variant(label, (*fixed, *(f"{key}=1" for key in weights), *chosen)))
    TESTED.check_count(axes, len(variants))
    return variants
