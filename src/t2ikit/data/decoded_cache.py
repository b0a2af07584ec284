"""Images decoded and resized once, for this run and later ones.

A `.npy` file, which is mapped, holds the pixels of every entry of a source; a `.json` file beside it holds
the hashes of their contents and what was wrong. Their name is a hash of everything they depend on. The JSON
appears last, so pixels without it are not whole; several processes share the pages of one file.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.lib.format import open_memmap
from torch import Tensor

from t2ikit.core.shapes import Shape, shown
from t2ikit.data.configs import CaptionedConfig
from t2ikit.data.image_files import LONGEST, UNREADABLE, open_image, read_image
from t2ikit.data.source import Entry, Source, digest
from t2ikit.errors import UserError
from t2ikit.utils.files import cache_folder, write_json
from t2ikit.utils.progress import progress_bar
from t2ikit.utils.quoting import one_line

VERSION = 1
"""Raise it whenever decoding or resizing changes."""

FITTED = {
    "crop": "cropped to their centre",
    "pad": "padded",
    "stretch": "stretched",
    "random": "cropped elsewhere each time they are shown, held-out ones to their centre",
    "buckets": "in buckets of about their shape",
}
"""What is done to images that are not square, by `how_to_fit`."""


@dataclass(frozen=True)
class DecodedImages:
    """The decoded images of a source.

    Attributes:
        pixels: (N, C, size, size) uint8, in the order of the source's entries; zeros where `bad`. Of images
            that are no squares (N, C, M): the pixels of a channel row by row, and zeros after them.
        digests: a hash of each image file, "" if it could not be read at all.
        sizes: original width and height of each image, pixels; 0, 0 where `bad`.
        bad: why an image is unusable, by its place.
        path: the file of the pixels.
        shapes: height and width of each decoded image, pixels: in buckets, or to be cropped at random; empty
            where all are squares.
    """

    pixels: Tensor
    digests: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    bad: dict[int, str]
    path: Path
    shapes: tuple[Shape, ...] = ()

    def image(self, place: int) -> Tensor:
        """One image, (C, H, W) uint8."""
        if not self.shapes:
            return self.pixels[place]
        height, width = self.shapes[place]
        return self.pixels[place, :, : height * width].unflatten(1, (height, width))


def prepare(source: Source, config: CaptionedConfig) -> DecodedImages:
    """The source's images from the cache, or decoded into it.

    Raises:
        UserError: the cache cannot be written.
    """
    with ThreadPoolExecutor(max_workers=_workers()) as pool:
        identities = list(pool.map(_guarded_identity(source), source.entries))
    key = [VERSION, *reading_of(config)]
    rows = [[entry.name, identity] for entry, identity in zip(source.entries, identities, strict=True)]
    name = hashlib.blake2b(json.dumps([key, rows]).encode(), digest_size=16).hexdigest()
    folder = cache_folder(config.cache) / "images"
    path = folder / f"{name}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            found = _open(path, _shape(source, config))
            if found is None:
                _write(path, source, config)
                found = _open(path, _shape(source, config))
    except OSError as error:
        raise UserError(
            f"{folder}: the resized images cannot be kept there",
            expected=f"a folder with room for {math.prod(_shape(source, config)) >> 20} MiB",
            got=error.strerror or error,
            fix="name another with --set data.cache=FOLDER or the variable T2IKIT_CACHE",
        ) from error
    assert found is not None  # it has just been written
    return found


def _guarded_identity(source: Source) -> Callable[[Entry], str]:
    """The source's `identity`; of an entry that cannot be read, the reason."""

    def identity(entry: Entry) -> str:
        try:
            return source.identity(entry)
        except OSError as error:
            return f"unreadable: {error.strerror}"

    return identity


def _workers() -> int:
    return min(8, os.cpu_count() or 1)


def how_to_fit(config: CaptionedConfig) -> str:
    """`data.fit`, or "random" where that is crop and the place is random."""
    return "random" if config.random_crops else config.fit


def how_to_read(config: CaptionedConfig) -> tuple[int, str, str, int, tuple[Shape, ...]]:
    """What `read_image` takes besides the file."""
    return config.size, config.background, how_to_fit(config), config.image_channels, config.image_shapes


def reading_of(config: CaptionedConfig) -> list[Any]:
    """The options that decide about pixels. Channels came later: old caches are of RGB."""
    channels = [] if config.channels == "rgb" else [config.channels]
    shapes = [config.image_shapes] if config.fit == "buckets" else []
    return [config.size, config.background, how_to_fit(config), *channels, *shapes]


