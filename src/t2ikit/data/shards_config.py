"""What tar shards take. Imports no torch."""

from __future__ import annotations

from t2ikit.data.captioned_config import CaptionedConfig


class ShardsConfig(CaptionedConfig):
    """Tar shards as WebDataset writes them: `wds:shards-{000..099}.tar`."""

    caption_column: str | None = None
    """key of the captions in .json; none: the first of text, caption, captions, prompt, description"""
    stream: bool | None = None
    """open shards one after another while training; none: only where they are not on this machine"""


def accepts_shards(spec: str) -> bool:
    """Whether a SPEC names shards, or is a tar file."""
    return spec.startswith("wds:") or spec.lower().endswith(".tar")
