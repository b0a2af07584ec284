"""The configuration layer: TOML, --set, checks and their messages."""

from __future__ import annotations

import datetime
import math
import sys
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from t2ikit import Config, UserError
from t2ikit.config.describe import describe
from t2ikit.config.toml import apply_settings, dump_toml, load_toml, merge, parse_setting
from t2ikit.config.validation import Problems, validate
from t2ikit.errors import UserErrors


class Inner(Config):
    width: int = Field(8, ge=1, le=64)
    """channels"""


class Example(Config):
    steps: int = Field(100, ge=1)
    """optimiser steps"""
    rate: float = Field(1e-3, gt=0, lt=1)
    """learning rate"""
    name: str = "x"
    mode: Literal["a", "b"] = "a"
    flag: bool = False
    betas: tuple[float, float] = (0.9, 0.99)
    levels: tuple[int, ...] = ()
    limit: int | None = None
    auto: int | Literal["auto"] = "auto"
    path: Path = Path("somewhere")
    inner: Inner = Inner()

    @model_validator(mode="after")
    def _ordered(self) -> Example:
        if self.betas[0] > self.betas[1]:
            raise ValueError("betas must not fall")
        return self


class Needed(Config):
    lr: float = Field(gt=0)


def problems_of(config_class, table, **kwargs) -> list[UserError]:
    with pytest.raises(UserErrors) as caught:
        validate(config_class, table, where="my.toml", **kwargs)
    return list(caught.value.errors)


def only_problem(table, key="") -> UserError:
    found = problems_of(Example, table, key=key)
    assert len(found) == 1, found
    return found[0]


# ---------------------------------------------------------------- reading


def test_load_toml_reads_plain_types(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("a = 1\nb = 2.5\n[c]\nd = [1, 2]\ne = true\nf = 'x'\n")
    table = load_toml(file)
    assert table == {"a": 1, "b": 2.5, "c": {"d": [1, 2], "e": True, "f": "x"}}
    assert [type(table["a"]), type(table["b"]), type(table["c"]), type(table["c"]["f"])] == [
        int,
        float,
        dict,
        str,
    ]


def test_load_toml_takes_a_byte_order_mark(tmp_path):
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert load_toml(file) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = 1\nb = = 2\n", ["not valid TOML", "line 2 col"]),
        (b"a = '\xff'\n", ["not UTF-8", "0xff"]),
        (b"a = 1\na = 2\n", ["not valid TOML", '"a"']),
        (b"a = " + b"[" * 20000, ["not valid TOML"]),
    ],
)
def test_load_toml_names_file_and_place(tmp_path, content, words):
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_toml(file)
    for word in ["bad.toml", *words]:
        assert word in str(caught.value)


def test_load_toml_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_toml(tmp_path / "none.toml")
    with pytest.raises(UserError, match="a folder"):
        load_toml(tmp_path)


# ---------------------------------------------------------------- --set


@pytest.mark.parametrize(
    ("text", "keys", "value"),
    [
        ("a.b.c=1e-3", ("a", "b", "c"), 1e-3),
        ("a=3", ("a",), 3),
        ("a = true", ("a",), True),
        ("a=none", ("a",), "none"),
        ("a=folder/images", ("a",), "folder/images"),
        ("a=a=b", ("a",), "a=b"),
        ("a=[1, 2]", ("a",), [1, 2]),
        ("a=0.9,0.99", ("a",), "0.9,0.99"),
        ('a="3"', ("a",), "3"),
        ("a=''", ("a",), ""),
        ("a={b = 1}", ("a",), {"b": 1}),
        ('"x.y".z=1', ("x.y", "z"), 1),
        ("a=1\nb = 2", ("a",), "1\nb = 2"),
    ],
)
def test_parse_setting(text, keys, value):
    parsed = parse_setting(text)
    assert parsed == (keys, value)
    assert type(parsed[1]) is type(value)