def _open(path: Path, shape: tuple[int, ...]) -> DecodedImages | None:
    """What the cache holds; None where it is missing or damaged."""
    try:
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        pixels = open_memmap(path, mode="c")  # copy on write: torch wants memory that can be written
        digests = tuple(facts["digests"])
        sizes = tuple((width, height) for width, height in facts["sizes"])
        bad = {int(place): why for place, why in facts["bad"].items()}
        shapes = tuple((height, width) for height, width in facts.get("shapes", ()))
    except (OSError, AttributeError, KeyError, TypeError, ValueError):
        return None
    count = len(digests)
    if pixels.dtype != np.uint8 or pixels.shape != shape or max(count, 1) != len(pixels):
        return None
    return DecodedImages(torch.from_numpy(pixels)[:count], digests, sizes, bad, path, shapes)


def _write(path: Path, source: Source, config: CaptionedConfig) -> None:
    """Decode everything straight into the file; the lock is held, so nobody else writes it."""
    partial = path.with_suffix(".partial")
    path.with_suffix(".json").unlink(missing_ok=True)
    try:
        pixels = open_memmap(partial, "w+", np.uint8, _shape(source, config))
        facts = _decode_all(source, config, pixels)
        pixels.flush()
        del pixels  # Windows renames no file that is mapped
        partial.replace(path)
        write_json(path.with_suffix(".json"), facts)
    finally:
        partial.unlink(missing_ok=True)


def _shape(source: Source, config: CaptionedConfig) -> tuple[int, ...]:
    count = max(len(source.entries), 1)  # nothing cannot be mapped
    if config.random_crops:
        return (count, config.image_channels, LONGEST * config.size**2)
    if config.fit == "buckets":
        return (count, config.image_channels, max(height * width for height, width in config.image_shapes))
    return (count, config.image_channels, config.size, config.size)


def _decode_all(source: Source, config: CaptionedConfig, pixels: np.memmap) -> dict[str, Any]:
    """Fill in the pixels; returns the contents of the JSON."""
    entries = source.entries
    shapes: list[Shape] = [(config.size, config.size)] * len(entries)
    of_several_shapes = pixels.ndim == 3

    def decode(place: int) -> tuple[str, tuple[int, int], str | None]:
        content_digest = ""
        try:
            content = source.read(entries[place])
            content_digest = digest(content)
            with open_image(io.BytesIO(content)) as opened:
                size = opened.size
            image = read_image(io.BytesIO(content), *how_to_read(config)).numpy()
            if of_several_shapes:
                shapes[place] = image.shape[1:]
                pixels[place, :, : image[0].size] = image.reshape(len(image), -1)
            else:
                pixels[place] = image
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
    found = {"digests": digests, "sizes": sizes, "bad": bad}
    return found | ({"shapes": shapes} if of_several_shapes else {})


def reason(error: BaseException) -> str:
    """A short reason without the path, which the message names anyway."""
    text = one_line(error, 120)
    if "cannot identify image file" in text:
        return "not an image that Pillow knows"
    return text


def refuse_buckets(config: CaptionedConfig, label: str, why: str) -> None:
    """Refuse images in buckets where their shapes are not known before training.

    Raises:
        UserError: they are asked for.
    """
    if config.fit == "buckets":
        raise UserError(
            f"{label}: data.fit=buckets cannot be had here: {why}",
            expected="data that is looked at whole before training",
            got="data.fit=buckets",
            fix="--set data.fit=pad, which keeps whole images, too",
        )


def fit_note(decoded: DecodedImages, fit: str) -> tuple[str, ...]:
    """What is done to images that are not square, in one line.

    None where all are square, unless they were to be cropped at random.

    Args:
        decoded: the images.
        fit: from `how_to_fit`.
    """
    shapes = [size for place, size in enumerate(decoded.sizes) if place not in decoded.bad]
    oblong = sum(width != height for width, height in shapes)
    if not oblong:
        return ("all images are square: data.crop=random changes nothing",) if fit == "random" else ()
    more = "; --set data.fit=pad keeps all of them" if fit == "crop" else ""
    long = sum(max(size) > LONGEST * min(size) for size in shapes)
    if fit == "random" and long:
        more = f"; of {long:,} that are longer than {LONGEST}:1, the middle {LONGEST}:1 is used"
    if fit == "buckets":
        buckets = ", ".join(map(shown, sorted(set(decoded.shapes))))
        more = f" ({buckets} px), at most {_cut(decoded):.0%} of a side cut off"
    return (f"{oblong:,} of {len(shapes):,} images are not square: {FITTED[fit]}{more}",)


def unseen_note(config: CaptionedConfig) -> tuple[str, ...]:
    """What is done to images whose shapes are not known before training, where they are cropped at random."""
    if not config.random_crops:
        return ()
    return (f"images that are not square are {FITTED['random']}, of their middle {LONGEST}:1",)


def _cut(decoded: DecodedImages) -> float:
    """The greatest share of a side that buckets cut off; a file may hold its image on its side."""
    lengths = [
        (max(size) / min(size), max(shape) / min(shape))
        for place, (size, shape) in enumerate(zip(decoded.sizes, decoded.shapes, strict=True))
        if place not in decoded.bad
    ]
    return max(1 - min(pair) / max(pair) for pair in lengths)
