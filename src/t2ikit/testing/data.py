"""The checks of datasets, text encoders and metrics."""

from __future__ import annotations

import math
from typing import Any

import torch

from t2ikit.core.batch import Record, TextEmbedding
from t2ikit.core.interfaces import Dataset, Split, TextEncoder
from t2ikit.core.metric import Download, ImageSet, Measure
from t2ikit.registry.registry import Registry
from t2ikit.testing.support import Subject, close, explained, finite, require, subject
from t2ikit.utils.images import as_rgb, from_uint8

SPLITS: tuple[Split, ...] = ("train", "validation")
LOOKED_AT = 100


def check_dataset(name: str, registry: Registry | None = None, /, **config: Any) -> None:
    """Check a dataset: images, captions, splits, prompts, and that it repeats.

    At most 100 images of each split are looked at.

    Args:
        name: of the dataset.
        registry: where it is looked up; None takes the installed plugins.
        **config: its options; `spec` defaults to the name.

    Raises:
        AssertionError: something of the interface does not hold.
    """
    part = subject("datasets", name, registry, {"spec": name, **config})
    first, second = part.build(), part.build()
    require(isinstance(first, Dataset), f"{part.title} must be a t2ikit.Dataset")
    with explained(f"{part.title} fails"):
        keys = {split: _check_split(part, first, second, split) for split in SPLITS}
        shared = keys["train"] & keys["validation"]
        require(not shared, f"{part.title}: {min(shared, default='')!r} is in both splits")
        _check_prompts(part.title, first, second)
        same = isinstance(first.fingerprint, str) and first.fingerprint == second.fingerprint
        require(same, f"{part.title}: fingerprint must be text that stays the same")


def _check_split(part: Subject, first: Dataset, second: Dataset, split: Split) -> set[str]:
    """Check the images of a split and give their keys."""
    size, keys = first.size(split), []
    empty = split == "validation" and part.config.validation == 0
    require(
        size >= 1 or empty,
        f"{part.title}: there is nothing to {'train on' if split == 'train' else 'validate with'}",
    )
    for index in range(0, size, math.ceil(size / LOOKED_AT) or 1):
        title = f"{part.title}: image {index} of {split}"
        record, again = first.record(split, index), second.record(split, index)
        _check_record(title, record, (part.config.image_channels, part.config.size, part.config.size))
        same = torch.equal(record.image, again.image) and record.captions == again.captions
        require(same and record.key == again.key, f"{title} is not the same the second time")
        require(
            tuple(first.captions(split, index)) == record.captions,
            f"{title}: captions() and the record do not agree",
        )
        keys.append(record.key)
    require(len(set(keys)) == len(keys), f"{part.title}: two images of {split} have the same key")
    return set(keys)


def _check_record(title: str, record: Record, shape: tuple[int, ...]) -> None:
    require(isinstance(record, Record), f"{title} must be a t2ikit.Record")
    image, captions = record.image, record.captions
    require(
        image.dtype == torch.uint8 and tuple(image.shape) == shape,
        f"{title} must be {shape} uint8, is {tuple(image.shape)} {image.dtype}",
    )
    texts = isinstance(captions, tuple) and bool(captions) and all(isinstance(c, str) for c in captions)
    require(texts, f"{title}: captions must be a tuple of at least one text, is {captions!r}")


def _check_prompts(title: str, first: Dataset, second: Dataset) -> None:
    prompts = first.prompts(7, seed=1)
    texts = len(prompts) == 7 and all(isinstance(prompt, str) and prompt for prompt in prompts)
    require(texts, f"{title}: prompts(7, seed) must be 7 texts, is {prompts!r}")
    same = list(second.prompts(7, seed=1)) == list(prompts)
    require(same, f"{title}: prompts are not the same the second time")


CAPTIONS = ("a red square", "", "naïve 图 \u200d !?", "word " * 500)


def check_text_encoder(name: str, registry: Registry | None = None, /, **config: Any) -> None:
    """Check a text encoder: shapes, mask, that it repeats, and that captions do not mix.

    Args:
        name: of the encoder, as in a recipe.
        registry: where it is looked up; None takes the installed plugins.
        **config: its options.

    Raises:
        AssertionError: something of the interface does not hold.
    """
    part = subject("text_encoders", name, registry, config)
    first, second = part.build(), part.build()
    require(isinstance(first, TextEncoder), f"{part.title} must be a t2ikit.TextEncoder")
    with explained(f"{part.title} fails"):
        text = first.encode(CAPTIONS)
        _check_embedding(part.title, first, text)
        require(
            _same(second.encode(CAPTIONS), text, 0),
            f"{part.title}: another one built alike encodes otherwise",
        )
        for row, caption in enumerate(CAPTIONS):
            alone = first.encode([caption])
            cut = text[row : row + 1]
            require(
                _same(alone, cut, 1e-5), f"{part.title}: {caption[:20]!r} is encoded otherwise when alone"
            )
        _check_words(part.title, first)
        same = isinstance(first.fingerprint, str) and first.fingerprint == second.fingerprint
        require(same, f"{part.title}: fingerprint must be text that stays the same")


