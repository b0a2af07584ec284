"""How captions, prompts and names of files are shown."""

from __future__ import annotations

import pytest
from PIL import Image

from t2ikit.cli import output
from t2ikit.data.doctor.survey import survey
from t2ikit.recipes.datasets import open_dataset
from t2ikit.registry.registry import Registry
from t2ikit.text.builtin import default_encoder
from t2ikit.utils.quoting import quoted, shortened, visible, visible_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a café 猫 🐈", "a café 猫 🐈"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_long_text_is_cut_between_words_if_it_has_any() -> None:
    assert shortened("a green cat", 11) == "a green cat"
    assert shortened("a green cat", 10) == "a green…"
    assert shortened("x" * 99, 10) == "x" * 9 + "…"
    assert quoted("say 'hi'\nnow", 60) == repr("say 'hi'\nnow")
    assert len(quoted("word " * 5000, 60)) <= 62


def test_a_survey_shows_long_captions_and_odd_file_names_safely(tmp_path) -> None:
    for name, caption in (("a\x1b[31m", "word " * 5000), ("b\x1b[31m", "long" * 5000), ("c\x1b[0m", "fine")):
        Image.new("RGB", (9, 9), "red").save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(caption)
    Image.new("RGB", (9, 9), "red").save(tmp_path / "d\x1b[0m.png")
    found = survey(open_dataset(Registry.load(), str(tmp_path), ["data.size=8"]), default_encoder())
    told = [*(cell for row in found.rows for cell in row), *found.problems]
    assert not any("\x1b" in text for text in told)
    assert max(map(len, told)) < 500
    assert "2 repeat another" in dict(found.rows)["same image"]
    assert "d\\x1b[0m.png" in found.problems[0]


@pytest.mark.parametrize(
    "show", [output.echo, output.print_error, lambda text: output.print_rows(["a"], [[text]])]
)
def test_nothing_that_a_terminal_would_obey_is_printed(show, capsys):
    show("before \x1b]0;taken\x07 after")
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\\x1b]0;taken\\x07 after" in shown


def test_lines_and_tabs_of_a_text_stay():
    assert visible_lines("a\tb\r\nc\x1b") == ["a\tb", "c\\x1b"]
