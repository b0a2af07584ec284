"""Every setting: the tables of the core, and the options of each part, with the texts of `t2ikit options`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from t2ikit.config.describe import Option, describe
from t2ikit.recipes.lookup import CONFIGURED, find_options
from t2ikit.recipes.recipe import PARTS
from t2ikit.recipes.schema import SECTIONS
from t2ikit.registry.registry import Entry, Registry
from t2ikit.registry.specs import SINGULAR
from tables import code, plain, table

FOLDER = "reference/settings"
OURS = ("t2ikit", "imagen", "gigagan")
"""Plugins that come with t2ikit; others may be installed where the site is built."""
TABLES = {kind: key for key, kind in PARTS.items()}
INTRODUCTION = """\
# Settings

What a recipe and `--set` take. `--set train.steps=2000` is the same as `steps = 2000` in the table
`[train]` of a recipe, and as `set={"train.steps": 2000}` in Python. `t2ikit options NAME` prints these
tables, with the values of a recipe.

Below are the settings of every training. Those of the parts have a page for each kind: """
HEADINGS = {
    "train": "Training: `train`",
    "optimizer": "Optimisers: `optimizer.generator`, `optimizer.critic`",
    "loss": "Every loss: `losses.NAME`",
}
PREFIXES = {"train": "train", "optimizer": "optimizer.PLAYER", "loss": "losses.NAME"}


def our(registry: Registry, kind: str) -> list[Entry]:
    """Parts of a kind that come with t2ikit."""
    found = [entry for entry in registry.entries(kind) if entry.plugin in OURS]
    return sorted(found, key=lambda entry: OURS.index(entry.plugin))


def pages(registry: Registry) -> dict[str, str]:
    """A page for the core, and one for each kind of part."""
    kinds = [kind for kind in CONFIGURED if any(_options(registry, entry) for entry in our(registry, kind))]
    made = {f"{FOLDER}/index.md": "\n\n".join(_core(kinds))}
    return made | {f"{FOLDER}/{kind}.md": "\n\n".join(_kind(registry, kind)) for kind in kinds}


def _core(kinds: Sequence[str]) -> Iterator[str]:
    yield INTRODUCTION + ", ".join(f"[{_plural(kind)}]({kind}.md)" for kind in kinds) + "."
    for name, config in SECTIONS.items():
        yield f"## {HEADINGS[name]}"
        yield plain((config.__doc__ or "").partition("\n")[0])
        yield _rows(describe(config), PREFIXES[name], name)


def _kind(registry: Registry, kind: str) -> Iterator[str]:
    yield f"# {_plural(kind).capitalize()}"
    for entry in our(registry, kind):
        anchor = entry.canonical.replace("/", "-").replace("+", "p")
        yield f"## {code(entry.canonical)} {{ #{anchor} }}"
        yield f"{plain(_sentence(entry.spec.summary))}{_player(entry)}"
        options = _options(registry, entry)
        yield _rows(options, _prefix(entry), anchor) if options else "No options."


def _player(entry: Entry) -> str:
    if entry.spec.kind != "losses":
        return ""
    return f" A loss of the {entry.spec.player}; also takes [`weight` and `every`](index.md#loss.weight)."


def _sentence(summary: str) -> str:
    return f"{summary[:1].upper()}{summary[1:]}."


def _options(registry: Registry, entry: Entry) -> tuple[Option, ...]:
    return find_options(registry, f"{entry.spec.kind}:{entry.canonical}").options


def _prefix(entry: Entry) -> str:
    """What stands before an option's name after `--set`."""
    kind = entry.spec.kind
    return TABLES.get(kind, f"{kind}.{entry.spec.name}")


def _rows(options: Sequence[Option], prefix: str, anchor: str) -> str:
    rows = [
        [
            code(f"{prefix}.{one.key}", f"{anchor}.{one.key}"),
            plain(one.type),
            code(one.default) if one.default != "required" else one.default,
            plain(one.help),
        ]
        for one in options
    ]
    return table(["setting", "takes", "default", "what it does"], rows)


def _plural(kind: str) -> str:
    one = SINGULAR[kind]
    return one + "es" if one.endswith("s") else f"{one}s"
