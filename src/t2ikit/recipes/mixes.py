"""A mix of datasets as one that a recipe can use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from t2ikit.data.mixing.config import MixConfig, mix_config
from t2ikit.registry.registry import Entry
from t2ikit.registry.specs import DatasetSpec

if TYPE_CHECKING:
    from t2ikit.core.interfaces import Dataset


def mixed_entry(specs: Sequence[str], entries: Sequence[Entry]) -> Entry:
    """The dataset that mixes what SPECs name.

    Args:
        specs: at least two.
        entries: the dataset that each of them names.
    """

    def build(config: MixConfig, context: Any) -> Dataset:
        from t2ikit.data.mixing.mixed import Mixed
        from t2ikit.data.mixing.mixed_stream import MixedStream

        configs = config.part_configs()
        parts: list[Dataset] = [
            entry.spec.build(one, context) for entry, one in zip(entries, configs, strict=True)
        ]
        indexed = all(part.indexed_training for part in parts)
        return (Mixed if indexed else MixedStream)(parts, config.weights, specs)

    config_class = mix_config([(spec, e.spec.config) for spec, e in zip(specs, entries, strict=True)])
    foreign = [entry for entry in entries if entry.plugin != "t2ikit"]
    plugin = (foreign or list(entries))[0]
    return Entry(DatasetSpec("mix", build, config_class, "several datasets"), plugin.plugin, plugin.origin)
