"""What every model is given: the same pictures, captions, token embeddings and batches."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing

import torch
from torch import Tensor

from t2ikit.core.batch import Batch, TextEmbedding
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.data.feed.batches import BatchMaker
from t2ikit.data.loader import BatchLoader
from t2ikit.text.builtin import default_encoder
from t2ikit.utils.images import from_uint8

SIZE, BATCH = 32, 16
"""Pixels, and images a step: those of t2ikit's default recipes."""
SELECTION_SEED = 1
"""Of the captions that learning rate and guidance are chosen on; those that are measured have seed 0."""


class Task:
    """Creatures at 32 px, with the built-in word vectors.

    Args:
        seed: of the order of the batches and of every model.
        count: pictures, of which a twentieth is held out; None: as in t2ikit's recipes.
    """

    size = SIZE

    def __init__(self, seed: int = 0, count: int | None = None) -> None:
        counted = {} if count is None else {"count": count}
        self.seed, self.dataset = seed, Creatures(CreaturesConfig(size=SIZE, **counted))
        self.encoder = default_encoder()
        self.text_width, self.text_length = 3 * self.encoder.width, self.encoder.length

    def draw(self) -> None:
        """Draw all training pictures, which the cache then holds, so that no model's minutes pay for them."""
        for index in range(self.dataset.size("train")):
            self.dataset.record("train", index)

    def batches(self) -> Generator[Batch, None, None]:
        """Endless batches, those of t2ikit's own training with this seed; close it when no more is wanted."""
        maker = BatchMaker(self.encoder, torch.device("cpu"), BATCH, BATCH)
        with closing(BatchLoader(self.dataset, self.seed, BATCH).steps()) as steps:
            for local in steps:
                yield maker.batch(local)

    def encode(self, captions: Sequence[str]) -> TextEmbedding:
        """Captions as the other packages get them."""
        return with_neighbours(self.encoder.encode(captions))

    def prompts(self, n: int, seed: int = 0) -> list[str]:
        """Captions never drawn in training, each once."""
        return list(dict.fromkeys(self.dataset.prompts(n, seed)))

    def real(self, prompts: Sequence[str]) -> Tensor:
        """A drawing of each caption, (N, 3, H, W) in [-1, 1]."""
        drawn = self.dataset.images(prompts, 0)
        assert drawn is not None
        return from_uint8(torch.stack(drawn))


def with_neighbours(text: TextEmbedding) -> TextEmbedding:
    """Each token (B, L, D) beside its two neighbours: (B, L, 3 D).

    The word vectors say nothing of the words' order, which t2ikit's models learn from in a text tower of
    their own. The other packages expect an encoder whose tokens know their place, as T5's do: without their
    neighbours, they could not tell red eyes from a red cat.
    """
    real = text.mask[..., None]
    tokens = text.tokens * real
    before, after = (torch.roll(tokens, shift, 1) for shift in (1, -1))
    before[:, 0], after[:, -1] = 0, 0
    tokens = torch.cat([before, tokens, after], -1) * real
    pooled = tokens.sum(1) / text.mask.sum(1, keepdim=True)
    return TextEmbedding(tokens, text.mask, pooled)
