"""The answer in one sentence."""

from __future__ import annotations

from t2ikit.ablation.plan import Base, Pair, Variant
from t2ikit.ablation.results import PairedResult, Row, signed
from t2ikit.ablation.statistics import paired_difference
from t2ikit.ablation.trials import ATTRIBUTES, Number, mean_of_attributes
from t2ikit.ablation.verdict import outcome, sentence, verdict

LABEL = "losses.x.weight=1"


def result(*values, name=ATTRIBUTES, unit="%", better="higher", slower=None, base="imagen", label=LABEL):
    row = Row(name, unit, better, 50, 50 + sum(values) / len(values), paired_difference(values))
    time = None if slower is None else paired_difference(slower)
    return PairedResult(Pair(Base(base, base), Variant(label)), (row,), tuple(range(len(values))), time)


def test_helps_at_a_price():
    found = result(4.0, 4.1, 4.2, slower=[8.0, 8.1, 7.9])
    assert outcome(found) == "helps"
    assert sentence(found) == (
        "helps on imagen: mean of the four attributes +4.1 [3.9, 4.3] points, costs 8 % time"
    )


def test_time_within_chance_is_not_told():
    assert sentence(result(4.0, 4.1, 4.2, slower=[-20.0, 40.0, 5.0])).endswith("points")
    assert sentence(result(4.0, 4.1, 4.2, slower=[-9.0, -9.1, -9.0])).endswith("saves 9 % time")


def test_harms_also_where_lower_is_better():
    assert outcome(result(-4.0, -4.1, -4.2)) == "harms"
    assert (
        outcome(result(4.0, 4.1, 4.2, name="reader-distance/kd-reader", unit="", better="lower")) == "harms"
    )
    assert outcome(result(-4.0, -4.1, -4.2, name="kd", unit="", better="lower")) == "helps"


def test_no_difference_says_how_many_more_seeds():
    found = result(0.0, 1.0, 2.0)
    assert outcome(found) == "no difference"
    assert sentence(found).startswith("no difference found on imagen: mean of the four attributes +1.0 [")
    assert sentence(found).endswith("about 7 more seeds would show one of this size")
    assert sentence(result(-1.0, 0.0, 1.01)).endswith(
        "more than 100 seeds would be needed to show one so small"
    )


def test_runs_that_all_score_alike_ask_for_longer_ones_not_for_more():
    row = Row(ATTRIBUTES, "%", "higher", 0.0, 0.0, paired_difference([0.0, 0.0]))
    found = PairedResult(result(0.0).pair, (row,), (0, 1))
    assert outcome(found) == "no difference"
    assert "same at every seed" in sentence(found)
    assert "seeds would" not in sentence(found)
    assert "same at every seed" not in sentence(result(1.0, -1.0))  # equal on average alone


def test_nothing_is_minus_zero():
    shown = [signed(value, "%") for value in (-0.04, 0.04, -0.06, 1.0)]
    assert shown == ["+0.0", "+0.0", "-0.1", "+1.0"]
    assert signed(-0.0, "levels") == "+0"


def test_one_seed_gives_no_verdict():
    assert outcome(result(4.0)) == "one seed"
    assert sentence(result(4.0)).startswith("one seed cannot tell a difference from chance on imagen: ")
    assert "2 or more seeds" in sentence(result(4.0))


def test_all_recipes_in_one_sentence():
    said = verdict(
        [result(4.0, 4.1, 4.2), result(0.0, 1.0, 2.0, base="gigagan")], {"other: x": "it needs target"}
    )
    assert said.startswith(f"{LABEL}: helps on imagen: ")
    assert "; no difference found on gigagan: " in said
    assert said.endswith("left out of other: x: it needs target")


def test_several_comparisons_come_with_a_caution():
    caution = "2 comparisons were made, and about 1 in 20 without any effect says helps or harms by chance"
    pair = [result(4.0, 4.1, 4.2), result(0.0, 1.0, 2.0, base="gigagan")]
    assert verdict(pair).endswith(f"; {caution}")
    assert f"; {caution}; left out" in verdict(pair, {"other: x": "it needs target"})
    assert "comparisons" not in verdict(pair[:1])
    assert "comparisons" not in verdict([result(4.0), result(1.0, base="gigagan")])  # no interval, no verdict


def test_variants_are_named():
    said = verdict([result(4.0, 4.1, 4.2, label="w=1"), result(-4.0, -4.1, -4.2, label="w=2")])
    assert "w=1: helps on imagen" in said
    assert "; w=2: harms on imagen" in said


def test_the_mean_of_the_attributes_needs_all_four():
    values = {"colour": 10, "species": 20, "action": 30, "eyes": 60}
    numbers = {f"prompt-accuracy/{name}": Number(value, "%", "higher") for name, value in values.items()}
    assert mean_of_attributes(numbers)[ATTRIBUTES].value == 30
    assert mean_of_attributes({**numbers, "prompt-accuracy/joint": Number(1)})[ATTRIBUTES].value == 30
    del numbers["prompt-accuracy/eyes"]
    assert mean_of_attributes(numbers) == {}
