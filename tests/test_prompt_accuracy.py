"""The metric: counts by hand, Wilson intervals, groups, and what it cannot read."""

from __future__ import annotations

from random import Random

import pytest
import torch

from t2ikit import UserError
from t2ikit.data.creatures import Creatures
from t2ikit.data.creatures_config import CreaturesConfig
from t2ikit.data.creatures_drawing import draw
from t2ikit.data.creatures_grammar import Attributes, is_unseen_pair, parse
from t2ikit.metrics.creature_reader import Reading
from t2ikit.metrics.prompt_accuracy import PromptAccuracy, measure, wilson


def test_counts_by_hand():
    full = Attributes(("red", "blue"), "cat", "jumping", "green")
    pairs = [
        (Reading(("red", "blue"), "cat", "jumping", "green"), full),  # all right
        (Reading(("blue", "red"), "cat", "jumping", "green"), full),  # colours in the wrong order
        (Reading(("red",), "cat", "running", "green"), full),  # a colour missing, another action
        (Reading(None, None, None, None), full),  # unreadable
        (Reading(("red",), "cat", "running", "blue"), Attributes(("red",), "cat", None, None)),
    ]
    found = {name: (m.value, m.n) for name, m in measure(pairs).items()}
    assert found == {
        "colour": (pytest.approx(40), 5),
        "species": (pytest.approx(80), 5),
        "action": (pytest.approx(50), 4),
        "eyes": (pytest.approx(75), 4),
        "joint": (pytest.approx(40), 5),
    }


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # Newcombe 1998, table I, score method without continuity correction.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_equals_published_values(right, n, low, high):
    assert wilson(right, n) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_drawings_score_high_and_shuffled_ones_at_chance():
    data = Creatures(CreaturesConfig(count=100))
    prompts = data.prompts(200, seed=0)
    rng = Random(5)
    images = torch.stack(
        [torch.from_numpy(draw(parse(p), 32, rng).copy()).permute(2, 0, 1) / 127.5 - 1 for p in prompts]
    )
    found = PromptAccuracy()(images, prompts, data)
    assert found["joint"].value > 95
    assert found["shuffled/species"].value < 30
    unseen = sum(is_unseen_pair(parse(p)) for p in prompts)
    assert found["unseen-pairs/colour"].n == unseen
    assert found["held-out/colour"].n == 200 - unseen
    assert found["colour"].low <= found["colour"].value <= found["colour"].high


def test_other_captions_are_refused():
    data = Creatures(CreaturesConfig(count=100))
    with pytest.raises(UserError, match="cannot read the prompt 'a house'"):
        PromptAccuracy()(torch.zeros(1, 3, 32, 32), ["a house"], data)
