"""Reading word by word beside float64 loops, and what it must and must not react to."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from test_gigagan_models import LENGTH, SMALL, WIDTH, draws, listed, make_critic, make_generator, pyramid

from t2ikit import UserError
from t2ikit.core.step import Step
from t2ikit.testing import check_critic, check_loss
from t2ikit.testing.toys import toy_batch, toy_condition, toy_text
from t2ikit_gigagan import losses
from t2ikit_gigagan.words import WordReader, text_scores, word_scores


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def slow_scores(query, content, key, value):
    """One image and one word after the other."""
    rows = []
    for b in range(len(query)):
        row = []
        for q, c in zip(query[b], content[b], strict=True):
            logits = [float(q @ k) / math.sqrt(len(q)) for k in key[b]]
            total = sum(math.exp(x) for x in logits)
            row.append(sum(math.exp(x) / total * float(c @ v) for x, v in zip(logits, value[b])))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def test_word_scores_are_their_definition_and_differentiate_twice():
    query, content, key, value = (random(2, count, 2, seed=i) for i, count in enumerate((2, 2, 3, 3)))
    found = word_scores(query, content, key, value)
    with torch.no_grad():
        torch.testing.assert_close(found, slow_scores(query, content, key, value), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(word_scores, (query, content, key, value))
    assert torch.autograd.gradgradcheck(word_scores, (query, content, key, value))


def test_a_text_s_score_is_the_sum_of_its_real_words_by_the_root_of_their_number():
    mask = torch.tensor([[True, True, False, True], [True, False, False, False]])
    words = torch.tensor([[1.0, 2.0, 100.0, 4.0], [5.0, 100.0, 100.0, 100.0]], dtype=torch.float64)
    expected = torch.tensor([7 / math.sqrt(3), 5.0], dtype=torch.float64)
    torch.testing.assert_close(text_scores(words, mask), expected)


def test_every_pair_is_scored_as_if_alone():
    torch.manual_seed(0)
    reader = WordReader(6, 5, 4)
    features, tokens = torch.randn(3, 6, 2, 2), torch.randn(2, 4, 5)
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    found = reader.every(features, tokens, mask)
    for b in range(3):
        for p in range(2):
            alone = reader(features[b : b + 1], tokens[p : p + 1], mask[p : p + 1])
            assert float(found[b, p].detach()) == pytest.approx(float(alone.detach()), abs=1e-6)


def test_one_more_logit_of_the_full_image_and_the_text():
    critic, text = make_critic(word_width=8, word_side=4), toy_text(["a red cat"] * 4, WIDTH, LENGTH)
    levels = [level.requires_grad_() for level in pyramid()]
    logits = critic.heads(critic.features(levels, draws()), text)
    assert len(logits) == len(make_critic().heads(make_critic().features(levels, draws()), text)) + 1
    seen = torch.autograd.grad(logits[-1].sum(), levels, allow_unused=True)
    assert [g is not None and bool(g.abs().max() > 0) for g in seen] == [False, False, True]
    other = critic.heads(critic.features(levels, draws()), toy_text(["blue birds"] * 4, WIDTH, LENGTH))
    assert (logits[-1] - other[-1]).abs().min() > 1e-4


def test_padding_is_not_read():
    critic, text = make_critic(word_width=8, word_side=4), toy_text(["a red cat", "blue"], WIDTH, LENGTH)
    noise = torch.randn_like(text.tokens) * 100
    padded = replace(text, tokens=torch.where(text.mask[..., None], text.tokens, noise))
    features = critic.features(pyramid(2), draws(2))
    for read in (critic.heads, lambda features, text: critic.caption_logits(features, text, 1.0)):
        for a, b in zip(read(features, text), read(features, padded), strict=True):
            assert (a - b).abs().max() < 1e-5


def test_a_side_that_no_features_have_is_refused():
    with pytest.raises(UserError, match="16 pixels wide"):
        make_critic(word_width=8, word_side=16)


def contrastive(batch, which="real", wrong=True, weight=None, **options):
    critic = make_critic(word_side=4, **options)
    prediction = make_generator()(batch, draws(len(batch)))
    if weight is not None:
        prediction = replace(prediction, image_weight=weight)
    player = "critic" if which == "real" else "generator"
    step = Step(batch, prediction, {"m": critic}, player, draws(len(batch)), 0)
    return losses.contrastive_loss(step, scale=5.0, which=which, wrong=wrong), step, critic


@pytest.mark.parametrize("options", [{"word_width": 8}, {"embedding_width": 8}])
@pytest.mark.parametrize("which", ["real", "fake"])
def test_the_own_caption_is_found_among_the_batch_s_and_its_wrong_one(options, which):
    mask, weight = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 0.0]), torch.linspace(0, 1, 6)
    batch = replace(toy_batch(6, 16, WIDTH, LENGTH), mismatch_mask=mask)
    found, step, critic = contrastive(batch, which, weight=weight, **options)
    (logits,) = critic.caption_logits(step.features(which, "m"), batch.all_captions_text, 5.0)
    (beside,) = critic.caption_logits(step.features(which, "m"), batch.wrong, 5.0)
    total = 0.0
    for b, own in enumerate(batch.condition.captions):  # the sixth caption is the first one again
        scores = [float(logits[b, p]) for p, c in enumerate(batch.all_captions) if p == b or c != own]
        scores += [float(beside[b, b])] if mask[b] else []
        each = math.log(sum(math.exp(score) for score in scores)) - float(logits[b, b])
        total += each * (float(weight[b]) if which == "fake" else 1.0)
    assert float(found.detach()) == pytest.approx(total / 6, rel=1e-5)


def test_both_ways_to_find_a_caption_add_up():
    batch = toy_batch(4, 16, WIDTH, LENGTH)
    both, step, critic = contrastive(batch, word_width=8, embedding_width=8)
    critic.words, words = None, critic.words
    pooled = losses.contrastive_loss(step, scale=5.0, wrong=True)
    critic.words, critic.embedding = words, None
    by_words = losses.contrastive_loss(step, scale=5.0, wrong=True)
    assert float(both.detach()) == pytest.approx(float((pooled + by_words).detach()), rel=1e-5)


def test_the_generator_s_contrastive_loss_reaches_its_images():
    found, step, _ = contrastive(toy_batch(4, 16, WIDTH, LENGTH), "fake", word_width=8)
    (gradient,) = torch.autograd.grad(found, [step.fake[-1]])
    assert gradient.abs().sum((1, 2, 3)).min() > 0


def test_r2_is_r1_at_the_generated_images():
    batch, critic = toy_batch(3, 16, WIDTH, LENGTH), make_critic(word_width=8, word_side=4)
    prediction = make_generator()(batch, draws(3))
    step = Step(batch, prediction, {"m": critic}, "critic", draws(3), 0, fake_grad=True)
    assert all(level.is_leaf for level in step.fake)
    assert not any(level.requires_grad for level in step.real)
    total = torch.stack([logit.sum() for logit in step.logits("fake", "own", "m")]).mean()
    gradients = torch.autograd.grad(total, step.fake, retain_graph=True)
    expected = sum(0.5 * float(gradient.double().square().sum()) / 3 for gradient in gradients)
    found = losses.r2_loss(step)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)
    found.backward()
    reader = critic.words.reader
    assert all(float(part.weight.grad.abs().sum()) > 0 for part in (reader.place, reader.word))


def test_levels_attend_to_the_text_as_they_are_told():
    chosen = make_generator(text_attention=(True, False, True))
    plain = make_generator()
    for model, expected in ((chosen, [(0, 1), (1, 0), (0, 1)]), (plain, [(0, 0), (1, 1), (0, 0)])):
        found = [(b.self_attention is not None, b.cross_attention is not None) for b in model.blocks]
        assert found == [tuple(map(bool, pair)) for pair in expected]
    images = chosen.generate(toy_condition(["a", "b c"], WIDTH, LENGTH), draws(2))
    assert images[-1].isfinite().all()
    with pytest.raises(UserError, match="text_attention"):
        make_generator(text_attention=(True, False))


def test_conformance():
    check_critic("gigagan/multiscale", None, 16, word_width=8, word_side=4, **listed(SMALL))
    check_loss("gigagan/r2")
