"""Captions from names or templates alone, and several captions of an image with weights."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path

import pytest
from test_folder import everything, load, metadata, save

from t2ikit.data.captions import WeightedCaptions, joined, read_captions
from t2ikit.data.formats.names import Names, caption_of, image_names
from t2ikit.data.loader import BatchLoader
from t2ikit.data.local_batch import choose_caption
from t2ikit.data.problems import Problem
from t2ikit.errors import UserError
from t2ikit.recipes.datasets import open_dataset
from t2ikit.registry.registry import Registry


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("red_dragon-02.png", "red dragon"),
        ("dragons/red-02.png", "dragons red"),
        ("RedDragon.final.webp", "Red Dragon final"),
        ("cat001.png", "cat"),
        ("R2D2.png", "R2D2"),
        ("red  cat (3).jpg", "red cat"),
        ("dragons/0001.png", "dragons"),
        ("10_dog/a.png", "dog a"),
        ("train/cats/x-ray_fish 7.png", "cats x ray fish"),
        ("val/0001.png", ""),
        ("l'été_à_Paris.png", "l'été à Paris"),
        ("हिन्दी_बिल्ली-1.png", "हिन्दी बिल्ली"),
        ("1984-01-02.png", ""),
    ],
)
def test_words_of_a_name(name: str, caption: str) -> None:
    assert caption_of(name) == caption


def test_captions_from_names(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("red_cat-1.png", "red_cat-2.png", "fish/Blue.PNG", "fish/3.jpg", "44.png")
    ):
        save(tmp_path / name, size=(9 + number, 9))
    (tmp_path / "red_cat-1.txt").write_text("not this")
    dataset = load(tmp_path, captions="file_name", templates=["a photo of {caption}"])
    assert everything(dataset) == {
        "red_cat-1.png": ("a photo of red cat",),
        "red_cat-2.png": ("a photo of red cat",),
        "fish/Blue.PNG": ("a photo of fish Blue",),
        "fish/3.jpg": ("a photo of fish",),
    }
    (warning,) = dataset.warnings
    assert "1 x a file whose name has no words: 44.png" in warning
    (tmp_path / "red_cat-1.txt").unlink()
    with pytest.raises(UserError, match=r"data\.captions=file_name"):
        load(tmp_path)


def test_named_splits_are_kept_and_give_no_words(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/1.png", "test/cat/2.png"):
        save(tmp_path / name)
    dataset = load(tmp_path, captions="file_name")
    assert dataset.captions("validation", 0) == ("cat",)
    assert {dataset.captions("train", i) for i in range(2)} == {("cat",), ("dog",)}


def test_one_caption_for_all_is_the_templates(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        save(tmp_path / name)
    dataset = load(tmp_path, captions="none", templates=["a sprite", "a monster"])
    assert set(everything(dataset).values()) == {("a sprite", "a monster")}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["data.captions=none"], "templates are whole captions"),
        (["data.captions=none", 'data.templates=["a {caption}"]'], "templates are whole captions"),
        (["data.captions=file_name", 'data.templates=["a sprite"]'], "holds {caption} once"),
        (['data.templates=["a sprite"]'], "holds {caption} once"),
        (["data.captions=names"], "file_name"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, settings: list[str], words: str) -> None:
    save(tmp_path / "cat.png")
    with pytest.raises(UserError) as caught:
        open_dataset(Registry.load(), str(tmp_path), settings)
    assert words in str(caught.value)


def test_names_are_listed_sorted_and_kept_small(tmp_path: Path) -> None:
    for name in ("b.png", "a/é.JPG", ".hidden.png", ".git/x.png", "folder.png/c.gif", "a.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    names = image_names(tmp_path)
    assert names == ["a/é.JPG", "b.png", "folder.png/c.gif"]
    kept = Names(names)
    assert list(kept) == names
    assert kept[1:] == names[1:]
    assert list(Names([])) == []


# Weights


def rows(often: float) -> list[object]:
    """Metadata of four images."""
    a = [{"text": "often", "weight": often}, {"text": "seldom"}, {"text": " never", "weight": 0}]
    return [
        {"file_name": "a.png", "captions": a},
        {"file_name": "b.png", "text": ["x", "y"], "weights": [0, 2]},
        {"file_name": "c.png", "text": ["x", "y"], "weights": [2, 2]},
        {"file_name": "d.png", "text": "x", "weights": "heavy"},
    ]


def test_weights_are_read_from_rows(tmp_path: Path) -> None:
    for name in "abcd":
        save(tmp_path / f"{name}.png")
    templates = ["{caption}", "{caption}!"]
    dataset = load(metadata(tmp_path, rows(3)), templates=templates)
    found = everything(dataset)
    assert found["a.png"] == ("often", "often!", "seldom", "seldom!")
    assert found["a.png"].weights == (3, 3, 1, 1)  # type: ignore[attr-defined]
    assert type(found["c.png"]) is tuple
    assert [found[f"{name}.png"] for name in "bcd"] == [("y", "y!"), ("x", "x!", "y", "y!"), ("x", "x!")]
    assert load(metadata(tmp_path, rows(2)), templates=templates).fingerprint != dataset.fingerprint


def test_captions_are_chosen_by_weight() -> None:
    captions = WeightedCaptions.of({"often": 3.0, "seldom": 1.0, "rare": 0.5})
    count = 4000
    chosen = Counter(choose_caption(captions, 7, "caption", key) for key in range(count))
    for caption, weight in zip(captions, captions.weights, strict=True):  # type: ignore[attr-defined]
        share = weight / 4.5
        assert abs(chosen[caption] / count - share) < 4 * (share * (1 - share) / count) ** 0.5
    again = copy.copy(captions)
    assert (again, again.weights) == (captions, captions.weights)  # type: ignore[attr-defined]


def test_batches_follow_the_weights(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    captions = [{"text": "often", "weight": 9}, {"text": "seldom"}]
    dataset = load(metadata(tmp_path, [{"file_name": "a.png", "captions": captions}]), validation=0)
    loader = BatchLoader(dataset, seed=0, batch=100)
    assert 75 < Counter(loader[0].captions)["often"] < 100


def test_joined_rows_keep_first_weights() -> None:
    captions = joined(WeightedCaptions.of({"a": 2.0, "b": 1.0}), ("b", "c"))
    assert (captions, captions.weights) == (("a", "b", "c"), (2, 1, 1))  # type: ignore[attr-defined]
    assert type(joined(("a",), ("a", "b"))) is tuple


@pytest.mark.parametrize(
    ("value", "weights"),
    [
        (["a", "b"], [1]),
        (["a", "b"], [1, -1]),
        (["a", "b"], [0, 0]),
        (["a"], ["1"]),
        (["a"], [True]),
        ([{"text": "a", "weight": float("nan")}], None),
        ([{"text": "a", "weight": None}], None),
    ],
)
def test_weights_that_are_none(value: object, weights: object) -> None:
    problem = read_captions(value, weights)
    assert isinstance(problem, Problem)
    assert "weights" in problem.what


def test_a_wrong_weight_is_shown(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    row = {"file_name": "a.png", "text": ["a", "b"], "weights": [1, "x"]}
    with pytest.raises(UserError, match="weights that are none") as caught:
        load(metadata(tmp_path, [row]))
    assert json.dumps([1, "x"]) in str(caught.value)
