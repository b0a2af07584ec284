"""What is in a dataset, and its problems: the numbers behind `t2ikit data`."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from t2ikit.core.interfaces import Dataset, TextEncoder
from t2ikit.core.rng import derive_seed
from t2ikit.core.shapes import shown as shape_shown
from t2ikit.data.captioned import Captioned
from t2ikit.data.decoded_cache import FITTED, fit_note, how_to_fit
from t2ikit.data.doctor.specimens import SPLITS, Specimen, Specimens, gather
from t2ikit.utils.grids import contact_sheet
from t2ikit.utils.quoting import quoted, shortened, visible

LOOKED_AT = 20_000
"""Captions of at most this many images of a split are counted."""
SHOWN = 80
"""Characters of a caption or word that are shown."""
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Survey:
    """`rows` are pairs of name and value, `problems` one message for each kind of problem."""

    rows: list[tuple[str, str]]
    problems: list[str]


def survey(
    dataset: Dataset, encoder: TextEncoder, specimens: Specimens | None = None, files: int = 0
) -> Survey:
    """Count what is in a dataset.

    Args:
        dataset: to look at.
        encoder: a text encoder that tells which captions it would cut.
        specimens: what is looked at closely; None: `gather` it.
        files: how many of their files were opened.
    """
    specimens = gather(dataset) if specimens is None else specimens
    rows = [("images", _sizes(dataset))]
    if isinstance(dataset, Captioned):
        rows += _images(dataset)
    rows += _captions(dataset, specimens, encoder)
    rows.append(("looked at", specimens.scope + (f", and into {files:,} files" if files else "")))
    told = fit_note(dataset.decoded, how_to_fit(dataset.config)) if isinstance(dataset, Captioned) else ()
    rows += [("note", note) for note in dataset.notes if note not in told]
    rows.append(("fingerprint", dataset.fingerprint))
    problems = []
    if isinstance(dataset, Captioned):
        rows.append(("kept ready in", str(dataset.decoded.path)))
        problems = [str(error) for error in dataset.source.problems.errors()]
    if specimens.bad:
        shown = "; ".join(specimens.bad[:10])
        problems.append(f"{len(specimens.bad)} of the images looked at cannot be read: {shown}")
    return Survey(rows, problems)


def shown(specimens: Specimens, count: int, seed: int = 0) -> list[Specimen]:
    """At most `count` random images of training, for a contact sheet."""
    places = specimens.places("train")
    order = sorted(places, key=lambda place: derive_seed(seed, "sheet", place))
    return [specimens.items[place] for place in order[:count]]


def sheet(dataset: Dataset, count: int, seed: int = 0) -> Image.Image:
    """A contact sheet of at most `count` random training images, each with a caption."""
    return sheet_of(shown(gather(dataset), count, seed))


def sheet_of(items: Sequence[Specimen]) -> Image.Image:
    """Images, each with its first caption, as one."""
    return contact_sheet([item.as_pil() for item in items], [item.captions[0] for item in items])


def _sizes(dataset: Dataset) -> str:
    """Number of images of each split."""
    if not dataset.indexed_training:
        return f"a stream to train on, {dataset.size('validation'):,} validation"
    return ", ".join(f"{dataset.size(split):,} {split}" for split in SPLITS)


def _images(dataset: Captioned) -> list[tuple[str, str]]:
    """Sizes, shapes and repeats of the images that can be used."""
    decoded = dataset.decoded
    good = [place for place in range(len(decoded.sizes)) if place not in decoded.bad]
    sizes = sorted((decoded.sizes[place] for place in good), key=lambda size: size[0] * size[1])
    oblong = sum(width != height for width, height in sizes)
    small = sum(min(size) < dataset.config.size for size in sizes)
    smallest, middle, largest = (f"{w} x {h}" for w, h in (sizes[0], sizes[len(sizes) // 2], sizes[-1]))
    what = FITTED[how_to_fit(dataset.config)]
    rows = [
        (
            "sizes",
            f"{smallest} to {largest}, median {middle}; resized to {dataset.config.size}",
        ),
        ("not square", f"{oblong:,} ({what})"),
        *_buckets(dataset),
        ("upscaled", f"{small:,} are smaller than {dataset.config.size} pixels"),
        ("same image", _repeats(dataset, good)),
    ]
    if dataset.source.unused:
        rows.append(("without caption", f"{len(dataset.source.unused):,} images are not in the metadata"))
    return rows


def _buckets(dataset: Captioned) -> list[tuple[str, str]]:
    """How many images are in each bucket."""
    counts = Counter(shape for split in SPLITS for shape in dataset.shapes(split) or ())
    told = ", ".join(f"{count:,} of {shape_shown(shape)}" for shape, count in sorted(counts.items()))
    return [("buckets", told)] if counts else []


def _repeats(dataset: Captioned, good: Sequence[int]) -> str:
    """How many images repeat an earlier one, and the first names."""
    first: dict[str, str] = {}
    repeats = []
    for place in good:
        name = dataset.source.entries[place].name
        before = first.setdefault(dataset.decoded.digests[place], name)
        if before != name:
            repeats.append(visible(f"{name} = {before}"))
    shown = "; ".join(repeats[:3]) + ("; ..." if len(repeats) > 3 else "")
    return f"{len(repeats):,} repeat another" + (f": {shown}" if repeats else "")


def _cut(captions: Counter[str], encoder: TextEncoder) -> str:
    """How many captions are longer than what the text encoder reads."""
    count = sum(times for caption, times in captions.items() if encoder.cut(caption) is not None)
    return f"{count:,} of {captions.total():,} captions have more than {limit(encoder)}"


def limit(encoder: TextEncoder) -> str:
    """How much of a caption an encoder reads, in words."""
    if encoder.words("") is None:
        return f"the {encoder.length} tokens that the text encoder reads (text.length={encoder.length})"
    read = f"the {encoder.length - 1} words that the built-in text encoder reads"
    return f"{read} (text.length={encoder.length})"


def _captions(dataset: Dataset, specimens: Specimens, encoder: TextEncoder) -> list[tuple[str, str]]:
    """Number, length and words of the captions: of the first images, or of those of a stream looked at."""
    counts: Counter[str] = Counter()
    images = 0
    for captions in _all_captions(dataset, specimens):
        counts.update(captions)
        images += 1
    lengths = sorted(len(WORD.findall(caption)) for caption in counts.elements())
    words = Counter(word for caption, n in counts.items() for word in WORD.findall(caption.lower()) * n)
    common = ", ".join(f"{shortened(word, SHOWN)} {n:,}" for word, n in words.most_common(12))
    often, times = counts.most_common(1)[0]
    return [
        ("captions", f"{sum(counts.values()):,} of {images:,} images, {len(counts):,} different"),
        ("words a caption", f"{lengths[0]} to {lengths[-1]}, median {statistics.median(lengths):g}"),
        ("vocabulary", f"{len(words):,} words; {common}"),
        ("cut", _cut(counts, encoder)),
        ("most frequent", f"{times:,} x {quoted(often, SHOWN)}"),
    ]


def _all_captions(dataset: Dataset, specimens: Specimens) -> Iterator[tuple[str, ...]]:
    if not dataset.indexed_training:
        yield from (item.captions for item in specimens.items)
        return
    for split in SPLITS:
        for index in range(min(dataset.size(split), LOOKED_AT)):
            yield dataset.captions(split, index)
