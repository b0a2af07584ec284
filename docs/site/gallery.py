"""The gallery: every picture of the pages, with what it shows and the page that says how it was made."""

from __future__ import annotations

import re
from collections.abc import Iterator

from repository_files import README, ROOT, linked

INTRODUCTION = """\
# Gallery

Every picture of these pages. All are output of t2ikit; the page below each says which command makes it."""
PICTURE = re.compile(r"!\[([^]]+)\]\(([^)]+)\)")


def page() -> str:
    """Each picture once, where it is shown first."""
    return "\n\n".join([INTRODUCTION, *_pictures()])


def _pictures() -> Iterator[str]:
    shown: set[str] = set()
    for path in (ROOT / README, *sorted((ROOT / "docs").glob("*.md"))):
        uri = "index.md" if path.name == README else path.name
        text = linked(path.read_text(encoding="utf-8"), uri)
        title = text.partition("\n")[0].removeprefix("# ")
        for caption, picture in PICTURE.findall(text):
            if picture not in shown:
                shown.add(picture)
                yield f"## {caption}\n\n![{caption}]({picture}){{ loading=lazy }}\n\nFrom [{title}]({uri})."
