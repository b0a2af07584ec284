"""What the images show, and t2ikit's conformance checks."""

from random import Random

import pytest
import torch
from t2ikit_clocks.dataset import CAPTIONS, UNSEEN, Clocks, caption, draw
from t2ikit_clocks.plugin import ClocksConfig

from t2ikit.testing import check_dataset, check_plugin


class Centred(Random):
    """The middle of every range."""

    def uniform(self, a, b):
        """Not random."""
        return (a + b) / 2


@pytest.mark.parametrize(("part", "down", "right"), [(0, -1, 0), (1, 0, 1), (2, 1, 0)])
def test_the_long_hand_points_to_its_quarter(part, down, right):
    ink = 255 - draw("red", 6, part, 64, Centred()).float().mean(0)
    far = ink[32 + down * 18, 32 + right * 18], ink[32 - down * 18, 32 - right * 18]
    assert far[0] > 150 > 50 > far[1]


def test_captions_tell_the_time():
    assert caption("blue", 9, 1) == "a blue clock at quarter past nine"
    assert CAPTIONS["a red clock at twelve"] == ("red", 0, 0)
    data = Clocks(ClocksConfig(count=40))
    assert data.images(["a red cat"], seed=0) is None
    first, second = data.images(["a red clock at twelve"] * 2, seed=0)
    assert not torch.equal(first, second)


def test_what_prompts_ask_for_is_never_trained():
    data = Clocks(ClocksConfig(count=600))
    splits = ("train", "validation")
    shown = {
        CAPTIONS[data.captions(split, index)[0]][1:] for split in splits for index in range(data.size(split))
    }
    asked = {CAPTIONS[prompt][1:] for prompt in data.prompts(200, seed=0)}
    assert asked == set(UNSEEN)
    assert not shown & asked


def test_it_obeys_t2ikit():
    check_plugin("clocks")
    check_dataset("clocks/clocks", count=60, size=16)
