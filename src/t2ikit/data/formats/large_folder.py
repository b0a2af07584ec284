"""A folder of so many images that none is opened before a step needs it.

What is kept of each image is its name and where it belongs, some 30 bytes beside the letters. Captions come
from names or templates, so that no other file has to be read.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from t2ikit.data.captioned import CaptionedImages, check_usable, held_out, layout_note, warnings_of
from t2ikit.data.configs import FolderConfig
from t2ikit.data.decoded_cache import how_to_read, reading_of, reason, refuse_buckets, unseen_note
from t2ikit.data.formats.names import NO_WORDS, Names, has_words, no_caption
from t2ikit.data.formats.rows import composed
from t2ikit.data.image_files import UNREADABLE, read_image
from t2ikit.data.problems import UNREADABLE_IMAGE, Problems
from t2ikit.data.source import Entry
from t2ikit.data.splits import folder_in, layout_of, named_splits, shared_folder
from t2ikit.errors import UserError

LARGE = 100_000
"""Images from which on a folder with captions from names is not decoded before training."""


class LargeFolder(CaptionedImages):
    """The images of a large folder, decoded whenever they are needed.

    Args:
        config: how its images are read.
        root: the folder.
        names: of its images, relative to it, sorted.
        caption: from a name to its caption.

    Raises:
        UserError: too few names have words.
    """

    def __init__(
        self, config: FolderConfig, root: Path, names: Sequence[str], caption: Callable[[str], str]
    ) -> None:
        refuse_buckets(
            config, str(root), "its images are opened one by one, and their shapes not known before"
        )
        self.config, self.root = config, root
        problems = Problems(str(root))
        if caption is not no_caption:
            without = [name for name in names if not has_words(name)]
            for name in without:
                problems.add(name, NO_WORDS)
            names = [name for name in names if has_words(name)] if without else names
        check_usable(problems, len(names), config)
        self.warnings = warnings_of(problems, len(names))
        self.notes = (
            f"{root}: {len(names):,} images, each opened when a step needs it; one that cannot be read ends "
            "the training",
            *unseen_note(config),
        )
        self._names = Names(names)
        train, validation = self._split(names)
        self.entries = {
            "train": _Entries(self._names, train, caption),
            "validation": _Entries(self._names, validation, caption),
        }
        self.trained_prompts = not len(validation)

    def _split(self, names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The places of the names for training, and of those for validation."""
        config, above = self.config, shared_folder(names)
        assert isinstance(config, FolderConfig)
        counts = Counter(folder_in(name, above) for name in names)
        found = named_splits(counts) if config.splits else None
        if found is None:
            out = held_out(map(composed, names), len(names), config.validation)
            return np.flatnonzero(~out), np.flatnonzero(out)
        train, validation = (
            np.flatnonzero(np.fromiter((folder_in(n, above) == part for n in names), bool, len(names)))
            for part in found
        )
        validation = validation if config.validation else validation[:0]
        rest = {name: count for name, count in counts.items() if name not in found}
        note = layout_note(layout_of(found, rest, above), len(train), len(validation))
        self.notes = (*self.notes, note)
        return train, validation

    def _image(self, entry: Entry) -> Tensor:
        """An entry's image, decoded.

        Raises:
            UserError: it cannot be read.
        """
        path = self.root / entry.place
        try:
            content = io.BytesIO(path.read_bytes())
            return read_image(content, *how_to_read(self.config))
        except UNREADABLE as error:
            raise UserError(
                f"{path}: {UNREADABLE_IMAGE.what}",
                expected=UNREADABLE_IMAGE.expected,
                got=reason(error),
                fix="put a readable image in its place and resume, or take it out and start a new run",
            ) from error

    @property
    def fingerprint(self) -> str:
        """Hash of names and how images are read; their contents are not read."""
        c = self.config
        assert isinstance(c, FolderConfig)
        reading = [*reading_of(c), c.validation, c.flip, c.templates, c.splits, c.captions]
        found = hashlib.blake2b(f"names 1 {reading}".encode(), digest_size=16)
        self._names.digest_into(found.update)
        return found.hexdigest()


class _Entries(Sequence[Entry]):
    """The entries at some places of all names, made when they are asked for.

    Args:
        names: all of them.
        places: which of them, in order.
        caption: from a name to its caption.
    """

    def __init__(self, names: Names, places: NDArray[np.int64], caption: Callable[[str], str]) -> None:
        self._names, self._places, self._caption = names, places.astype(np.int32), caption

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        name = self._names[self._places[index]]
        return Entry(composed(name), (self._caption(composed(name)),), name)
