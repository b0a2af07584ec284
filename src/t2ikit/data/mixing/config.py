"""The SPEC and the config of a mix of datasets. Imports no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError, create_model, model_validator
from typing_extensions import Self

from t2ikit.config.base import DatasetConfig

PREFIX = "mix:"
"""Begins the SPEC of a mix: `mix:["a-folder", "hf:owner/name"]`, as a run's recipe.toml holds it."""


def as_spec(data: str | Path | Sequence[str | Path]) -> str:
    """One SPEC for one or several of them."""
    specs = [str(data)] if isinstance(data, (str, Path)) else [str(spec) for spec in data]
    return specs[0] if len(specs) == 1 else PREFIX + json.dumps(specs, ensure_ascii=False)


def specs_in(spec: str) -> list[str]:
    """The SPECs that a mix is made of; of any other, itself alone."""
    if not spec.startswith(PREFIX):
        return [spec]
    try:
        found = json.loads(spec.removeprefix(PREFIX))
    except ValueError:
        return [spec]
    good = isinstance(found, list) and len(found) > 1 and all(isinstance(one, str) for one in found)
    return found if good else [spec]


class MixConfig(DatasetConfig):
    """Several datasets as one; what else can be set is what they take, and holds for all of them."""

    weights: tuple[float, ...] | None = None
    """how often each is shown, one number for each --data; none: as often as it has images"""

    parts: ClassVar[Sequence[tuple[str, type[DatasetConfig]]]] = ()

    @model_validator(mode="after")
    def _fits_its_parts(self) -> Self:
        weights = self.weights
        if weights is not None and len(weights) != len(self.parts):
            raise ValueError(f"{len(self.parts)} datasets need as many weights, not {len(weights)}")
        if weights is not None and not all(0 < weight < math.inf for weight in weights):
            raise ValueError("weights are finite numbers above 0")
        channels = [config.image_channels for config in self.part_configs()]
        if len(set(channels)) > 1:
            raise ValueError(f"the datasets have images of different channels: {channels}")
        return self

    def part_configs(self) -> list[DatasetConfig]:
        """The config of each dataset: what it knows of these options.

        Raises:
            ValueError: an option is nothing for one of them.
        """
        configs = []
        for spec, config_class in self.parts:
            table = {key: getattr(self, key) for key in config_class.model_fields if key != "spec"}
            try:
                configs.append(config_class.model_validate({**table, "spec": spec}))
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(map(str, first["loc"]))
                raise ValueError(f"{spec}: {key}: {first['msg']}") from error
        return configs


def mix_config(parts: Sequence[tuple[str, type[DatasetConfig]]]) -> type[MixConfig]:
    """The config class of a mix, with the options of all its parts.

    Args:
        parts: the SPEC and config class of each.
    """
    classes: dict[Any, None] = dict.fromkeys(config_class for _, config_class in parts)
    bases = [
        one for one in classes if not any(other is not one and issubclass(other, one) for other in classes)
    ]
    all_bases: tuple[type[Any], ...] = (MixConfig, *bases)
    made: type[MixConfig] = create_model("MixedDataConfig", __base__=all_bases)
    made.parts = tuple(parts)
    made.__doc__ = MixConfig.__doc__
    return made
