"""A pretrained text encoder that is in memory already, as in a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from t2ikit.core.batch import TextEmbedding
from t2ikit.core.interfaces import TextEncoder
from t2ikit.text.configs import PretrainedConfig
from t2ikit.text.embedding_cache import Embedded
from t2ikit.text.pretrained import Loaded, joined
from t2ikit.text.tokenizing import kept_of


class LoadedTextEncoder(TextEncoder):
    """Captions to the last hidden states of a model of transformers, as `PretrainedEncoder` gives them.

    Args:
        model, tokenizer: of transformers. The model stays on its device, and in a narrower precision than the
            config's if it has one.
        config: the recipe's, for the length, the precision and which state is `pooled`.
    """

    def __init__(self, model: Any, tokenizer: Any, config: PretrainedConfig) -> None:
        numbers = torch.bfloat16 if config.precision == "bf16" else model.dtype
        self.loaded = Loaded(model, tokenizer, config, device=model.device, numbers=numbers)
        self.width, self.length = self.loaded.width, config.length
        self._known: dict[str, Embedded] = {}

    @property
    def fingerprint(self) -> str:
        """Of no use: nothing is kept."""
        return "held"

    def cut(self, caption: str) -> str | None:
        """What the tokenizer keeps of a caption that is longer than `length`; None: all of it."""
        return kept_of(caption, self.loaded.tokenizer, self.loaded.config)

    def encode(self, captions: Sequence[str]) -> TextEmbedding:
        """Embed captions: tokens (B, L, D), mask (B, L), pooled (B, D)."""
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self._known]
        if missing:
            self._known |= dict(zip(missing, self.loaded.encode(missing), strict=True))
        return joined([self._known[caption] for caption in captions], self.length, self.width)
