"""Recipes: from names and tables to checked configs. `compose.py` builds what they name."""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2ikit.config.toml import Problems, apply_settings, load_toml, merge, parse_setting
from t2ikit.data.configs import before_splits
from t2ikit.errors import UserError, did_you_mean
from t2ikit.recipes.schema import LossConfig, OptimizerConfig, TrainConfig
from t2ikit.registry.registry import Entry, Registry
from t2ikit.registry.specs import Config, DatasetConfig

PARTS = {"data": "datasets", "text": "text_encoders", "generator": "generators", "sampler": "samplers"}
TABLES = frozenset({"train", "optimizer", "critics", "losses", *PARTS})
SAMPLING = frozenset({"train", "text", "generator", "sampler"})


@dataclass(frozen=True)
class Part:
    """A part that a recipe uses, with its checked config."""

    entry: Entry
    config: Any

    def table(self) -> dict[str, Any]:
        """How the part stands in a fully resolved recipe."""
        use = {} if isinstance(self.config, DatasetConfig) else {"use": self.entry.canonical}
        return {**use, **self.config.model_dump(mode="json")}


@dataclass(frozen=True)
class LossUse:
    """A loss that a recipe uses, with its weight and interval."""

    part: Part
    term: LossConfig

    def table(self) -> dict[str, Any]:
        """How the loss stands in a fully resolved recipe."""
        return {**self.part.table(), **self.term.model_dump(mode="json")}


@dataclass(frozen=True)
class Recipe:
    """A checked recipe; parts that were not asked for are absent.

    Attributes:
        name: where it came from.
        parts: by table name: data, text, generator, sampler.
        critics, losses: by the names the recipe gives them.
        optimizer: by player.
    """

    name: str
    summary: str
    train: TrainConfig
    parts: Mapping[str, Part]
    critics: Mapping[str, Part]
    losses: Mapping[str, LossUse]
    optimizer: Mapping[str, OptimizerConfig]

    def table(self) -> dict[str, Any]:
        """The fully resolved recipe, as TOML can hold it."""
        return {
            "summary": self.summary,
            "train": self.train.model_dump(mode="json"),
            **{name: part.table() for name, part in self.parts.items()},
            "critics": {name: part.table() for name, part in self.critics.items()},
            "losses": {name: use.table() for name, use in self.losses.items()},
            "optimizer": {name: config.model_dump(mode="json") for name, config in self.optimizer.items()},
        }


def read_recipe(
    registry: Registry, name: str | None, *, data: str | None = None, settings: Sequence[str] = ()
) -> Recipe:
    """Find, overlay and check a recipe.

    Args:
        registry: where names are looked up.
        name: a recipe's name or a TOML file; None takes the default of the one plugin asked for.
        data: a SPEC that replaces the recipe's data; the image size stays.
        settings: `key=value` strings, applied last.

    Raises:
        UserErrors: everything that is wrong, together.
    """
    raw = _extended(registry, name if name is not None else registry.default_recipe().canonical, ())
    title = name or registry.default_recipe().canonical
    if data is not None:
        raw["data"] = _replace_data(registry, raw.get("data", {}), data)
    settings = steps_or_minutes(settings)
    raw = apply_settings(_fitting(registry, raw, apply_settings({}, settings)), settings)
    return resolve(registry, raw, title, settings=settings)


def steps_or_minutes(settings: Sequence[str]) -> list[str]:
    """Settings in which `train.steps` does away with the recipe's `train.minutes`.

    Raises:
        UserError: both are set.
    """
    given = dict(map(parse_setting, settings))
    steps, minutes = given.get(("train", "steps")), given.get(("train", "minutes"))
    if steps is None:
        return list(settings)
    if not minutes:
        return [*settings, "train.minutes=0"]
    raise UserError(
        "train.minutes and train.steps do not go together",
        expected="how long to train in minutes, or in steps",
        got=f"train.minutes={minutes}, train.steps={steps}",
        fix="leave one of them out",
    )


def _is_file(name: str) -> bool:
    return name.endswith(".toml") or name.startswith((".", "/", "~"))


