"""Clock faces, drawn as they are asked for; some times of the day are never shown in training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from t2ikit import Dataset, Record
from t2ikit_clocks.plugin import ClocksConfig

HOURS = ["twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
PARTS = ("", "quarter past ", "half past ")
"""Of an hour, by quarters."""
COLOURS = {"red": "#c8322f", "green": "#3ca03c", "blue": "#285ac8", "grey": "#808080"}
TIMES = [(hour, part) for hour in range(12) for part in range(len(PARTS))]
UNSEEN = TIMES[::5]
"""Asked for by `prompts`: does a model move the hands apart?"""
TRAINED = [time for time in TIMES if time not in UNSEEN]
SCALE = 4
"""Clocks are drawn so many times as large, and shrunk, for smooth edges."""


def caption(colour: str, hour: int, part: int) -> str:
    """Such as "a blue clock at quarter past nine"."""
    return f"a {colour} clock at {PARTS[part]}{HOURS[hour]}"


CAPTIONS = {caption(colour, *time): (colour, *time) for colour in COLOURS for time in TIMES}


def draw(colour: str, hour: int, part: int, size: int, rng: Random) -> Tensor:
    """A clock of random size and place on white, (3, size, size) uint8."""
    side = size * SCALE
    radius = side * rng.uniform(0.36, 0.46)
    x, y = (rng.uniform(radius, side - radius) for _ in range(2))
    image = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(image)
    face = (x - radius, y - radius, x + radius, y + radius)
    pen.ellipse(face, fill="white", outline=COLOURS[colour], width=side // 12)
    for turn, length, width in (((hour + part / 4) / 12, 0.5, side // 14), (part / 4, 0.8, side // 24)):
        angle = 2 * math.pi * turn
        end = (x + length * radius * math.sin(angle), y - length * radius * math.cos(angle))
        pen.line([(x, y), end], fill="black", width=width)
    small = image.resize((size, size), Image.Resampling.BOX)
    return (
        torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(size, size, 3).permute(2, 0, 1)
    )


class Clocks(Dataset):
    """An image depends on the seed, the split, its index and the size alone."""

    def __init__(self, config: ClocksConfig) -> None:
        self.config = config
        held_out = round(config.count * config.validation)
        self._sizes = {"train": config.count - held_out, "validation": held_out}

    def size(self, split: str) -> int:
        """Number of images in the split."""
        return self._sizes[split]

    def _random(self, split: str, index: int) -> tuple[str, Random]:
        """The caption of an image, and the randomness for the rest of it."""
        rng = Random(f"{self.config.seed}/{split}/{index}")
        return caption(rng.choice(list(COLOURS)), *rng.choice(TRAINED)), rng

    def record(self, split: str, index: int) -> Record:
        """Image `index` of the split, the same every time."""
        text, rng = self._random(split, index)
        return Record(draw(*CAPTIONS[text], self.config.size, rng), (text,), f"{split}/{index}")

    def captions(self, split: str, index: int) -> tuple[str, ...]:
        """The caption of an image, without drawing it."""
        return (self._random(split, index)[0],)

    def prompts(self, n: int, seed: int) -> list[str]:
        """`n` captions of times that were never shown."""
        rng = Random(f"prompts/{seed}")
        return [caption(rng.choice(list(COLOURS)), *rng.choice(UNSEEN)) for _ in range(n)]

    def images(self, captions: Sequence[str], seed: int) -> list[Tensor] | None:
        """An image of each caption, also of times that are never trained; None where a caption is another."""
        if not set(captions) <= set(CAPTIONS):
            return None
        rngs = [Random(f"{seed}/{place}/{text}") for place, text in enumerate(captions)]
        return [draw(*CAPTIONS[text], self.config.size, rng) for text, rng in zip(captions, rngs)]

    @property
    def fingerprint(self) -> str:
        """The version of the drawings, and all that decides them."""
        return f"clocks-1/{self.config.seed}/{self.config.size}/{self._sizes}"
