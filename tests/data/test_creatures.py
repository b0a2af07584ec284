"""The dataset `creatures`: its drawings, its language and what it promises never to show in training."""

import hashlib
import subprocess
import sys
from collections import Counter
from random import Random

import numpy as np
import pytest
import torch

from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.data.creatures.drawing import draw
from t2ikit.data.creatures.grammar import (
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
    is_unseen_pair,
    parse,
    unseen_prompts,
)


def creatures(**options) -> Creatures:
    return Creatures(CreaturesConfig(**options))


def test_the_same_seed_and_index_give_the_same_record_whatever_was_drawn_before():
    data, again = creatures(count=50), creatures(count=50)
    for index in (0, 7, 46):
        data.record("train", 3)
        first, second = data.record("train", index), again.record("train", index)
        assert torch.equal(first.image, second.image)
        assert first.captions == second.captions == data.captions("train", index)
        assert first.key == second.key


def test_seed_split_and_index_each_change_the_image_and_count_does_not():
    base = creatures(count=100).record("train", 4).image
    assert torch.equal(base, creatures(count=1000).record("train", 4).image)
    for other in (
        creatures(count=100, seed=1).record("train", 4),
        creatures(count=100).record("train", 5),
        creatures(count=100).record("validation", 4),
    ):
        assert not torch.equal(base, other.image)


def test_no_two_of_four_thousand_images_agree():
    data = creatures(count=4000)
    seen = Counter(
        hashlib.sha256(data.record(split, index).image.numpy().tobytes()).hexdigest()
        for split in ("train", "validation")
        for index in range(data.size(split))
    )
    assert len(seen) == 4000


def test_no_two_images_of_the_same_attributes_agree():
    attributes, rng = Attributes(("green",), "cat", "jumping", "red"), Random(0)
    assert len({draw(attributes, 32, rng).tobytes() for _ in range(500)}) == 500


@pytest.mark.parametrize("size", [16, 33, 64, 256, 1024])
def test_records_have_the_size_asked_for(size):
    image = creatures(count=2, size=size).record("train", 0).image
    assert image.shape == (3, size, size)
    assert image.dtype == torch.uint8
    assert image.is_contiguous()


def test_sizes_of_the_splits():
    data = creatures(count=200, validation=0.1)
    assert (data.size("train"), data.size("validation")) == (180, 20)
    assert creatures(count=2).size("validation") == 1
    with pytest.raises(IndexError):
        data.record("train", 180)


def test_fingerprint_follows_every_option_that_changes_a_image_or_a_caption():
    options = [{}, {"seed": 1}, {"count": 10}, {"size": 64}, {"validation": 0.2}]
    assert len({creatures(**option).fingerprint for option in options}) == len(options)
    assert creatures().fingerprint == creatures().fingerprint


def test_each_colour_and_each_species_is_in_exactly_one_unseen_pair():
    assert sorted(colour for colour, _ in UNSEEN_PAIRS) == sorted(COLOURS)
    assert sorted(species for _, species in UNSEEN_PAIRS) == sorted(SPECIES)
    assert len(UNSEEN_PAIRS) / (len(COLOURS) * len(SPECIES)) >= 0.1


def test_no_training_caption_shows_a_held_out_pair_or_is_a_held_out_caption():
    data = creatures(count=20_000)
    held_out = set(data.prompts(2_547, seed=3))
    shown = Counter()
    for split in ("train", "validation"):
        for index in range(data.size(split)):
            captions = data.captions(split, index)
            assert held_out.isdisjoint(captions)
            for text in captions:
                words = text.replace(",", "").split()
                assert not [p for p in UNSEEN_PAIRS if p[1] in words and p[0] in _body_words(words)], text
            shown[len(data.attributes(split, index).colours)] += 1
    assert 0.45 < shown[1] / 20_000 < 0.55


def _body_words(words: list[str]) -> list[str]:
    """The words before "with", where body colours stand, found without the parser under test."""
    return words[: words.index("with")] if "with" in words else words


def test_training_shows_every_other_pair_action_and_eye_colour():
    data = creatures(count=8000)
    shown = [data.attributes("train", index) for index in range(data.size("train"))]
    pairs = {(colour, a.species) for a in shown for colour in a.colours}
    assert len(pairs) == 64 - 8
    assert {a.action for a in shown} == set(ACTIONS)
    assert {a.eyes for a in shown} == set(EYES)
    assert pairs.isdisjoint(UNSEEN_PAIRS)


def test_a_tenth_of_the_captions_of_trained_pairs_is_held_out():
    trained = [a for a in all_attributes() if not is_unseen_pair(a)]
    share = sum(map(is_held_out_caption, trained)) / len(trained)
    assert 0.09 < share < 0.11
    assert not is_held_out_caption(Attributes(("red",), "cat", None, "red"))


