"""Tables on a terminal: no word is broken that fits a line, at any width."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from t2ikit.cli.tables import column_widths, print_table

COLUMNS = ["option", "takes", "help"]
ROWS = [
    ["validation_images", "a whole number at least 1", "held-out images a validation loss is measured on"],
    ["keep", "a number", "short"],
    ["trackers", 'one of "tensorboard", "wandb"', ""],
]
WORDS = {word for row in ROWS for cell in row for word in cell.split()}


def table(capsys, monkeypatch, columns: int, head=COLUMNS, rows=ROWS) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(head, rows)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", range(22, 140))
def test_every_word_is_whole_and_no_line_too_long(capsys, monkeypatch, columns):
    lines = table(capsys, monkeypatch, columns)
    assert max(map(cell_len, lines)) <= columns
    assert {word for line in lines for word in line.split()} >= WORDS


def test_columns_stand_beside_each_other_where_there_is_room(capsys, monkeypatch):
    assert table(capsys, monkeypatch, 120)[:2] == [
        "option             takes                          help",
        "validation_images  a whole number at least 1      held-out images a validation loss is measured on",
    ]


def test_the_last_column_stands_below_its_row_where_there_is_less(capsys, monkeypatch):
    rows = [["recipe", "a summary", "needs /a/path/that/is/rather/long/to/a/file.py"], ["other", "short", ""]]
    assert table(capsys, monkeypatch, 40, ["name", "about", "needs"], rows) == [
        "name    about",
        "recipe  a summary",
        "  needs: needs",
        "    /a/path/that/is/rather/long/to/a/file.py"[:40],
        "    " + "/a/path/that/is/rather/long/to/a/file.py"[36:],
        "other   short",
    ]


def test_all_but_the_first_stand_below_where_there_is_little(capsys, monkeypatch):
    assert table(capsys, monkeypatch, 28)[:6] == [
        "option",
        "validation_images",
        "  takes: a whole number at",
        "    least 1",
        "  help: held-out images a",
        "    validation loss is",
    ]


def test_a_column_that_lacks_little_gets_it_all():
    rows = [["plugin", "t2ikit 0.1.0", "many words " * 20]]
    assert column_widths(rows, 60) == [6, 12, 60 - 6 - 12 - 4]
    assert column_widths(rows, 12) == []


def test_wide_characters_are_counted_as_the_terminal_does(capsys, monkeypatch):
    rows = [["most frequent", "68 x '一只红色的猫坐在绿色的草地上'"], ["images", "19"]]
    lines = table(capsys, monkeypatch, 60, ["", "creatures"], rows)
    assert lines[1:] == ["most frequent  68 x '一只红色的猫坐在绿色的草地上'", "images         19"]
    assert all(cell_len(line) <= 30 for line in table(capsys, monkeypatch, 30, ["", "creatures"], rows))
