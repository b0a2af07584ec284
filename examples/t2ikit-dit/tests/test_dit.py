"""t2ikit's conformance checks, and what the transformer adds to them."""

import pytest
import torch
from t2ikit_dit.plugin import DiTConfig, build

from t2ikit import Context, UserError
from t2ikit.testing import check_generator, check_plugin, check_recipe

SMALL = {"width": 16, "heads": 2, "layers": 1}


def test_it_obeys_t2ikit():
    check_plugin("dit")
    check_recipe("dit/default")


@pytest.mark.parametrize("prediction", ["sample", "v_prediction", "epsilon", "flow_prediction"])
def test_every_prediction_obeys_t2ikit(prediction):
    check_generator("dit/dit", **SMALL, prediction=prediction)


def test_patches_that_do_not_fill_the_image_are_refused():
    with pytest.raises(UserError, match="patch"):
        build(DiTConfig(**SMALL, patch=8), Context(36, 16, 8, torch.device("cpu"), 0))
    with pytest.raises(ValueError, match="heads must divide width"):
        DiTConfig(width=16, heads=3)
