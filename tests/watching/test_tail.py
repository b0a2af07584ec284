"""A log that grows is read once, byte by byte: half lines wait, a log that was cut begins anew."""

from __future__ import annotations

import math
import random

import pytest
from run_folders import line, rows

from t2ikit.runs.log import cut_after
from t2ikit.watching.series import History, thinned
from t2ikit.watching.tail import LogTail, finite, parsed


def steps(records) -> list[int]:
    return [record["step"] for record in records]


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.jsonl"


def test_only_new_lines_are_read(log):
    tail = LogTail(log)
    assert tail.read() == (False, [])  # there is no log yet
    log.write_text(rows([1, 2]))
    assert steps(tail.read()[1]) == [1, 2]
    assert tail.read() == (False, [])
    with log.open("a") as file:
        file.write(rows([3]))
    assert steps(tail.read()[1]) == [3]
    assert tail.offset == log.stat().st_size


def test_every_place_where_a_line_can_be_cut_in_two(log):
    content = (line(1, note="ä€😀") + line(2)).encode()
    for at in range(len(content) + 1):
        tail = LogTail(log)
        log.write_bytes(content[:at])
        first = tail.read()[1]
        log.write_bytes(content)
        replaced, second = tail.read()
        assert not replaced
        assert steps([*first, *second]) == [1, 2]
        assert tail.damaged == 0


def test_a_resumed_log_that_was_cut_is_read_again(log):
    log.write_text(rows(range(1, 40)))
    tail = LogTail(log)
    tail.read()
    cut_after(log, 20)
    replaced, records = tail.read()
    assert replaced
    assert steps(records) == list(range(1, 21))


def test_a_log_that_was_cut_and_has_outgrown_its_old_length(log):
    log.write_text(rows(range(1, 40)))
    tail = LogTail(log)
    tail.read()
    cut_after(log, 20)
    with log.open("a") as file:
        file.write("".join(line(step, new=True) for step in range(21, 90)))
    assert log.stat().st_size > tail.offset
    replaced, records = tail.read()
    assert replaced
    assert steps(records) == list(range(1, 90))


def test_a_log_that_is_gone_begins_anew(log):
    log.write_text(rows([1, 2]))
    tail = LogTail(log)
    tail.read()
    log.unlink()
    assert tail.read() == (True, [])
    assert tail.read() == (False, [])


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"7",
        b"[1]",
        b"null",
        b'{"loss/a": 1}',
        b'{"step": "1"}',
        b'{"step": true}',
        b'{"step": null}',
        b'{"step": NaN}',
        b'{"step": 1' + b"0" * 400 + b"}",
        b'{"step": 1\xff}',
        b"[" * 100_000,
    ],
)
def test_damaged_lines_are_counted_and_left_out(log, damaged):
    log.write_bytes(line(1).encode() + damaged + b"\n" + line(2).encode())
    tail = LogTail(log)
    assert steps(tail.read()[1]) == [1, 2]
    assert tail.damaged == 1


def test_values_that_are_not_finite_are_missing_and_others_ignored():
    history = History()
    content = (
        b'{"step": 1, "a": NaN, "b": -Infinity, "c": null, "d": 2, "e": "x", "f": true, "g": [1], "h": 1e999}'
    )
    history.extend([parsed(content)])
    found = history.since(0)
    assert list(found) == ["a", "b", "c", "d", "h"]
    assert [found[key]["mean"] for key in found] == [[None], [None], [None], [2.0], [None]]
    assert [found[key]["lost"] for key in found] == [1, 1, 1, 0, 1]
    assert finite(10**400) is None


def slowly(values: list[float], each: int) -> list[tuple]:
    """The reference: mean, least and greatest finite value of each part."""
    found = []
    while values:
        part, values = values[:each], values[each:]
        known = sorted(value for value in part if not math.isnan(value))
        found.append((sum(known) / len(known), known[0], known[-1]) if known else (None, None, None))
    return found


@pytest.mark.parametrize("count", [1, 2, 49, 50, 51, 99, 100, 101, 777, 1000])
def test_few_points_agree_with_a_slow_reference(count):
    numbers = random.Random(count)
    values = [math.nan if numbers.random() < 0.2 else numbers.gauss(0, 3) for _ in range(count)]
    steps = [10 * place for place in range(1, count + 1)]
    table = thinned(steps, values, 50)
    each = table["each"]
    expected = slowly(values, each)
    assert len(expected) <= 50
    assert each == 1 or len(slowly(values, each - 1)) > 50  # as many as may be
    assert table["lost"] == sum(map(math.isnan, values))
    assert table["step"] == [max(steps[at : at + each]) for at in range(0, count, each)]
    for column, name in enumerate(("mean", "low", "high")[: 3 if each > 1 else 1]):
        for got, point in zip(table[name], expected, strict=True):
            assert got == (None if point[column] is None else pytest.approx(point[column], rel=1e-5))


def test_no_spike_is_lost_and_huge_values_have_a_mean():
    values = [1.0] * 10_000
    values[6789] = 1e6
    table = thinned(range(10_000), values, 800)
    assert max(table["high"]) == 1e6
    assert len(table["step"]) <= 800
    assert thinned([1, 2, 3], [1.7e308] * 3, 1)["mean"] == [pytest.approx(1.7e308, rel=1e-5)]


def test_rows_from_one_on_are_those_that_were_added_since():
    history = History()
    for step in range(1, 31):
        record = {"step": step, "loss/a": step / 7} | (
            {"validation/a": float(step)} if step % 10 == 0 else {}
        )
        history.extend([record])
    assert history.rows == 30
    whole, late = history.since(0), history.since(19)
    assert late["loss/a"]["step"] == list(range(20, 31))
    assert late["loss/a"]["mean"] == whole["loss/a"]["mean"][19:]
    assert late["validation/a"]["step"] == [20, 30]
    assert list(history.since(25)) == ["loss/a", "validation/a"]
    assert list(history.since(30)) == []
