"""Prompt accuracy: the share of the caption's attributes that a reader finds in the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from torch import Tensor

from t2ikit.data.creatures_grammar import Attributes, is_held_out_caption, is_unseen_pair, parse
from t2ikit.errors import UserError
from t2ikit.interfaces import Dataset, Measure
from t2ikit.metrics.creature_reader import CreatureReader, Reading

NAMES = {"colours": "colour", "species": "species", "action": "action", "eyes": "eyes"}
Pair = tuple[Reading, Attributes]


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a share, 95 % by default.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if n == 0:
        return 0.0, 1.0
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Both ends are exact at the extremes, where rounding would leave the interval short of the share.
    return 0.0 if right == 0 else middle - reach, 1.0 if right == n else middle + reach


class PromptAccuracy:
    """Accuracy by attribute, and of all that a caption names together ("joint"), in per cent.

    Colour is right when every body colour is, in order. "Unreadable" is wrong. Three groups are reported
    apart: "held-out" (captions never drawn in training, of trained colour x species pairs),
    "unseen-pairs" (captions with a pair never drawn), and "shuffled" (every picture against another
    prompt: what chance gives).
    """

    def __init__(self) -> None:
        self.reader = CreatureReader()

    def __call__(self, images: Tensor, prompts: Sequence[str], dataset: Dataset) -> dict[str, Measure]:
        """Measure pictures (N, 3, H, W) in [-1, 1] drawn for N prompts.

        Raises:
            UserError: a prompt is no caption of a creature.
        """
        wanted = [_parsed(prompt) for prompt in prompts]
        pairs = list(zip(self.reader.read(images), wanted, strict=True))
        measures = measure(pairs)
        groups: dict[str, Callable[[Attributes], bool]] = {
            "held-out": is_held_out_caption,
            "unseen-pairs": is_unseen_pair,
        }
        for group, belongs in groups.items():
            own = [pair for pair in pairs if belongs(pair[1])]
            measures.update({f"{group}/{name}": value for name, value in measure(own).items()})
        shuffled = measure(shuffle(pairs))
        return {**measures, **{f"shuffled/{name}": value for name, value in shuffled.items()}}


def shuffle(pairs: Sequence[Pair]) -> list[Pair]:
    """Each reading with another picture's caption, drawn with a fixed seed."""
    captions = [attributes for _, attributes in pairs]
    Random(0).shuffle(captions)
    return [(reading, attributes) for (reading, _), attributes in zip(pairs, captions, strict=True)]


def measure(pairs: Sequence[Pair]) -> dict[str, Measure]:
    """Accuracy of readings by attribute, over the captions that name it."""
    agreements = [reading.agrees(attributes) for reading, attributes in pairs]
    counted = {
        short: [agrees[name] for agrees in agreements if name in agrees] for name, short in NAMES.items()
    }
    counted["joint"] = [all(agrees.values()) for agrees in agreements if agrees]
    return {name: _share(right) for name, right in counted.items() if right}


def _share(right: Sequence[bool]) -> Measure:
    low, high = wilson(sum(right), len(right))
    return Measure(
        value=100 * sum(right) / len(right),
        n=len(right),
        low=100 * low,
        high=100 * high,
        unit="%",
        provenance="creature reader 1, 32 px antialiased, Wilson 95 % interval",
    )


def _parsed(prompt: str) -> Attributes:
    attributes = parse(prompt)
    if attributes is None:
        raise UserError(
            f"prompt-accuracy cannot read the prompt {prompt!r}",
            expected="captions of creatures, such as 'a jumping green cat with red eyes'",
            got="something else",
            fix="use this metric with --data creatures only",
        )
    return attributes