def _extended(registry: Registry, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    """The raw recipe laid over the one it extends."""
    path = Path(name).expanduser() if _is_file(name) else registry.find("recipes", name).spec.path
    if str(path.resolve()) in seen:
        raise UserError(
            f"recipe {name} extends itself",
            expected="a chain of recipes that ends",
            got=" -> ".join([*(Path(step).name for step in seen), path.name]),
            fix="remove `extends` from one of them",
        )
    raw = load_toml(path)
    base = raw.pop("extends", None)
    if base is None:
        return raw
    below = _extended(registry, _base(registry, path, base), (*seen, str(path.resolve())))
    return merge(_fitting(registry, below, raw), raw)


def _fitting(registry: Registry, below: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`below` without the options of parts that `over` replaces, but for those the new part has too."""
    result = copy.deepcopy(dict(below))
    for keys, kind in _part_tables(over):
        old, new = _inner(result, keys), _inner(over, keys)
        use = new.get("use")
        if not isinstance(use, str) or old.get("use") in (None, use):
            continue
        try:
            known = {"use", *registry.find(kind, use).spec.config.model_fields, *LossConfig.model_fields}
        except UserError:
            continue  # told when the table is checked
        for key in set(old) - known:
            del old[key]
    return result


def _part_tables(raw: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """Where a raw recipe has parts, and of which kinds."""
    named = {"critics": "critics", "losses": "losses"}
    tables = [((key,), kind) for key, kind in PARTS.items() if key != "data"]
    return tables + [((key, name), kind) for key, kind in named.items() for name in _inner(raw, (key,))]


def _inner(raw: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The table under these keys; an empty one where there is none."""
    value: Any = raw
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _base(registry: Registry, path: Path, base: object) -> str:
    """What the recipe at `path` extends; a file is looked for beside it."""
    if not isinstance(base, str):
        raise UserError(
            f"{path}: extends is not text",
            expected="a recipe's name or a TOML file",
            got=base,
            fix=f'write extends = "NAME" or extends = "./FILE.toml" in {path.name}',
        )
    if _is_file(base):
        return str(path.parent / Path(base).expanduser())
    try:
        return registry.find("recipes", base).canonical
    except UserError as error:
        raise UserError(
            f"{path}: extends: {error.what}", expected=error.expected, got=error.got, fix=error.fix
        ) from error


def find_dataset(registry: Registry, spec: str) -> Entry:
    """The dataset that a SPEC names, or that accepts it.

    Raises:
        UserError: no dataset knows what to do with it.
    """
    known = registry.entries("datasets")
    named = [e for e in known if spec.split(":", 1)[0] in (e.spec.name, e.canonical)]
    accepting = named or [entry for entry in known if entry.spec.accepts(spec)]
    if accepting:
        return accepting[0]
    raise UserError(
        f"--data {spec}: there is no such dataset or folder",
        expected="a folder of captioned images, a .jsonl or .parquet file, hf:owner/name, "
        "wds:shards-{000..099}.tar, or a name such as creatures or openmoji",
        got=spec,
        fix=did_you_mean(spec, [e.spec.name for e in known]),
    )


def data_of_run(registry: Registry, table: Mapping[str, Any]) -> dict[str, Any]:
    """A run's [data], with what was meant by options that an older version did not write.

    Raises:
        UserError: no dataset knows what to do with its SPEC.
    """
    return before_splits(find_dataset(registry, str(table.get("spec", ""))).spec.config, table)


def _replace_data(registry: Registry, table: Any, spec: str) -> dict[str, Any]:
    """Another dataset in place of the recipe's: the options that all datasets share stay."""
    table = table if isinstance(table, dict) else {}
    names = [name for e in registry.entries("datasets") for name in (e.spec.name, e.canonical)]
    spec = spec if spec in names else _from_anywhere(spec)
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


class _Reader:
    """Checks the tables of one raw recipe and gathers what is wrong with them."""

    def __init__(
        self, registry: Registry, raw: Mapping[str, Any], where: str, settings: Sequence[str]
    ) -> None:
        self.registry, self.raw = registry, dict(raw)
        self.problems = Problems(where, settings)

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
        term = self.config(LossConfig, shared, key)
        self.raw.setdefault("losses", {})[name] = table
        part = self.part("losses", key, default=name)
        return LossUse(part, term) if part and term and term.weight > 0 else None


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
    reader = _Reader(registry, raw, where, settings)
    for key in set(raw) - TABLES - {"summary"}:
        reader.problems.report(
            key,
            "is not a table of a recipe",
            expected="one of " + ", ".join(sorted(TABLES)),
            got=key,
            fix=did_you_mean(key, TABLES),
        )
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
