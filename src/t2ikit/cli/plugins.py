"""`t2ikit plugins`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from t2ikit.cli.output import print_rows

if TYPE_CHECKING:
    from t2ikit.registry.registry import Plugin, Registry


def command(
    plugin: Annotated[list[str] | None, typer.Option(help="Also load ./file.py; may be repeated.")] = None,
) -> None:
    """List the plugins and their parts, and why a plugin is broken."""
    from t2ikit.registry.registry import Registry

    registry = Registry.load(plugin or [])
    rows = [[found.name, found.origin, _parts(registry, found)] for found in registry.plugins.values()]
    print_rows(["plugin", "from", "parts"], rows)


def _parts(registry: Registry, plugin: Plugin) -> str:
    if plugin.error:
        return f"broken: {plugin.error}"
    from t2ikit.registry.specs import KINDS

    names = {
        spec_class.kind: [e.spec.name for e in registry.entries(spec_class.kind) if e.plugin == plugin.name]
        for spec_class in KINDS
    }
    return "; ".join(f"{kind}: {', '.join(found)}" for kind, found in names.items() if found)
