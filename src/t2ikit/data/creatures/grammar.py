"""The language of `creatures`: attributes, captions, and which captions training never shows.

A full caption names one or two body colours, a species, an action and an eye colour:
8 + 56 colourings x 8 species x 4 actions x 4 eye colours = 8,192 captions. Two sets of them are never
drawn in training: every caption with a held-out (colour, species) pair, and a tenth of the rest.
Imports no torch.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

COLOURS = ("red", "yellow", "green", "blue", "purple", "pink", "brown", "black")
SPECIES = ("cat", "rabbit", "bird", "fish", "elephant", "giraffe", "turtle", "dinosaur")
ACTIONS = ("standing", "jumping", "running", "sitting")
EYES = ("red", "yellow", "green", "blue")

UNSEEN_PAIRS = frozenset(
    {
        ("red", "rabbit"),
        ("yellow", "elephant"),
        ("green", "bird"),
        ("blue", "turtle"),
        ("purple", "cat"),
        ("pink", "dinosaur"),
        ("brown", "fish"),
        ("black", "giraffe"),
    }
)
"""(colour, species) pairs never drawn in training: each colour and each species is in exactly one."""

FULL_TEMPLATES = (
    "a drawing of a {action} {colours} {species} with {eyes} eyes",
    "a {action} {colours} {species} with {eyes} eyes",
    "a {colours} {species} with {eyes} eyes, {action}",
)
PARTIAL_TEMPLATES = (
    "a {colours} {species} with {eyes} eyes",
    "a {action} {colours} {species}",
    "a {action} {species} with {eyes} eyes",
    "a drawing of a {colours} {species}",
)
_HELD_OUT_EVERY = 10
T = TypeVar("T")


@dataclass(frozen=True)
class Attributes:
    """What a caption says of a creature, or a reader of its picture; None where nothing is said.

    Attributes:
        colours: one or two of `COLOURS`: the body, then its patches.
        species: one of `SPECIES`.
        action: one of `ACTIONS`.
        eyes: one of `EYES`.
    """

    colours: tuple[str, ...] | None
    species: str | None
    action: str | None
    eyes: str | None

    @property
    def full(self) -> bool:
        """Whether nothing is left out."""
        return None not in (self.colours, self.species, self.action, self.eyes)


Grouped = tuple[tuple[Attributes, ...], tuple[Attributes, ...]]
"""Attributes of one-coloured creatures and of two-coloured ones."""


def caption(attributes: Attributes, template: str = FULL_TEMPLATES[0]) -> str:
    """Write a caption; the template must not name an attribute that is None."""
    return template.format(
        colours=" and ".join(attributes.colours or ()),
        species=attributes.species,
        action=attributes.action,
        eyes=attributes.eyes,
    )


def _one_of(name: str, words: tuple[str, ...]) -> str:
    return rf"(?P<{name}>{'|'.join(words)})"


_CAPTION = re.compile(
    rf"(?:(?:a|the) (?:drawing|picture) of )?(?:(?:a|an|the) )?(?:{_one_of('action', ACTIONS)} )?"
    rf"(?:{_one_of('first', COLOURS)}(?: and {_one_of('second', COLOURS)})? )?{_one_of('species', SPECIES)}"
    rf"(?: with {_one_of('eyes', EYES)} eyes)?(?:,? {_one_of('action_after', ACTIONS)})?\.?"
)


def parse(text: str) -> Attributes | None:
    """Read a caption of any template, in any case; None if it is no caption of a creature.

    Attributes the caption leaves out are None. A caption that names the action twice, or one colour
    twice, is not one of ours.
    """
    found = _CAPTION.fullmatch(" ".join(text.lower().split()))
    if found is None or (found["action"] and found["action_after"]):
        return None
    colours = tuple(colour for colour in (found["first"], found["second"]) if colour)
    if len(set(colours)) < len(colours):
        return None
    action = found["action"] or found["action_after"]
    return Attributes(colours or None, found["species"], action, found["eyes"])


def completed(attributes: Attributes, others: Attributes) -> Attributes:
    """The same attributes, with those that are None taken from `others`."""
    return Attributes(
        attributes.colours or others.colours,
        attributes.species or others.species,
        attributes.action or others.action,
        attributes.eyes or others.eyes,
    )


def is_unseen_pair(attributes: Attributes) -> bool:
    """Whether any of the body colours makes a held-out pair with the species."""
    return any((colour, attributes.species) in UNSEEN_PAIRS for colour in attributes.colours or ())


def is_held_out_caption(attributes: Attributes) -> bool:
    """Whether this full caption, of trained pairs, is one of the tenth that is never drawn in training."""
    if not attributes.full or is_unseen_pair(attributes):
        return False
    digest = hashlib.blake2b(caption(attributes).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % _HELD_OUT_EVERY == 0


def is_trained(attributes: Attributes) -> bool:
    """Whether training may draw a creature of these attributes."""
    return not (is_unseen_pair(attributes) or is_held_out_caption(attributes))


@cache
def all_attributes() -> tuple[Attributes, ...]:
    """All 8,192 full combinations, always in the same order."""
    colourings = [(colour,) for colour in COLOURS] + list(itertools.permutations(COLOURS, 2))
    return tuple(
        Attributes(colours, species, action, eyes)
        for colours, species, action, eyes in itertools.product(colourings, SPECIES, ACTIONS, EYES)
    )


@cache
def trained_attributes() -> Grouped:
    """What training draws from."""
    return by_colours(attributes for attributes in all_attributes() if is_trained(attributes))


def pick(options: Sequence[T], rng: random.Random) -> T:
    """One of `options`; uses `rng.random()` alone, which is the same in every version of Python."""
    return options[int(len(options) * rng.random())]


def unseen_prompts(seed: int) -> Iterator[str]:
    """Full captions never drawn in training, without end.

    Four groups take turns: held-out captions and captions with a held-out pair, of one and of two
    colours. No attributes come twice before all 2,500 or so have come; a group that is spent leaves its
    turns to the others.
    """
    rng = random.Random(seed)
    groups = [
        group
        for never_trained in (is_held_out_caption, is_unseen_pair)
        for group in by_colours(filter(never_trained, all_attributes()))
    ]
    while True:
        shuffled = [sorted(group, key=lambda _: rng.random()) for group in groups]
        for turn in itertools.zip_longest(*shuffled):
            for attributes in turn:
                if attributes is not None:
                    yield caption(attributes, pick(FULL_TEMPLATES, rng))


def by_colours(attributes: Iterable[Attributes]) -> Grouped:
    """Split into creatures of one colour and creatures of two."""
    every = list(attributes)
    one, two = (tuple(a for a in every if len(a.colours or ()) == number) for number in (1, 2))
    return one, two
