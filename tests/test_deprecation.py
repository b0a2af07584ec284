"""Old names of arguments and attributes go on working and say what they are called now."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import t2ikit
from t2ikit import ImageSet
from t2ikit.metrics.selection import SelectedMetric

IMAGES, MORE = torch.zeros(2, 3, 8, 8), torch.ones(1, 4, 3, 8, 8)


def test_the_old_name_of_an_image_set():
    with pytest.warns(DeprecationWarning, match=r"t2ikit\.Drawn is now t2ikit\.ImageSet"):
        assert t2ikit.Drawn is ImageSet


def test_several_images_of_a_prompt_by_their_old_name():
    with pytest.warns(
        DeprecationWarning, match=r"ImageSet\(again=\.\.\.\) is now images_per_prompt="
    ) as told:
        found = ImageSet(IMAGES, ["a cat", "a dog"], None, again=MORE)
    assert told[0].filename == __file__
    assert found.images_per_prompt is MORE
    with pytest.warns(
        DeprecationWarning, match=r"ImageSet\.again is now ImageSet\.images_per_prompt"
    ) as told:
        assert found.again is MORE
    assert told[0].filename == __file__
    assert replace(found, images_per_prompt=None).images_per_prompt is None


def test_a_metric_that_wants_images_again():
    class Old:
        wants_again = True

        def __call__(self, drawn):
            return {}

    selected = SelectedMetric("mine/old", {}, "", Old(), {})
    with pytest.warns(DeprecationWarning, match="mine/old is now uses_images_per_prompt"):
        assert selected.uses_images_per_prompt
