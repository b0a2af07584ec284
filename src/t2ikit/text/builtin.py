"""The built-in text encoder: a fixed table of random word vectors that needs no download.

Every word has its own vector of +1 and -1, taken from a hash of the word, so the table needs no vocabulary
and no space and is the same on every machine. Order and meaning are learned by the tower that each generator
and critic trains on top (`t2ikit.nn.text_tower`).
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from t2ikit.core.batch import TextEmbedding
from t2ikit.core.interfaces import TextEncoder
from t2ikit.text.configs import BuiltinTextConfig

_WORD = re.compile(r"\w+|[^\w\s]")
LOOKED_AT = 20_000
"""Captions that are checked before training for how many are cut."""


@functools.lru_cache(maxsize=65536)
def word_vector(word: str, width: int) -> Tensor:
    """The vector (width,) of a word, entries +1 or -1."""
    digest = hashlib.shake_256(word.encode()).digest((width + 7) // 8)
    bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8))[:width]
    return torch.from_numpy(bits.astype(np.float32)) * 2 - 1


class BuiltinTextEncoder(TextEncoder):
    """Words (lower case, punctuation apart) to fixed random vectors, after one start token.

    Captions of more than `length - 1` words are cut there.
    """

    def __init__(self, config: BuiltinTextConfig) -> None:
        self.width, self.length = config.width, config.length

    @property
    def fingerprint(self) -> str:
        """Version of the table, and its shape."""
        return f"builtin-1/{self.width}x{self.length}"

    def words(self, caption: str) -> tuple[str, ...]:
        """The words of a caption that are read, in lower case and without punctuation."""
        read = _WORD.findall(caption.lower())[: self.length - 1]
        return tuple(word for word in read if word[0] == "_" or word[0].isalnum())

    def cut(self, caption: str) -> str | None:
        """What is read of a caption that is too long, in lower case; None if it is not."""
        if len(caption) < self.length:  # a word takes a letter at least
            return None
        text = caption.lower()
        found = list(itertools.islice(_WORD.finditer(text), self.length))
        return text[: found[-2].end()] if len(found) == self.length else None

    def prepare(self, captions: Iterable[str]) -> tuple[str, ...]:
        """Reports how many of the first captions are cut, if any; encodes nothing before training."""
        first = list(itertools.islice(captions, LOOKED_AT))
        cut = sum(self.cut(caption) is not None for caption in first)
        if not cut:
            return ()
        of = f"the first {LOOKED_AT:,}" if len(first) == LOOKED_AT else f"{len(first):,}"
        most = f"{self.length - 1} words (text.length={self.length})"
        return (f"text: {cut:,} of {of} captions are cut after {most}",)

    def encode(self, captions: Sequence[str]) -> TextEmbedding:
        """Embed captions: tokens (B, L, D), mask (B, L), pooled (B, D) the mean over real tokens."""
        tokens = torch.zeros(len(captions), self.length, self.width)
        mask = torch.zeros(len(captions), self.length, dtype=torch.bool)
        for row, caption in enumerate(captions):
            words = ["<start>", *_WORD.findall(caption.lower())][: self.length]
            tokens[row, : len(words)] = torch.stack([word_vector(word, self.width) for word in words])
            mask[row, : len(words)] = True
        pooled = tokens.sum(1) / mask.sum(1, keepdim=True)
        return TextEmbedding(tokens, mask, pooled)


def default_encoder() -> BuiltinTextEncoder:
    """The encoder as recipes have it that set nothing of it."""
    return BuiltinTextEncoder(BuiltinTextConfig.model_validate({}))
