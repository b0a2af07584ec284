"""`creatures`: captioned drawings of creatures, made as they are asked for, offline and without end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset, Split
from t2ikit.core.rng import derive_seed
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.drawing import DRAWING_VERSION, draw
from t2ikit.data.creatures.drawn_cache import DrawnImages
from t2ikit.data.creatures.grammar import (
    FULL_TEMPLATES,
    PARTIAL_TEMPLATES,
    Attributes,
    all_attributes,
    caption,
    completed,
    parse,
    pick,
    trained_attributes,
    unseen_prompts,
)


class Creatures(Dataset):
    """Drawings that show only trained attributes, in both splits; `prompts` asks for the others.

    Half of the creatures have one colour, half have two. Every picture has one caption of each full
    template and one caption that leaves something out. A picture depends on the seed, the split, its
    index and the size alone, so a greater `count` adds pictures and changes none.
    """

    def __init__(self, config: CreaturesConfig) -> None:
        self.config = config
        held_out = max(1, round(config.count * config.validation)) if config.validation else 0
        self._sizes: dict[Split, int] = {"train": config.count - held_out, "validation": held_out}
        self._drawn = DrawnImages(self.fingerprint, config.count, config.size)

    def size(self, split: Split) -> int:
        """Number of pictures in the split."""
        return self._sizes[split]

    def attributes(self, split: Split, index: int) -> Attributes:
        """What picture `index` of the split shows."""
        return self._attributes(self._random(split, index))

    def record(self, split: Split, index: int) -> Record:
        """Picture `index` of the split, (3, size, size), drawn unless it was before, the same every time."""
        rng = self._random(split, index)
        attributes = self._attributes(rng)
        captions = _captions(attributes, rng)
        row = index if split == "train" else self._sizes["train"] + index
        picture = self._drawn.read(row)
        if picture is None:
            drawn = torch.from_numpy(draw(attributes, self.config.size, rng).copy())
            picture = drawn.permute(2, 0, 1).contiguous()
            self._drawn.write(row, picture)
        return Record(picture, captions, f"{split}/{index}")

    def captions(self, split: Split, index: int) -> tuple[str, ...]:
        """The captions of picture `index`, without drawing it."""
        rng = self._random(split, index)
        return _captions(self._attributes(rng), rng)

    def prompts(self, n: int, seed: int) -> list[str]:
        """`n` full captions never drawn in training: held-out captions and held-out pairs, by turns.

        See `grammar.unseen_prompts`; fewer prompts of a seed are the first of more.
        """
        return list(itertools.islice(unseen_prompts(seed), n))

    def images(self, captions: Sequence[str], seed: int) -> list[Tensor] | None:
        """A drawing (3, size, size) uint8 of each caption; what a caption leaves out is drawn at random."""
        drawn = []
        for place, text in enumerate(captions):
            wanted = parse(text)
            if wanted is None:
                return None
            rng = Random(derive_seed(seed, "pictures", place, text))
            picture = draw(completed(wanted, pick(all_attributes(), rng)), self.config.size, rng)
            drawn.append(torch.from_numpy(picture.copy()).permute(2, 0, 1).contiguous())
        return drawn

    @property
    def fingerprint(self) -> str:
        """Names the drawing's version and every option that matters."""
        c = self.config
        return (
            f"creatures-v{DRAWING_VERSION}-seed{c.seed}-count{c.count}-size{c.size}-validation{c.validation}"
        )

    def _random(self, split: Split, index: int) -> Random:
        if not 0 <= index < self.size(split):
            raise IndexError(f"picture {index} of the split {split!r}, which has {self.size(split)}")
        return Random(derive_seed(self.config.seed, split, index))

    @staticmethod
    def _attributes(rng: Random) -> Attributes:
        return pick(pick(trained_attributes(), rng), rng)


def _captions(attributes: Attributes, rng: Random) -> tuple[str, ...]:
    templates = (*FULL_TEMPLATES, pick(PARTIAL_TEMPLATES, rng))
    return tuple(caption(attributes, template) for template in templates)
