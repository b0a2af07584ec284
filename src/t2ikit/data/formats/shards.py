"""Tar shards in the WebDataset format: the files of one key are a sample, an image with its .txt or .json.

Shards on this machine are indexed once, by their headers; images are then read in place.
"""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

from t2ikit.data.captions import EMPTY, captions_of, tidy
from t2ikit.data.formats.shard_samples import Member, Sample, samples
from t2ikit.data.problems import Problem, Problems
from t2ikit.data.source import Entry, Source
from t2ikit.errors import UserError
from t2ikit.utils.extras import import_extra
from t2ikit.utils.files import decoded
from t2ikit.utils.quoting import visible

BROKEN = Problem(
    "a shard that cannot be read to its end",
    "whole tar files",
    "write or download the shard again; the samples before the damage are used",
)
NO_CAPTION = Problem(
    "an image without a caption in its shard",
    "a .txt or .json of the same stem beside each image",
    "write the shard again with captions",
)
NO_IMAGE = Problem(
    "a caption without an image in its shard",
    "an image of the same stem beside each caption",
    "write the shard again with images",
)
NO_TEXT = Problem("a caption that is not text", "UTF-8 text, or JSON with a caption", "write the shard again")


def expand(pattern: str) -> list[str]:
    """The shards that a pattern such as `shards-{000..099}.tar` names, as absolute paths."""
    shardlists = import_extra("webdataset.shardlists", "webdataset", f"wds:{pattern}")
    urls: list[str] = shardlists.expand_urls(pattern)
    return [url if is_remote(url) else os.path.abspath(Path(url).expanduser()) for url in urls]


def is_remote(url: str) -> bool:
    """Whether a shard is not a file of this machine: http://, s3://, pipe: and the like."""
    return "://" in url or url.startswith("pipe:")


def existing_shards(pattern: str) -> list[Path]:
    """The local shards that a pattern names.

    Raises:
        UserError: one of them is missing.
    """
    paths = [Path(url) for url in expand(pattern)]
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise UserError(
            f"wds:{pattern}: {len(absent)} of {len(paths)} shards are not there",
            expected="tar files; {000..099} stands for 000 to 099, :: parts several patterns",
            got=f"no file {absent[0]}",
            fix="check the numbers in braces and the path; it is relative to where the command runs",
        )
    return paths


class ShardSource(Source):
    """The samples of local shards. An entry's place is the `Member` of its image.

    Args:
        label: for messages.
        shards: tar files.
        caption_column: key of the captions in .json files.
        origin: the address that a shard was fetched from, by which the cache knows it.
    """

    def __init__(
        self, label: str, shards: list[Path], caption_column: str | None = None, origin: str | None = None
    ) -> None:
        self.label, self.unused, self.origin = f"wds:{label}", [], origin
        self.problems = Problems(self.label)
        found: dict[str, Entry] = {}
        seen: list[str] = []
        for shard in shards:
            for stem, sample in index(shard, self.problems, seen).items():
                captions = self._captions(stem, sample, caption_column)
                if captions is None or sample.image is None:
                    continue
                name = sample.image.name
                if name in found:  # the same stem in another shard
                    name = f"{shard.name}/{name}"
                found[name] = Entry(name, captions, sample.image)
        self.entries = sorted(found.values(), key=lambda entry: entry.name)
        if not self.entries and not self.problems:
            raise UserError(
                f"{self.label}: no captioned image in {len(shards)} shard(s)",
                expected="samples such as 000.png beside 000.txt or 000.json",
                got=", ".join(map(visible, seen[:3])) if seen else "no file in them",
                fix="write the shards again with each image and its caption under one name",
            )

    def _captions(self, stem: str, sample: Sample, column: str | None) -> tuple[str, ...] | None:
        if sample.image is None:
            if sample.texts:
                self.problems.add(stem, NO_IMAGE)
            return None
        if not sample.texts:
            self.problems.add(sample.image.name, NO_CAPTION)
            return None
        captions, problem = read_sample_captions(
            {suffix: member.read() for suffix, member in sample.texts.items()}, column
        )
        if problem is not None:
            self.problems.add(sample.image.name, problem)
        return captions

    def read(self, entry: Entry) -> bytes:
        """The image's bytes, read from its shard."""
        member: Member = entry.place
        return member.read()

    def identity(self, entry: Entry) -> str:
        """Where the image is in its shard, with the shard's size and time of writing."""
        member: Member = entry.place
        stat = member.shard.stat()
        where = self.origin or f"{member.shard} {stat.st_mtime_ns}"
        return f"{where} {stat.st_size} {member.offset} {member.size}"


def read_sample_captions(
    texts: dict[str, bytes], column: str | None
) -> tuple[tuple[str, ...], None] | tuple[None, Problem]:
    """The captions in the first of a sample's .txt, .json and .caption; or the problem with them."""
    try:
        plain = texts.get(".txt", None if ".json" in texts else texts.get(".caption"))
        if plain is not None:
            lines = decoded(plain).splitlines()
            found = tuple(dict.fromkeys(line for line in map(tidy, lines) if line))
            return (found, None) if found else (None, EMPTY)
        row: Any = json.loads(texts[".json"])
    except (UnicodeDecodeError, ValueError, RecursionError):
        return None, NO_TEXT
    if not isinstance(row, dict):
        return None, NO_TEXT
    captions, problem = captions_of(row, column)
    if problem is not None:
        return None, problem[0]
    assert captions is not None
    return captions, None


def index(shard: Path, problems: Problems, seen: list[str] | None = None) -> dict[str, Sample]:
    """The samples of one shard by their keys, from its headers.

    Args:
        shard: a tar file.
        problems: where damage is noted.
        seen: a list that the names of its first files are appended to.
    """
    members: list[Member] = []
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                if member.isfile():
                    members.append(Member(shard, member.name, member.offset_data, member.size))
            if shard.stat().st_size < archive.offset + tarfile.BLOCKSIZE:
                problems.add(f"{shard.name} (it has no empty blocks at its end)", BROKEN)
    except (tarfile.TarError, OSError, EOFError) as error:
        problems.add(f"{shard.name} ({error})", BROKEN)
    if seen is not None:
        seen += [member.name for member in members[:3]]
    return samples(members)
