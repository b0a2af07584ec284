"""Finding the pictures of a folder and their captions, and everything that is wrong with them."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2ikit.data.pictures import SUFFIXES
from t2ikit.errors import UserError, UserErrors, did_you_mean

METADATA = "metadata.jsonl"
CAPTION_KEYS = ("text", "caption")
SHOWN = 10
"""How many files a message names before it only counts."""


@dataclass(frozen=True)
class Entry:
    """One captioned picture that was found, not yet opened.

    Attributes:
        name: path relative to the folder with forward slashes, in Unicode's composed form: the same
            on every system.
        path: where it is.
        captions: one or more, none of them empty.
    """

    name: str
    path: Path
    captions: tuple[str, ...]


@dataclass
class Problems:
    """What is wrong with a folder, gathered by kind so that one message can tell it all.

    Attributes:
        root: the folder.
        found: for each kind (what, expected, fix) the places where it is so.
    """

    root: Path
    found: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)

    def add(self, where: str, what: str, expected: str, fix: str) -> None:
        """Note one problem; `what`, `expected` and `fix` are the same for all problems of a kind."""
        self.found.setdefault((what, expected, fix), []).append(where)

    def raise_any(self) -> None:
        """Raise all that was noted.

        Raises:
            UserError: for one kind of problem.
            UserErrors: for several.
        """
        errors = [self._error(kind, places) for kind, places in self.found.items()]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            count = sum(len(places) for places in self.found.values())
            raise UserErrors(f"{self.root}: {count} problems", errors)

    def _error(self, kind: tuple[str, str, str], places: list[str]) -> UserError:
        what, expected, fix = kind
        got = "; ".join(places[:SHOWN])
        if len(places) > SHOWN:
            got += f"; and {len(places) - SHOWN} more"
        return UserError(
            f"{self.root}: {what} ({len(places)} of them)" if len(places) > 1 else f"{self.root}: {what}",
            expected=expected,
            got=got,
            fix=fix,
        )


def scan(root: Path, caption_column: str | None, problems: Problems) -> tuple[list[Entry], list[str]]:
    """Find the captioned pictures under `root`, nested folders included, sorted by name.

    Any `metadata.jsonl` says alone which pictures there are. Without one every picture needs a .txt file
    of the same stem beside it, with a caption a line.

    Returns:
        the entries, and the names of pictures that metadata.jsonl leaves out.
    """
    files = sorted(_files(root), key=lambda path: _name(root, path))
    metadata = [path for path in files if path.name == METADATA]
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    if metadata:
        entries = _from_metadata(root, metadata, caption_column, problems)
    elif caption_column is not None:
        raise UserError(
            f"{root}: caption_column is set, but there is no {METADATA}",
            expected=f"{METADATA} with the keys file_name and {caption_column}",
            fix=f"write {METADATA}, or leave caption_column out to read .txt files",
        )
    else:
        entries = _from_pairs(root, pictures, problems)
    if not entries and not problems.found:
        raise _nothing_found(root, files)
    used = {entry.name for entry in entries}
    return entries, [name for name in (_name(root, path) for path in pictures) if name not in used]


def _files(root: Path) -> Iterator[Path]:
    """All files under `root` but hidden ones."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder) / name for name in names if not name.startswith("."))


def _name(root: Path, path: Path) -> str:
    return unicodedata.normalize("NFC", path.relative_to(root).as_posix())


def _nothing_found(root: Path, files: list[Path]) -> UserError:
    endings = sorted({path.suffix.lower() or path.name for path in files})
    return UserError(
        f"{root}: no captioned picture in this folder",
        expected=f"{METADATA} with the keys file_name and text, or pictures with a .txt file beside each",
        got=f"{len(files)} files ({', '.join(endings[:SHOWN])})" if files else "an empty folder",
        fix=f"write captions beside the pictures (cat.png, cat.txt) or one line a picture into {METADATA}",
    )


def _tidy(text: str) -> str:
    return " ".join(text.split())