@pytest.mark.parametrize(
    "text", ["a", "=1", "a=", "a..b=1", ".a=1", "a b=1", "a=[1, 2", 'a="x', "#=1", "a={b", ""]
)
def test_parse_setting_refuses(text):
    with pytest.raises(UserError, match="--set"):
        parse_setting(text)


def test_apply_settings_copies_and_keeps_order():
    table = {"a": {"b": 1}}
    assert apply_settings(table, ["a.b=2", "a.c.d=3", "a.b=4"]) == {"a": {"b": 4, "c": {"d": 3}}}
    assert table == {"a": {"b": 1}}


def test_apply_settings_refuses_to_go_through_a_value():
    with pytest.raises(UserError, match=r"a\.b is not a table") as caught:
        apply_settings({"a": {"b": 1}}, ["a.b.c=2"])
    assert caught.value.got == "1"


# ---------------------------------------------------------------- properties

scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.dates()
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
tables = st.recursive(
    st.dictionaries(keys, scalars | st.lists(scalars, max_size=3), max_size=4),
    lambda inner: st.dictionaries(keys, inner | scalars | st.lists(inner, max_size=2), max_size=4),
    max_leaves=12,
)


def typed(value):
    """A value with the type of every leaf, so that 1, 1.0 and True differ, and 0.0 and -0.0."""
    if isinstance(value, dict):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return (type(value), repr(value))


@given(tables)
def test_dump_reads_back_equal(table):
    import tomlkit

    assert typed(tomlkit.parse(dump_toml(table)).unwrap()) == typed(table)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
@given(tables)
def test_dump_is_toml_for_another_reader(table):
    import tomllib

    assert typed(tomllib.loads(dump_toml(table))) == typed(table)


def test_dump_leaves_out_none_and_turns_tuples_into_arrays(tmp_path):
    file = tmp_path / "out.toml"
    file.write_text(dump_toml({"a": None, "b": (1, 2.0), "c": {"d": None, "p": Path("x/y")}, "n": math.nan}))
    table = load_toml(file)
    assert math.isnan(table.pop("n"))
    assert table == {"b": [1, 2.0], "c": {"p": "x/y"}}


@given(tables, tables)
def test_merge_laws(base, over):
    before = typed(base)
    merged = merge(base, over)
    assert typed(base) == before
    assert set(merged) == set(base) | set(over)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        assert typed(merged[key]) == typed(merge(base[key], value) if both else value)
    assert typed(merge(merged, over)) == typed(merged)
    assert typed(merge({}, over)) == typed(over) == typed(merge(over, {}))


@given(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True), min_size=1, max_size=3), scalars)
def test_a_setting_written_as_toml_reads_back(names, value):
    text = dump_toml({"v": value}).split("=", 1)[1].strip()
    keys_read, read = parse_setting(f"{'.'.join(names)}={text}")
    assert keys_read == tuple(names)
    assert typed(read) == typed(value)


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_numbers_reach_the_config_exactly(rate):
    assert validate(Example, {"rate": rate}, where="x").rate == rate


# ---------------------------------------------------------------- checks


def test_validate_takes_whole_numbers_for_floats_and_arrays_for_tuples():
    config = validate(Example, {"betas": [0, 1], "levels": [1, 2], "path": "x", "limit": 3}, where="my.toml")
    assert (config.betas, config.levels, config.path, config.limit) == ((0.0, 1.0), (1, 2), Path("x"), 3)


