"""The kinds of parts that have a template."""

from __future__ import annotations

from enum import Enum


class PartKind(str, Enum):
    """What a new plugin can bring."""

    loss = "loss"
    critic = "critic"
    sampler = "sampler"
    generator = "generator"
    metric = "metric"
    dataset = "dataset"
    text_encoder = "text-encoder"
    exporter = "exporter"
