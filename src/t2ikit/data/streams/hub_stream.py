"""A dataset of the Hub as a stream: its .parquet or .tar files are fetched one after the other, and not kept.

The files are those of one commit, which is part of the fingerprint. What is in neither format is read from
the branch into which the Hub converts datasets.
"""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from t2ikit.core.interfaces import Dataset
from t2ikit.data.captioned import Captioned
from t2ikit.data.configs import HubConfig
from t2ikit.data.formats.hub import WITHDRAWN, cannot_load, open_hub, withdrawn
from t2ikit.data.formats.parquet import ParquetSource
from t2ikit.data.formats.shard_stream import StreamedFiles
from t2ikit.data.formats.shards import ShardSource
from t2ikit.data.source import Source
from t2ikit.data.splits import grouped, named_splits
from t2ikit.data.streams.fetching import PASSING, Unreachable, retried
from t2ikit.errors import UserError, did_you_mean
from t2ikit.utils.hub import endpoint, reason, refusals, unreachable
from t2ikit.utils.quoting import visible

ENDINGS = (".parquet", ".tar")
CONVERTED = "refs/convert/parquet"
"""Where the Hub keeps a parquet copy of a dataset that is in another format."""


def open_hub_dataset(config: HubConfig) -> Dataset:
    """The dataset that a Hub config describes: loaded whole, or as a stream.

    Raises:
        UserError: it does not exist, cannot be reached, or has too few usable images.
    """
    return HubStream(config) if config.stream else open_hub(config)


class HubStream(StreamedFiles):
    """The samples of a Hub dataset's files.

    Where files are named after splits, those of training are trained on, and the first file of validation or
    else of test is held out; without such names, a part of the first file is.

    Args:
        config: which dataset, and how images are read.

    Raises:
        UserError: it does not exist, cannot be reached, or has no file that can be streamed.
    """

    config: HubConfig

    def __init__(self, config: HubConfig) -> None:
        self.config = config
        self.name, _, split = config.spec.removeprefix("hf:").partition(":")
        self.label = f"hf:{self.name}"
        if self.name.lower() in WITHDRAWN:
            raise withdrawn(self.label, self.name.lower())
        self.commit, files = self._files()
        groups = grouped([Path(file) for file in files], Path())
        found = named_splits([group for group in groups if group]) if config.splits and not split else None
        train = self._of_split(groups, split) if found is None else groups[found[0]]
        self.urls = [f"{self.label}@{self.commit}/{path.as_posix()}" for path in train]
        held_out = None
        if found is not None:
            first = groups[found[1]][0].as_posix()
            self.notes = (
                f"splits: {len(train):,} files of {found[0]} to train on, {visible(first)} to validate on",
            )
            if config.validation:
                held_out = self._opened(first, config.model_copy(update={"validation": 0.0}), least=1)
        self.begin(held_out)

    def _of_split(self, groups: dict[str, list[Path]], split: str) -> list[Path]:
        """The files of the requested split, or else of the training split, or all of them."""
        if not split:
            return groups.get("train") or [path for paths in groups.values() for path in paths]
        if split in groups:
            return groups[split]
        names = [group for group in groups if group]
        raise UserError(
            f"{self.label}: there is no split {split!r} among the names of its files",
            expected="one of " + ", ".join(names) if names else "no split: its files are not named after any",
            got=split,
            fix=did_you_mean(split, names),
        )

    def _files(self) -> tuple[str, list[str]]:
        """The commit, and the paths of the files that can be streamed."""
        commit, seen = self._listing(self.config.revision)
        files = self._streamable(seen)
        if not files and self.config.revision is None:
            try:
                commit, converted = self._listing(CONVERTED)
            except UserError:
                converted = []
            files = self._streamable(converted)
        if files:
            return commit, files
        subset = f" under {self.config.subset}" if self.config.subset else ""
        endings = sorted({PurePosixPath(path).suffix for path in seen})
        raise UserError(
            f"{self.label}: it has no file that can be streamed{subset}",
            expected="files in .parquet or .tar",
            got=f"{len(seen)} files ({visible(', '.join(endings[:10]))})",
            fix="leave data.stream out, which loads the whole dataset",
        )

    def _streamable(self, files: list[str]) -> list[str]:
        """The files of the subset in the first of `ENDINGS` that it has, sorted."""
        subset = self.config.subset
        inside = [file for file in files if subset is None or subset in PurePosixPath(file).parts[:-1]]
        kinds = [[file for file in inside if file.lower().endswith(ending)] for ending in ENDINGS]
        return sorted(next((kind for kind in kinds if kind), []))

    def _listing(self, revision: str | None) -> tuple[str, list[str]]:
        """The commit of a revision, and the paths of all its files."""
        import huggingface_hub

        silent = unreachable([endpoint()]).get(endpoint(), "")
        if silent:
            raise cannot_load(self.label, self.name, silent)
        hub = huggingface_hub.HfApi(endpoint=endpoint())
        try:
            info = retried(lambda: hub.dataset_info(self.name, revision=revision), _is_busy)
        except refusals() as error:
            raise cannot_load(self.label, self.name, reason(error)) from error
        return str(info.sha), [file.rfilename for file in info.siblings or ()]

    def prepare(self, number: int) -> Captioned:
        """One file's usable samples."""
        path = self.urls[number].removeprefix(f"{self.label}@{self.commit}/")
        return self._opened(path, self.config, least=1 if number else None)

    def _opened(self, path: str, config: HubConfig, least: int | None) -> Captioned:
        """A file's samples, fetched and forgotten."""
        address = f"{self.label}@{self.commit}/{path}"
        with tempfile.TemporaryDirectory() as folder:
            file = self._fetch(path, folder)
            columns = (config.image_column, config.caption_column)
            source: Source = (
                ShardSource(address, [file], config.caption_column, origin=address)
                if path.lower().endswith(".tar")
                else ParquetSource(address, [file], *columns, splits=False, origin=address)
            )
            return Captioned(config, source, least=least)

    def _fetch(self, path: str, folder: str) -> Path:
        """Download a file into a folder.

        Raises:
            Unreachable: the Hub did not give it at any try.
        """
        import huggingface_hub

        bars = "huggingface_hub.http_get"
        huggingface_hub.utils.disable_progress_bars(bars)
        where: dict[str, Any] = {"repo_type": "dataset", "revision": self.commit, "endpoint": endpoint()}

        def fetch() -> Path:  # goes on by itself where a connection broke
            return Path(huggingface_hub.hf_hub_download(self.name, path, local_dir=folder, **where))

        try:
            return retried(fetch, _is_busy)
        except refusals() as error:
            raise Unreachable(
                f"{self.label}: {visible(path)} cannot be fetched",
                expected="the file, from the Hub",
                got=reason(error),
                fix="check the connection, then resume the run",
            ) from error
        finally:
            huggingface_hub.utils.enable_progress_bars(bars)


def _is_busy(error: Exception) -> bool:
    """Whether the Hub answered that another try may succeed."""
    status: Any = getattr(getattr(error, "response", None), "status_code", None)
    return status in PASSING