@pytest.mark.parametrize(
    ("table", "key", "expected", "got"),
    [
        ({"rate": -3}, "rate", "a number greater than 0 and less than 1", "-3"),
        ({"rate": "0.1"}, "rate", "a number greater than 0 and less than 1", '"0.1"'),
        ({"rate": True}, "rate", "a number greater than 0 and less than 1", "true"),
        ({"steps": True}, "steps", "a whole number at least 1", "true"),
        ({"steps": 1.5}, "steps", "a whole number at least 1", "1.5"),
        ({"steps": "many"}, "steps", "a whole number at least 1", '"many"'),
        ({"mode": "c"}, "mode", 'one of "a", "b"', '"c"'),
        ({"flag": 1}, "flag", "true or false", "1"),
        ({"name": 3}, "name", "text", "3"),
        ({"betas": [0.9, "x"]}, "betas[1]", "a number", '"x"'),
        ({"betas": 3}, "betas", "an array of 2 values, each a number", "3"),
        ({"levels": [1, 2.5]}, "levels[1]", "a whole number", "2.5"),
        ({"auto": "manual"}, "auto", 'a whole number or one of "auto"', '"manual"'),
        ({"inner": {"width": 99}}, "inner.width", "a whole number at least 1 and at most 64", "99"),
        ({"inner": 3}, "inner", "a table", "3"),
        ({"name": datetime.date(2020, 1, 1), "steps": 0}, "steps", "a whole number at least 1", "0"),
    ],
)
def test_wrong_values_in_plain_words(table, key, expected, got):
    problem = only_problem(table, key="losses.example")
    assert f"my.toml: losses.example.{key} " in problem.what
    assert (problem.expected, problem.got) == (expected, got)


def test_text_given_as_a_number_is_told_to_quote():
    assert "quotes" in str(only_problem({"name": 3}).fix)


def test_unknown_keys_get_a_suggestion_at_every_depth():
    top = only_problem({"step": 3}, key="train")
    assert "train.step is not a known option" in top.what
    assert "'steps'" in top.fix
    assert "'width'" in only_problem({"inner": {"widht": 3}}).fix


def test_missing_keys_say_what_is_expected():
    (problem,) = problems_of(Needed, {}, key="optimizer")
    assert "optimizer.lr is missing" in problem.what
    assert problem.expected == "a number greater than 0"


def test_a_rule_over_several_keys_speaks_for_itself():
    problem = only_problem({"betas": [0.9, 0.1]}, key="optimizer")
    assert problem.what == "my.toml: optimizer does not fit: betas must not fall"


def test_problems_reports_all_sections_together_and_names_settings():
    problems = Problems("my.toml", ["train.steps=0", "losses.a={rate = 7}"])
    assert problems.validate(Example, {"steps": 0}, key="train") is None
    assert problems.validate(Example, {"rate": 7}, key="losses.a") is None
    assert problems.validate(Example, {"rate": 7}, key="losses.ab") is None
    assert problems.validate(Example, {}, key="fine") == Example()
    problems.report("text.use", "is missing", fix="name one")
    problems.add(UserError("something else"))
    problems.add_at("data.spec", UserError("no such folder", got="x"))
    with pytest.raises(UserErrors) as caught:
        problems.raise_if_any("this cannot work:")
    heads = [error.what for error in caught.value.errors]
    assert heads == [
        "--set train.steps=0: train.steps has a value that does not fit",
        "--set losses.a={rate = 7}: losses.a.rate has a value that does not fit",
        "my.toml: losses.ab.rate has a value that does not fit",
        "my.toml: text.use is missing",
        "something else",
        "my.toml: data.spec: no such folder",
    ]
    assert str(caught.value).startswith("this cannot work:")


def test_no_problem_raises_nothing():
    Problems("my.toml").raise_if_any()


def test_describe_lists_types_bounds_defaults_and_help():
    rows = {row.key: row for row in describe(Example)}
    assert rows["steps"].type == "a whole number at least 1"
    assert (rows["steps"].default, rows["steps"].help) == ("100", "optimiser steps")
    assert (rows["betas"].default, rows["limit"].default) == ("[0.9, 0.99]", "none")
    assert rows["inner.width"].type == "a whole number at least 1 and at most 64"
    assert rows["inner.width"].help == "channels"
    assert describe(Needed)[0].default == "required"
