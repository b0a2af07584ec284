"""Old names of arguments and attributes go on working and say what they are called now."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import t2ikit
from t2ikit import ImageSet
from t2ikit.metrics.selection import SelectedMetric
from t2ikit.sampling.costs import Costs

IMAGES, MORE = torch.zeros(2, 3, 8, 8), torch.ones(1, 4, 3, 8, 8)


def test_the_old_name_of_an_image_set(monkeypatch):
    monkeypatch.delitem(vars(t2ikit), "Drawn", raising=False)  # kept from when it was first asked for
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


def test_the_old_names_of_evaluation_options():
    with pytest.warns(DeprecationWarning, match=r"EvaluationOptions\(") as told:
        options = t2ikit.EvaluationOptions(again=2, copies=3)
    assert sorted(str(one.message) for one in told) == [
        "EvaluationOptions(again=...) is now repeated_prompts=",
        "EvaluationOptions(copies=...) is now images_per_prompt=",
    ]
    assert (options.repeated_prompts, options.images_per_prompt) == (2, 3)
    with pytest.warns(DeprecationWarning, match=r"EvaluationOptions\.copies is now"):
        assert options.copies == 3


def test_the_old_names_of_samples_and_results():
    samples = t2ikit.Samples(IMAGES[None, None], ("a cat",), (1.0,), 0, 1.0, 40.0, None)
    with pytest.warns(DeprecationWarning, match=r"Samples\.calls is now Samples\.function_evaluations"):
        assert samples.calls == 40.0
    images = ImageSet(IMAGES, ["a cat", "a dog"], None)
    result = t2ikit.EvaluationResult({}, {}, Costs(2, 1.0, None), image_set=images)
    with pytest.warns(DeprecationWarning, match=r"EvaluationResult\.drawn is now"):
        assert result.drawn is images
