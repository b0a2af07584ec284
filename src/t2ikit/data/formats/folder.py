"""A folder of captioned images."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from t2ikit.data.captioned import Captioned, CaptionedImages
from t2ikit.data.configs import FolderConfig
from t2ikit.data.formats.folder_hints import nothing_found
from t2ikit.data.formats.folder_scan import scan, unread_captions, visible_files
from t2ikit.data.formats.large_folder import LARGE, LargeFolder
from t2ikit.data.formats.names import NamedSource, caption_of, image_names, no_caption
from t2ikit.data.formats.parquet import ParquetSource
from t2ikit.data.formats.shards import ShardSource
from t2ikit.data.problems import Problems
from t2ikit.data.source import FileSource, Source
from t2ikit.data.splits import by_folder, of_files
from t2ikit.errors import UserError


class FolderSource(FileSource):
    """The images of a folder with their captions in metadata or in .txt files beside them.

    Args:
        root: the folder.
        files: all files in it.
        caption_column: key of the captions in metadata; None: see `captions.CAPTION_KEYS`.
        splits: keep the splits that folders are named after.

    Raises:
        UserError: it has no captioned image.
    """

    def __init__(
        self, root: Path, files: list[Path], caption_column: str | None = None, *, splits: bool = True
    ) -> None:
        self.label = str(root)
        self.problems = Problems(self.label)
        found, self.unused = scan(root, files, caption_column, self.problems)
        self.notes = unread_captions(root, files, set(self.unused))
        self.entries, self.layout = by_folder(found, splits)


def open_folder(config: FolderConfig) -> CaptionedImages:
    """The dataset that a folder's config describes: images, or else .parquet files or tar shards.

    Raises:
        UserError: the folder is missing, or has too few usable images.
    """
    root = existing_folder(config.spec)
    if config.captions != "given":
        return _open_named(config, root)
    files = visible_files(root)
    packed = _packed(root, files, config)
    try:
        source: Source = FolderSource(root, files, config.caption_column, splits=config.splits)
    except UserError:
        if packed is None:
            raise
        return Captioned(config, packed())
    return Captioned(config, source if source.entries or packed is None else packed())


def _open_named(config: FolderConfig, root: Path) -> CaptionedImages:
    """A folder whose captions come from names, or from the templates alone."""
    names = image_names(root)
    if not names:
        raise nothing_found(root, visible_files(root))
    caption = caption_of if config.captions == "file_name" else no_caption
    if len(names) >= LARGE:
        return LargeFolder(config, root, names, caption)
    return Captioned(config, NamedSource(root, names, caption, splits=config.splits))


def _packed(root: Path, files: list[Path], config: FolderConfig) -> Callable[[], Source] | None:
    """A function that opens the tables or shards of a folder; None if it has none."""
    tables, shards = ([path for path in files if path.suffix.lower() == end] for end in (".parquet", ".tar"))

    def some_tables(paths: list[Path]) -> Source:
        columns = (config.image_column, config.caption_column)
        return ParquetSource(str(root), paths, *columns, splits=config.splits)

    def some_shards(paths: list[Path]) -> Source:
        return ShardSource(str(root), paths, config.caption_column)

    packed, opener = (tables, some_tables) if tables else (shards, some_shards)
    return (lambda: of_files(str(root), packed, root, config.splits, opener)) if packed else None


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
        expected="a folder of captioned images, of .parquet files or of tar shards",
        got=None if parent is None else f"{parent} has {_neighbours(parent, root.name)}",
        fix="check the path after --data; it is relative to where the command runs",
    )


def _neighbours(parent: Path, name: str) -> str:
    folders = [path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
    close = difflib.get_close_matches(name, folders, n=3)
    return "folders called " + ", ".join(close) if close else f"{len(folders)} folders, none of such a name"
