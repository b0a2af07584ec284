"""A folder of captioned pictures."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from t2ikit.data.captioned import Captioned
from t2ikit.data.folder_config import FolderConfig
from t2ikit.data.folder_scan import scan
from t2ikit.data.problems import Problems
from t2ikit.data.source import Entry, Source
from t2ikit.errors import UserError


class Files(Source):
    """Entries whose place is a file of their own."""

    def read(self, entry: Entry) -> bytes:
        """The file's content."""
        path: Path = entry.place
        return path.read_bytes()

    def identity(self, entry: Entry) -> str:
        """Where the file is, its size and when it was last written."""
        path: Path = entry.place
        stat = path.stat()
        return f"{path} {stat.st_size} {stat.st_mtime_ns}"


class FolderSource(Files):
    """The pictures of a folder with their captions in metadata or in .txt files beside them.

    Args:
        root: the folder.
        caption_column: key of the captions in metadata; None: see `captions.CAPTION_KEYS`.

    Raises:
        UserError: there is nothing like a captioned picture in it.
    """

    def __init__(self, root: Path, caption_column: str | None = None) -> None:
        self.label = str(root)
        self.problems = Problems(self.label)
        self.entries, self.unused = scan(root, caption_column, self.problems)


def open_folder(config: FolderConfig) -> Captioned:
    """The dataset that a folder's config describes.

    Raises:
        UserError: the folder is missing, or has too little in it that can be used.
    """
    return Captioned(config, FolderSource(existing_folder(config.spec), config.caption_column))


def existing_folder(spec: str) -> Path:
    """The folder as an absolute path.

    Raises:
        UserError: there is none.
    """
    root = Path(os.path.abspath(Path(spec).expanduser()))
    if root.is_dir():
        return root
    parent = root.parent if root.parent.is_dir() else None
    raise UserError(
        f"{root}: " + ("this is a file" if root.exists() else "there is no such folder"),
        expected="a folder of pictures with captions",
        got=None if parent is None else f"{parent} has {_neighbours(parent, root.name)}",
        fix="check the path after --data; it is relative to where the command runs",
    )


def _neighbours(parent: Path, name: str) -> str:
    folders = [path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
    close = difflib.get_close_matches(name, folders, n=3)
    return "folders called " + ", ".join(close) if close else f"{len(folders)} folders, none of such a name"
