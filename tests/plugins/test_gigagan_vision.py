"""The vision-aided critic: what it sees, what it trains, and that R1 passes through the frozen tower."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPModel

from clip_support import clip_folder
from t2ikit import Draws, UserError
from t2ikit.testing import check_critic
from t2ikit.testing.toys import toy_text
from t2ikit.training.snapshots import own_state
from t2ikit_gigagan.adversarial import r1_penalty
from t2ikit_gigagan.configs import VisionCriticConfig
from t2ikit_gigagan.vision import VisionAidedCritic

WIDTH, LENGTH = 16, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return clip_folder(tmp_path_factory.mktemp("clip"), layers=4)


def make_critic(folder, augment=None, seed=0, **changes) -> VisionAidedCritic:
    torch.manual_seed(0)
    config = VisionCriticConfig.model_construct(
        **{"model": folder, "channels": 8, "tower_width": 16, "depths": 3, **changes}
    )
    return VisionAidedCritic(config, WIDTH, LENGTH, augment, seed)


def random_images(count=2, size=16, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def draws(count=2):
    return Draws(torch.arange(count), 0)


def logits(critic, images, captions):
    return critic.heads(critic.features([images], draws(len(images))), toy_text(captions, WIDTH, LENGTH))


def test_conformance(folder):
    check_critic(
        "gigagan/vision-aided", model=folder, channels=8, tower_width=16, augment={"translation": 0.2}
    )


def test_depths_are_evenly_spaced_and_end_at_the_last(folder):
    assert make_critic(folder, depths=1).depths == [4]
    assert make_critic(folder, depths=2).depths == [2, 4]
    assert make_critic(folder).depths == [1, 3, 4]
    for wrong in (0, 5):
        with pytest.raises(UserError, match="has 4 layers") as caught:
            make_critic(folder, depths=wrong)
        assert "from 1 to 4" in str(caught.value)


def test_features_are_the_towers_states_standardised_and_projected(folder):
    critic, images = make_critic(folder, depths=2), random_images(2)
    tower = CLIPModel.from_pretrained(folder).vision_model
    with torch.no_grad():
        states = tower(((images + 1) / 2 - 0.5) / 0.25, output_hidden_states=True).hidden_states
        for number, (found, depth) in enumerate(zip(critic.features([images], draws()), (2, 4), strict=True)):
            patches = states[depth][:, 1:]
            centred = patches - patches.mean(2, keepdim=True)
            standard = centred / centred.square().mean(2, keepdim=True).sqrt()
            expected = standard @ critic.projection[number].T  # (B, n, C)
            assert found.shape == (2, 8, 4, 4)
            for row in range(4):
                for column in range(4):
                    ours = found[:, :, row, column]
                    torch.testing.assert_close(ours, expected[:, 4 * row + column], rtol=0, atol=1e-3)


def test_one_logit_a_depth_and_the_last_level_alone(folder):
    critic = make_critic(folder)
    found = logits(critic, random_images(3), ["a", "b c", ""])
    assert [tuple(each.shape) for each in found] == [(3,)] * 3
    small, full = random_images(3, 8).requires_grad_(True), random_images(3).requires_grad_(True)
    features = critic.features([small, full], draws(3))
    gradients = torch.autograd.grad(sum(x.sum() for x in features), [small, full], allow_unused=True)
    assert gradients[0] is None
    assert (gradients[1].abs().amax((1, 2, 3)) > 0).all()


def test_every_head_hears_the_text_and_sees_the_image(folder):
    critic, images = make_critic(folder), random_images(2)
    one, two = (logits(critic, images, [text] * 2) for text in ("a red cat", "blue birds"))
    other = logits(critic, random_images(2, seed=1), ["a red cat"] * 2)
    for a, b, c in zip(one, two, other, strict=True):
        assert (a - b).abs().min() > 1e-3
        assert (a - c).abs().min() > 1e-3


def test_padding_changes_no_logit(folder):
    critic = make_critic(folder)
    text = toy_text(["a red cat", "blue"], WIDTH, LENGTH)
    noisy = torch.where(text.mask[..., None], text.tokens, torch.randn_like(text.tokens) * 100)
    features = critic.features([random_images(2)], draws(2))
    for a, b in zip(critic.heads(features, text), critic.heads(features, replace(text, tokens=noisy))):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("size", [16, 24])
def test_r1_trains_the_heads_through_the_frozen_tower(folder, size):
    critic, images = make_critic(folder), random_images(2, size).requires_grad_(True)
    penalty = r1_penalty(logits(critic, images, ["a red cat", "blue"]), [images])
    penalty.backward()
    assert penalty.isfinite()
    assert penalty > 0
    for name in ("plain.weight", "hidden.bank", "judge.bank"):
        for judge in critic.judges:
            gradient = judge.get_parameter(name).grad
            assert gradient is not None
            assert gradient.isfinite().all()
            assert gradient.any()
    assert all(p.grad is None for p in critic.vision.model.parameters())


def test_r1_has_the_gradient_of_its_value(folder):
    critic = make_critic(folder, depths=1)
    weight = critic.judges[0].plain.weight

    def penalty():
        images = random_images(2).requires_grad_(True)
        return r1_penalty(logits(critic, images, ["a red cat", "blue"]), [images])

    (gradient,) = torch.autograd.grad(penalty(), weight)
    direction, step = (
        F.normalize(gradient, dim=(0, 1, 2, 3)),
        0.5,
    )  # quadratic in the weight: any step will do
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * step * direction
        ends.append(float(penalty()))
        with torch.no_grad():
            weight -= sign * step * direction
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=1e-2)


def test_the_tower_is_neither_trained_nor_saved(folder):
    critic = make_critic(folder).train()
    assert not critic.vision.model.training
    assert all(not p.requires_grad for p in critic.vision.model.parameters())
    names = {name.split(".")[0] for name in own_state(critic)}
    assert names == {"projection", "tower", "judges"}
    assert {name.split(".")[0] for name, _ in critic.named_parameters()} == {"tower", "judges"}


def test_the_projection_follows_its_seed_alone(folder):
    one, two = make_critic(folder), make_critic(folder, seed=1)
    torch.manual_seed(99)
    again = VisionAidedCritic(VisionCriticConfig(model=folder, channels=8, tower_width=16), WIDTH, LENGTH)
    assert torch.equal(one.projection, again.projection)
    assert not torch.equal(one.projection, two.projection)
    assert not torch.equal(one.projection[0], one.projection[1])


def test_images_are_augmented_before_they_are_seen(folder):
    asked = []

    def flip(levels, given):
        asked.append((len(levels), given))
        return [level.flip(3) for level in levels]

    plain, changed, images = make_critic(folder), make_critic(folder, augment=flip), random_images(2)
    some = draws()
    found = changed.features([images[..., ::2, ::2], images], some)
    assert asked == [(1, some)]
    for a, b in zip(found, plain.features([images.flip(3)], draws())):
        assert torch.equal(a, b)
