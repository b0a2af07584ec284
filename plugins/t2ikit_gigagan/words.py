"""Reading a caption word by word: every word looks for its place in the image and is scored there.

Sources: the word scores of AttnGAN (DAMSM, arXiv 1711.10485, section 3.2) and of XMC-GAN (arXiv 2101.04702,
section 4.2), here with one map for where a word looks and another for what it wants to see there.

Letters: B images, P texts, N places of an image, L tokens, C channels, D text width, E width of the reading.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit import exclude_from_muon
from t2ikit_gigagan.precision import at_least_float


@dataclass(frozen=True)
class Reading:
    """What the text tower makes of texts: tokens (B, L, D), mask (B, L) and pooled (B, D)."""

    tokens: Tensor
    mask: Tensor
    pooled: Tensor


def word_scores(query: Tensor, content: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """How well each image shows each word: content . sum_j softmax_j(query . key_j / sqrt(E)) value_j.

    Args:
        query, content: (B, M, E), where each of M words looks, and what it wants to see.
        key, value: (B, N, E), where and what each place is.

    Returns:
        (B, M), float32 or better.
    """
    with torch.autocast(query.device.type, enabled=False):
        query, content, key, value = (at_least_float(x) for x in (query, content, key, value))
        where = (query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])).softmax(-1)  # (B, M, N)
        return (where * (content @ value.transpose(1, 2))).sum(-1)


def text_scores(words: Tensor, mask: Tensor) -> Tensor:
    """Scores of words (..., L) to those of texts (...): their sum by the root of the number of real ones."""
    real = mask.to(words.dtype)
    return (words * real).sum(-1) / real.sum(-1).clamp_min(1).sqrt()


class WordReader(nn.Module):
    """Scores of images beside texts, from features at every place and tokens.

    Args:
        channels: C of the features.
        text_width: D of the tokens.
        width: E.
    """

    def __init__(self, channels: int, text_width: int, width: int) -> None:
        super().__init__()
        self.place, self.word = nn.Linear(channels, 2 * width), nn.Linear(text_width, 2 * width)

    def forward(self, features: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Features (B, C, h, w) and as many texts, tokens (B, L, D) and mask (B, L), to scores (B,)."""
        query, content = self.word(tokens).chunk(2, -1)
        return text_scores(word_scores(query, content, *self._places(features)), mask)

    def every(self, features: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """The scores of B images beside each of P texts, (B, P)."""
        query, content = (
            part.flatten(0, 1).expand(len(features), -1, -1) for part in self.word(tokens).chunk(2, -1)
        )
        words = word_scores(query, content, *self._places(features))  # (B, P L)
        return text_scores(words.unflatten(1, mask.shape), mask)

    def _places(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Keys, and values of unit norm, each (B, N, E)."""
        key, value = self.place(features.flatten(2).transpose(1, 2)).chunk(2, -1)
        return key, F.normalize(at_least_float(value), dim=-1)


class WordHead(nn.Module):
    """A logit from what the places show of a text word by word, and of none.

    Args:
        channels: C of the features.
        text_width: D of the tokens.
        width: E of the reading.
    """

    def __init__(self, channels: int, text_width: int, width: int) -> None:
        super().__init__()
        self.plain = nn.Linear(channels, 1)
        exclude_from_muon(self.plain.weight)
        self.reader = WordReader(channels, text_width, width)

    def forward(self, places: Tensor, text: Reading) -> Tensor:
        """(B, C, h, w) and as many texts to (B,)."""
        logit = self.plain(places.mean((2, 3)))[:, 0].float()
        return logit + self.reader(places, text.tokens, text.mask)
