"""Labels of grids, contact sheets and pages: short, and in the scripts they are written in."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

from t2ikit.utils.grids import LABEL_LINES, contact_sheet, labelled_grid, wrap
from t2ikit.utils.label_fonts import SQUARE, Face, LabelFont, label_font, label_fonts, other_faces

WORDS_300 = " ".join(["a green cat with red eyes"] * 50)
WORDS_5000 = " ".join(f"word{i}" for i in range(5000))


def images(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (32, 32), "red") for _ in range(count)]


def drawn(text: str, font: LabelFont | None = None) -> bytes:
    """A label's pixels."""
    sheet = Image.new("L", (300, 24), 255)
    (font or label_fonts()).write(ImageDraw.Draw(sheet), 2, 2, text, "black")
    return sheet.tobytes()


def no_others() -> LabelFont:
    return LabelFont(label_fonts().base, iter(()))


class Counting:
    """A font that counts how often it is asked."""

    calls = 0

    def getlength(self, text: str) -> float:
        self.calls += 1
        return label_fonts().getlength(text)


# Length


def test_a_prompt_of_300_words_gives_a_grid_of_normal_height() -> None:
    short = labelled_grid([images(2)] * 2, ["a cat", "a dog"], ["sample 0", "sample 1"])
    long = labelled_grid([images(2)] * 2, [WORDS_300, "a dog"], ["sample 0", "sample 1"])
    assert long.size == short.size
    headed = labelled_grid([images(2)], ["a cat"], [WORDS_300, "sample 1"])
    assert headed.height < labelled_grid([images(2)], ["a cat"], ["a", "b"]).height + 3 * 17


def test_a_caption_of_5000_words_gives_a_sheet_of_normal_height() -> None:
    short = contact_sheet(images(4), ["a caption that takes some three lines of the sheet"] * 4)
    long = contact_sheet(images(4), [WORDS_5000, "a", "b", "c"])
    assert long.height <= short.height + 17


@pytest.mark.parametrize(
    "text", [WORDS_5000, "x" * 1_000_000, "猫" * 100_000, " " * 100_000 + "cat " * 9000, "e\u0301" * 50_000]
)
def test_long_labels_are_cut_with_an_ellipsis_without_looking_at_all_of_them(text: str) -> None:
    looked_at = Counting()
    lines = wrap(text, looked_at, 170, LABEL_LINES)
    assert looked_at.calls < 2000
    assert len(lines) == LABEL_LINES
    assert lines[-1].endswith("…")
    assert all(label_fonts().getlength(line) <= 170 for line in lines)
    whole = "".join(text.split())
    assert whole.startswith("".join(lines).replace(" ", "")[:-1])


@pytest.mark.parametrize("text", ["", "a cat", "a drawing of a jumping green cat with red eyes"])
def test_labels_that_fit_are_whole(text: str) -> None:
    assert wrap(text, label_font(), 170, LABEL_LINES) == wrap(text, label_font(), 170)
    assert "…" not in "".join(wrap(text, label_font(), 170, LABEL_LINES))


# Scripts


@pytest.mark.parametrize(
    "letters",
    ["猫犬鳥魚", "ねこいぬ", "고양이개", "🐈🐕🦜🐟", "กขคง", "कखगघ"],
    ids=["han", "kana", "hangul", "emoji", "thai", "deva"],
)
def test_other_scripts_are_drawn_and_no_letter_is_the_box_for_a_missing_one(letters: str) -> None:
    fonts = label_fonts()
    masks = []
    for letter in letters:
        assert not fonts.base.has(letter)
        face = fonts.find(letter)
        assert face is not None
        missing = bytes(face.font.getmask("\U0010fffe"))  # no font has a noncharacter
        masks.append(bytes(face.font.getmask(letter)))
        assert masks[-1] != missing
        assert any(masks[-1])
        assert drawn(letter) not in (drawn(SQUARE), drawn("\U0010fffe"))
    assert len(set(masks)) == len(letters)
    boxes = {bytes(fonts.base.font.getmask(letter)) for letter in letters}
    assert len(boxes) == 1  # as it was: DejaVu's one box for all of them


def test_a_grid_shows_them() -> None:
    grids = [
        np.asarray(labelled_grid([images(1)], [text], ["a"])) for text in ("a 猫", "a 犬", f"a {SQUARE}")
    ]
    assert all((a != b).any() for a, b in itertools.combinations(grids, 2))


def test_mixed_text_falls_back_letter_by_letter() -> None:
    fonts = label_fonts()
    parts = fonts.runs("a 猫 and 🐈 café")
    assert [part for _, part in parts] == ["a ", "猫", " and ", "🐈", " café"]
    assert [face is fonts.base for face, _ in parts] == [True, False, True, False, True]
    assert fonts.getlength("a 猫") == fonts.getlength("a ") + fonts.getlength("猫")


def test_text_that_the_first_font_has_is_drawn_as_before() -> None:
    text = "Größe, кошка, γάτα — “cat” e\u0301"
    sheet = Image.new("L", (300, 24), 255)
    ImageDraw.Draw(sheet).text((2, 2), text, fill="black", font=label_font())
    assert drawn(text) == sheet.tobytes()


def test_joined_emoji_are_one_and_flags_are_pairs() -> None:
    fonts = label_fonts()
    family, flag = "👩\u200d👩\u200d👧", "🇯🇵"
    assert fonts.getlength(family) == fonts.getlength("👩")
    assert fonts.getlength(flag) < 2 * fonts.getlength("👩")


def test_without_a_font_emoji_are_named_and_other_letters_are_squares() -> None:
    def shown(text: str) -> str:
        return "".join(part for _, part in no_others().runs(text))

    assert shown("a 🐈 and 猫犬") == f"a [cat] and {SQUARE}{SQUARE}"
    assert shown("👍🏽 J🇯🇵") == "[thumbs up sign] JJP"
    assert shown("ข้") == SQUARE
    missing = bytes(label_font().getmask("猫"))
    assert bytes(label_font().getmask(SQUARE)) != missing
    assert label_fonts().base.has(SQUARE)


def test_direction_overrides_and_control_characters_leave_the_label() -> None:
    assert wrap("a\u202eb\u2066c\x1b[31m\ud800", label_fonts(), 500) == ["abc [31m"]


def test_files_that_are_no_fonts_are_left_out(tmp_path, monkeypatch) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr("t2ikit.utils.label_fonts.PACKAGES", ())
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [str(tmp_path / "broken.ttf")])
    assert list(other_faces()) == []


def test_fonts_of_the_system_are_found_too(tmp_path, monkeypatch) -> None:
    own = next(face for face in other_faces() if face.has("猫"))
    monkeypatch.setattr("t2ikit.utils.label_fonts.PACKAGES", ())
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [own.font.path])
    fonts = LabelFont(label_fonts().base, other_faces())
    assert isinstance(fonts.find("猫"), Face)
    assert drawn("猫", fonts) == drawn("猫")
    assert not re.search(re.escape(SQUARE), "".join(part for _, part in fonts.runs("猫")))
