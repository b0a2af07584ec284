"""Grids of images with labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from t2ikit.utils.grids import fit, labelled_grid, wrap
from t2ikit.utils.images import to_pil
from t2ikit.utils.label_fonts import label_font

COLOURS = ["red", "lime", "blue", "yellow", "cyan", "magenta"]


def images(rows: int, columns: int, size: tuple[int, int] = (32, 32)) -> list[list[Image.Image]]:
    names = iter(COLOURS)
    return [[Image.new("RGB", size, next(names)) for _ in range(columns)] for _ in range(rows)]


def boxes(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The bounding box (left, top, right, bottom) of all pixels of one colour, and they must fill it."""
    mask = (np.asarray(sheet) == colour).all(-1)
    ys, xs = np.nonzero(mask)
    box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert mask.sum() == (box[2] - box[0]) * (box[3] - box[1])
    return tuple(int(x) for x in box)  # type: ignore[return-value]


def test_to_pil_undoes_the_loaders_scaling() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3)[None, :, None].reshape(1, 3, 16, 16)
    (image,) = to_pil(pixels.float() / 127.5 - 1)
    assert np.array_equal(np.asarray(image).transpose(2, 0, 1), pixels[0].numpy())


def test_to_pil_cuts_off_and_takes_any_float() -> None:
    images = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0, float("nan"), float("inf"), -float("inf")])
    got = to_pil(images.to(torch.bfloat16).expand(2, 3, 1, 8).requires_grad_())
    assert len(got) == 2
    assert np.asarray(got[1])[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0, 255, 0]


def test_small_images_are_enlarged_by_a_whole_factor_in_rows_and_columns() -> None:
    sheet = labelled_grid(images(2, 3, (40, 40)), ["first", "second"], ["a", "b", "c"])
    found = [boxes(sheet, Image.new("RGB", (1, 1), name).getpixel((0, 0))) for name in COLOURS]  # type: ignore[arg-type]
    assert {(box[2] - box[0], box[3] - box[1]) for box in found} == {(120, 120)}
    assert [box[:2] == (found[i % 3][0], found[i // 3 * 3][1]) for i, box in enumerate(found)] == [True] * 6
    assert found[0][0] < found[1][0] < found[2][0]
    assert found[0][1] < found[3][1]
    checker = Image.fromarray(np.indices((4, 4)).sum(0).astype(np.uint8) % 2 * 255)
    assert set(np.unique(np.asarray(fit(checker, 99)))) == {0, 255}
    assert fit(checker, 99).size == (96, 96)


def test_the_cell_can_be_chosen_and_large_images_shrink() -> None:
    sheet = labelled_grid([[Image.new("RGB", (400, 200), "red")]], [""], [""], cell=100)
    left, top, right, bottom = boxes(sheet, (255, 0, 0))
    assert (right - left, bottom - top) == (100, 50)
    assert sheet.width < 150


def test_labels_are_drawn_in_their_places() -> None:
    rows = images(2, 1)
    blank = np.asarray(labelled_grid(rows, ["same", ""], ["x"]))
    named = np.asarray(labelled_grid(rows, ["same", "a label"], ["x"]))
    ys, xs = np.nonzero((blank != named).any(-1))
    assert len(ys) > 20
    assert xs.max() < 190
    assert ys.min() > blank.shape[0] / 2


def test_long_captions_are_wrapped_and_stay_within_their_row() -> None:
    caption = "a drawing of a jumping green cat with red eyes " * 12
    sheet = labelled_grid(images(2, 1), [caption, "short"], ["a column with a rather long name"])
    red, lime = boxes(sheet, (255, 0, 0)), boxes(sheet, (0, 255, 0))
    assert lime[1] - red[1] == 96 + 6
    assert lime[3] < sheet.height
    ink = np.nonzero((np.asarray(sheet) == (32, 32, 32)).all(-1))
    assert ink[0].min() > 0
    assert ink[0].max() < sheet.height - 1
    assert not (np.asarray(sheet)[:, 0] != 255).any()


def test_wrap_keeps_the_words_and_the_width() -> None:
    font = label_font()
    text = "the quick brown fox jumps over Donaudampfschifffahrtsgesellschaftskapitän"
    lines = wrap(text, font, 100)
    assert all(font.getlength(line) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrap(" \n\t", font, 100) == []
    assert wrap("WW", font, 1) == ["W", "W"]


@pytest.mark.parametrize(
    "label",
    [
        "кошка",
        "猫" * 60,
        "قطة",
        "🐈‍⬛ cat",
        "\ud800 lone",
        "nul\0\x1b[0m",
        "two\nlines",
        "$x_1$ %s {}",
        "e\u0301" * 50,
    ],
)
def test_any_text_can_be_a_label(label: str) -> None:
    sheet = labelled_grid(images(1, 2), [label], [label, ""])
    assert sheet.mode == "RGB"


def test_letters_of_many_scripts_are_not_all_the_same_box() -> None:
    font = label_font()
    drawn = {bytes(font.getmask(letter)) for letter in "aéßłαЖع"}
    assert len(drawn) == 7


def test_pillows_font_stands_in_for_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matplotlib.get_data_path", lambda: "/nowhere")
    label_font.cache_clear()
    labelled_grid(images(1, 1), ["a café"], ["猫"])
    label_font.cache_clear()


def test_rows_may_be_shorter_and_modes_differ() -> None:
    rows = [
        [Image.new("L", (8, 8), 7), Image.new("RGBA", (16, 4), (0, 0, 255, 255))],
        [Image.new("RGB", (8, 8))],
    ]
    labelled_grid(rows, ["a", "b"], ["1", "2"])


@pytest.mark.parametrize(
    ("rows", "columns"), [([], ["a"]), (["a", "b"], ["a"]), (["a"], []), (["a"], ["a", "b"])]
)
def test_labels_must_match(rows: list[str], columns: list[str]) -> None:
    with pytest.raises(ValueError, match="labels"):
        labelled_grid(images(1, 1), rows, columns)


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        labelled_grid([], [], [])
