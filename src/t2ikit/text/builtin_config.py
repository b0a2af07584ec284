"""How the built-in text encoder is configured. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from t2ikit.registry.specs import Config


class BuiltinTextConfig(Config):
    """Options of the built-in text encoder."""

    width: int = Field(64, ge=8, le=4096)
    """entries of a word's vector"""
    length: int = Field(24, ge=2, le=512)
    """tokens a caption is cut to, the start token included"""
