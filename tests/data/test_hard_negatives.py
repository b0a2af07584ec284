"""Hard negatives are the right caption but for one word or two swapped, and never one of the image's own."""

from __future__ import annotations

from itertools import chain, zip_longest

import pytest
import torch
from test_loader import Tagged

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import StreamingDataset
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.data.feed import hard_negatives
from t2ikit.data.feed.hard_negatives import CaptionChanges, HardNegatives, known_captions
from t2ikit.data.loader import BatchLoader, StreamLoader

CATS = ("a red and blue cat", "a blue and red cat", "a red and blue bird, sitting", "a Red-blue bird")
CREATURES = Creatures(CreaturesConfig(count=40))


def test_changes_by_hand():
    changes = CaptionChanges(CATS)
    assert changes.swaps("a red and blue cat") == ["a blue and red cat"]
    assert {changes.replacement("a red and blue cat", number) for number in range(12)} == {
        "a blue and blue cat",  # between "a" and "and" stand red and blue
        "a red and red cat",
        "a red and blue bird",  # between "blue" and the end stand cat and bird
    }
    assert changes.swaps("a red cat") == changes.swaps("") == []
    assert changes.replacement("something else", 0) is None


def test_neighbours_are_not_swapped_and_what_lies_between_stays():
    changes = CaptionChanges(["x one, of two y", "x two, of one y", "x one, two y", "x two, one y"])
    assert changes.swaps("x  one, of two y") == ["x  two, of one y"]
    assert changes.swaps("x one, two y") == []


def differing(a: str, b: str) -> list[tuple[str, str]]:
    left, right = a.replace(",", " ,").split(), b.replace(",", " ,").split()
    return [pair for pair in zip_longest(left, right) if pair[0] != pair[1]]


def test_captions_of_creatures_differ_in_one_word_or_two_swapped():
    captions = list(chain.from_iterable(CREATURES.captions("train", i) for i in range(38)))
    hard, kinds = HardNegatives(1.0, 0, captions), {1: 0, 2: 0}
    for key, caption in enumerate(captions):
        found = hard.wrong(caption, key, (caption,))
        assert found is not None
        changed = differing(caption, found[0])
        assert found[1] is True
        if len(changed) == 2:
            assert changed[0] == changed[1][::-1]
        kinds[len(changed)] += 1
    assert min(kinds.values()) > len(captions) / 8


def test_the_share_is_kept_and_nothing_changes_without_it():
    captions = ["a red and blue cat"] * 400
    hard = [HardNegatives(0.3, 5, CATS).wrong(text, key, ()) for key, text in enumerate(captions)]
    assert 80 < sum(found is not None for found in hard) < 160
    plain, none = BatchLoader(Tagged(), seed=5, batch=8), BatchLoader(Tagged(), 5, 8, hard_negatives=0.0)
    assert all(plain[step].wrong == none[step].wrong for step in range(10))
    assert not HardNegatives(0.0, 5, CATS).changes.swaps("a red and blue cat")


def test_captions_of_the_image_are_no_negatives():
    hard = HardNegatives(1.0, 0, CATS)
    found = {hard.wrong(CATS[0], key, CATS[:2]) for key in range(40)}
    assert ("a blue and red cat", False) in found
    assert ("a red and red cat", True) in found


def test_many_images_are_asked_evenly(monkeypatch):
    monkeypatch.setattr(hard_negatives, "KNOWN_IMAGES", 4)
    assert list(known_captions(10, lambda index: [str(index)])) == ["0", "3", "6", "9"]
    assert list(known_captions(3, lambda index: [str(index)])) == ["0", "1", "2"]
    assert list(known_captions(0, lambda index: [str(index)])) == []


@pytest.mark.parametrize("num_workers", [0, 1])
def test_ranks_and_workers_get_the_same(num_workers):
    options = {"num_workers": num_workers, "hard_negatives": 0.5}
    whole = BatchLoader(CREATURES, 2, 8, **options)
    parts = [BatchLoader(CREATURES, 2, 8, rank, 2, **options) for rank in (0, 1)]
    loaders = [list(loader.steps(1, 4)) for loader in (whole, *parts)]
    changed = 0
    for step, (all_of_them, a, b) in enumerate(zip(*loaders, strict=True), start=1):
        assert all_of_them.wrong == a.wrong + b.wrong == whole[step].wrong
        assert torch.equal(all_of_them.mismatch_mask, torch.cat([a.mismatch_mask, b.mismatch_mask]))
        changed += sum(
            len(differing(own, wrong)) <= 2
            for own, wrong in zip(all_of_them.captions, all_of_them.wrong, strict=True)
        )
    assert 4 < changed < 20


class Stream(StreamingDataset):
    """Creatures one after the other; a process takes every `world`th."""

    def size(self, split):
        return 0

    def records(self, seed, rank, world, start):
        for index in range(rank + start * world, 38, world):
            yield Record(torch.zeros(3, 8, 8, dtype=torch.uint8), CREATURES.captions("train", index), "")

    record = captions = prompts = fingerprint = None


def test_a_stream_has_them_too():
    plain = next(StreamLoader(Stream(), 3, 16).steps(0, 1))
    hard = next(StreamLoader(Stream(), 3, 16, hard_negatives=1.0).steps(0, 1))
    assert plain.captions == hard.captions
    assert plain.wrong != hard.wrong
    assert all(len(differing(own, wrong)) <= 2 for own, wrong in zip(hard.captions, hard.wrong, strict=True))
    assert float(hard.mismatch_mask.sum()) == 16
