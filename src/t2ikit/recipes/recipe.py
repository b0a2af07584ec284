"""Recipes: from names and tables to checked configs. `compose.py` builds what they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t2ikit.config.base import DatasetConfig
from t2ikit.recipes.schema import LossConfig, OptimizerConfig, TrainConfig
from t2ikit.registry.registry import Entry

PARTS = {"data": "datasets", "text": "text_encoders", "generator": "generators", "sampler": "samplers"}
TABLES: frozenset[str] = frozenset({"train", "optimizer", "critics", "losses", *PARTS})
SAMPLING: frozenset[str] = frozenset({"train", "text", "generator", "sampler"})


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
    config: LossConfig

    def table(self) -> dict[str, Any]:
        """How the loss stands in a fully resolved recipe."""
        return {**self.part.table(), **self.config.model_dump(mode="json")}


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
