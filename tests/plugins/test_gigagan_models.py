"""The GAN's generator and critics: what they must react to, and what must not reach them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from t2ikit import Draws, TextEmbedding, UserError
from t2ikit.core.step import Step
from t2ikit.testing import check_critic, check_generator, check_loss, check_plugin, check_sampler
from t2ikit.testing.toys import ToyCritic, toy_batch, toy_condition, toy_text
from t2ikit_gigagan import DiffAugment, GigaCritic, GigaGenerator, OneStepSampler
from t2ikit_gigagan.augmentation import covered, interpolation
from t2ikit_gigagan.bounds import REACH, SLOPE, bounded, sums_of
from t2ikit_gigagan.configs import CriticConfig, GeneratorConfig

SMALL = {"channels": (16, 16, 16), "attention": (False, True, False), "tower_width": 16, "head_width": 8}
WIDTH, LENGTH = 16, 8


def make_generator(**changes) -> GigaGenerator:
    torch.manual_seed(0)
    options = {**SMALL, "filters": (1, 2, 2), "latent_width": 8, "style_width": 16, **changes}
    return GigaGenerator(GeneratorConfig(**options), 16, WIDTH, LENGTH)


def make_critic(augment=None, **changes) -> GigaCritic:
    torch.manual_seed(0)
    config = CriticConfig(**{**SMALL, "predictor_layers": 2, **changes})
    return GigaCritic(config, 16, WIDTH, LENGTH, augment)


def pyramid(count=4, sizes=(4, 8, 16)):
    full = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return [F.adaptive_avg_pool2d(full, size) for size in sizes]


def draws(count=4, salt=0):
    return Draws(torch.arange(count), salt)


def test_conformance():
    check_plugin("gigagan")
    check_generator("gigagan/generator")
    check_generator("gigagan/generator", None, 16, **{"filters": [1, 1, 1], "text": False, **listed(SMALL)})
    check_critic("gigagan/multiscale")
    check_critic("gigagan/multiscale", multiscale=False)
    check_critic("gigagan/multiscale", augment={"translation": 0.1, "cutout": 0.3, "contrast": 0.2})
    check_sampler("gigagan/onestep", truncation=0.7)
    for name in ("adversarial", "adversarial-critic", "matching", "r1", "multiscale-mse"):
        check_loss(f"gigagan/{name}")


def listed(options):
    return {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}


def test_the_pyramid_goes_from_4_pixels_to_full_size():
    images = make_generator().generate(toy_condition(["a", "b c"], WIDTH, LENGTH), draws(2))
    assert [tuple(image.shape) for image in images] == [(2, 3, 4, 4), (2, 3, 8, 8), (2, 3, 16, 16)]


def test_latent_and_text_each_change_the_image():
    model, condition = make_generator(), toy_condition(["a red cat"] * 4, WIDTH, LENGTH)
    with torch.no_grad():
        base = model.generate(condition, draws())[-1]
        assert (model.generate(condition, draws(salt=1))[-1] - base).abs().mean() > 0.05
        other = toy_condition(["blue birds fly"] * 4, WIDTH, LENGTH)
        assert (model.generate(other, draws())[-1] - base).abs().mean() > 0.02
        assert (base[0] - base[1]).abs().mean() > 0.05


def test_padding_changes_no_image_and_no_logit():
    text = toy_text(["a red cat", "blue"], WIDTH, LENGTH)
    noisy = torch.where(text.mask[..., None], text.tokens, torch.randn_like(text.tokens) * 100)
    padded = replace(text, tokens=noisy)
    condition = toy_condition(["a red cat", "blue"], WIDTH, LENGTH)
    model, critic = make_generator(tower_layers=1), make_critic(tower_layers=1)
    with torch.no_grad():
        first = model.generate(condition, draws(2))[-1]
        second = model.generate(replace(condition, text=padded), draws(2))[-1]
        assert (first - second).abs().max() < 1e-5
        features = critic.features(pyramid(2), draws(2))
        for a, b in zip(critic.heads(features, text), critic.heads(features, padded)):
            assert (a - b).abs().max() < 1e-5


def test_images_stay_in_reach_and_their_sums_do_not_feel_it():
    generator, condition = make_generator(), toy_condition(["a", "b c"], WIDTH, LENGTH)
    plain = generator.generate(condition, draws(2))
    with torch.no_grad():
        for block in generator.blocks:
            block.to_rgb.bank.mul_(1000)
            block.to_rgb.bias.mul_(1000)
    large = generator.generate(condition, draws(2))
    for found, level in zip(large, plain, strict=True):
        sums = 1000 * exact_bound(level.double(), inverse=True)
        assert found.abs().max() > 1  # white and black are reached
        assert (found - SLOPE * sums).abs().max() < REACH + 1e-3
        torch.testing.assert_close(found.double(), exact_bound(sums), rtol=0, atol=0.02)


def exact_bound(values, inverse=False):
    """The bound in float64; its inverse by bisection."""
    if not inverse:
        return REACH * torch.tanh(values / REACH) + SLOPE * values
    low, high = torch.full_like(values, -1e4), torch.full_like(values, 1e4)
    for _ in range(80):
        middle = (low + high) / 2
        below = exact_bound(middle) < values
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def test_a_generator_of_nothing_but_white_can_still_learn():
    sums = torch.tensor([0.0, 3.0, -30.0, 1e4], requires_grad=True)
    bounded(sums).sum().backward()
    exact = SLOPE + 1 - torch.tanh(sums.detach().double() / REACH).square()
    torch.testing.assert_close(sums.grad.double(), exact, rtol=1e-4, atol=1e-7)
    assert sums.grad.min() >= SLOPE
    images = torch.linspace(-1, 1, 101)
    torch.testing.assert_close(bounded(sums_of(images)), images, rtol=0, atol=1e-4)


def test_truncation_goes_from_the_mean_image_to_the_model_s_own():
    model, condition = make_generator(), toy_condition(["a red cat"] * 4, WIDTH, LENGTH)
    with torch.no_grad():
        none, half, full = (model.generate(condition, draws(), t)[-1] for t in (0.0, 0.5, 1.0))
    assert (none[0] - none[1]).abs().max() < 1e-5
    spread = [(x - x.mean(0)).square().mean() for x in (none, half, full)]
    assert spread[0] < spread[1] < spread[2]


def test_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        model = make_generator(checkpointing=checkpointing)
        model.generate(toy_condition(["a", "b"], WIDTH, LENGTH), draws(2))[-1].square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients))


def test_one_logit_for_each_pair_of_input_and_later_level():
    critic, text = make_critic(), toy_text(["a"] * 4, WIDTH, LENGTH)
    assert len(critic.heads(critic.features(pyramid(), draws()), text)) == 6  # 3 levels: 1 + 2 + 3
    assert len(critic.heads(critic.features(pyramid(sizes=(16,)), draws()), text)) == 3
    single = make_critic(multiscale=False)
    assert len(single.heads(single.features(pyramid(), draws()), text)) == 1
    assert len(single.predictors) == 1


def test_no_image_passes_a_block_twice():
    critic, seen = make_critic(), []
    for block in critic.blocks:
        block.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    critic.features(pyramid(), draws())
    assert seen == [4, 8, 12]


def test_each_logit_sees_its_own_level_alone():
    """Logits come in the order (level of the trunk, image that entered): what each depends on says so."""
    critic, text = make_critic(), toy_text(["a"] * 4, WIDTH, LENGTH)
    levels = [level.requires_grad_() for level in pyramid()]
    logits = critic.heads(critic.features(levels, draws()), text)
    seen = []
    for logit in logits:
        gradients = torch.autograd.grad(logit.sum(), levels, retain_graph=True, allow_unused=True)
        seen.append([g is not None and bool(g.abs().max() > 0) for g in gradients])
    fine, middle, coarse = [False, False, True], [False, True, False], [True, False, False]
    assert seen == [fine, fine, middle, fine, middle, coarse]


@pytest.mark.parametrize("levels", [(4, 8, 16), (16,)])
def test_every_logit_and_the_matching_loss_change_with_the_text(levels):
    critic = make_critic(predictor_layers=4)
    features = critic.features(pyramid(sizes=levels), draws())
    one, two = (critic.heads(features, toy_text([t] * 4, WIDTH, LENGTH)) for t in ("a red cat", "blue birds"))
    for a, b in zip(one, two):
        assert (a - b).abs().min() > 1e-4


def test_the_matching_loss_moves_with_the_wrong_text_alone():
    from t2ikit_gigagan.losses import matching_loss

    model, critic, batch = make_generator(), make_critic(), toy_batch(4, 16, WIDTH, LENGTH)
    prediction = model(batch, draws())
    losses = []
    for wrong in ("blue birds", "three green hats"):
        changed = replace(batch, wrong=toy_text([wrong] * 4, WIDTH, LENGTH))
        losses.append(matching_loss(Step(changed, prediction, {"m": critic}, "critic", draws(), 0)))
    assert (losses[0] - losses[1]).abs() > 1e-5


def contrastive(critic, batch):
    from t2ikit_gigagan.losses import contrastive_loss

    prediction = make_generator()(batch, draws(len(batch)))
    step = Step(batch, prediction, {"m": critic}, "critic", draws(len(batch)), 0)
    return contrastive_loss(step, scale=5.0), step


@pytest.mark.parametrize("part", [slice(None), slice(2, 5)])
def test_the_critic_reads_each_text_once(part):
    from t2ikit_gigagan import losses

    critic, batch = make_critic(embedding_width=8), toy_batch(6, 16, WIDTH, LENGTH)[part]
    read = []
    critic.tower.register_forward_hook(lambda *call: read.append(call))
    prediction = make_generator()(batch, draws(len(batch)))
    step = Step(batch, prediction, {"m": critic}, "critic", draws(len(batch)), 0, real_grad=True)
    for loss in (losses.critic_loss, losses.matching_loss, losses.contrastive_loss, losses.r1_loss):
        loss(step).backward(retain_graph=True)
    # A whole batch's own texts are the pool.
    assert len(read) == (2 if len(batch) == 6 else 3)
    own = critic.heads(step.features("real", "m"), batch.condition.text)
    for kept, again in zip(step.logits("real", "own", "m"), own):
        assert torch.allclose(kept, again, atol=1e-6)


def test_the_contrastive_loss_is_that_of_finding_the_own_caption():
    critic, batch = make_critic(embedding_width=8), toy_batch(6, 16, WIDTH, LENGTH)
    found, step = contrastive(critic, batch)
    image, text = critic.embeddings(step.features("real", "m"), batch.all_captions_text)
    assert torch.allclose(image.norm(dim=1), torch.ones(6))
    total = 0.0
    for b, own in enumerate(batch.condition.captions):  # the sixth caption is the first one again
        scores = [
            5.0 * float(image[b] @ text[p]) for p, c in enumerate(batch.all_captions) if p == b or c != own
        ]
        right = 5.0 * float(image[b] @ text[b])
        total += math.log(sum(math.exp(score) for score in scores)) - right
    assert float(found) == pytest.approx(total / 6, rel=1e-5)


def test_the_contrastive_loss_of_micro_batches_is_that_of_the_batch():
    critic, batch = make_critic(embedding_width=8), toy_batch(6, 16, WIDTH, LENGTH)
    whole, _ = contrastive(critic, batch)
    parts = [float(contrastive(critic, batch[part])[0]) for part in (slice(0, 2), slice(2, 4), slice(4, 6))]
    assert float(whole) == pytest.approx(sum(parts) / 3, rel=1e-5)


def test_the_embedding_is_of_the_full_image():
    critic, text = make_critic(embedding_width=8), toy_text(["a red cat"] * 4, WIDTH, LENGTH)
    levels = pyramid()
    other = [level.flip(0) for level in levels[:-1]] + levels[-1:]
    for each in (other, levels[-1:]):
        found = (critic.embeddings(critic.features(x, draws()), text)[0] for x in (levels, each))
        assert torch.allclose(*found, atol=1e-6)


def test_a_critic_without_embedding_refuses_the_contrastive_loss():
    with pytest.raises(UserError, match="embedding_width"):
        contrastive(make_critic(), toy_batch(4, 16, WIDTH, LENGTH))
    with pytest.raises(UserError, match="no critic to train"):
        contrastive(ToyCritic(WIDTH), toy_batch(4, 16, WIDTH, LENGTH))


def test_text_of_one_sample_reaches_no_other():
    model, critic = make_generator(), make_critic()
    a = toy_condition(["a red cat", "blue", "green"], WIDTH, LENGTH)
    b = toy_condition(["other words here", "blue", "green"], WIDTH, LENGTH)
    with torch.no_grad():
        first, second = (model.generate(c, draws(3))[-1] for c in (a, b))
        assert (first[0] - second[0]).abs().max() > 1e-3
        assert torch.allclose(first[1:], second[1:], atol=1e-6)
        features = critic.features(pyramid(3), draws(3))
        for x, y in zip(critic.heads(features, a.text), critic.heads(features, b.text)):
            assert torch.allclose(x[1:], y[1:], atol=1e-6)


def test_unconditional_parts_ignore_the_text():
    model, critic = make_generator(text=False), make_critic(text=False)
    a, b = (toy_condition([t, t], WIDTH, LENGTH) for t in ("red", "blue birds"))
    assert torch.equal(model.generate(a, draws(2))[-1], model.generate(b, draws(2))[-1])
    features = critic.features(pyramid(2), draws(2))
    assert all(
        torch.equal(x, y) for x, y in zip(critic.heads(features, a.text), critic.heads(features, b.text))
    )
    assert not [name for name, _ in critic.named_parameters() if "tower" in name or "modulated" in name]


@pytest.mark.parametrize("levels", [(8,), (12, 16), (4, 32)])
def test_images_of_other_sizes_are_refused(levels):
    critic = make_critic()
    images = [torch.zeros(2, 3, size, size) for size in levels]
    with pytest.raises(UserError, match="other sizes"):
        critic.features(images, draws(2))


@pytest.mark.parametrize("options", [{"channels": (16, 16)}, {"filters": (1, 1)}, {"attention": (True,) * 4}])
def test_levels_that_do_not_fit_the_size_are_refused(options):
    with pytest.raises(UserError, match="one entry for each level"):
        make_generator(**options)


def test_a_size_that_doubling_4_does_not_reach_is_refused():
    with pytest.raises(UserError, match="48 pixels"):
        GigaGenerator(GeneratorConfig(), 48, WIDTH, LENGTH)


@pytest.mark.parametrize("option", [{"steps": 20}, {"guidance": 3.0}])
def test_the_sampler_refuses_what_a_gan_has_not(option):
    with pytest.raises(UserError, match=next(iter(option))):
        OneStepSampler()(make_generator(), toy_condition(["a"], WIDTH, LENGTH), draws=draws(1), **option)


def text_free(levels, salt=0, **options):
    return DiffAugment(**options)(levels, draws(len(levels[0]), salt))


def test_augmentation_does_the_same_to_every_level():
    smooth = F.interpolate(torch.rand(4, 3, 4, 4), size=32, mode="bicubic")
    levels = [F.adaptive_avg_pool2d(smooth, 16), smooth]
    small, large = text_free(levels, translation=0.25, scale=0.2, contrast=0.3, brightness=0.2)
    difference = (F.adaptive_avg_pool2d(large, 16) - small)[..., 3:-3, 3:-3].abs().mean()
    assert difference < 0.02
    assert (large - smooth).abs().mean() > 0.05


def test_a_whole_shift_moves_pixels_exactly():
    x = torch.rand(1, 8, 8, dtype=torch.float64)
    matrix = interpolation(8, torch.ones(1, dtype=torch.float64), torch.tensor([0.25], dtype=torch.float64))
    moved = matrix[0] @ x[0]
    assert torch.allclose(moved[2:], x[0, :6])
    assert torch.allclose(moved[:2], x[0, :1].expand(2, -1))


def test_cutout_covers_its_share():
    share = covered(8, torch.tensor([0.5, 0.53]), 0.5)
    assert torch.allclose(share.sum(1), torch.tensor(4.0))
    assert torch.equal(share[0], torch.tensor([0.0, 0, 1, 1, 1, 1, 0, 0]))


def test_augmentation_has_gradients_of_gradients():
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)

    def change(x):
        return text_free([x], translation=0.3, scale=0.2, cutout=0.4, saturation=0.3, contrast=0.3)[0]

    assert torch.autograd.gradcheck(change, (x,))
    assert torch.autograd.gradgradcheck(change, (x,))


def test_real_and_fake_are_augmented_and_nothing_else_is():
    plain, changed = make_critic(), make_critic(augment=DiffAugment(translation=0.3))
    text = TextEmbedding(**vars(toy_text(["a"] * 4, WIDTH, LENGTH)))
    a, b = (c.heads(c.features(pyramid(), draws()), text)[0] for c in (plain, changed))
    assert not torch.allclose(a, b, atol=1e-4)
