"""Every public name of Python, as the stubs list them, by the folder that it is in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from repository_files import ROOT
from tables import plain, table

FOLDER = "reference/python"
PACKAGES = {
    "t2ikit": ROOT / "src/t2ikit/__init__.pyi",
    "t2ikit.testing": ROOT / "src/t2ikit/testing/__init__.py",
    "t2ikit_imagen": ROOT / "plugins/t2ikit_imagen/__init__.pyi",
    "t2ikit_gigagan": ROOT / "plugins/t2ikit_gigagan/__init__.pyi",
}
OLD = {"Drawn"}
"""Names that still work, under another one."""
INTRODUCTION = """\
# Python

Every public name. `import t2ikit` takes no time: a name is imported when it is first used. What is not
listed here may change without notice. [From Python](../../python.md) shows how the functions go
together."""


@dataclass(frozen=True)
class Name:
    """A public name.

    Attributes:
        name: as it is imported.
        page: where it is described.
        summary: the first line of its docstring.
    """

    name: str
    page: str
    summary: str


def pages() -> dict[str, str]:
    """The list of all names, and a page for each folder of t2ikit and each plugin."""
    found = [name for package, stub in PACKAGES.items() for name in names(package, stub)]
    made = {f"{FOLDER}/index.md": "\n\n".join([INTRODUCTION, *_lists(found)])}
    for page in dict.fromkeys(name.page for name in found):
        here = [f"::: {name.name}" for name in found if name.page == page]
        made[f"{FOLDER}/{page}.md"] = "\n\n".join([f"# {page}", *here])
    return made


def names(package: str, stub: Path) -> Iterator[Name]:
    """The names that a stub imports."""
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = node.module.removeprefix(f"{package}.")
            page = inside.partition(".")[0] if package == "t2ikit" else package
            for alias in node.names:
                if alias.name not in OLD:
                    summary = _summary(stub.parent / inside.replace(".", "/"), alias.name)
                    yield Name(f"{package}.{alias.name}", page, summary)


def _summary(module: Path, name: str) -> str:
    """The first line of the docstring of a class or function."""
    tree = ast.parse(module.with_suffix(".py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def _lists(found: list[Name]) -> Iterator[str]:
    for page in dict.fromkeys(name.page for name in found):
        yield f"## [{page}]({page}.md)"
        rows = [[f"[`{one.name}`][{one.name}]", plain(one.summary)] for one in found if one.page == page]
        yield table(["name", "what it is"], rows)
