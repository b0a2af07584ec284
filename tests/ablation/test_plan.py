"""Settings become variants, seeds pair, and what does not fit is left out with the reason."""

from __future__ import annotations

import shutil

import pytest

from conftest import TESTS, TOYS
from t2ikit.ablation.folder import find_folder
from t2ikit.ablation.plan import WITHOUT, Base, Pair, Plan, Variant, check_sources, read_plan
from t2ikit.ablation.planning import make_plan
from t2ikit.ablation.variants import make_variants, read_axes
from t2ikit.errors import UserError

HUBER = TESTS.parent / "examples" / "huber.py"
RECIPES = ["toys/denoiser", "toys/gan"]


def planned(target=HUBER, axes=None, recipes=RECIPES, seeds=(0, 1), settings=()) -> Plan:
    settings = ["train.steps=4", *settings]
    return make_plan(str(target), [str(TOYS)], recipes, axes, settings, [], seeds, 8)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a.b=0.1,0.3", "c.d=true"], {"a.b": ["0.1", "0.3"], "c.d": ["true"]}),
        (["a.b=[1,2],[3,4]"], {"a.b": ["[1,2]", "[3,4]"]}),
        ('a.b="x,y"', {"a.b": ['"x,y"']}),
        ({"a.b": [0.1, 0.3], "c.d": "x"}, {"a.b": ["0.1", "0.3"], "c.d": ["x"]}),
        (None, {}),
    ],
)
def test_lists_of_values(given, expected):
    assert read_axes(given) == expected


@pytest.mark.parametrize("given", [["a.b=1,1"], ["a.b=1", "a.b=2"], ["a.b="], ["a.b"]])
def test_lists_that_are_none(given):
    with pytest.raises(UserError):
        read_axes(given)


def test_every_combination_is_a_variant():
    found = make_variants({"train.batch": ["4", "8"], "data.size": ["16", "32"]}, [])
    assert [one.label for one in found] == [
        "train.batch=4 data.size=16",
        "train.batch=4 data.size=32",
        "train.batch=8 data.size=16",
        "train.batch=8 data.size=32",
    ]
    assert found[1].settings == ("train.batch=4", "data.size=32")


def test_the_losses_of_a_plugin_have_weight_1_or_those_that_are_set():
    (pair,) = planned(recipes=["toys/denoiser"]).pairs
    assert pair.variant.settings == ("losses.huber.use=huber/huber", "losses.huber.weight=1")
    pairs = planned(axes=["losses.huber.weight=0.1,0.3"], recipes=["toys/denoiser"]).pairs
    assert [one.variant.label for one in pairs] == ["losses.huber.weight=0.1", "losses.huber.weight=0.3"]


def test_a_loss_that_does_not_fit_is_left_out_with_the_reason():
    plan = planned()
    assert [pair.base.name for pair in plan.pairs] == ["toys-denoiser"]
    (why,) = plan.left_out.values()
    assert "huber needs target, which a one-step model does not have" in why


def test_a_loss_of_low_resolution_images_needs_a_model_that_upscales(tmp_path):
    (tmp_path / "low.py").write_text(
        "from t2ikit import LossSpec, hookimpl\n"
        "@hookimpl\ndef t2ikit_losses():\n"
        "    return [LossSpec('low', lambda config, context: None, needs=frozenset({'low_res'}))]\n"
    )
    with pytest.raises(UserError, match="low needs low_res, which a model that samples from text alone"):
        planned(target=str(tmp_path / "low.py"), recipes=["toys/denoiser"])
    small = ["generator.channels=[16,16,16]", "generator.head_width=16"]
    plan = planned(target=str(tmp_path / "low.py"), recipes=["imagen/sr-32-64"], settings=small)
    assert len(plan.pairs) == 1


def test_a_value_that_the_recipe_has_already_is_left_out():
    plan = make_plan(None, [str(TOYS)], RECIPES[:1], ["train.seed=0,1"], ["train.steps=4"], [], (0, 1), 8)
    assert [pair.variant.label for pair in plan.pairs] == ["train.seed=1"]
    ((what, why),) = plan.left_out.items()
    assert what == "toys-denoiser: train.seed=0"
    assert "its runs would be the same as those without it" in why


def test_where_nothing_fits_nothing_is_planned():
    with pytest.raises(UserError, match="huber needs target"):
        planned(recipes=["toys/gan"])


def test_runs_of_a_pair_differ_in_the_variant_alone():
    plan = planned(axes={"losses.huber.weight": [0.1, 0.3]}, seeds=(3, 5))
    trials = plan.trials()
    assert len({trial.name for trial in trials}) == len(trials) == 6
    for seed in (3, 5):
        found = [trial.variant for trial in trials if trial.seed == seed]
        assert sorted(one.label for one in found) == [
            "",
            "losses.huber.weight=0.1",
            "losses.huber.weight=0.3",
        ]
    assert trials[0].variant == WITHOUT
    assert trials[-1].variant == WITHOUT  # the second seed begins with the last variant


def test_a_plan_reads_back(tmp_path):
    plan = planned()
    plan.write(tmp_path)
    assert read_plan(tmp_path) == plan


def test_data_is_kept_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for data, kept in {"images": str(tmp_path / "images"), "creatures": "creatures"}.items():
        plan = make_plan(str(HUBER), [str(TOYS)], RECIPES[:1], None, [], [data], (0,), 8)
        assert plan.data == (kept,)


def test_a_changed_plugin_file_is_refused(tmp_path):
    copy = tmp_path / "mine.py"
    shutil.copy(HUBER, copy)
    plan = planned(copy)
    check_sources(plan)
    copy.write_text(copy.read_text() + "\n# other\n")
    with pytest.raises(UserError, match=r"mine\.py has changed"):
        check_sources(plan)


def test_folders(tmp_path, monkeypatch):
    """The same plan goes on in its folder; another, or a finished one, takes the next number."""
    monkeypatch.chdir(tmp_path)
    pairs = (Pair(Base("a", "a/default"), Variant("x", ("x=1",))),)
    first = Plan((), {}, pairs, {}, (), (), (0,), 8)
    other = Plan((), {}, pairs, {}, (), (), (0, 1), 8)
    assert find_folder(first, None).name == "ablate-001"
    assert find_folder(other, None).name == "ablate-002"
    assert find_folder(first, None).name == "ablate-001"
    (tmp_path / "runs" / "ablate-001" / "report.html").touch()
    assert find_folder(first, None).name == "ablate-003"
    with pytest.raises(UserError, match="another ablation"):
        find_folder(other, tmp_path / "runs" / "ablate-001")
