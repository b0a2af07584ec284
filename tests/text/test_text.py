"""The built-in encoder and the tower on top."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from t2ikit import TextEmbedding, TextTower, UserError
from t2ikit.text.builtin import BuiltinTextEncoder
from t2ikit.text.configs import BuiltinTextConfig

ENCODER = BuiltinTextEncoder(BuiltinTextConfig(width=32, length=8))


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_any_caption_is_encoded(captions):
    text = ENCODER.encode(captions)
    assert text.tokens.shape == (len(captions), 8, 32)
    assert text.mask.any(1).all()
    assert text.tokens.isfinite().all()
    assert (text.tokens[~text.mask] == 0).all()


def test_words_have_fixed_nearly_orthogonal_vectors():
    text = ENCODER.encode(["red cat", "cat", "Red  CAT", "red fish, please"])
    assert torch.equal(text.tokens[0, 2], text.tokens[1, 1])
    assert torch.equal(text.tokens[0], text.tokens[2])
    assert not torch.equal(text.tokens[0, 1], text.tokens[0, 2])
    # The table is part of every trained model: it must be the same on every machine, for ever.
    bits = "".join(str(int(entry > 0)) for entry in text.tokens[1, 1])
    assert bits == "10001001010100101111110101001011"
    expected = (text.tokens * text.mask[..., None]).sum(1) / text.mask.sum(1, keepdim=True)
    torch.testing.assert_close(text.pooled, expected)


def test_long_captions_are_cut():
    text = ENCODER.encode(["one two three four five six seven eight nine"])
    assert text.mask.all()
    assert torch.equal(text.tokens, ENCODER.encode(["one two three four five six seven"]).tokens)


def test_padding_changes_nothing_and_samples_do_not_mix():
    tower = TextTower(32, 8, 16).eval()
    alone = tower(ENCODER.encode(["red cat"]))
    text = ENCODER.encode(["red cat", "a very long caption with words"])
    text.tokens[0, 3:] = 1000.0
    both = tower(text)
    torch.testing.assert_close(both.tokens[0, :3], alone.tokens[0, :3], atol=1e-5, rtol=0)
    torch.testing.assert_close(both.pooled[0], alone.pooled[0], atol=1e-5, rtol=0)


def test_the_tower_reads_word_order():
    tower = TextTower(32, 8, 16).eval()
    text = tower(ENCODER.encode(["red cat green eyes", "green cat red eyes"]))
    assert (text.pooled[0] - text.pooled[1]).abs().max() > 1e-3


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(UserError, match="width 18 is not divisible by heads 4"):
        TextTower(32, 8, 18)


@pytest.mark.parametrize("depth", [0, 2])
def test_the_tower_lets_no_padding_through_and_pools_as_its_formula(depth):
    torch.manual_seed(0)
    tower = TextTower(32, 8, 16, depth).eval()
    text = BuiltinTextEncoder(BuiltinTextConfig(width=32, length=8)).encode(["a red cat", "fish"])
    filled = text.tokens.clone()
    filled[~text.mask] = 50.0
    with torch.no_grad():
        plain, padded = tower(text), tower(TextEmbedding(filled, text.mask, text.pooled))
    real = text.mask
    torch.testing.assert_close(plain.tokens[real], padded.tokens[real], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(plain.pooled, padded.pooled, atol=1e-5, rtol=1e-5)
    for row in range(2):
        tokens = plain.tokens[row][real[row]].double()
        torch.testing.assert_close(plain.pooled[row].double(), tokens.sum(0) / len(tokens) ** 0.5)


def test_the_towers_convolution_sees_a_words_neighbours():
    """Without any attention "red eyes" and "red cat" give "red" different vectors."""
    torch.manual_seed(0)
    tower = TextTower(32, 8, 16, 0).eval()
    text = BuiltinTextEncoder(BuiltinTextConfig(width=32, length=8)).encode(["red eyes", "red cat"])
    with torch.no_grad():
        tokens = tower(text).tokens
    assert (tokens[0, 1] - tokens[1, 1]).abs().max() > 0.01
