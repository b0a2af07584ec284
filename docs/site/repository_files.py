"""Files of the repository as pages: first the README, then what is linked to outside docs/."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = "README.md"
FOLDER = "files"
"""Of the site, with the pages of files outside docs/."""
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]+)")
LANGUAGES = {".py": "python", ".toml": "toml", ".sh": "sh", ".json": "json"}


def place_of(page: str) -> str:
    """Where a page of the site stands in the repository: `data.md` is `docs/data.md`."""
    if page == "index.md":
        return README
    if page.startswith(f"{FOLDER}/"):
        return page.removeprefix(f"{FOLDER}/").removesuffix("/index.md")
    return f"docs/{page}"


def page_of(place: str) -> str:
    """The page of a file or folder of the repository; files of docs/ that are no pages keep their names."""
    if place == README:
        return "index.md"
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    if (ROOT / place).is_dir():
        return f"{FOLDER}/{place}/index.md"
    return f"{FOLDER}/{place}" if place.endswith(".md") else f"{FOLDER}/{place}.md"


def linked(markdown: str, page: str) -> str:
    """A page whose links to files of the repository lead to their pages."""
    return _links(markdown, place_of(page), lambda place: _from(page, page_of(place)))


def examples() -> list[str]:
    """Scripts, notebooks and packages, which are pages without anybody linking to them."""
    folder = ROOT / "examples"
    found = [
        *folder.glob("*.py"),
        *folder.glob("*.ipynb"),
        *(path.parent for path in folder.glob("*/README.md")),
    ]
    return [path.relative_to(ROOT).as_posix() for path in sorted(found)]


def pages() -> dict[str, str]:
    """The README, the examples, and every file or folder that pages link to outside docs/: text by page."""
    todo = [README, *examples()]
    for path in sorted((ROOT / "docs").glob("*.md")):
        todo += _targets(path.read_text(encoding="utf-8"), f"docs/{path.name}")
    made: dict[str, str] = {}
    while todo:
        place = todo.pop(0)
        page = page_of(place)
        if page not in made and not place.startswith("docs/"):
            made[page] = _text(ROOT / place)
            todo += _targets(made[page], place) if place.endswith(".md") else []
    return made


def _targets(markdown: str, place: str) -> list[str]:
    found: list[str] = []

    def note(target: str) -> str:
        found.append(target)
        return target

    _links(markdown, place, note)
    return found


def _links(markdown: str, place: str, change: Callable[[str], str]) -> str:
    """The text with each link to a file of the repository changed, outside blocks of code."""

    def changed(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(place), match[1]))
        inside = not target.startswith("..") and (ROOT / target).exists()
        return change(target) if inside else match[1]

    pieces = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(text if number % 2 else LINK.sub(changed, text) for number, text in enumerate(pieces))


def _from(page: str, other: str) -> str:
    return posixpath.relpath(other, posixpath.dirname(page) or ".")


def _text(path: Path) -> str:
    if path.is_dir():
        return "\n\n".join(_folder(path))
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return "\n\n".join(_notebook(path))
    return f"# {path.name}\n\n{_code(path)}"


def _folder(path: Path) -> Iterator[str]:
    """Its README, and then the code of its files, tests last."""
    readme = path / README
    yield readme.read_text(encoding="utf-8").strip() if readme.exists() else f"# {path.name}"
    files = [
        file for pattern in ("*.toml", "src/**/*.py", "*.py", "tests/*.py") for file in path.glob(pattern)
    ]
    for file in files:
        if file.stat().st_size:
            yield f"## `{file.relative_to(path).as_posix()}`\n\n{_code(file)}"


def _code(path: Path) -> str:
    return _fenced(path.read_text(encoding="utf-8"), LANGUAGES.get(path.suffix, "text"))


def _fenced(text: str, language: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"


def _notebook(path: Path) -> Iterator[str]:
    """Its cells without outputs."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        yield text if cell["cell_type"] == "markdown" else _fenced(text, "python")
