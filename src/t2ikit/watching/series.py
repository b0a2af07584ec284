"""The numbers of a log by key, and few points in place of many."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from t2ikit.watching.tail import Record, finite, is_number

POINTS = 800
"""Most points of a key that are sent at once: more than a chart of the page has pixels across."""
NAN = float("nan")


class Series:
    """One key of a log.

    Attributes:
        rows: number of the log's row that each value is from, ascending.
        steps: of each value.
        values: NaN where a value was not finite.
    """

    def __init__(self) -> None:
        self.rows, self.steps, self.values = array("q"), array("d"), array("d")

    def append(self, row: int, step: float, value: float | None) -> None:
        """Add a value; None stands for one that was not finite."""
        self.rows.append(row)
        self.steps.append(step)
        self.values.append(NAN if value is None else value)

    def since(self, row: int) -> tuple[array[float], array[float]]:
        """Steps and values from a row of the log on."""
        first = bisect_left(self.rows, row)
        return self.steps[first:], self.values[first:]


class History:
    """All keys of a log, in the order in which they appear.

    Attributes:
        rows: lines so far.
        series: by key.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.series: dict[str, Series] = {}

    def extend(self, records: Iterable[Record]) -> None:
        """Add lines of the log; values that are no numbers are left out."""
        for record in records:
            for key, value in record.items():
                if key != "step" and is_number(value):
                    series = self.series.setdefault(key, Series())
                    series.append(self.rows, record["step"], finite(value))
            self.rows += 1

    def since(self, row: int, most: int = POINTS) -> dict[str, Any]:
        """By key the points from a row on, as `thinned` makes them; keys without new values are left out."""
        parts = {key: series.since(row) for key, series in self.series.items()}
        return {key: thinned(*part, most) for key, part in parts.items() if part[0]}


def thinned(steps: Sequence[float], values: Sequence[float], most: int) -> dict[str, Any]:
    """At most `most` points in place of all, each of equally many values that follow each other.

    Args:
        steps: (N,), of the values.
        values: (N,), NaN where one was not finite.
        most: points, at least 1.

    Returns:
        `each`: values per point (the last may have fewer); `lost`: values that were not finite; and a list
        for `step` (of the last value in the point), `mean`, and, where `each` is above 1, `low` and `high`:
        the least and the greatest value, so no spike is lost. A point without any finite value has None.
    """
    each = max(1, math.ceil(len(steps) / most))
    points = [_point(part) for part in _parts(values, each)]
    last = [steps[min(end, len(steps)) - 1] for end in range(each, len(steps) + each, each)]
    table: dict[str, Any] = {"each": each, "lost": sum(value != value for value in values)}
    table["step"] = [int(step) if step == int(step) else step for step in last]
    for column, name in enumerate(("mean", "low", "high") if each > 1 else ("mean",)):
        table[name] = [_short(point[column]) for point in points]
    return table


def _parts(values: Sequence[float], each: int) -> Iterator[Sequence[float]]:
    return (values[start : start + each] for start in range(0, len(values), each))


def _point(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Mean, least and greatest of those that are finite."""
    known = [value for value in values if value == value]
    if not known:
        return None, None, None
    return math.fsum(value / len(known) for value in known), min(known), max(known)


def _short(value: float | None) -> float | None:
    """Six digits: a chart shows no more."""
    return None if value is None else float(f"{value:.6g}")
