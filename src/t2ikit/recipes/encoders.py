"""A text encoder by settings alone, to look at captions with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from t2ikit.config.toml import apply_settings
from t2ikit.config.validation import validate
from t2ikit.core.interfaces import TextEncoder
from t2ikit.registry.registry import Registry


def is_of_text(setting: str) -> bool:
    """Whether a `KEY=VALUE` string is one of the text encoder's."""
    return setting.startswith("text.")


def open_text_encoder(registry: Registry, settings: Sequence[str]) -> TextEncoder:
    """The text encoder that settings describe; without any, the built-in one.

    Args:
        registry: where text encoders are looked up.
        settings: `text.KEY=VALUE` strings; `text.use` names another encoder.

    Raises:
        UserError: there is no such encoder or option, or its files are not there.
    """
    table: dict[str, Any] = apply_settings({"text": {"use": "builtin"}}, settings)["text"]
    use = str(table.pop("use"))
    spec = registry.find("text_encoders", use).spec
    encoder: TextEncoder = spec.build(validate(spec.config, table, where="--set", key="text"), None)
    return encoder
