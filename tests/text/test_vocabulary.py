"""Words a run has been trained on, and what is said of prompts that have others or are too long."""

from __future__ import annotations

import json
import random

import pytest
from test_pretrained_text import t5_folder

from clip_support import clip_folder
from t2ikit.core.interfaces import TextEncoder
from t2ikit.data.doctor.survey import survey
from t2ikit.recipes.datasets import open_dataset
from t2ikit.registry.registry import Registry
from t2ikit.testing import check_text_encoder
from t2ikit.text import vocabulary
from t2ikit.text.builtin import BuiltinTextEncoder, default_encoder
from t2ikit.text.configs import BuiltinTextConfig, ClipTextConfig, T5Config
from t2ikit.text.pretrained import PretrainedEncoder
from t2ikit.text.vocabulary import Vocabulary, most_frequent, nearest, prompt_notes, read_words


def builtin(length: int = 24) -> BuiltinTextEncoder:
    return BuiltinTextEncoder(BuiltinTextConfig(length=length))


class Silent(TextEncoder):
    """An encoder of a plugin that says nothing of words."""

    width, length = 8, 4
    fingerprint = "silent"  # type: ignore[assignment]

    def encode(self, captions):
        raise NotImplementedError


# What the built-in encoder reads


def test_words_are_those_that_are_read() -> None:
    assert builtin().words("A green CAT, a cat's _x 3 猫!") == (
        "a",
        "green",
        "cat",
        "a",
        "cat",
        "s",
        "_x",
        "3",
        "猫",
    )
    assert builtin(4).words("a, green cat") == ("a", "green")  # the comma is read as a word
    assert builtin().words("") == ()


@pytest.mark.parametrize("length", [2, 3, 4, 24])
def test_a_caption_is_cut_where_its_embedding_no_longer_changes(length: int) -> None:
    rng = random.Random(length)
    encoder = builtin(length)
    for _ in range(60):
        caption = " ".join(
            rng.choice(["red", "cat,", "İ", "dog's", "猫", "(a)"]) for _ in range(rng.randint(0, length))
        )
        kept = encoder.cut(caption)
        longer = encoder.encode([caption, f"{caption} more", caption if kept is None else kept])
        same = bool((longer.tokens[0] == longer.tokens[1]).all())
        if kept is not None:
            assert same
            assert len(kept) < len(caption.lower())
            assert (longer.tokens[0] == longer.tokens[2]).all()
            assert encoder.cut(kept) is None


def test_training_is_told_how_many_captions_are_cut() -> None:
    captions = ["one two three four"] * 3 + ["one"] * 5
    assert builtin(4).prepare(captions) == ("text: 3 of 8 captions are cut after 3 words (text.length=4)",)
    assert builtin().prepare(captions) == ()
    endless = (caption for caption in ["one two three four"] * 30_000)
    assert builtin(4).prepare(endless)[0].startswith("text: 20,000 of the first 20,000 captions")


def test_the_checks_of_encoders_cover_what_they_say() -> None:
    check_text_encoder("builtin", length=5)


# Counting


def counted(captions: list[list[str]], *, stops: tuple[int, ...] = ()) -> dict[str, int] | None:
    """What is kept after steps with these captions, when the run was stopped at some of them."""
    words = Vocabulary(builtin())
    for step, pool in enumerate(captions):
        words.see(pool, step)
        if step in stops:
            saved: dict[str, object] = {"other": 1}
            words.keep_in(saved)
            words = Vocabulary(builtin())
            words.restore(json.loads(json.dumps(saved)))
    return words.words


def test_each_word_counts_the_captions_that_have_it() -> None:
    found = counted([["a cat", "a cat"], ["a dog and a cat", ""]])
    assert found == {"a": 3, "and": 1, "cat": 3, "dog": 1}
    assert list(found) == sorted(found)


