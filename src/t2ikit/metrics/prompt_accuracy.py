"""`prompt-accuracy`: what share of `creatures` prompts the images follow, attribute by attribute.

Imports no torch until a metric is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from t2ikit.config.base import Config
from t2ikit.data.creatures.grammar import Attributes, is_held_out_caption, is_unseen_pair, parse

if TYPE_CHECKING:
    from t2ikit.core.metric import ImageSet, Measure

SUMMARY = "share of creatures prompts whose colour, species, action and eyes are read off the image"
NAMES = {"colour": "colours", "species": "species", "action": "action", "eyes": "eyes"}
"""What a measure is called, and the attribute it counts."""
_Z = 1.959963984540054
_Pair = tuple[Attributes, Attributes]


class PromptAccuracyConfig(Config):
    """Prompt accuracy on captions of `creatures`."""

    batch: int = Field(default=256, ge=1)
    """images read at once; changes memory, not the result"""


class PromptAccuracy:
    """A `Metric`: the attributes that the reader finds against those of the prompts.

    Measures are named `colour`, `species`, `action`, `eyes` and `joint` (all that the prompt names),
    in per cent of the prompts that name the attribute, with Wilson 95 % intervals. The same five come as
    `unseen-pairs/...` and `held-out-captions/...` for prompts that training never showed, as
    `one-colour/...` and `two-colour/...` for bodies of one and of two colours, and as `shuffled/...`: the
    same images with other prompts of the list, which is chance level. A measure that no prompt counts for
    is left out. An attribute that cannot be read is wrong.
    """

    def __init__(self, config: PromptAccuracyConfig | None = None) -> None:
        from t2ikit.metrics.creature_reader import CreatureReader

        self.config = config or PromptAccuracyConfig()
        self.reader = CreatureReader()

    def dependencies(self) -> dict[str, str]:
        """What its numbers depend on besides its options."""
        from t2ikit.metrics.features import ReaderNetwork

        return ReaderNetwork().dependencies()

    def __call__(self, image_set: ImageSet) -> dict[str, Measure]:
        """Measure the images; the prompts alone say what is right.

        Raises:
            NotMeasured: a prompt is no caption of a creature.
        """
        wanted = [_parse(prompt) for prompt in image_set.prompts]
        return measure(wanted, self.reader(image_set.images, batch=self.config.batch))


def measure(wanted: Sequence[Attributes], readings: Sequence[Attributes]) -> dict[str, Measure]:
    """All measures of `PromptAccuracy`, from what was asked for and what was read."""
    pairs = list(zip(wanted, readings))
    groups: list[tuple[str, Callable[[Attributes], bool]]] = [
        ("unseen-pairs/", is_unseen_pair),
        ("held-out-captions/", is_held_out_caption),
        ("one-colour/", lambda wanted: len(wanted.colours or ()) == 1),
        ("two-colour/", lambda wanted: len(wanted.colours or ()) == 2),
    ]
    measures = _measures("", pairs)
    for prefix, belongs in groups:
        measures |= _measures(prefix, [pair for pair in pairs if belongs(pair[0])])
    return measures | _measures("shuffled/", _shuffled(pairs))


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share of n (Wilson, JASA 22, 1927), in [0, 1]; n at least 1."""
    share, z2 = right / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def readable(prompts: Sequence[str]) -> bool:
    """Whether all prompts are captions of creatures."""
    return all(parse(prompt) is not None for prompt in prompts)


def _parse(prompt: str) -> Attributes:
    attributes = parse(prompt)
    if attributes is None:
        from t2ikit.core.metric import NotMeasured

        raise NotMeasured(f"reads captions of creatures only, and {prompt!r} is none")
    return attributes


def _measures(prefix: str, pairs: Sequence[_Pair]) -> dict[str, Measure]:
    """The five measures of one group, but for those nobody asked for."""
    hits: dict[str, list[bool]] = {name: [] for name in (*NAMES, "joint")}
    for wanted, read in pairs:
        right = {
            name: getattr(wanted, field) == getattr(read, field)
            for name, field in NAMES.items()
            if getattr(wanted, field) is not None
        }
        for name, hit in right.items():
            hits[name].append(hit)
        hits["joint"].append(all(right.values()))
    better: Literal["higher", ""] = "" if prefix == "shuffled/" else "higher"
    return {f"{prefix}{name}": _measure(found, better) for name, found in hits.items() if found}


def _measure(hits: Iterable[bool], better: Literal["higher", ""]) -> Measure:
    from t2ikit.core.metric import Measure
    from t2ikit.metrics.creature_reader import READER_VERSION, SIDE

    found = list(hits)
    low, high = wilson(sum(found), len(found))
    provenance = f"creature reader v{READER_VERSION}, antialiased bilinear to {SIDE} px, Wilson 95 %"
    return Measure(
        100 * sum(found) / len(found), len(found), 100 * low, 100 * high, "%", provenance, "", better
    )


def _shuffled(pairs: Sequence[_Pair]) -> list[_Pair]:
    """Every reading with the prompt of another image: one random cycle through the list."""
    if len(pairs) < 2:
        return []
    rng = Random(0)
    order = sorted(range(len(pairs)), key=lambda _: rng.random())
    return [(pairs[there][0], pairs[here][1]) for here, there in zip(order, order[1:] + order[:1])]
