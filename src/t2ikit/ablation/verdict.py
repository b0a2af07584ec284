"""The answer of an ablation in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from t2ikit.ablation.results import PairedResult, Row, interval, signed
from t2ikit.ablation.statistics import MOST_SEEDS, more_seeds
from t2ikit.ablation.trials import ATTRIBUTES, COST

Outcome = Literal["helps", "harms", "no difference", "one seed", "nothing measured"]
FEW_PERCENT = 3
"""Differences of time below so many per cent are not reported."""


def outcome(result: PairedResult) -> Outcome:
    """What the first measure says: its interval lies on one side of 0, or contains it."""
    row = deciding(result)
    if row is None:
        return "nothing measured"
    low, high = row.difference.low, row.difference.high
    if low is None or high is None:
        return "one seed"
    if low <= 0 <= high:
        return "no difference"
    return "helps" if (low > 0) == (row.better == "higher") else "harms"


def deciding(result: PairedResult) -> Row | None:
    """The measure that the verdict rests on: the first that has a better side and is no cost."""
    rows = [row for row in result.rows if row.better and not row.name.startswith(COST)]
    return rows[0] if rows else None


def sentence(result: PairedResult) -> str:
    """What one recipe says."""
    found, row, name = outcome(result), deciding(result), result.pair.base.name
    if row is None:
        return f"nothing was measured on {name} that says which is better"
    numbers = f"{_called(row)} {signed(row.difference.mean, row.unit)} {interval(row)}".rstrip()
    numbers += f" {row.difference_unit}".rstrip()
    if found == "one seed":
        return (
            f"one seed cannot tell a difference from chance on {name}: {numbers}; "
            "2 or more seeds give an interval"
        )
    if found == "no difference":
        return f"no difference found on {name}: {numbers}; {_seeds_needed(row)}"
    return f"{found} on {name}: {numbers}{_price(result)}"


def _called(row: Row) -> str:
    return "mean of the four attributes" if row.name == ATTRIBUTES else row.name


def _seeds_needed(row: Row) -> str:
    if row.without == row.with_it and not any(row.difference.values):
        return "both score the same at every seed: it changes nothing here, or the runs are too short to tell"
    more = more_seeds(row.difference)
    if more is None:
        return f"more than {MOST_SEEDS} seeds would be needed to show one so small"
    return f"about {more} more seed{'s' * (more > 1)} would show one of this size"


def _price(result: PairedResult) -> str:
    slower = result.slower
    if slower is None or abs(slower.mean) < FEW_PERCENT:
        return ""
    if slower.low is not None and slower.high is not None and slower.low <= 0 <= slower.high:
        return ""
    return f", {'costs' if slower.mean > 0 else 'saves'} {abs(slower.mean):.0f} % time"


def _caution(results: Sequence[PairedResult]) -> list[str]:
    """That one of several comparisons may say otherwise by chance."""
    compared = [one for one in results if outcome(one) in ("helps", "harms", "no difference")]
    if len(compared) < 2:
        return []
    made = f"{len(compared)} comparisons were made"
    return [f"{made}, and about 1 in 20 without any effect says helps or harms by chance"]


def verdict(results: Sequence[PairedResult], left_out: Mapping[str, str] | None = None) -> str:
    """What all recipes and variants say, in one sentence; variants are named where there are several."""
    labels = list(dict.fromkeys(result.pair.variant.label for result in results))
    parts = []
    for label in labels:
        said = "; ".join(sentence(one) for one in results if one.pair.variant.label == label)
        parts.append(f"{label}: {said}")
    parts += _caution(results)
    parts += [f"left out of {which}: {why}" for which, why in (left_out or {}).items()]
    return "; ".join(parts)
