"""From a name, as after `t2ikit options`, to the config class it stands for."""

from __future__ import annotations

from dataclasses import dataclass

from t2ikit.errors import UserError, did_you_mean
from t2ikit.registry import SINGULAR, Entry, Registry
from t2ikit.schema import SECTIONS
from t2ikit.specs import KINDS, Config, LossSpec, RecipeSpec

CONFIGURED = [spec_class.kind for spec_class in KINDS if spec_class is not RecipeSpec]


@dataclass(frozen=True)
class Described:
    """A config class and the line that introduces it."""

    title: str
    config: type[Config]


def find_config(registry: Registry, name: str) -> Described:
    """The config class of a part of any kind (`kind:name` where several kinds share it) or of a core table.

    Raises:
        UserError: nothing is called so, or several parts are.
    """
    kind, colon, rest = name.partition(":")
    if colon:
        if kind not in CONFIGURED:
            raise UserError(
                f"there is no kind of part called {kind!r}", got=name, fix=did_you_mean(kind, CONFIGURED)
            )
        return _described(registry.find(kind, rest))
    if name in SECTIONS:
        config = SECTIONS[name]
        return Described(f"{name}: {_first_line(config)}", config)
    found = [
        (kind, entry)
        for kind in CONFIGURED
        for entry in registry.entries(kind)
        if name in (entry.spec.name, entry.canonical)
    ]
    if not found:
        raise _unknown(registry, name)
    if len({kind for kind, _ in found}) > 1:
        raise UserError(
            f"{name!r} is the name of several parts",
            expected="one of " + ", ".join(f"{kind}:{entry.canonical}" for kind, entry in found),
            got=name,
        )
    return _described(registry.find(found[0][0], name))


def _described(entry: Entry) -> Described:
    spec = entry.spec
    facts = [SINGULAR[spec.kind], f"from {entry.origin}"]
    if isinstance(spec, LossSpec):
        facts.append(f"of the {spec.player}; also takes weight and every, see `t2ikit options loss`")
    return Described(f"{entry.canonical}, {', '.join(facts)}: {spec.summary}".rstrip(": "), spec.config)


def _first_line(config: type[Config]) -> str:
    return (config.__doc__ or "").strip().split("\n")[0]


def _unknown(registry: Registry, name: str) -> UserError:
    entries = [entry for kind in CONFIGURED for entry in registry.entries(kind)]
    known = [label for entry in entries for label in (entry.spec.name, entry.canonical)]
    return UserError(
        f"there is nothing with options called {name!r}",
        expected="a part, or a table of the core: " + ", ".join(SECTIONS),
        got=name,
        fix=did_you_mean(name, [*known, *SECTIONS]),
    )
