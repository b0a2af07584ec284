"""Images decoded and resized once, for this run and later ones: a safetensors file that is mapped.

The file holds the pixels of every entry of a source beside the hashes of their contents and what was wrong.
It is found again by a key of everything it depends on; several processes share its pages.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from torch import Tensor

from t2ikit.data.configs import CaptionedConfig
from t2ikit.data.image_files import UNREADABLE, open_image, read_image
from t2ikit.data.source import Entry, Source, digest
from t2ikit.errors import UserError
from t2ikit.utils.files import cache_folder
from t2ikit.utils.progress import progress_bar
from t2ikit.utils.quoting import one_line

VERSION = 1
"""Raise it whenever decoding or resizing changes."""


@dataclass(frozen=True)
class DecodedImages:
    """The images of a source, ready to use.

    Attributes:
        pixels: (N, 3, size, size) uint8, in the order of the source's entries; zeros where `bad`.
        digests: a hash of each image's content, "" where it could not be read at all.
        sizes: width and height of each image before it was resized, pixels; 0, 0 where `bad`.
        bad: why an image cannot be used, by its place.
        path: the file they are kept in.
    """

    pixels: Tensor
    digests: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    bad: dict[int, str]
    path: Path


def prepare(source: Source, config: CaptionedConfig) -> DecodedImages:
    """The source's images from the cache, or decoded into it.

    Raises:
        UserError: the cache cannot be written.
    """
    with ThreadPoolExecutor(max_workers=_workers()) as pool:
        identities = list(pool.map(_guarded_identity(source), source.entries))
    key = [VERSION, config.size, config.background, config.fit]
    rows = [[entry.name, identity] for entry, identity in zip(source.entries, identities, strict=True)]
    name = hashlib.blake2b(json.dumps([key, rows]).encode(), digest_size=16).hexdigest()
    folder = cache_folder(config.cache) / "images"
    path = folder / f"{name}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            found = _open(path, len(source.entries), config.size)
            if found is None:
                _write(path, source, config)
                found = _open(path, len(source.entries), config.size)
    except OSError as error:
        raise UserError(
            f"{folder}: the resized images cannot be kept there",
            expected=f"a folder with room for {_bytes(source.entries, config.size) >> 20} MiB",
            got=error.strerror or error,
            fix="name another with --set data.cache=FOLDER or the variable T2IKIT_CACHE",
        ) from error
    assert found is not None  # it has just been written
    return found


def _guarded_identity(source: Source) -> Callable[[Entry], str]:
    """The source's `identity`, in which an entry that cannot be looked at has one, too."""

    def identity(entry: Entry) -> str:
        try:
            return source.identity(entry)
        except OSError as error:
            return f"unreadable: {error.strerror}"

    return identity


def _workers() -> int:
    return min(8, os.cpu_count() or 1)


def _bytes(entries: Sequence[Entry], size: int) -> int:
    return 3 * size * size * len(entries)


def _open(path: Path, count: int, size: int) -> DecodedImages | None:
    """What the file holds; None where it is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
            pixels = file.get_tensor("pixels")
        digests = tuple(facts["digests"])
        sizes = tuple((width, height) for width, height in facts["sizes"])
        bad = {int(place): why for place, why in facts["bad"].items()}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    if pixels.shape != (count, 3, size, size) or len(digests) != count:
        return None
    return DecodedImages(pixels, digests, sizes, bad, path)


def _write(path: Path, source: Source, config: CaptionedConfig) -> None:
    """Decode everything; the pixels go straight to the file, then the header before them.

    The header's length is not known before all is decoded, so the pixels are decoded into a file of their
    own first and the two are joined as the safetensors format wants them.
    """
    count, size = len(source.entries), config.size
    raw = path.with_suffix(f".{os.getpid()}.raw")
    try:
        pixels = np.memmap(raw, np.uint8, "w+", shape=(max(count, 1), 3, size, size))
        facts = _decode_all(source, config, pixels)
        pixels.flush()
        _join(path, raw, (count, 3, size, size), json.dumps(facts))
    finally:
        raw.unlink(missing_ok=True)


def _decode_all(source: Source, config: CaptionedConfig, pixels: np.memmap) -> dict[str, Any]:
    """Fill in the pixels; what is to be known beside them."""
    entries = source.entries

    def decode(place: int) -> tuple[str, tuple[int, int], str | None]:
        content_digest = ""
        try:
            content = source.read(entries[place])
            content_digest = digest(content)
            with open_image(io.BytesIO(content)) as opened:
                size = opened.size
            image = read_image(io.BytesIO(content), config.size, config.background, config.fit)
            pixels[place] = image.numpy()
        except UNREADABLE as error:
            return content_digest, (0, 0), reason(error)
        return content_digest, size, None

    digests, sizes, bad = [""] * len(entries), [(0, 0)] * len(entries), {}
    places = sorted(range(len(entries)), key=lambda place: source.order(entries[place]))
    with progress_bar("reading images") as progress, ThreadPoolExecutor(max_workers=_workers()) as pool:
        for done, (place, one) in enumerate(zip(places, pool.map(decode, places), strict=True), 1):
            digests[place], sizes[place], why = one
            if why is not None:
                bad[place] = why
            progress(done, len(entries))
    return {"digests": digests, "sizes": sizes, "bad": bad}


def _join(path: Path, raw: Path, shape: tuple[int, ...], facts: str) -> None:
    """Header and pixels as one safetensors file, which appears whole or not at all."""
    size = int(np.prod(shape))
    header = {
        "__metadata__": {"facts": facts},
        "pixels": {"dtype": "U8", "shape": list(shape), "data_offsets": [0, size]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("wb") as out, raw.open("rb") as content:
            out.write(len(text).to_bytes(8, "little") + text)
            left = size
            while left:
                block = content.read(min(left, 1 << 24))
                out.write(block)
                left -= len(block)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def reason(error: BaseException) -> str:
    """A short reason without the path, which the message has already."""
    text = one_line(error, 120)
    if "cannot identify image file" in text:
        return "not an image that Pillow knows"
    return text