@pytest.mark.parametrize("most", [5, 100])
def test_a_run_that_was_stopped_keeps_the_same_words(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MOST", most)
    monkeypatch.setattr(vocabulary, "PRUNED_EVERY", 7)
    monkeypatch.setattr(vocabulary, "WAITING", 9)
    rng = random.Random(0)
    captions = [[f"w{int(rng.expovariate(0.2))} w{rng.randint(0, 40)}" for _ in range(4)] for _ in range(60)]
    whole = counted(captions)
    assert whole == counted(captions, stops=(0, 5, 6, 7, 13, 30, 31, 59))
    assert whole is not None
    if most == 5:
        assert len(whole) <= 5 + 4 * 4 * 2
    else:
        assert set(whole) == {word for pool in captions for caption in pool for word in caption.split()}


def test_only_the_most_frequent_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MOST", 3)
    assert most_frequent({"d": 1, "c": 2, "b": 1, "a": 9}) == {"a": 9, "b": 1, "c": 2}


def test_captions_are_taken_apart_once_however_often_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    encoder = builtin()
    monkeypatch.setattr(encoder, "words", lambda caption: asked.append(caption) or ("x",))
    words = Vocabulary(encoder)
    for step in range(50):
        words.see(["a cat", "a dog"] * 32, step)
    assert words.words == {"x": 50 * 64}
    assert sorted(asked) == ["", "a cat", "a dog"]


def test_runs_from_before_and_encoders_without_words_count_none() -> None:
    words = Vocabulary(builtin())
    words.restore({"step": 3})
    words.see(["a cat"], 0)
    assert words.words is None
    words.keep_in(state := {})
    assert state == {}
    silent = Vocabulary(Silent())
    silent.see(["a cat"], 0)
    silent.restore({"words": {"a": 1}})
    assert silent.words is None


@pytest.mark.parametrize("content", ["", "[]", '{"a": "b"}', "\x00"])
def test_damaged_words_of_an_export_are_as_none(content: str, tmp_path) -> None:
    assert read_words(tmp_path) is None
    (tmp_path / vocabulary.FILE).write_text(content)
    assert read_words(tmp_path) is None
    (tmp_path / vocabulary.FILE).write_text('{"a": 3}')
    assert read_words(tmp_path) == {"a": 3}


# What is said

KNOWN = {"a": 90, "green": 20, "greet": 1, "cat": 30, "dog": 20, "with": 50, "red": 8, "eyes": 9}


def test_unknown_words_are_named_with_what_may_be_meant() -> None:
    prompts = ["a gren cat", "a Gren dragon!", "a cat with red eyes", ""]
    (note,) = prompt_notes(builtin(), KNOWN, prompts)
    assert note == "never seen in training: 'gren' (did you mean 'green'?), 'dragon'"
    assert prompt_notes(builtin(), KNOWN, ["a green cat", "", "A CAT."]) == []
    assert prompt_notes(builtin(), None, prompts) == []
    assert nearest("of", KNOWN) is None


def test_many_unknown_words_are_counted_and_odd_ones_escaped() -> None:
    prompt = " ".join(f"{letter}{letter}{letter}xq" for letter in "abcdefghij")
    (note,) = prompt_notes(builtin(), KNOWN, [prompt])
    assert note.endswith("and 4 more")
    odd = prompt_notes(builtin(), KNOWN, ["\x1b[31mred \u202eevil " + "x" * 5000 + "\x07" * 40])
    assert len(odd) == 2
    assert all(line.isprintable() and len(line) < 200 for line in odd)


def test_what_was_dropped_from_the_words_is_not_called_never_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MOST", len(KNOWN))
    (note,) = prompt_notes(builtin(), KNOWN, ["a dragon"])
    assert note == "hardly ever or never seen in training: 'dragon'"


def test_cut_prompts_are_told_once_with_the_place() -> None:
    long = "a drawing of a green cat with red eyes that sleeps"
    (note,) = prompt_notes(builtin(10), None, [long])
    assert note == (
        "a prompt is cut, after 9 words ('a drawing of a green cat with red eyes'): "
        "what follows is not read (text.length=10)"
    )
    (note,) = prompt_notes(builtin(4), None, [long, long, f"{long} soundly", "a cat"])
    assert note.startswith("2 prompts are cut, the first after 3 words ('a drawing of'): ")


@pytest.mark.parametrize(("config", "make"), [(T5Config, t5_folder), (ClipTextConfig, clip_folder)])
def test_a_pretrained_encoder_cuts_by_its_own_tokens_and_knows_no_words(
    config, make, tmp_path, monkeypatch
) -> None:
    from t2ikit.text import pretrained

    encoder = PretrainedEncoder(
        config(model=make(tmp_path / "model"), length=6, cache=str(tmp_path / "cache"))
    )
    monkeypatch.setattr(pretrained.TextModel, "open", lambda *_: pytest.fail("the model was loaded"))
    short, long = "a red cat", "a jumping green cat a standing white square"
    assert encoder.words(long) is None
    assert encoder.cut(short) is None
    assert encoder.cut("") is None
    kept = encoder.cut(long)
    assert kept is not None
    assert long.startswith(kept)
    assert 3 <= len(kept.split()) < 8
    (note,) = prompt_notes(encoder, {"other": 1}, [short, long])
    assert f"({kept!r})" in note
    assert "text.length=6" in note


def test_a_survey_counts_captions_that_are_cut(tmp_path) -> None:
    rows = [json.dumps({"image": f"{i}.png", "text": "word " * (20 + i)}) for i in range(6)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    from test_folder import save

    for i in range(6):
        save(tmp_path / f"{i}.png")
    found = dict(
        survey(
            open_dataset(Registry.load(), str(tmp_path / "rows.jsonl"), ["data.size=8"]), default_encoder()
        ).rows
    )
    assert found["cut"].startswith("2 of 6 captions have more than the 23 words")
