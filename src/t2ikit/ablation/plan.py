"""What an ablation trains: recipes, with and without each variant, at each seed."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from t2ikit.errors import UserError
from t2ikit.utils.files import write_json

FILE = "plan.json"


@dataclass(frozen=True)
class Base:
    """A recipe that is trained with and without.

    Attributes:
        name: what it is called in files and sentences, such as `imagen`.
        recipe: its name or file.
    """

    name: str
    recipe: str


@dataclass(frozen=True)
class Variant:
    """What is laid over a recipe.

    Attributes:
        label: what it is called in sentences; empty: nothing is laid over the recipe.
        settings: KEY=VALUE strings.
    """

    label: str = ""
    settings: tuple[str, ...] = ()


WITHOUT = Variant()


@dataclass(frozen=True)
class Pair:
    """A recipe and the variant it is trained with and without."""

    base: Base
    variant: Variant


@dataclass(frozen=True)
class Trial:
    """One run: a recipe, with a variant or without, at a seed.

    Attributes:
        name: of its folder.
    """

    name: str
    base: Base
    variant: Variant
    seed: int


@dataclass(frozen=True)
class Plan:
    """All that numbers depend on.

    Attributes:
        plugins: names and files of plugins.
        sources: of plugin files, their SHA-256.
        pairs: what is compared.
        left_out: by recipe and variant, why it does not fit.
        settings: of all runs, KEY=VALUE strings.
        data: SPECs in place of the recipes', with whole paths; empty: the recipes' own.
        seeds: of training and of evaluation.
        n: prompts of an evaluation.
        metrics: names; empty takes those that need no download.
        recipes: by recipe, and by recipe and variant, the SHA-256 of all its settings.
    """

    plugins: tuple[str, ...]
    sources: dict[str, str]
    pairs: tuple[Pair, ...]
    left_out: dict[str, str]
    settings: tuple[str, ...]
    data: tuple[str, ...]
    seeds: tuple[int, ...]
    n: int
    metrics: tuple[str, ...] = field(default=())
    recipes: dict[str, str] = field(default_factory=dict)

    @property
    def bases(self) -> tuple[Base, ...]:
        """The recipes, each once."""
        return tuple(dict.fromkeys(pair.base for pair in self.pairs))

    def trial(self, base: Base, variant: Variant, seed: int) -> Trial:
        """The run of a recipe with a variant at a seed; all variants of a recipe share those without."""
        variants = [WITHOUT, *(pair.variant for pair in self.pairs if pair.base == base)]
        number = variants.index(variant)
        arm = f"with-{number}" if number else "without"
        return Trial(f"{base.name}-{arm}-seed-{seed}", base, variant, seed)

    def trials(self) -> list[Trial]:
        """All runs; every other seed begins with the last variant, so that no arm always comes first."""
        found: list[Trial] = []
        for place, (seed, base) in enumerate(itertools.product(self.seeds, self.bases)):
            variants = [WITHOUT, *(pair.variant for pair in self.pairs if pair.base == base)]
            turned = place // len(self.bases) % 2
            found += [self.trial(base, one, seed) for one in (variants[::-1] if turned else variants)]
        return found

    def table(self) -> dict[str, Any]:
        """As JSON can hold it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found

    def write(self, folder: Path) -> None:
        """Write it into the folder of an ablation."""
        write_json(folder / FILE, self.table())


def read_plan(folder: Path) -> Plan:
    """The plan of an ablation that began before.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        return TypeAdapter(Plan).validate_json((folder / FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder}: this is no ablation",
            expected=f"a folder with a {FILE}, as `t2ikit ablate` makes it",
            got="no such file" if isinstance(error, OSError) else "a damaged file",
            fix="name the folder that `t2ikit ablate` printed, or leave --resume out",
        ) from error


def digests(plugins: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of each plugin that is a file."""
    files = [Path(one) for one in plugins if one.endswith(".py")]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check_sources(plan: Plan) -> None:
    """Refuse to go on where a plugin file is not what the first runs were trained with.

    Raises:
        UserError: it changed, or is gone.
    """
    for path, digest in plan.sources.items():
        known = Path(path).is_file()
        if not known or digests([path])[path] != digest:
            raise changed(path, f"the file with SHA-256 {digest[:12]}...", "another" if known else "no file")


def changed(what: str, expected: str, got: str) -> UserError:
    """That runs of now would not be comparable with those that were trained before."""
    return UserError(
        f"{what} has changed since the ablation began",
        expected=expected,
        got=got,
        fix="restore it, or begin a new ablation, in a folder of its own",
    )
