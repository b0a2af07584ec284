"""Finding the images of a folder, their captions, and all their problems."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2ikit.data.captions import captions_of, joined, tidy
from t2ikit.data.formats.delimited import DELIMITED, Delimited
from t2ikit.data.formats.folder_hints import METADATA, captions_from_names, nothing_found
from t2ikit.data.formats.rows import find_column
from t2ikit.data.image_files import SUFFIXES
from t2ikit.data.problems import Problem, Problems
from t2ikit.data.source import Entry
from t2ikit.errors import UserError
from t2ikit.utils.files import NUL, decoded
from t2ikit.utils.quoting import visible

CAPTION_ENDINGS = (".txt", ".caption")
"""Endings of caption files, in upper or lower case."""
NO_CAPTION = Problem(
    "an image without a caption",
    "a .txt file of the same name beside each image",
    "write the .txt file, take the image out, or list what to use in metadata.jsonl",
)
EMPTY_FILE = Problem(
    "an empty caption file",
    "one caption a line, at least one",
    "write a caption, or take the image and its .txt file out",
)
NO_IMAGE = Problem(
    "a caption without an image",
    "an image of the same name beside each .txt file",
    "put the image in place, or take the .txt file out",
)
NO_LINES = Problem(
    "metadata without lines",
    'lines like {"file_name": "cat.png", "text": "a cat"}',
    "write one line an image",
)
NO_OBJECT = Problem(
    "a line that is not a JSON object",
    'one object a line: {"file_name": "cat.png", "text": "a cat"}',
    'mend or remove the line; quote marks inside a caption are written \\"',
)
NO_NAME = Problem(
    "a line without file_name",
    "file_name: the image's path, relative to the metadata file",
    "add file_name to the line",
)
OUTSIDE = Problem(
    "a file_name that leads out of the folder",
    "images inside the folder",
    "move the image into the folder, and write its path relative to the metadata file",
)
LINK = Problem(
    "a link in place of a file",
    "paths of image files, relative to the table",
    "links are not followed: download the images first, and write their paths in place of the links",
)
ABSENT = Problem(
    "metadata names a file that is not there",
    "every file_name to be an image, relative to the metadata file",
    "put the images in place, or remove their lines",
)
_LINK = re.compile(r"\s*([a-z][a-z0-9+.-]+://|data:)", re.IGNORECASE)
ENCODINGS = "UTF-8, or UTF-16 or UTF-32 with a byte-order mark"
NOT_UTF8 = Problem("text that is not UTF-8", ENCODINGS, "save the file as UTF-8")
HAS_NUL = Problem(
    "text with a NUL byte, as UTF-16 without a byte-order mark has", ENCODINGS, "save the file as UTF-8 text"
)
FORBIDDEN = Problem("a file that cannot be read", "a file you may read", "check its permissions")


def scan(
    root: Path, files: list[Path], caption_column: str | None, problems: Problems
) -> tuple[list[Entry], list[str]]:
    """Find the captioned images among the files under `root`, sorted by name.

    If there is a `metadata.jsonl`, `.csv` or `.tsv`, it alone says which images there are. Otherwise every
    image needs a .txt or .caption file of the same stem beside it, with a caption on each line.

    Returns:
        the entries, whose place is their path, and the names of images that metadata leaves out.
    """
    metadata = [path for path in files if path.name in METADATA]
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if metadata:
        entries = _from_metadata(root, metadata, caption_column, problems)
    elif caption_column is not None:
        raise UserError(
            f"{root}: caption_column is set, but there is no {METADATA[0]}",
            expected=f"{METADATA[0]} with the keys file_name and {caption_column}",
            fix=f"write {METADATA[0]}, or leave caption_column out to read .txt files",
        )
    else:
        entries = _from_pairs(root, files, images, problems)
    if not entries and not problems:
        raise nothing_found(root, files)
    if not metadata:
        return entries, []
    used = {entry.name for entry in entries}
    return entries, [name for name in (_name(root, path) for path in images) if name not in used]


def unread_captions(root: Path, files: list[Path], unused: set[str]) -> tuple[str, ...]:
    """A line on the captions beside images that metadata leaves out; none where there are none."""
    metadata = ", ".join(_name(root, path) for path in files if path.name in METADATA)
    texts = _caption_files(files) if unused else {}
    images = [path for path in files if path.suffix.lower() in SUFFIXES and _stem(path) in texts]
    count = len({_stem(path) for path in images if _name(root, path) in unused})
    if not count:
        return ()
    what = (
        "caption file (.txt) beside an image was" if count == 1 else "caption files (.txt) beside images were"
    )
    return (
        f"{visible(str(root))}: {count:,} {what} not read, as {visible(metadata)} alone says which images "
        "are used; list them there, or take it out",
    )


def visible_files(root: Path) -> list[Path]:
    """All files under `root` but hidden ones, sorted by name."""
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += (Path(folder) / name for name in names if not name.startswith("."))
    return sorted(found, key=lambda path: _name(root, path))


def _name(root: Path, path: Path) -> str:
    return unicodedata.normalize("NFC", path.relative_to(root).as_posix())


def read_text(path: Path, name: str, problems: Problems) -> str | None:
    """A text file's content; None if it is not text, which is noted under `name`."""
    try:
        return decoded(path.read_bytes())
    except UnicodeDecodeError as error:
        problems.add(f"{name} (byte {error.start})", HAS_NUL if error.reason == NUL else NOT_UTF8)
    except OSError as error:
        problems.add(f"{name} ({error.strerror})", FORBIDDEN)
    return None


