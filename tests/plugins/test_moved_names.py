"""Names that moved are found at their old places, and say once where they are now."""

from __future__ import annotations

import importlib
import sys
import warnings

import pytest

import t2ikit

MOVED = [
    ("t2ikit_imagen.guidance", "Guide", "GuidedDenoiser"),
    ("t2ikit_imagen.guidance", "guided", "guided"),
    ("t2ikit_imagen.guidance", "threshold", "threshold"),
    ("t2ikit_imagen.noise", "levels", "noise_levels"),
    ("t2ikit_imagen.noise", "target", "noise_target"),
    ("t2ikit_imagen.noise", "to_clean", "to_clean"),
    ("t2ikit_imagen.noise", "signal_to_noise", "signal_to_noise"),
    ("t2ikit_imagen.noise", "sigmoid_betas", "sigmoid_betas"),
    ("t2ikit_imagen", "guided", "guided"),
    ("t2ikit_imagen", "threshold", "threshold"),
]


@pytest.mark.parametrize(("module", "old", "new"), MOVED)
def test_an_old_name_is_the_new_one_and_says_so_once(module, old, new):
    place = importlib.import_module(module)
    place.__dict__.pop(old, None)
    with pytest.warns(DeprecationWarning, match=rf"{module}\.{old} is now t2ikit\.{new}") as told:
        assert getattr(place, old) is getattr(t2ikit, new)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(place, old) is getattr(t2ikit, new)


def test_samplers_are_found_where_they_were():
    from t2ikit_imagen import samplers

    assert samplers.DenoiserSampler is t2ikit.DenoiserSampler
    assert samplers.ScheduledSampler is t2ikit.ScheduledSampler
    assert samplers.schedule_config is t2ikit.schedule_config
    assert importlib.import_module("t2ikit_imagen.configs").SamplerConfig is t2ikit.SamplerConfig


def test_a_name_that_never_was_is_an_error():
    for module in ("t2ikit_imagen", "t2ikit_imagen.guidance", "t2ikit_imagen.noise"):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = sys.modules[module].nothing