def test_two_colours_are_held_out_when_either_makes_an_unseen_pair():
    assert is_unseen_pair(Attributes(("purple", "red"), "cat", None, None))
    assert is_unseen_pair(Attributes(("red", "purple"), "cat", None, None))
    assert not is_unseen_pair(Attributes(("red", "blue"), "cat", None, None))
    assert not is_unseen_pair(Attributes(None, "cat", "running", "red"))


def test_prompts_are_full_never_trained_half_of_each_group_and_do_not_repeat():
    data = creatures(count=100)
    prompts = data.prompts(512, seed=0)
    asked = [parse(prompt) for prompt in prompts]
    assert all(a is not None and a.full for a in asked)
    assert len(set(asked)) == 512
    assert all(is_unseen_pair(a) != is_held_out_caption(a) for a in asked)
    assert 0.4 < sum(map(is_unseen_pair, asked)) / 512 < 0.6
    assert prompts == data.prompts(512, seed=0) == data.prompts(600, seed=0)[:512]
    assert prompts != data.prompts(512, seed=1)


def test_more_prompts_than_there_are_captions_repeat_only_when_all_were_used():
    distinct = sum(is_unseen_pair(a) or is_held_out_caption(a) for a in all_attributes())
    assert distinct >= 2048
    prompts = creatures(count=100).prompts(distinct + 100, seed=0)
    assert len({parse(prompt) for prompt in prompts[:distinct]}) == distinct
    assert len(prompts) == distinct + 100


def test_prompts_use_the_templates_that_training_uses():
    data = creatures(count=3000)

    def wording(text: str) -> str:
        a = parse(text)
        return next(t for t in FULL_TEMPLATES if caption(a, t) == text)

    trained = {wording(text) for i in range(200) for text in data.captions("train", i)[: len(FULL_TEMPLATES)]}
    assert {wording(text) for text in data.prompts(200, 0)} == trained == set(FULL_TEMPLATES)


@pytest.mark.parametrize("template", FULL_TEMPLATES + PARTIAL_TEMPLATES)
def test_every_template_reads_back_what_was_written(template):
    for attributes in all_attributes()[::7]:
        left_out = {f: None for f in ("colours", "action", "eyes") if f"{{{f}}}" not in template}
        expected = Attributes(**{**vars(attributes), **left_out})
        text = caption(attributes, template)
        assert parse(text) == expected
        assert parse(text.upper() + ".") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a drawing of a jumping green cat with red eyes", (("green",), "cat", "jumping", "red")),
        (
            "a drawing of a running brown and black bird with blue eyes",
            (("brown", "black"), "bird", "running", "blue"),
        ),
        ("a green cat with red eyes", (("green",), "cat", None, "red")),
        ("an elephant", (None, "elephant", None, None)),
    ],
)
def test_captions_as_a_person_writes_them(text, expected):
    assert parse(text) == Attributes(*expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a photo of a mountain",
        "a green unicorn",
        "a green cat with orange eyes",
        "a red and red cat",
        "a jumping cat, running",
        "a green cat and a red dog",
        "a catfish",
    ],
)
def test_other_texts_are_no_captions(text):
    assert parse(text) is None


def test_the_first_colour_is_the_body_and_the_second_is_clearly_there():
    """Counting pixels close to each colour: no pose or species hides a patch, and the body leads."""
    from t2ikit.data.creatures.drawing import BODY_RGB

    rng = Random(1)
    for species in SPECIES:
        for action in ACTIONS:
            image = draw(Attributes(("red", "blue"), species, action, "green"), 32, rng).astype(int)
            body, patch = (np.abs(image - BODY_RGB[c]).max(2) < 60 for c in ("red", "blue"))
            assert patch.sum() >= 12, (species, action)
            assert body.sum() >= patch.sum(), (species, action)


def test_eyes_are_seen_in_every_pose_of_every_species_and_colour():
    for species in SPECIES:
        for action in ACTIONS:
            for colour in COLOURS:
                attributes = Attributes((colour,), species, action, "blue")
                with_eyes = draw(attributes, 32, Random(2)).astype(int)
                without = draw(Attributes((colour,), species, action, None), 32, Random(2)).astype(int)
                white = (with_eyes.min(2) > 200) & (without.min(2) < 200)
                iris = (with_eyes[..., 2] - with_eyes[..., 0] > 90) & (with_eyes[..., 2] > 150)
                changed = np.abs(with_eyes - without).max(2) > 40
                assert (iris & (changed | (colour == "blue"))).sum() >= 8, attributes
                assert white.sum() >= 2, attributes


def test_the_creature_stays_inside_the_image():
    data = creatures(count=400)
    for index in range(300):
        image = data.record("train", index).image.int()
        edge = torch.cat([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], 1)
        paper = edge.median(1, keepdim=True).values
        assert ((edge - paper).abs().amax(0) > 60).float().mean() < 0.12


def test_config_and_grammar_import_no_torch():
    imports = "from t2ikit.data import configs; from t2ikit.data.creatures import drawing, grammar"
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_unseen_prompts_never_end():
    endless = unseen_prompts(0)
    assert len([next(endless) for _ in range(6000)]) == 6000
