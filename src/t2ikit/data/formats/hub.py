"""A dataset of the Hugging Face Hub, through the `datasets` library.

Images are read as the bytes that were uploaded, so the same images in a folder give the same batches.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from t2ikit.data.captioned import Captioned
from t2ikit.data.configs import HubConfig
from t2ikit.data.formats.rows import Rows, cell_bytes, choose_columns
from t2ikit.data.source import Entry
from t2ikit.data.splits import Joined, named_splits
from t2ikit.errors import UserError, did_you_mean
from t2ikit.utils.console import SCREEN
from t2ikit.utils.extras import import_extra
from t2ikit.utils.hub import endpoint, kept_offline, reason, refusals, unreachable

WITHDRAWN = {"lambdalabs/pokemon-blip-captions": "it was withdrawn by its owners"}
"""Datasets that many guides name but nobody can load any more."""


def open_hub(config: HubConfig) -> Captioned:
    """The dataset that a Hub config describes.

    Raises:
        UserError: it does not exist, cannot be reached, or has too few usable images.
    """
    name, _, split = config.spec.removeprefix("hf:").partition(":")
    label = f"hf:{name}"
    if name.lower() in WITHDRAWN:
        raise withdrawn(label, name.lower())
    found = load(label, name, config)
    parts = named_splits(list(found)) if config.splits and not split else None
    if parts is None:
        return Captioned(config, HubSource(label, _rows_of(label, found, split), config))
    sources = {part: HubSource(label, found[part], config) for part in parts}
    unused = {part: len(found[part]) for part in found if part not in parts}
    return Captioned(config, Joined(label, sources, unused))


class HubSource(Rows):
    """The rows of a loaded dataset.

    Args:
        label: for messages.
        rows: a `datasets.Dataset`.
        config: which columns.
    """

    def __init__(self, label: str, rows: Any, config: HubConfig) -> None:
        datasets = import_extra("datasets", "hub", label)
        kinds = dict(rows.features)
        images = [name for name, kind in kinds.items() if isinstance(kind, datasets.Image)]
        wanted = config.image_column or next(iter(images), None)
        image, caption = choose_columns(label, rows.column_names, wanted, config.caption_column)
        if isinstance(kinds[image], datasets.Image):
            rows = rows.cast_column(image, datasets.Image(decode=False))
        self._rows, self._image, self._version = rows, image, rows._fingerprint
        names = (_name(cell) for cell in rows[image])
        super().__init__(label, zip(names, rows[caption], strict=True), caption, splits=config.splits)

    def read(self, entry: Entry) -> bytes:
        """The bytes that were uploaded."""
        return cell_bytes(self._rows[entry.place][self._image])


def _name(cell: Any) -> str | None:
    path = cell.get("path") if isinstance(cell, dict) else None
    return os.path.basename(path) if path else None


def load(label: str, name: str, config: HubConfig) -> Any:
    """Load a dataset's splits by their names, from the Hub or from its cache on this machine.

    Raises:
        UserError: it cannot be loaded, and why.
    """
    datasets = import_extra("datasets", "hub", f"--data {label}")
    silent = "" if os.path.isdir(name) else unreachable([endpoint()]).get(endpoint(), "")
    try:
        offline = kept_offline(datasets.config) if silent else contextlib.nullcontext()  # it may be kept here
        with offline, SCREEN.pause():
            found = datasets.load_dataset(name, config.subset, revision=config.revision)
    except (*refusals(), datasets.exceptions.DatasetsError) as error:
        raise cannot_load(label, name, silent or reason(error)) from error
    return found


def _rows_of(label: str, found: Any, split: str) -> Any:
    """The rows of the requested split, or else of the training split.

    Raises:
        UserError: there is no such split.
    """
    splits = list(found)
    if split and split not in splits:
        raise UserError(
            f"{label}: there is no split {split!r}",
            expected="one of " + ", ".join(splits),
            got=split,
            fix=did_you_mean(split, splits),
        )
    return found[split or ("train" if "train" in splits else splits[0])]


def cannot_load(label: str, name: str, why: str) -> UserError:
    """The error of a dataset that the Hub does not give."""
    return UserError(
        f"{label}: this dataset cannot be loaded",
        expected=f"the dataset {name} on the Hub, or what an earlier run kept of it on this machine",
        got=why,
        fix="check the name; or get the images elsewhere and give their folder: --data FOLDER",
    )


def withdrawn(label: str, name: str) -> UserError:
    """The error of a dataset of `WITHDRAWN`."""
    return UserError(
        f"{label}: this dataset is no longer on the Hub",
        expected="a dataset that can be loaded",
        got=WITHDRAWN[name],
        fix="if you have a copy of it, give its folder: --data FOLDER, as docs/pokemon.md shows",
    )
