"""From `--set KEY=A,B` and a plugin with losses to the variants that are tested."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from t2ikit.ablation.plan import Variant
from t2ikit.config.toml import parse_setting
from t2ikit.errors import UserError, option
from t2ikit.recipes.settings import as_settings
from t2ikit.registry.registry import Entry, Registry

MOST = 12
"""Variants of one ablation."""
_VALUE = re.compile(r'(?:\[[^\]]*\]|"[^"]*"|[^,\["])+')
Axes = Mapping[str, Any] | Sequence[str] | str | None
"""What `ablate` takes as `set`."""


def read_axes(given: Axes) -> dict[str, list[str]]:
    """Keys with the values to try, from `KEY=A,B` strings or a mapping whose lists are values to try.

    Raises:
        UserError: a key twice, or a key or value that is none.
    """
    axes: dict[str, list[str]] = {}
    if isinstance(given, Mapping):
        for key, values in given.items():
            settings = [setting for value in _several(values) for setting in as_settings({key: value})]
            _add(axes, key, [setting.partition("=")[2] for setting in settings], f"{key}={values!r}")
        return axes
    for setting in [given] if isinstance(given, str) else given or ():
        key, _, values = setting.partition("=")
        found = [value.strip() for value in _VALUE.findall(values)]
        for value in found:
            parse_setting(f"{key}={value}")
        _add(axes, key.strip(), found, setting)
    return axes


def _add(axes: dict[str, list[str]], key: str, values: list[str], given: str) -> None:
    """Add the values of a key.

    Raises:
        UserError: there is none, or the key or a value is there already.
    """
    if not values or key in axes or len(set(values)) < len(values):
        raise UserError(
            f"{option('set')} {given}: this is no list of values to test",
            expected="KEY=VALUE,VALUE,... with different values, each key once",
            got=given,
            fix="for example --set losses.huber.weight=0.1,0.3",
        )
    axes[key] = values


def _several(values: Any) -> list[Any]:
    return list(values) if isinstance(values, (list, tuple)) else [values]


def losses_of(registry: Registry, plugin: str) -> list[Entry]:
    """The losses that a plugin brings."""
    return [entry for entry in registry.entries("losses") if entry.plugin == plugin]


def make_variants(axes: Mapping[str, Sequence[str]], losses: Sequence[Entry]) -> list[Variant]:
    """Every combination of values; with the losses of a plugin, of weight 1 where no key says otherwise.

    Args:
        axes: keys with their values; the first changes slowest.
        losses: that the tested plugin brings. Where a key sets the weight of one, the others stay out.

    Raises:
        UserError: there is nothing to test, or there are too many combinations.
    """
    named = [entry for entry in losses if any(key.startswith(f"losses.{entry.spec.name}.") for key in axes)]
    used = named or list(losses)
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
    if len(variants) > MOST:
        raise UserError(
            f"--set: {len(variants)} combinations are too many",
            expected=f"at most {MOST}",
            got=" x ".join(str(len(values)) for values in axes.values()),
            fix="give fewer values",
        )
    return variants
