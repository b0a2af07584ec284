"""The drawings, their captions, and the promise of what training never shows."""

from __future__ import annotations

import hashlib
from random import Random

import numpy as np
import pytest

from t2ikit.data.creatures import Creatures
from t2ikit.data.creatures_config import CreaturesConfig
from t2ikit.data.creatures_drawing import draw
from t2ikit.data.creatures_grammar import (
    ACTIONS,
    COLOURS,
    EYES,
    FULL_TEMPLATES,
    PARTIAL_TEMPLATES,
    SPECIES,
    UNSEEN_PAIRS,
    Attributes,
    all_attributes,
    caption,
    is_held_out_caption,
    is_trained,
    is_unseen_pair,
    parse,
)

DATA = Creatures(CreaturesConfig(count=4000))


def test_the_vocabulary_is_as_large_as_promised():
    assert min(len(COLOURS), len(SPECIES)) >= 8
    assert min(len(ACTIONS), len(EYES)) >= 4
    assert len(UNSEEN_PAIRS) >= 8
    assert len({colour for colour, _ in UNSEEN_PAIRS}) == len({s for _, s in UNSEEN_PAIRS}) == 8
    assert len(all_attributes()) == len(set(all_attributes())) == 64 * 8 * 4 * 4


@pytest.mark.parametrize("template", [*FULL_TEMPLATES, *PARTIAL_TEMPLATES])
def test_captions_read_back(template):
    for attributes in Random(0).sample(all_attributes(), 300):
        text = caption(attributes, template)
        found = parse(text.upper())
        named = {name for name in ("colours", "species", "action", "eyes") if "{" + name in template}
        for name in ("colours", "species", "action", "eyes"):
            assert getattr(found, name) == (getattr(attributes, name) if name in named else None), text


@pytest.mark.parametrize("text", ["", "a cat of many colours", "a red and red cat", "a dog", "two red cats"])
def test_other_texts_are_not_captions(text):
    assert parse(text) is None


def test_a_users_caption_is_read():
    assert parse("a green cat with red eyes") == Attributes(("green",), "cat", None, "red")
    assert parse("a drawing of a jumping green cat with red eyes") == Attributes(
        ("green",), "cat", "jumping", "red"
    )
    assert parse("a brown and black bird") == Attributes(("brown", "black"), "bird", None, None)


def test_training_never_shows_what_it_must_not():
    shown = {
        DATA.attributes(split, index)
        for split in ("train", "validation")
        for index in range(DATA.size(split))
    }
    assert len(shown) > 1500
    assert all(is_trained(attributes) for attributes in shown)
    for attributes in shown:
        for colour in attributes.colours:
            assert (colour, attributes.species) not in UNSEEN_PAIRS
    for index in range(500):
        named = [parse(text) for text in DATA.captions("train", index)]
        assert not any(a.full and (is_held_out_caption(a) or is_unseen_pair(a)) for a in named)


def test_a_tenth_of_the_captions_is_held_out():
    rest = [attributes for attributes in all_attributes() if not is_unseen_pair(attributes)]
    share = sum(map(is_held_out_caption, rest)) / len(rest)
    assert 0.085 < share < 0.115
    assert not any(is_held_out_caption(a) for a in all_attributes() if is_unseen_pair(a))


def test_prompts_are_captions_never_drawn_half_of_them_of_unseen_pairs():
    prompts = DATA.prompts(2000, seed=3)
    found = [parse(prompt) for prompt in prompts]
    assert len(prompts) == len(set(prompts)) == 2000
    assert all(a.full and not is_trained(a) for a in found)
    pairs = sum(map(is_unseen_pair, DATA and [parse(p) for p in DATA.prompts(256, seed=3)]))
    assert 100 <= pairs <= 156
    assert DATA.prompts(5, seed=3) == prompts[:5] != DATA.prompts(5, seed=4)
    assert len(DATA.prompts(4000, seed=3)) == 4000


def test_no_two_pictures_agree_and_each_is_the_same_every_time():
    digests = [hashlib.md5(DATA.record("train", i).image.numpy().tobytes()).digest() for i in range(1500)]
    digests += [
        hashlib.md5(DATA.record("validation", i).image.numpy().tobytes()).digest() for i in range(100)
    ]
    assert len(set(digests)) == 1600
    again = Creatures(CreaturesConfig(count=50))
    assert hashlib.md5(again.record("train", 7).image.numpy().tobytes()).digest() == digests[7]
    other = Creatures(CreaturesConfig(count=50, seed=1))
    assert hashlib.md5(other.record("train", 7).image.numpy().tobytes()).digest() != digests[7]
    assert DATA.fingerprint != other.fingerprint


@pytest.mark.parametrize("size", [16, 33, 64, 256])
def test_any_size(size):
    data = Creatures(CreaturesConfig(count=10, size=size))
    image = data.record("train", 0).image
    assert image.shape == (3, size, size)
    assert image.float().std() > 15


def test_place_and_facing_vary():
    """The creature's middle moves about, and so does the side it looks to."""
    attributes = Attributes(("red",), "bird", "standing", "blue")
    rng = Random(0)
    middles, beaks = [], []
    for _ in range(40):
        image = draw(attributes, 64, rng).astype(int)
        red = (image[..., 0] > 150) & (image[..., 1] < 90) & (image[..., 2] < 90)
        beak = (image[..., 0] > 200) & (abs(image[..., 1] - 150) < 25) & (image[..., 2] < 90)
        middles.append([index.mean() for index in np.nonzero(red)])
        beaks.append(np.nonzero(beak)[1].mean() > middles[-1][1])
    assert np.ptp(np.array(middles), axis=0).min() > 4
    assert 8 < sum(beaks) < 32


def test_every_attribute_changes_the_picture():
    """Same randomness, one attribute changed: at least some twenty pixels differ, so nothing is hidden."""
    for index, base in enumerate(Random(1).sample(all_attributes(), 60)):
        picture = draw(base, 32, Random(index)).astype(int)
        changes = [
            Attributes(base.colours, base.species, base.action, next(e for e in EYES if e != base.eyes)),
            Attributes(base.colours, base.species, next(a for a in ACTIONS if a != base.action), base.eyes),
            Attributes(
                (next(c for c in COLOURS if c not in base.colours),), base.species, base.action, base.eyes
            ),
        ]
        for changed in changes:
            other = draw(changed, 32, Random(index)).astype(int)
            assert (abs(picture - other).max(-1) > 25).sum() >= 8, (base, changed)


def test_eyeless_bodies_show_no_eye_colour():
    base = Attributes(("black",), "cat", "standing", None)
    image = draw(base, 64, Random(3)).astype(int)
    saturation = image.max(-1) - image.min(-1)
    assert (saturation > 90).sum() == 0
