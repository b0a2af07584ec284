"""What a user of Python gives the public functions: refused with what was expected, got and what to do."""

from __future__ import annotations

import copy
import inspect
import re

import numpy as np
import pytest
import torch
from PIL import Image

import t2ikit
from t2ikit.config.arguments import KINDS, checked
from t2ikit.config.validation import TABLES
from t2ikit.errors import UserError, UserErrors, command_line, option
from t2ikit.nn.weights import another_checkpoint, check_finite
from t2ikit.recipes.options import NAMES
from t2ikit.utils.files import save_image

FUNCTIONS = ("sample", "evaluate", "sweep", "compare", "export", "train", "read_recipe")


@pytest.mark.parametrize(
    ("name", "given", "expected", "got"),
    [
        ("prompts", {"prompts": None}, "text or a list of these: text", "None"),
        ("prompts", {"prompts": [3]}, "text", "[3]"),
        ("n", {"n": "2"}, "a whole number, at least 1", "'2', of the type str"),
        ("n", {"n": 0}, "at least 1", "0"),
        ("n", {"n": True}, "a whole number", "True"),
        ("seed", {"seed": 1.5}, "a whole number", "1.5"),
        ("guidance", {"guidance": []}, "at least one", "[]"),
        ("guidance", {"guidance": "much"}, "a number", "'much'"),
        ("run", {"run": 3}, "a run or text or a path", "3"),
        ("device", {"device": None}, "text", "None"),
    ],
)
def test_a_wrong_argument_of_sample(name, given, expected, got):
    given = {"run": "no such run", "prompts": "a", **given}
    with pytest.raises(UserError, match=f"^{name}: ") as caught:
        t2ikit.sample(**given)
    assert expected in caught.value.expected
    assert got in caught.value.got
    assert "help(t2ikit.sample)" in caught.value.fix


@pytest.mark.parametrize(
    ("function", "given", "name"),
    [
        ("evaluate", {"run": "r", "guidance": [1, 3]}, "guidance"),
        ("evaluate", {"run": "r", "metrics": [1]}, "metrics"),
        ("sweep", {"run": "r", "axes": 3}, "axes"),
        ("compare", {"runs": [3, 4]}, "runs"),
        ("compare", {"runs": ["r", "s"], "n": 0}, "n"),
        ("export", {"run": "r", "out": None}, "out"),
        ("train", {"seed": "4"}, "seed"),
        ("train", {"minutes": "4"}, "minutes"),
        ("read_recipe", {"recipe": 3}, "recipe"),
        ("read_recipe", {"set": 3}, "set"),
    ],
)
def test_a_wrong_argument(function, given, name):
    with pytest.raises(UserError, match=f"^{name}: ") as caught:
        getattr(t2ikit, function)(**given)
    assert caught.value.expected
    assert caught.value.got


@pytest.mark.parametrize("name", ["out", "data", "recipe", "resume"])
def test_an_empty_path_is_none(name):
    with pytest.raises(UserError, match=f"^{name} is empty"):
        t2ikit.train("imagen", **{name: ""})


def test_every_public_function_is_checked_and_its_annotations_are_known():
    other = {"Settings", "Plugins", "StoredType", "Sequence", "Registry", "Any", "object", "Samples"}
    for name in FUNCTIONS:
        function = getattr(t2ikit, name)
        assert function.__wrapped__
        for parameter in inspect.signature(function).parameters.values():
            names = set(re.findall(r"[A-Za-z]+", str(parameter.annotation)))
            assert names <= other | set(KINDS), (name, parameter)


def test_what_numpy_and_iterators_give_is_taken():
    @checked
    def function(n: int, guidance: float | Sequence[float]) -> object:  # noqa: F821
        return n, guidance

    weights = np.array([1.0, 3.0])
    assert function(np.int64(3), weights) == (3, weights)
    assert function(1, np.float32(2))
    assert function(1, iter([1.0]))
    with pytest.raises(TypeError, match="missing"):
        function(1)


def test_one_mistake_is_told_as_itself():
    with pytest.raises(UserErrors) as caught:
        t2ikit.read_recipe("imagen/default", set={"train.steps": 0})
    error = caught.value
    assert error.what.startswith("--set train.steps=0: train.steps")
    assert (error.expected, error.got) == ("a whole number at least 1", "0")
    assert "t2ikit options train" in error.fix
    assert str(error).startswith(f"imagen/default cannot be used:\n- {error.what}\n")
    again = copy.copy(error)
    assert (str(again), again.what) == (str(error), error.what)


def test_several_mistakes_say_where_they_are():
    with pytest.raises(UserErrors) as caught:
        t2ikit.read_recipe("imagen/default", set={"train.steps": 0, "train.batch": 0})
    error = caught.value
    assert error.what == "imagen/default cannot be used:"
    assert [one.got for one in error.errors] == ["0", "0"]
    assert "`errors`" in error.expected
    assert error.expected == error.got == error.fix
    assert error.fix not in str(error)


def test_options_are_called_as_they_are_given():
    assert option("push_to") == "push_to"
    with command_line():
        assert (option("push_to"), option("n")) == ("--push-to", "-n")
    with pytest.raises(UserError, match=r"^minutes: this is no time"):
        t2ikit.train("imagen", minutes=0)


def test_the_tables_that_options_names():
    assert set(TABLES) == set(NAMES)


def test_weights_that_are_not_finite_are_called_so():
    with pytest.raises(UserError) as caught:
        check_finite({"a": torch.tensor([1.0, float("nan")]), "b": torch.ones(1)}, {}, "the model", "")
    assert caught.value.got == "1 NaN or infinite value in 1 of 2 tensors"
    assert "with --checkpoint 60;" in another_checkpoint([60])
    assert "one of 20, 60;" in another_checkpoint([20, 60])


@pytest.mark.parametrize(("ending", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_an_image_is_what_its_name_says(tmp_path, ending, kind):
    save_image(Image.new("RGB", (8, 8)), tmp_path / f"a.{ending}")
    with Image.open(tmp_path / f"a.{ending}") as image:
        assert image.format == kind