def _text(path: Path, root: Path, problems: Problems) -> str | None:
    """A text file's content; None where it is no text, which is noted."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problems.add(
            f"{_name(root, path)} (byte {error.start})",
            "text that is not UTF-8",
            "UTF-8",
            "save the file as UTF-8",
        )
    except OSError as error:
        problems.add(
            f"{_name(root, path)} ({error.strerror})",
            "a file that cannot be read",
            "a file you may read",
            "check its permissions",
        )
    return None


def _from_pairs(root: Path, pictures: list[Path], problems: Problems) -> list[Entry]:
    entries = []
    for path in pictures:
        beside = path.with_suffix(".txt")
        name = _name(root, path)
        if not beside.is_file():
            problems.add(
                name,
                "a picture without a caption",
                "a .txt file of the same name beside each picture",
                f"write the .txt file, take the picture out, or list what to use in {METADATA}",
            )
            continue
        text = _text(beside, root, problems)
        captions = tuple(line for line in map(_tidy, (text or "").splitlines()) if line)
        if captions:
            entries.append(Entry(name, path, captions))
        elif text is not None:
            problems.add(
                _name(root, beside),
                "an empty caption file",
                "one caption a line, at least one",
                "write a caption, or take the picture and its .txt file out",
            )
    return entries


def _from_metadata(root: Path, metadata: list[Path], column: str | None, problems: Problems) -> list[Entry]:
    """Entries of every metadata.jsonl; several lines of one picture are several captions."""
    found: dict[str, Entry] = {}
    for file in metadata:
        for where, row in _rows(file, root, problems):
            entry = _entry(where, row, file.parent, root, column, problems)
            if entry is not None:
                before = found.get(entry.name)
                captions = (*before.captions, *entry.captions) if before else entry.captions
                found[entry.name] = Entry(entry.name, entry.path, tuple(dict.fromkeys(captions)))
    if not found and not problems.found:
        names = ", ".join(_name(root, file) for file in metadata)
        problems.add(
            names,
            f"{METADATA} has no lines",
            'lines like {"file_name": "cat.png", "text": "a cat"}',
            "write one line a picture",
        )
    return sorted(found.values(), key=lambda entry: entry.name)


def _rows(file: Path, root: Path, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects of a metadata.jsonl with where they are, for messages."""
    for number, line in enumerate((_text(file, root, problems) or "").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{_name(root, file)}:{number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            message = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
            where += f" ({message})"
            row = None
        if isinstance(row, dict):
            yield where, row
        else:
            problems.add(
                where,
                "a line that is not a JSON object",
                'one object a line: {"file_name": "cat.png", "text": "a cat"}',
                'mend or remove the line; quote marks inside a caption are written \\"',
            )


def _entry(
    where: str, row: dict[str, Any], folder: Path, root: Path, column: str | None, problems: Problems
) -> Entry | None:
    """What one line says; None where it is wrong, which is noted."""
    path = _picture(where, row, folder, root, problems)
    captions = _captions(where, row, column, problems)
    if path is None or captions is None:
        return None
    return Entry(_name(root, path), path, captions)


def _picture(where: str, row: dict[str, Any], folder: Path, root: Path, problems: Problems) -> Path | None:
    name = row.get("file_name")
    if not isinstance(name, str) or not name.strip():
        problems.add(
            f"{where} (has {', '.join(sorted(row)) or 'no keys'})",
            "a line without file_name",
            "file_name: the picture's path, relative to metadata.jsonl",
            "add file_name to the line",
        )
        return None
    path = Path(os.path.normpath(folder / name.replace("\\", "/")))
    if not path.is_relative_to(root):
        problems.add(
            f"{where} ({name})",
            "a file_name that leads out of the folder",
            "pictures inside the folder",
            "move the picture into the folder, and write its path relative to metadata.jsonl",
        )
        return None
    if not path.is_file():
        problems.add(
            f"{name} ({where})",
            "metadata.jsonl names a file that is not there",
            "every file_name to be a picture, relative to metadata.jsonl",
            "put the pictures in place, or remove their lines",
        )
        return None
    return path


def _captions(
    where: str, row: dict[str, Any], column: str | None, problems: Problems
) -> tuple[str, ...] | None:
    keys = (column,) if column is not None else CAPTION_KEYS
    key = next((key for key in keys if key in row), None)
    if key is None:
        others = [name for name in row if name != "file_name"]
        problems.add(
            where,
            f"a line without {' or '.join(keys)}",
            f"the caption under {' or '.join(keys)}",
            "name the key that holds the caption with caption_column: " + did_you_mean(keys[0], others),
        )
        return None
    value = row[key]
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        problems.add(
            f"{where} ({key} = {json.dumps(value)[:40]})",
            "a caption that is not text",
            "a string or a list of strings",
            "write the caption in quote marks",
        )
        return None
    captions = tuple(caption for caption in map(_tidy, texts) if caption)
    if not captions:
        problems.add(
            where,
            "an empty caption",
            "at least one caption that is not blank",
            "write a caption or remove the line",
        )
        return None
    return captions
