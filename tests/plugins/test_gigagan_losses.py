"""The adversarial losses beside float64 references, at extremes, and on tagged data."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from t2ikit import Draws
from t2ikit.core.step import Step
from t2ikit.data.loader import BatchLoader
from t2ikit.testing.toys import ToyCritic, ToyDenoiser, ToyGAN, toy_batch
from t2ikit_gigagan import (
    logistic_critic,
    logistic_generator,
    losses,
    matching_aware,
    r1_penalty,
    relativistic,
)


def slow_softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def logits(heads=3, count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(heads, count, dtype=torch.float64, generator=generator) * 3)


def mean_over(heads, weight, sign):
    each = [
        float(w) * slow_softplus(sign * float(x)) for head in heads for x, w in zip(head, weight, strict=True)
    ]
    return sum(each) / len(each)


def test_losses_are_their_definitions():
    real, fake, weight = logits(), logits(seed=1), torch.tensor([1.0, 0.5, 0.0, 0.25])
    ones, ok = torch.ones(4), torch.tensor([1.0, 0.0, 1.0, 1.0])
    assert float(logistic_generator(fake, weight)) == pytest.approx(mean_over(fake, weight, -1), abs=1e-6)
    expected = mean_over(real, ones, -1) + mean_over(fake, weight, 1)
    assert float(logistic_critic(real, fake, weight)) == pytest.approx(expected, abs=1e-6)
    expected = mean_over(real, ok, 1) + mean_over(fake, ok * weight, 1)
    assert float(matching_aware(real, fake, ok, weight)) == pytest.approx(expected, abs=1e-6)


def test_the_relativistic_loss_compares_pairs():
    real, fake, weight = logits(), logits(seed=1), torch.tensor([1.0, 0.5, 0.0, 0.25])
    expected = [
        float(w) * slow_softplus(float(f) - float(r))
        for reals, fakes in zip(real, fake, strict=True)
        for r, f, w in zip(reals, fakes, weight, strict=True)
    ]
    assert float(relativistic(real, fake, weight)) == pytest.approx(sum(expected) / len(expected), abs=1e-9)
    x, y = (torch.stack(logits(seed=s)).requires_grad_() for s in (0, 1))
    assert torch.autograd.gradcheck(lambda x, y: relativistic(list(x), list(y)), (x, y))


def test_the_players_of_the_relativistic_loss_want_opposite_things():
    for player, loss, sign in (
        ("critic", losses.critic_loss, 1),
        ("generator", losses.generator_loss, -1),
    ):
        step = gan_step(player)
        expected = []
        for name in step.critics:
            pairs = zip(step.logits("fake", "own", name), step.logits("real", "own", name), strict=True)
            each = [
                slow_softplus(sign * float((f - r).detach()))
                for fake, real in pairs
                for f, r in zip(fake, real)
            ]
            expected.append(sum(each) / len(each))
        total = sum(expected) if player == "critic" else sum(expected) / 2
        assert float(loss(step, kind="relativistic")) == pytest.approx(total, rel=1e-5)


def test_relativistic_matching_wants_the_own_text_above_a_wrong_one():
    step = gan_step(mismatch_mask=torch.tensor([1.0, 0.0, 1.0, 1.0]))
    total = 0.0
    for name in step.critics:
        own, real, fake = (
            step.logits(which, text, name)
            for which, text in (("real", "own"), ("real", "wrong"), ("fake", "wrong"))
        )
        for lower in (real, fake):
            each = [
                float(ok) * slow_softplus(float((low - high).detach()))
                for highs, lows in zip(own, lower, strict=True)
                for high, low, ok in zip(highs, lows, step.batch.mismatch_mask)
            ]
            total += sum(each) / len(each)
    assert float(losses.matching_loss(step, kind="relativistic")) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_losses_and_gradients_are_finite_at_large_logits(size):
    x = torch.full((4,), size, requires_grad=True)
    ok = torch.ones(4)
    total = logistic_generator([x]) + logistic_critic([x], [x]) + matching_aware([x], [x], ok)
    total = total + relativistic([x], [-x])
    total.backward()
    assert total.isfinite()
    assert x.grad.isfinite().all()


def test_gradients_of_the_losses():
    x, y = (torch.stack(logits(seed=s)).requires_grad_() for s in (0, 1))
    weight = torch.rand(4, dtype=torch.float64)

    def total(x, y):
        return logistic_critic(list(x), list(y), weight) + matching_aware(list(x), list(y), weight)

    assert torch.autograd.gradcheck(total, (x, y))


def test_r1_is_half_the_squared_gradient_of_each_level():
    torch.manual_seed(0)
    a, b = (torch.randn(3, 3, s, s, dtype=torch.float64, requires_grad=True) for s in (4, 8))
    first, second = torch.randn(3, 4, 4, dtype=torch.float64), torch.randn(3, 8, 8, dtype=torch.float64)
    found = r1_penalty([(a * first).sum((1, 2, 3)), 2 * (b * second).sum((1, 2, 3))], [a, b])
    expected = 0.5 * (first.square().sum() + 4 * second.square().sum()) / 4  # of the mean of two logits
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_r1_leaves_out_levels_that_no_logit_sees():
    a, b = (torch.randn(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    assert float(r1_penalty([a.sum((1, 2, 3))], [b, a])) == pytest.approx(0.5 * 48)
    with pytest.raises(ValueError, match="none of the images"):
        r1_penalty([(a.detach() * torch.ones(1, requires_grad=True)).sum((1, 2, 3))], [b])


def test_r1_differentiates_twice():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: r1_penalty([(x * w).sum((1, 2, 3)).square()], [x]), (weight,))


def test_the_multiscale_error_is_that_of_averaged_images():
    torch.manual_seed(0)
    batch = toy_batch(4, 16)
    prediction = ToyDenoiser(16, 16)(batch, Draws(batch.keys, 0))
    step = Step(batch, prediction, {}, "generator", Draws(batch.keys, 1), 0)
    weight = prediction.image_weight.double()
    total = torch.zeros(4, dtype=torch.float64)
    for side in (16, 8, 4):
        k = 16 // side
        difference = (prediction.images[-1] - batch.images).detach().double()
        small = difference.view(4, 3, side, k, side, k).mean((3, 5))
        total += small.square().mean((1, 2, 3)) / 3
    assert float(losses.multiscale_mse(step)) == pytest.approx(float((total * weight).mean()), rel=1e-5)


def gan_step(player="critic", **changes):
    torch.manual_seed(0)
    batch = replace(toy_batch(4, 16), **changes)
    prediction = ToyGAN(16, 16)(batch, Draws(batch.keys, 0))
    critics = {"one": ToyCritic(16), "two": ToyCritic(16)}
    return Step(batch, prediction, critics, player, Draws(batch.keys, 1), 0, real_grad=True)


def test_losses_take_every_critic():
    step = gan_step()
    both = losses.critic_loss(step) + losses.matching_loss(step) + losses.r1_loss(step)
    single = torch.zeros(())
    for name in ("one", "two"):
        alone = gan_step()
        alone.critics = {name: step.critics[name]}
        alone._features.clear()
        single = single + losses.critic_loss(alone) + losses.matching_loss(alone) + losses.r1_loss(alone)
    assert float(both) > 0
    assert float(both) != pytest.approx(float(single) / 2, rel=1e-3)


def test_the_critic_s_losses_leave_the_generator_alone_and_the_reverse():
    step = gan_step()
    assert all(not level.requires_grad for level in step.fake)
    generator = gan_step("generator")
    losses.generator_loss(generator).backward()
    assert all(level.grad_fn is not None for level in generator.fake)


def test_a_wrong_text_that_is_right_counts_nothing():
    none = losses.matching_loss(gan_step(mismatch_mask=torch.zeros(4)))
    assert float(none) == 0


class Tagged:
    """Images that carry their number; some captions are the same."""

    def size(self, split):
        return 24

    def shapes(self, split):
        return None

    def record(self, split, index):
        from t2ikit import Record

        image = torch.full((3, 8, 8), index, dtype=torch.uint8)
        return Record(image, self.captions(split, index), str(index))

    def captions(self, split, index):
        return (f"image {index % 6}", f"the {index % 6}")


@pytest.mark.parametrize("world", [1, 2])
def test_every_image_meets_its_own_caption_and_no_wrong_one_that_is_right(world):
    data, seen = Tagged(), 0
    for step in range(12):
        for rank in range(world):
            share = BatchLoader(data, 0, 8, rank, world)[step]
            for image, own, wrong, ok, place in zip(
                share.images, share.captions, share.wrong, share.mismatch_mask, share.caption_index
            ):
                index = int(image[0, 0, 0])
                assert own in data.captions("train", index)
                assert share.all_captions[int(place)] == own
                right = wrong in data.captions("train", index)
                assert bool(ok) <= (not right)
                seen += int(ok)
    assert seen > 48  # most are wrong indeed
