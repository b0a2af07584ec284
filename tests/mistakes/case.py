"""What one mistake at the command line is, and what must be said of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Prepare = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """A command and its message.

    Attributes:
        command: as typed after `t2ikit`; TOYS stands for the toy plugin file, and the runs of `test_mistakes`
            that it names are copied into the working folder first.
        says: what the message must hold anywhere, the name of the file or option at fault among it.
        expected, got, fix: what must stand after these labels; None where the sentence says it itself.
        before: prepares the working folder.
    """

    command: str
    says: tuple[str, ...]
    expected: str | None = None
    got: str | None = None
    fix: str | None = None
    before: Prepare | None = None


def mistake(
    command: str,
    *says: str,
    expected: str | None = None,
    got: str | None = None,
    fix: str | None = None,
    before: Prepare | None = None,
) -> Case:
    """A mistake whose message has labelled parts."""
    assert sum(part is not None for part in (expected, got, fix)) >= 2, command
    return Case(command, says, expected, got, fix, before)


def sentence(command: str, *says: str, before: Prepare | None = None) -> Case:
    """A mistake that is told in one sentence: what is wrong, and what would be right."""
    assert len(says) >= 2, command
    return Case(command, says, before=before)


def files(texts: Mapping[str, str | bytes]) -> Prepare:
    """Writes files by their paths."""

    def write(folder: Path) -> None:
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return write


def edited(file: str, old: str, new: str) -> Prepare:
    """Replaces a text in a file that must hold it."""

    def edit(folder: Path) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text, (file, old)
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")

    return edit


def without(file: str, key: str) -> Prepare:
    """Takes an entry out of a JSON file."""

    def edit(folder: Path) -> None:
        table = json.loads((folder / file).read_text(encoding="utf-8"))
        del table[key]
        (folder / file).write_text(json.dumps(table), encoding="utf-8")

    return edit


def removed(name: str) -> Prepare:
    """Deletes a file or a folder."""

    def remove(folder: Path) -> None:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return remove