def _from_pairs(root: Path, files: list[Path], images: list[Path], problems: Problems) -> list[Entry]:
    entries = []
    texts = _caption_files(files)
    no_caption = NO_CAPTION
    if not any(_stem(path) in texts for path in images):
        no_caption = replace(NO_CAPTION, fix=captions_from_names(root, images))
    for path in images:
        beside = texts.get(_stem(path))
        name = _name(root, path)
        if beside is None:
            problems.add(name, no_caption)
            continue
        text = read_text(beside, _name(root, beside), problems)
        captions = tuple(dict.fromkeys(line for line in map(tidy, (text or "").splitlines()) if line))
        if captions:
            entries.append(Entry(name, captions, path))
        elif text is not None:
            problems.add(_name(root, beside), EMPTY_FILE)
    if entries:  # else they are notes
        stems = set(map(_stem, images))
        for stem, path in texts.items():
            if stem not in stems and not _is_note(path):
                problems.add(_name(root, path), NO_IMAGE)
    return entries


def _stem(path: Path) -> str:
    """The path without its ending, which an image and its caption file have in common."""
    return unicodedata.normalize("NFC", str(path.with_suffix("")))


def _caption_files(files: list[Path]) -> dict[str, Path]:
    """Caption files by their stems; if a stem has several, the one with the first ending."""
    found: dict[str, Path] = {}
    for ending in CAPTION_ENDINGS:
        for path in files:
            if path.suffix.lower() == ending:
                found.setdefault(_stem(path), path)
    return found


def _is_note(path: Path) -> bool:
    """Whether a text file is about the folder, judged by its name."""
    return path.stem.lower() in ("readme", "license", "licence", "notice", "copying", "changelog")


def _from_metadata(root: Path, metadata: list[Path], column: str | None, problems: Problems) -> list[Entry]:
    """Entries of every metadata file; several lines of one image are several captions."""
    found: dict[str, Entry] = {}
    for file in metadata:
        for where, row in read_rows(file, _name(root, file), problems):
            entry = _entry(where, row, file.parent, root, column, problems)
            if entry is not None:
                before = found.get(entry.name)
                captions = joined(before.captions, entry.captions) if before else entry.captions
                found[entry.name] = Entry(entry.name, captions, entry.place)
    if not found and not problems:
        problems.add(", ".join(_name(root, file) for file in metadata), NO_LINES)
    return sorted(found.values(), key=lambda entry: entry.name)


def read_rows(file: Path, name: str, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a .jsonl, .csv or .tsv file with where they are, for messages."""
    text = read_text(file, name, problems) or ""
    if file.suffix.lower() in DELIMITED:
        yield from Delimited(text, name).rows(problems)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            message = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
            problems.add(f"{where} ({message})", NO_OBJECT)
            continue
        if isinstance(row, dict):
            yield where, row
        else:
            problems.add(where, NO_OBJECT)


def _entry(
    where: str, row: dict[str, Any], folder: Path, root: Path, column: str | None, problems: Problems
) -> Entry | None:
    """The entry of one line; None if it has a problem, which is noted."""
    key = find_column(row.keys(), None, ("file_name", "image")) or "file_name"
    path = find_image(where, row, key, folder, root, problems)
    captions, problem = captions_of(row, column, (key,))
    if problem is not None:
        problems.add(where + problem[1], problem[0])
    if path is None or captions is None:
        return None
    return Entry(_name(root, path), captions, path)


def find_image(
    where: str, row: dict[str, Any], key: str, folder: Path, root: Path, problems: Problems
) -> Path | None:
    """The file that a row names under `key`; None if there is none, which is noted."""
    name = row.get(key)
    if not isinstance(name, str) or not name.strip():
        problems.add(f"{where} (has {', '.join(sorted(row)) or 'no keys'})", NO_NAME)
        return None
    if _LINK.match(name):
        problems.add(f"{where} ({name[:80]})", LINK)
        return None
    path = Path(os.path.normpath(folder / name.replace("\\", "/")))
    if not path.is_relative_to(root):
        problems.add(f"{where} ({name})", OUTSIDE)
        return None
    if not path.is_file():
        problems.add(f"{name} ({where})", ABSENT)
        return None
    return path
