"""The log survives being cut short, and says which line is damaged."""

from __future__ import annotations

import pytest

from t2ikit import UserError
from t2ikit.runs.log import append, cut_after, read_log


def test_lines_come_back_and_a_torn_last_one_does_not(tmp_path):
    path = tmp_path / "log.jsonl"
    for step in (1, 2, 3):
        append(path, {"step": step, "loss/x": 0.1 * step})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in read_log(path)] == [1, 2, 3]
    cut_after(path, 2)
    assert path.read_text().splitlines() == ['{"step": 1, "loss/x": 0.1}', '{"step": 2, "loss/x": 0.2}']


def test_there_may_be_no_log(tmp_path):
    assert read_log(tmp_path / "log.jsonl") == []


@pytest.mark.parametrize("line", ["{torn", "[]", '{"loss": 1}', "3", '{"step": "\xff"}'])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_bytes(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n'.encode("latin-1"))
    with pytest.raises(UserError, match="line 2 is damaged"):
        read_log(path)
