"""`creatures`: captioned drawings made by our own code, endless and offline."""

from __future__ import annotations

from itertools import islice
from random import Random

import torch

from t2ikit.batch import Record, mix
from t2ikit.data.creatures_config import CreaturesConfig
from t2ikit.data.creatures_drawing import DRAWING_VERSION, draw
from t2ikit.data.creatures_grammar import (
    FULL_TEMPLATES,
    PARTIAL_TEMPLATES,
    Attributes,
    caption,
    trained_attributes,
    unseen_prompts,
)
from t2ikit.interfaces import Dataset, Split

TWO_COLOURED = 0.5


class Creatures(Dataset):
    """Drawings of creatures; half of them have a body of two colours.

    Picture `i` is the same for a seed and a size whatever `count` is. Both splits draw only attributes
    that training may show; `prompts` gives only those it never does.
    """

    def __init__(self, config: CreaturesConfig) -> None:
        self.config = config
        held_out = max(1, round(config.count * config.validation))
        self._sizes = {"train": config.count - held_out, "validation": held_out}

    @property
    def fingerprint(self) -> str:
        """Version of the drawing, seed, count, split and size."""
        c = self.config
        return f"creatures-{DRAWING_VERSION}/{c.seed}/{c.count}/{c.validation}/{c.size}"

    def size(self, split: Split) -> int:
        """Number of pictures."""
        return self._sizes[split]

    def _random(self, split: Split, index: int, use: str) -> Random:
        return Random(mix(self.config.seed, split, index, use))

    def attributes(self, split: Split, index: int) -> Attributes:
        """What picture `index` shows."""
        rng = self._random(split, index, "attributes")
        one, two = trained_attributes()
        group = two if rng.random() < TWO_COLOURED else one
        return group[int(rng.random() * len(group))]

    def captions(self, split: Split, index: int) -> tuple[str, ...]:
        """The full caption in each wording, and one that leaves something out."""
        attributes = self.attributes(split, index)
        partial = PARTIAL_TEMPLATES[mix(self.config.seed, split, index, "partial") % len(PARTIAL_TEMPLATES)]
        return tuple(caption(attributes, template) for template in (*FULL_TEMPLATES, partial))

    def record(self, split: Split, index: int) -> Record:
        """Picture `index`, drawn anew."""
        attributes = self.attributes(split, index)
        picture = draw(attributes, self.config.size, self._random(split, index, "drawing"))
        image = torch.from_numpy(picture.copy()).permute(2, 0, 1).contiguous()
        return Record(image, self.captions(split, index), f"{split}/{index}")

    def prompts(self, n: int, seed: int) -> list[str]:
        """Full captions never drawn in training, half of them with a (colour, species) pair never drawn."""
        return list(islice(unseen_prompts(seed), n))
