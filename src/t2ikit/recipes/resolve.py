"""A raw recipe checked against the configs of the parts it names."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from t2ikit.config.base import Config
from t2ikit.config.renamed import with_new_keys
from t2ikit.config.validation import Problems
from t2ikit.data.mixing.config import as_spec
from t2ikit.errors import UserError, close_to, did_you_mean
from t2ikit.recipes.datasets import find_dataset
from t2ikit.recipes.recipe import PARTS, TABLES, LossUse, Part, Recipe
from t2ikit.recipes.schema import LossConfig, OptimizerConfig, TrainConfig
from t2ikit.registry.registry import Entry, Registry


class _Reader:
    """Checks the tables of one raw recipe and gathers what is wrong with them."""

    def __init__(
        self, registry: Registry, raw: Mapping[str, Any], where: str, settings: Sequence[str]
    ) -> None:
        self.registry, self.raw = registry, dict(raw)
        self.problems = Problems(where, settings)

    def check_names(self) -> None:
        """Note tables that no recipe has."""
        for key in set(self.raw) - TABLES - {"summary"}:
            self.problems.report(
                key,
                "is not a table of a recipe",
                expected="one of " + ", ".join(sorted(TABLES)),
                got=key,
                fix=self._meant(key),
            )

    def _meant(self, key: str) -> str:
        """What was meant by the name of no table: a table with an option called so, or one called alike."""
        configs: list[tuple[str, type[Config]]] = [("train", TrainConfig)]
        configs += [("data", entry.spec.config) for entry in self.registry.entries("datasets")]
        for part, kind in (("generator", "generators"), ("sampler", "samplers"), ("text", "text_encoders")):
            with contextlib.suppress(UserError):
                used = self.registry.find(kind, str(self.table(part).get("use", "")))
                configs.append((part, used.spec.config))
        configs += [(f"optimizer.{player}", OptimizerConfig) for player in self.table("optimizer")]
        found = dict.fromkeys(f"{table}.{key}" for table, config in configs if key in config.model_fields)
        if found:
            return f"did you mean {' or '.join(found)}?"
        near = close_to(key, TABLES)
        if near:
            return f"did you mean {' or '.join(map(repr, near))}?"
        return "write TABLE.KEY, such as train.steps"

    def table(self, *keys: str) -> dict[str, Any]:
        value: Any = self.raw
        for key in keys:
            value = value.get(key, {}) if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            self.problems.report(".".join(keys), "is not a table", expected=f"[{'.'.join(keys)}]", got=value)
            return {}
        return dict(value)

    def config(self, config_class: type[Config], table: dict[str, Any], key: str) -> Any:
        return self.problems.validate(config_class, table, key=key)

    def part(self, kind: str, key: str, default: str | None = None) -> Part | None:
        """The part of table `key`, or None where something is wrong with it."""
        table = self.table(*key.split("."))
        use = table.pop("use", default)
        if not isinstance(use, str):
            self.problems.report(
                f"{key}.use",
                "is missing" if use is None else "is not a name",
                expected=f"the name of one of the {kind.replace('_', ' ')}",
                got=use,
                fix=did_you_mean("", [entry.canonical for entry in self.registry.entries(kind)]),
            )
            return None
        try:
            entry = self.registry.find(kind, use)
        except UserError as error:
            self.problems.add_at(key if use == default else f"{key}.use", error)
            return None
        return self._configured(entry, table, key)

    def data(self) -> Part | None:
        """The dataset, found by its SPEC."""
        table = self.table("data")
        if isinstance(table.get("spec"), list) and table["spec"]:
            table["spec"] = as_spec(table["spec"])
        try:
            entry = find_dataset(self.registry, str(table.get("spec", "")))
        except UserError as error:
            self.problems.add_at("data.spec", error)
            return None
        return self._configured(entry, table, "data")

    def _configured(self, entry: Entry, table: dict[str, Any], key: str) -> Part | None:
        config = self.config(entry.spec.config, table, key)
        return None if config is None else Part(entry, config)

    def loss(self, name: str) -> LossUse | None:
        """A loss, or None where it is left out or wrong."""
        key = f"losses.{name}"
        table = self.table("losses", name)
        shared = {field: table.pop(field) for field in LossConfig.model_fields if field in table}
        config = self.config(LossConfig, shared, key)
        self.raw.setdefault("losses", {})[name] = table
        part = self.part("losses", key, default=name)
        return LossUse(part, config) if part and config and config.weight > 0 else None


def resolve(
    registry: Registry,
    raw: Mapping[str, Any],
    where: str,
    *,
    settings: Sequence[str] = (),
    only: Collection[str] = TABLES,
) -> Recipe:
    """Check a raw recipe against the configs of the parts it names.

    Args:
        registry: where parts are looked up.
        raw: the recipe's tables.
        where: what the recipe is called in messages.
        settings: the `--set` strings already applied, so that messages can name them.
        only: the tables to look at; sampling needs neither losses nor data.

    Raises:
        UserErrors: everything that is wrong, together.
    """
    raw = with_new_keys(raw, where)
    reader = _Reader(registry, raw, where, settings)
    reader.check_names()
    train = reader.config(TrainConfig, reader.table("train"), "train")
    defaults = {"text": "t2ikit/builtin"}
    parts = {
        key: reader.part(PARTS[key], key, defaults.get(key)) for key in PARTS if key != "data" and key in only
    }
    if "data" in only:
        parts["data"] = reader.data()
    names = {key: reader.table(key) if key in only else {} for key in ("critics", "losses")}
    critics = {name: reader.part("critics", f"critics.{name}", default=name) for name in names["critics"]}
    losses = {name: reader.loss(name) for name in names["losses"]}
    optimizer = _optimizers(reader, bool(critics)) if "optimizer" in only else {}
    reader.problems.raise_if_any()
    return Recipe(
        where,
        str(raw.get("summary", "")),
        train,
        {key: part for key, part in parts.items() if part},
        {name: part for name, part in critics.items() if part},
        {name: use for name, use in losses.items() if use},
        optimizer,
    )


def _optimizers(reader: _Reader, critics: bool) -> dict[str, OptimizerConfig]:
    """One optimiser for each player there is."""
    players = ["generator", "critic"] if critics else ["generator"]
    for name in set(reader.table("optimizer")) - set(players):
        reader.problems.report(
            f"optimizer.{name}",
            "trains nothing: there is no such player in this recipe",
            expected="optimizer." + " or optimizer.".join(players),
            got=f"optimizer.{name}",
            fix="remove it, or add [critics.NAME] with its losses" if name == "critic" else "remove it",
        )
    tables = {name: reader.table("optimizer", name) for name in players}
    return {
        name: reader.config(OptimizerConfig, table, f"optimizer.{name}") for name, table in tables.items()
    }
