"""Settings given from Python mean what the same settings mean after `--set`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2ikit import UserError
from t2ikit.config.toml import apply_settings, parse_setting
from t2ikit.recipes.settings import as_settings

SCALARS = st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text()
KEYS = st.from_regex(r"\A[a-z_]{1,5}\Z")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)


@given(VALUES)
def test_any_value_is_read_back_as_it_was(value):
    found = apply_settings({}, as_settings({"a": {"b": value}}))
    assert found == {"a": {"b": value}}
    assert repr(found) == repr({"a": {"b": value}})  # 1 is not True, nor 1.0


@pytest.mark.parametrize(
    ("given", "strings"),
    [
        (None, []),
        ({}, []),
        ("train.steps=3", ["train.steps=3"]),
        (("a.b=1", "c=x"), ["a.b=1", "c=x"]),
        ({"train.steps": 3, "train": {"batch": 8}}, ["train.steps=3", "train.batch=8"]),
        ({"losses": {"denoise": {"weight": 0.5}}}, ["losses.denoise.weight=0.5"]),
        ({"a": True, "b": False}, ["a=true", "b=false"]),
        ({"sampler.use": "dpm++", "data.spec": "hf:a/b"}, ["sampler.use=dpm++", 'data.spec="hf:a/b"']),
        ({"data.spec": Path("some/where")}, ["data.spec=some/where"]),
        ({"optimizer.generator.betas": (0.9, 0.99)}, ["optimizer.generator.betas=[0.9, 0.99]"]),
        ({"train.prompts": ("a cat", 'a "dog", x=1')}, ['train.prompts=["a cat", "a \\"dog\\", x=1"]']),
        ({"optimizer.generator.lr": 1e-5}, ["optimizer.generator.lr=1e-05"]),
        ({"data.revision": None, "critics.main": {}}, ["critics.main={}"]),
        ({"a": np.int64(3), "b": np.float32(0.5)}, ["a=3", "b=0.5"]),
    ],
)
def test_what_is_given_becomes_strings_of_the_command_line(given, strings):
    assert as_settings(given) == strings


@pytest.mark.parametrize(
    "text", ["true", "inf", "nan", "1", "1e3", "2024-01-01", "", "a,b", "a=b", "'", " x "]
)
def test_text_that_looks_like_something_else_stays_text(text):
    assert parse_setting(as_settings({"k": text})[0]) == (("k",), text)


def test_what_is_not_a_number_stays_so():
    assert math.isnan(parse_setting(as_settings({"k": math.nan})[0])[1])


@pytest.mark.parametrize("wrong", [{1: 2}, {"a": object()}, {"a": [None]}, {"a": {2: 3}}, ["a=1", 2]])
def test_what_a_recipe_cannot_hold_is_refused(wrong):
    with pytest.raises(UserError, match="set:"):
        as_settings(wrong)


def test_an_iterator_of_strings_is_read_once_and_whole():
    assert as_settings(iter(["train.steps=5", "train.batch=2"])) == ["train.steps=5", "train.batch=2"]