def _check_words(title: str, encoder: TextEncoder) -> None:
    """Check what an encoder says of captions: of all of them words or of none, and which are cut."""
    words = [encoder.words(caption) for caption in CAPTIONS]
    told = all(isinstance(one, tuple) and all(isinstance(word, str) for word in one) for one in words)
    require(told or words == [None] * len(words), f"{title}: words must be tuples of text, or None for all")
    cut = [encoder.cut(caption) for caption in CAPTIONS]
    texts = all(one is None or isinstance(one, str) for one in cut)
    require(texts and cut[1] is None, f"{title}: cut must be text, or None where a caption is read whole")


def _check_embedding(title: str, encoder: TextEncoder, text: TextEmbedding) -> None:
    count, length, width = len(CAPTIONS), encoder.length, encoder.width
    for label, value, expected in (
        ("tokens", text.tokens, (count, length, width)),
        ("mask", text.mask, (count, length)),
        ("pooled", text.pooled, (count, width)),
    ):
        require(
            tuple(value.shape) == expected, f"{title}: {label} must be {expected}, is {tuple(value.shape)}"
        )
    require(text.mask.dtype == torch.bool, f"{title}: mask must be bool")
    require(bool(text.mask.any(1).all()), f"{title}: every caption, the empty one too, needs a real token")
    floats = text.tokens.is_floating_point() and text.pooled.is_floating_point()
    require(floats and finite(text.tokens, text.pooled), f"{title}: tokens and pooled must be finite floats")
    still = not (text.tokens.requires_grad or text.pooled.requires_grad)
    require(still, f"{title}: a frozen encoder carries no gradient")
    told_apart = not torch.equal(text.tokens[0], text.tokens[3])
    require(told_apart, f"{title}: different captions are encoded alike")


def _same(a: TextEmbedding, b: TextEmbedding, tolerance: float) -> bool:
    floats = close(a.tokens, b.tokens, tolerance) and close(a.pooled, b.pooled, tolerance)
    return floats and torch.equal(a.mask, b.mask)


def check_metric(
    name: str, registry: Registry | None = None, dataset: Dataset | None = None, /, **config: Any
) -> None:
    """Check a metric on held-out images and their own captions.

    Args:
        name: of the metric.
        registry: where it is looked up; None takes the installed plugins.
        dataset: where images come from; None takes 32-pixel creatures.
        **config: its options.

    Raises:
        AssertionError: something of the interface does not hold.
    """
    part = subject("metrics", name, registry, config)
    metric = part.build()
    dataset = dataset or subject("datasets", "t2ikit/creatures", part.registry, {"spec": "creatures"}).build()
    count = min(16, dataset.size("validation"))
    records = [dataset.record("validation", index) for index in range(count)]
    images = as_rgb(from_uint8(torch.stack([record.image for record in records])))
    before = images.clone()
    real = images.flip(0)
    prompts = [record.captions[0] for record in records]
    drawn = ImageSet(images, prompts, dataset, real, real[:4].unflatten(0, (2, 2)), real)
    with explained(f"{part.title} fails"):
        missing = metric.downloads() if hasattr(metric, "downloads") else []
        known = isinstance(missing, list) and all(isinstance(one, Download) for one in missing)
        require(known, f"{part.title}: downloads() must be a list of t2ikit.Download, is {missing!r}")
        found = metric(drawn)
        require(torch.equal(images, before), f"{part.title} changed the images it was given")
        right = isinstance(found, dict) and bool(found)
        require(right, f"{part.title} must give a dict of at least one t2ikit.Measure")
        for label, measure in found.items():
            _check_measure(f"{part.title}: {label}", measure, count)
        require(metric(drawn) == found, f"{part.title} gave other numbers the second time")


def _check_measure(title: str, measure: Measure, count: int) -> None:
    require(isinstance(measure, Measure), f"{title} must be a t2ikit.Measure")
    require(math.isfinite(measure.value), f"{title} is {measure.value}, must be finite")
    require(1 <= measure.n <= count, f"{title} says it saw {measure.n} images of {count}")
    both = (measure.low is None) == (measure.high is None)
    require(both, f"{title} has one end of an interval without the other")
    if measure.low is not None and measure.high is not None:
        inside = measure.low <= measure.value <= measure.high
        require(inside, f"{title}: {measure.value} is outside its interval")
