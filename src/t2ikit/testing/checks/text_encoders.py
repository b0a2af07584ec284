"""The checks of text encoders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from t2ikit.core.batch import TextEmbedding
from t2ikit.core.interfaces import TextEncoder
from t2ikit.registry.registry import Registry
from t2ikit.testing.checks.datasets import FINGERPRINT
from t2ikit.testing.report import Check, Trial, require_all
from t2ikit.testing.support import Subject, close, finite, require, subject

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
    require_all(ENCODER_CHECKS, EncoderTrial(subject("text_encoders", name, registry, config)))


class EncoderTrial(Trial):
    """A text encoder, built twice.

    Args:
        part: the encoder.
    """

    def __init__(self, part: Subject) -> None:
        self.part, self.title = part, part.title

    @cached_property
    def first(self) -> TextEncoder:
        """The encoder."""
        encoder: TextEncoder = self.part.build()
        return encoder

    @cached_property
    def second(self) -> TextEncoder:
        """Another one built alike, from another seed of torch."""
        encoder: TextEncoder = self.part.build(seed=7)
        return encoder

    @cached_property
    def text(self) -> TextEmbedding:
        """All captions, encoded."""
        return self.first.encode(CAPTIONS)


def _check_encoder(trial: EncoderTrial) -> None:
    require(isinstance(trial.first, TextEncoder), f"{trial.title} must be a t2ikit.TextEncoder")


def _check_embedding(trial: EncoderTrial) -> None:
    title, encoder, text = trial.title, trial.first, trial.text
    count, length, width = len(CAPTIONS), encoder.length, encoder.width
    for label, value, expected in (
        ("tokens", text.tokens, (count, length, width)),
        ("mask", text.mask, (count, length)),
        ("pooled", text.pooled, (count, width)),
    ):
        found = tuple(value.shape)
        require(found == expected, f"{title}: {label} must be {expected}, is {found}")
    require(text.mask.dtype == torch.bool, f"{title}: mask must be bool")
    require(bool(text.mask.any(1).all()), f"{title}: every caption, the empty one too, needs a real token")
    floats = text.tokens.is_floating_point() and text.pooled.is_floating_point()
    require(floats and finite(text.tokens, text.pooled), f"{title}: tokens and pooled must be finite floats")
    still = not (text.tokens.requires_grad or text.pooled.requires_grad)
    require(still, f"{title}: a frozen encoder carries no gradient")


def _check_apart(trial: EncoderTrial) -> None:
    told_apart = not torch.equal(trial.text.tokens[0], trial.text.tokens[3])
    require(told_apart, f"{trial.title}: different captions are encoded alike")


def _check_encodes_again(trial: EncoderTrial) -> None:
    for encoder in (trial.first, trial.second):
        same = _same(encoder.encode(CAPTIONS), trial.text, 0)
        require(same, f"{trial.title}: another one built alike encodes otherwise")


def _check_alone(trial: EncoderTrial) -> None:
    for row, caption in enumerate(CAPTIONS):
        alone = trial.first.encode([caption])
        same = _same(alone, trial.text[row : row + 1], 1e-5)
        require(same, f"{trial.title}: {caption[:20]!r} is encoded otherwise when alone")


def _check_words(trial: EncoderTrial) -> None:
    """Check what an encoder says of captions: of all of them words or of none, and which are cut."""
    encoder, title = trial.first, trial.title
    words: Sequence[tuple[str, ...] | None] = [encoder.words(caption) for caption in CAPTIONS]
    told = all(isinstance(one, tuple) and all(isinstance(word, str) for word in one) for one in words)
    require(told or words == [None] * len(words), f"{title}: words must be tuples of text, or None for all")
    cut = [encoder.cut(caption) for caption in CAPTIONS]
    texts = all(one is None or isinstance(one, str) for one in cut)
    require(texts and cut[1] is None, f"{title}: cut must be text, or None where a caption is read whole")


def _same(a: TextEmbedding, b: TextEmbedding, tolerance: float) -> bool:
    floats = close(a.tokens, b.tokens, tolerance) and close(a.pooled, b.pooled, tolerance)
    return floats and torch.equal(a.mask, b.mask)


ENCODER_CHECKS = (
    Check(
        "interface", "a t2ikit.TextEncoder", "derive it from t2ikit.TextEncoder", _check_encoder, vital=True
    ),
    Check(
        "embedding",
        "tokens (B, L, D) and pooled (B, D), finite floats without gradient, and mask (B, L) bool",
        "pad to `length`; mark at least one token of each caption as real; encode under torch.no_grad()",
        _check_embedding,
        vital=True,
    ),
    Check("captions differ", "different captions, different tokens", "read the whole caption", _check_apart),
    Check(
        "repeats",
        "another encoder built alike gives the same",
        "seed its weights from an option or a constant, not from torch's global generator",
        _check_encodes_again,
    ),
    Check(
        "captions do not mix",
        "a caption is encoded alike alone and among others",
        "pad to `length`, not to the longest of the batch, and mask what is padded",
        _check_alone,
        after="repeats",
    ),
    Check(
        "words", "words and cut as TextEncoder describes them", "leave them out, or see there", _check_words
    ),
    FINGERPRINT,
)
"""In the order they are run."""
