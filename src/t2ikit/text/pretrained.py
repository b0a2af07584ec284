"""Frozen pretrained text encoders through transformers: T5 and its relatives, CLIP's text tower, any other.

The model is loaded only if a caption is not in the embedding cache, and freed when all are encoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from t2ikit.core.batch import TextEmbedding
from t2ikit.core.interfaces import TextEncoder
from t2ikit.text.configs import PretrainedConfig
from t2ikit.text.embedding_cache import Embedded, EmbeddingCache
from t2ikit.text.model_files import ModelFiles, find_model
from t2ikit.text.text_model import TextModel, padded_embedding
from t2ikit.text.tokenizing import open_tokenizer, truncated
from t2ikit.utils.files import cache_folder
from t2ikit.utils.progress import progress_bar

VERSION = 1
"""Raise it when the same model would give other embeddings."""
PART = 4096
"""Most captions in one file of the cache, and so the most that an interruption can lose."""


class PretrainedEncoder(TextEncoder):
    """Captions to the last hidden states of a frozen model.

    `pooled` is the mean over real tokens; for CLIP the state at the end token, after the last norm.

    Args:
        config: the model, the length and the cache.

    Raises:
        UserError: the model cannot be found or downloaded.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        self.config = config
        self.files: ModelFiles = find_model(config.model, config.revision)
        self.width, self.length = self.files.width, config.length
        self._fingerprint = pretrained_fingerprint(self.files, config)
        self.cache = EmbeddingCache(cache_folder(config.cache) / "text", self._fingerprint)
        self._new: dict[str, Embedded] = {}
        self._model: TextModel | None = None
        self._tokenizer: Any = None

    @property
    def fingerprint(self) -> str:
        """Depends on the model's and the tokenizer's files, the length and the precision."""
        return self._fingerprint

    def prepare(self, captions: Iterable[str]) -> tuple[str, ...]:
        """Encode the captions that are not in the cache yet, each once, into the cache."""
        wanted = dict.fromkeys(captions)
        notes = [f"warning: {self.cache.folder / name} was damaged: set aside" for name in self.cache.damaged]
        if not all(caption in self.cache for caption in wanted):
            with self.cache.writing():
                missing = [caption for caption in wanted if caption not in self.cache]
                notes += self._encode_into_cache(missing)
        size = self.cache.bytes / 2**20
        notes.append(f"text: {len(wanted):,} captions in {self.cache.folder} ({size:.1f} MiB)")
        return tuple(notes)

    def _encode_into_cache(self, captions: list[str]) -> list[str]:
        if not captions:  # another process has done it meanwhile
            return []
        model = self._load()
        with progress_bar(f"encoding captions with {self.files.name}") as progress:
            for start in range(0, len(captions), PART):
                part = captions[start : start + PART]
                done = model.encode(part, lambda n, at=start: progress(at + n, len(captions)))
                self.cache.add(part, done)
        notes = [f"text: {len(captions):,} captions encoded with {self.files.name}"]
        if model.cut:
            notes.append(f"warning: {model.cut:,} captions are longer than text.length={self.length}: cut")
        return notes

    def encode(self, captions: Sequence[str]) -> TextEmbedding:
        """Embed captions, cached ones without the model: tokens (B, L, D), mask (B, L), pooled (B, D)."""
        missing = [
            caption
            for caption in dict.fromkeys(captions)
            if caption not in self.cache and caption not in self._new
        ]
        if missing:
            self._encode_as_they_come(missing)
        found = [self.cache[caption] if caption in self.cache else self._new[caption] for caption in captions]
        return padded_embedding(found, self.length, self.width)

    def cut(self, caption: str) -> str | None:
        """What the tokenizer keeps of a caption longer than `length`, without the model; None: all of it."""
        if len(caption.encode()) + 2 <= self.length:  # a token takes a byte at least, but for its ends
            return None
        self._tokenizer = self._tokenizer or open_tokenizer(self.files)
        return truncated(caption, self._tokenizer, self.config)

    def components(self) -> tuple[Any, Any]:
        """The model and tokenizer of transformers, in the config's precision."""
        self._model = self._model or self._load()
        return self._model.model, self._model.tokenizer

    def _encode_as_they_come(self, captions: list[str]) -> None:
        """Encode captions that `prepare` was not given: a stream's, or prompts. Many go to disk, too."""
        self._model = self._model or self._load()
        if len(self._new) >= PART:
            with self.cache.writing():
                new = {c: one for c, one in self._new.items() if c not in self.cache}
                self.cache.add(list(new), list(new.values()))
            self._new.clear()
        self._new |= dict(zip(captions, self._model.encode(captions), strict=True))

    def _load(self) -> TextModel:
        return TextModel.open(self.files, self.config)


def pretrained_fingerprint(files: ModelFiles, config: PretrainedConfig) -> str:
    """Changes whenever an embedding would: it depends on the files, the length and the precision."""
    padded = "/padded/lower" if config.padded else ""
    return f"text-{VERSION}/{files.fingerprint()}/{config.length}/{config.precision}{padded}"


class LoadedTextEncoder(TextEncoder):
    """A pretrained text encoder whose model is in memory already, as in a pipeline.

    It gives the same embeddings as `PretrainedEncoder`.

    Args:
        model, tokenizer: of transformers. The model stays on its device, and keeps a lower precision than the
            config's.
        config: the recipe's, for the length, the precision and which state is `pooled`.
    """

    def __init__(self, model: Any, tokenizer: Any, config: PretrainedConfig) -> None:
        dtype = torch.bfloat16 if config.precision == "bf16" else model.dtype
        self.model = TextModel(model, tokenizer, config, device=model.device, dtype=dtype)
        self.width, self.length = self.model.width, config.length
        self._known: dict[str, Embedded] = {}

    @property
    def fingerprint(self) -> str:
        """Unused, since nothing is cached on disk."""
        return "held"

    def cut(self, caption: str) -> str | None:
        """What the tokenizer keeps of a caption longer than `length`; None: all of it."""
        return truncated(caption, self.model.tokenizer, self.model.config)

    def encode(self, captions: Sequence[str]) -> TextEmbedding:
        """Embed captions: tokens (B, L, D), mask (B, L), pooled (B, D)."""
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self._known]
        if missing:
            self._known |= dict(zip(missing, self.model.encode(missing), strict=True))
        return padded_embedding([self._known[caption] for caption in captions], self.length, self.width)
