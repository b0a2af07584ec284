"""What an ablation found: paired differences, verdicts, and where everything is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from t2ikit.ablation.plan import WITHOUT, Pair, Plan, Variant
from t2ikit.ablation.statistics import Difference, paired_difference, prompt_error
from t2ikit.ablation.trials import ATTRIBUTES, COST, TIME, Record
from t2ikit.evaluation.results import aligned, number
from t2ikit.utils.files import write_report

PARTS = ("unseen-pairs/", "held-out-captions/", "one-colour/", "two-colour/", "shuffled/", "real-")
"""Measures whose names hold one of these are parts of others, and not compared."""


@dataclass(frozen=True)
class Row:
    """A measure with and without what is tested.

    Attributes:
        name: of the measure.
        unit, better: as in a `Measure`.
        without, with_it: means over the seeds.
        difference: with minus without.
    """

    name: str
    unit: str
    better: str
    without: float
    with_it: float
    difference: Difference

    @property
    def difference_unit(self) -> str:
        """Of differences: points of a percentage."""
        return "points" if self.unit == "%" else self.unit

    def cells(self) -> list[str]:
        """Name, without, with, difference and its interval, as text."""
        values = [f"{number(value, self.unit)} {self.unit}".strip() for value in (self.without, self.with_it)]
        return [self.name, *values, f"{signed(self.difference.mean, self.unit)} {interval(self)}".strip()]


@dataclass(frozen=True)
class PairedResult:
    """A recipe with and without a variant.

    Attributes:
        pair: which.
        rows: the measures, the one that the verdict rests on first.
        seeds: that were trained.
        slower: seconds of training with, over those without, minus 1, in per cent; None where not logged.
    """

    pair: Pair
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    slower: Difference | None = None


@dataclass(frozen=True)
class Ablation:
    """Whether something helps.

    Attributes:
        folder: with the runs, their numbers and the report.
        plan: what was trained.
        verdict: the answer in one sentence; empty where it was stopped.
        results: one for each recipe and variant; none where it was stopped.
        html: the report, one self-contained page.
        finished: whether all runs are done.
    """

    folder: Path
    plan: Plan
    verdict: str = ""
    results: tuple[PairedResult, ...] = ()
    html: str = field(default="", repr=False)
    finished: bool = True

    def text(self) -> str:
        """The measures of each pair as lines of text, then the verdict."""
        lines: list[str] = []
        for one in self.results:
            head = ["", "without", "with", "difference [95 %]"]
            lines += [f"{one.pair.base.name}: {one.pair.variant.label}, seeds {_seeds(one.seeds)}"]
            lines += [f"  {line}" for line in aligned([head, *(row.cells() for row in one.rows)])]
        return "\n".join([*lines, self.verdict])

    def table(self) -> dict[str, Any]:
        """As JSON can hold it."""
        results = json.loads(json.dumps([asdict(one) for one in self.results]))
        return {"verdict": self.verdict, "plan": self.plan.table(), "results": results}

    def save(self, path: str | Path) -> Path:
        """Write the report; returns its path.

        Raises:
            UserError: it cannot be written.
        """
        write_report(self.html, Path(path))
        return Path(path)


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def signed(value: float, unit: str) -> str:
    """A difference with its sign and the digits that mean something."""
    text = number(value, unit)
    return text if value < 0 and float(text) else f"+{text.removeprefix('-')}"


def interval(row: Row) -> str:
    """The interval of a difference; empty where there is none."""
    found = row.difference
    if found.low is None or found.high is None:
        return ""
    return f"[{number(found.low, row.unit)}, {number(found.high, row.unit)}]"


def paired(
    pair: Pair, without: Sequence[Record], with_it: Sequence[Record], seeds: Sequence[int]
) -> PairedResult:
    """Compare the records of the same seeds."""
    common = [name for name in without[0].numbers if all(name in one.numbers for one in (*without, *with_it))]
    rows = [_row(name, without, with_it) for name in common if not any(part in name for part in PARTS)]
    rows = sorted(rows, key=lambda row: _rank(row.name, row.better))
    return PairedResult(pair, tuple(rows), tuple(seeds), _slower(without, with_it))


def _row(name: str, without: Sequence[Record], with_it: Sequence[Record]) -> Row:
    before, after = ([one.numbers[name].value for one in records] for records in (without, with_it))
    known = without[0].numbers[name]
    error = 0.0
    if name == ATTRIBUTES:
        error = prompt_error([(b.scores, a.scores) for a, b in zip(without, with_it)])
    difference = paired_difference([b - a for a, b in zip(before, after)], error)
    mean = sum(before) / len(before), sum(after) / len(after)
    return Row(name, known.unit, known.better, *mean, difference)


def _rank(name: str, better: str) -> int:
    """The order of measures, of which the first decides."""
    if name.startswith(COST):
        return 9
    order = (ATTRIBUTES, "prompt-accuracy/joint", "prompt-accuracy/", "reader-distance/kd", "kd-", "kid")
    found = [place for place, part in enumerate(order) if part in name]
    return found[0] if found else 7 if better else 8


def _slower(without: Sequence[Record], with_it: Sequence[Record]) -> Difference | None:
    pairs = [(a.numbers.get(TIME), b.numbers.get(TIME)) for a, b in zip(without, with_it)]
    shares = [100 * (b.value / a.value - 1) for a, b in pairs if a is not None and b is not None]
    return paired_difference(shares) if len(shares) == len(pairs) else None


def compare_records(plan: Plan, records: dict[str, Record]) -> tuple[PairedResult, ...]:
    """All pairs of a plan, from the records of its runs by their names."""

    def arm(pair: Pair, variant: Variant) -> list[Record]:
        return [records[plan.trial(pair.base, variant, seed).name] for seed in plan.seeds]

    return tuple(paired(pair, arm(pair, WITHOUT), arm(pair, pair.variant), plan.seeds) for pair in plan.pairs)
