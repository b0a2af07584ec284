"""Hooks of mkdocs: pages that are made while the site is built, and links to files outside docs/."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

import gallery
import reference_commands
import reference_python
import reference_recipes
import reference_settings
import repository_files
from t2ikit.registry.registry import Registry

MADE: dict[str, str] = {}
"""Markdown of this build, by page."""


def made_pages() -> dict[str, str]:
    """Markdown by page; a folder in the navigation lists its pages in this order."""
    registry = Registry.load()
    return {
        **repository_files.pages(),
        **reference_commands.pages(),
        **reference_recipes.pages(registry),
        **reference_settings.pages(registry),
        **reference_python.pages(),
        "gallery.md": gallery.page(),
    }


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the pages; a folder in the navigation stands for those that it holds."""
    MADE.clear()
    MADE.update(made_pages())
    named = str(config.nav)
    config.nav = _expanded(config.nav, [page for page in MADE if page not in named])
    return config


def _expanded(nav: Any, pages: Sequence[str]) -> Any:
    """The navigation, with `folder/` as the list of those of the pages that are in it."""
    if isinstance(nav, list):
        return [_expanded(entry, pages) for entry in nav]
    if isinstance(nav, dict):
        return {title: _expanded(entry, pages) for title, entry in nav.items()}
    return [page for page in pages if page.startswith(nav)] if nav.endswith("/") else nav


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what was made; pages of files need not be in the navigation, as other pages link to them."""
    in_nav = str(config.nav)
    for page, text in MADE.items():
        linked = page.startswith(repository_files.FOLDER) and page not in in_nav
        level = InclusionLevel.NOT_IN_NAV if linked else InclusionLevel.UNDEFINED
        files.append(File.generated(config, page, content=text, inclusion=level))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository lead to their pages."""
    return repository_files.linked(markdown, page.file.src_uri)
