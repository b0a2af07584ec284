"""What the tests of the conformance checks share."""

from __future__ import annotations

import pytest

from t2ikit.registry.registry import Entry, Registry


def registry_with(*specs) -> Registry:
    """The installed plugins, and a plugin `mine` with these parts."""
    registry = Registry.load()
    for spec in specs:
        registry._entries[spec.kind].append(Entry(spec, "mine", "here"))
    return registry


def fails(check, registry, *more, match, **config):
    with pytest.raises(AssertionError, match=match):
        check("mine/x", registry, *more, **config)
