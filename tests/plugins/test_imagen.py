"""The denoiser of the imagen plugin and its loss, beside float64 references."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from imagen_support import CAPTIONS, PREDICTIONS, SMALL, make_batch, make_condition, make_model, options
from t2ikit import Condition, Draws, TextEmbedding, UserError
from t2ikit.core.step import Step
from t2ikit.text.builtin import BuiltinTextEncoder
from t2ikit.text.configs import BuiltinTextConfig
from t2ikit_imagen import DenoiseConfig, DenoiseLoss, ImagenDenoiser, augment
from t2ikit_imagen.augmentation import LABELS
from t2ikit_imagen.unet import head_widths


def test_the_schedule_ends_in_pure_noise():
    model = make_model()
    assert model.alphas_cumprod[-1] == 0
    assert (model.alphas_cumprod.diff() < 0).all()
    assert model.scheduler_config["timestep_spacing"] == "trailing"


def test_prediction_agrees_with_its_definition_in_float64():
    model, batch = make_model(), make_batch()
    draws = Draws(batch.keys, "x")
    p = model(batch, draws)
    again = Draws(batch.keys, "x")
    t = (again.rand() * 1000).long()
    again.rand()
    noise = again.randn(3, 16, 16).double()
    a = model.alphas_cumprod.double()[t]
    signal, sigma = a.sqrt()[:, None, None, None], (1 - a).sqrt()[:, None, None, None]
    x0 = batch.images.double()
    x = signal * x0 + sigma * noise
    assert torch.equal(p.timestep, t)
    torch.testing.assert_close(p.target.double(), signal * noise - sigma * x0, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(p.snr.double(), a / (1 - a), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        p.images[-1].double(), signal * x - sigma * p.output.double(), atol=1e-5, rtol=1e-5
    )
    # With the true v the clean image comes back: x0 = alpha x - sigma v.
    torch.testing.assert_close(signal * x - sigma * p.target.double(), x0, atol=1e-5, rtol=1e-5)
    assert ((p.image_weight >= 0) & (p.image_weight <= 1)).all()


def _error(kind: str, delta: float, difference: float) -> float:
    size = abs(difference)
    if kind == "l1":
        return size
    if kind == "l2":
        return size**2
    return size**2 / 2 if size <= delta else delta * (size - delta / 2)


@pytest.mark.parametrize("weighting", ["min_snr", "soft_min_snr", "snr_plus_one", "none"])
@pytest.mark.parametrize("kind", ["l2", "l1", "huber"])
def test_the_loss_and_its_gradient_equal_a_float64_reference(kind, weighting):
    model, batch = make_model(), make_batch()
    config = DenoiseConfig(kind=kind, weighting=weighting, gamma=3.0, huber_delta=0.5)
    prediction = model(batch, Draws(batch.keys, 0))
    output = prediction.output.detach().requires_grad_(True)
    prediction = replace(prediction, output=output)
    step = Step(batch, prediction, {}, "generator", Draws(batch.keys, 1), 0)
    loss = DenoiseLoss(config)(step)
    loss.backward()
    expected, gradient = 0.0, []
    for o, y, s in zip(output.detach(), prediction.target, prediction.snr.tolist()):
        of_clean = {
            "min_snr": min(s, 3.0),
            "soft_min_snr": 3 * s / (s + 3),
            "snr_plus_one": min(s + 1, 3.0),
            "none": s + 1,
        }
        weight = of_clean[weighting] / (s + 1)
        differences = (o.double() - y.double()).flatten().tolist()
        scale = weight / len(differences) / 3
        expected += scale * sum(_error(kind, 0.5, d) for d in differences)
        h = 1e-6
        gradient += [
            scale * (_error(kind, 0.5, d + h) - _error(kind, 0.5, d - h)) / (2 * h) for d in differences
        ]
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(
        output.grad.flatten().double(), torch.tensor(gradient, dtype=torch.float64), atol=1e-9, rtol=1e-3
    )


@pytest.mark.parametrize("kind", ["l2", "l1", "huber"])
def test_the_error_of_image_gradients_equals_a_float64_reference(kind):
    config = DenoiseConfig(kind=kind, huber_delta=0.5, gradient=0.7)
    random = torch.Generator().manual_seed(0)
    output, target = torch.randn(2, 2, 3, 4, 5, generator=random, dtype=torch.float64)
    expected = []
    for o, y in zip(output.tolist(), target.tolist(), strict=True):
        off = [[[a - b for a, b in zip(*rows)] for rows in zip(*planes)] for planes in zip(o, y)]
        pixels = [d for plane in off for row in plane for d in row]
        across = [row[i + 1] - row[i] for plane in off for row in plane for i in range(4)]
        down = [plane[i + 1][j] - plane[i][j] for plane in off for i in range(3) for j in range(5)]
        means = [sum(_error(kind, 0.5, d) for d in some) / len(some) for some in (pixels, across, down)]
        expected.append(means[0] + 0.7 * (means[1] + means[2]))
    loss = DenoiseLoss(config)
    torch.testing.assert_close(loss.error(output, target), torch.tensor(expected, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda o: loss.error(o, target), output.requires_grad_(True))
    plain = DenoiseLoss(config.model_copy(update={"gradient": 0.0}))
    assert (plain.error(output, target) < loss.error(output, target)).all()


def test_a_weighted_loss_must_know_what_was_predicted():
    model, batch = make_model(), make_batch()
    prediction = replace(model(batch, Draws(batch.keys, 0)), prediction_type=None)
    step = Step(batch, prediction, {}, "generator", Draws(batch.keys, 1), 0)
    with pytest.raises(UserError, match="prediction_type"):
        DenoiseLoss(DenoiseConfig())(step)
    assert DenoiseLoss(DenoiseConfig(weighting="none"))(step).isfinite()


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_prediction_trains_and_trusts_its_clean_image_by_its_snr(prediction):
    model, batch = make_model(options(prediction=prediction), speaks=True), make_batch(8)
    p = model(batch, Draws(batch.keys, 0))
    assert p.prediction_type == prediction
    torch.testing.assert_close(p.image_weight, p.snr / (1 + p.snr))
    loss = DenoiseLoss(DenoiseConfig())(Step(batch, p, {}, "generator", Draws(batch.keys, 1), 0))
    loss.backward()
    assert all(q.grad is None or q.grad.isfinite().all() for q in model.parameters())
    assert model.unet.conv_in.weight.grad.abs().max() > 0


def test_a_weight_keeps_the_clean_images_gradient_small_at_every_timestep():
    """The trap: epsilon's clean image at t = 999 has a gradient 20,000 times too large."""
    model, batch = make_model(options(prediction="epsilon")), make_batch()
    model._timesteps = lambda draws: torch.full((3,), 999)
    p = model(batch, Draws(batch.keys, 0))
    (slope,) = torch.autograd.grad((p.image_weight[:, None, None, None] * p.images[-1]).sum(), p.output)
    assert slope.abs().max() < 1


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("prediction", ["v_prediction", "flow_prediction"])
def test_logit_normal_timesteps_crowd_in_the_middle(prediction, spread):
    distribution = {"timestep_sampling": "logit_normal", "low_discrepancy": spread}
    model = make_model(options(prediction=prediction, **distribution))
    t = model._timesteps(Draws(torch.arange(4000), "t")).double() / 1000
    assert t.min() >= 0
    assert t.max() <= 0.999 or prediction == "flow_prediction"
    logits = torch.logit(t.clamp(1e-3, 1 - 1e-3))
    assert abs(float(logits.mean())) < 0.06
    assert float(logits.std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("spread", "off"), [(False, 0.03), (True, 0.002)])
@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_shifted_timesteps_follow_their_distribution(shift, spread, off):
    """P(place <= p) is the even draw that is moved to p: p / (s - (s - 1) p)."""
    model = make_model(options(timestep_shift=shift, low_discrepancy=spread))
    place = (model._timesteps(Draws(torch.arange(4000), "t")).double() + 0.5) / 1000
    for p in (0.1, 0.3, 0.5, 0.8):
        assert float((place <= p).double().mean()) == pytest.approx(p / (shift - (shift - 1) * p), abs=off)


def test_self_conditioning_leaves_the_target_alone():
    """The trap: an x0 target replaced by the model's own estimate makes any constant model's loss 0."""
    batch = make_batch()
    plain = make_model(options(prediction="sample"), speaks=True)
    model = make_model(options(prediction="sample", self_conditioning=1.0), speaks=True)
    p, reference = model(batch, Draws(batch.keys, 0)), plain(batch, Draws(batch.keys, 0))
    assert torch.equal(p.target, reference.target)
    assert torch.equal(p.target, batch.images)
    assert not p.target.requires_grad
    loss = DenoiseLoss(DenoiseConfig())(Step(batch, p, {}, "generator", Draws(batch.keys, 1), 0))
    assert loss > 0.1


def test_self_conditioning_shows_its_share_an_estimate_without_gradient():
    model = make_model(options(self_conditioning=0.5), speaks=True)
    seen = []
    model.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    batch = make_batch(40)
    p = model(batch, Draws(batch.keys, 0))
    first, second = (x[:, 12:] for x in seen)
    assert first.abs().max() == 0
    shown = second.flatten(1).abs().amax(1) > 0
    assert 10 < int(shown.sum()) < 30
    assert not second.requires_grad
    assert second.abs().max() <= 1
    assert p.output.requires_grad


def test_gradient_checkpointing_changes_no_gradient():
    batch, gradients = make_batch(), []
    for checkpointing in (False, True):
        model = make_model(options(checkpointing=checkpointing), speaks=True).train()
        assert model.unet.is_gradient_checkpointing == checkpointing
        model(batch, Draws(batch.keys, 0)).output.square().mean().backward()
        gradients.append(model.unet.conv_in.weight.grad)
    torch.testing.assert_close(*gradients, atol=1e-7, rtol=1e-5)


def test_augmentation_is_told_and_leaves_the_rest_alone():
    images = torch.rand(400, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    changed, labels = augment(images, 0.12, Draws(torch.arange(400), "a"))
    untouched = labels.abs().sum(1) == 0
    assert labels.shape == (400, LABELS)
    assert 0.5 < untouched.float().mean() < 0.7  # (1 - 0.12)^4 = 0.6
    assert torch.equal(changed[untouched], images[untouched])
    assert ((changed - images).flatten(1).abs().amax(1) > 1e-3)[~untouched].all()
    same, none = augment(images, 0.0, Draws(torch.arange(400), "a"))
    assert torch.equal(same, images)
    assert none.abs().max() == 0


def test_augmentation_does_what_its_labels_say():
    """A gradient image carries its own coordinates: where each pixel came from is read off it."""
    side = torch.linspace(-1 + 1 / 32, 1 - 1 / 32, 32)
    y, x = torch.meshgrid(side, side, indexing="ij")
    images = torch.stack([x, y, torch.zeros_like(x)]).expand(300, 3, 32, 32)
    changed, labels = augment(images, 0.5, Draws(torch.arange(300), "a"))
    for image, (flip, size, cos, sin, right, down) in zip(changed, labels.tolist()):
        # Near the middle, so that no reflection at the edges is read.
        px, py = float(side[18]), float(side[13])
        grow = 2**-size
        at_x = (1 - 2 * flip) * (grow * ((cos + 1) * px - sin * py) - right)
        at_y = grow * (sin * px + (cos + 1) * py) - down
        if max(abs(at_x), abs(at_y)) < 0.9:
            assert float(image[0, 13, 18]) == pytest.approx(at_x, abs=0.02)
            assert float(image[1, 13, 18]) == pytest.approx(at_y, abs=0.02)


def test_wide_images_are_turned_without_distortion():
    """The middle of a wide image is changed as a square of it alone, where nothing beyond is seen."""

    class All:
        """Flip, scale and turn, but no shift."""

        def rand(self, *shape):
            return torch.tensor([[0.0, 0.0, 0.0, 1.0]]) if shape else torch.tensor([0.6])

        def randn(self, *shape):
            return torch.tensor([[-0.5, 0.0, 0.0]])

    wide = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    (turned, labels), (alone, same) = augment(wide, 0.5, All()), augment(wide[..., 16:48], 0.5, All())
    assert torch.equal(labels, same)
    y, x = torch.meshgrid(torch.arange(32) - 15.5, torch.arange(32) - 15.5, indexing="ij")
    inside = (y.square() + x.square()).sqrt() < 13
    torch.testing.assert_close(turned[..., 16:48][..., inside], alone[..., inside], atol=1e-4, rtol=0)
    assert not torch.allclose(alone[..., inside], wide[..., 16:48][..., inside], atol=0.1)


def test_augmented_images_are_what_the_step_shows_as_real():
    model, batch = make_model(options(augment=1.0)), make_batch()
    p = model(batch, Draws(batch.keys, 0))
    step = Step(batch, p, {}, "generator", Draws(batch.keys, 1), 0)
    assert torch.equal(step.real[-1], p.real)
    assert (p.real - batch.images).abs().max() > 0.05
    model.labels.weight.data.normal_()
    again = model(batch, Draws(batch.keys, 0))
    assert torch.equal(again.target, p.target)


def test_padding_changes_nothing():
    model = make_model().eval()
    condition = make_condition()
    x, t = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(3)), torch.tensor([10, 500, 999])
    with torch.no_grad():
        plain = model.denoise(x, t, condition)
        tokens = condition.text.tokens.clone()
        tokens[~condition.text.mask] = 50.0
        text = TextEmbedding(tokens, condition.text.mask, condition.text.pooled)
        padded = model.denoise(x, t, Condition(condition.captions, text, condition.empty))
    assert (plain - padded).abs().max() < 1e-5


def test_captions_change_the_output_and_samples_do_not_mix():
    model = make_model().eval()
    for layer in model.unet.conv_out.parameters():
        torch.nn.init.normal_(layer, std=0.1)
    x, t = torch.randn(1, 3, 16, 16).expand(3, -1, -1, -1), torch.full((3,), 500)
    with torch.no_grad():
        together = model.denoise(x, t, make_condition())
        alone = model.denoise(x[:1], t[:1], make_condition(CAPTIONS[:1]))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-4


def test_caption_dropout_drops_its_share():
    config = SMALL.model_copy(update={"caption_dropout": 0.5})
    model, batch = make_model(config), make_batch()
    seen = []
    model.tower.register_forward_pre_hook(lambda module, args: seen.append(args[0].mask.sum(1)))
    for step in range(60):
        with torch.no_grad():
            model(batch, Draws(batch.keys + 3 * step, 0))
    dropped = (torch.stack(seen) == 1).float().mean().item()
    assert 0.35 < dropped < 0.65


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        ({}, 18, "multiple of 4"),
        ({"attention": (True,) * 3}, 16, "2 entries"),
        ({"channels": (18, 32)}, 16, "generator.groups"),
        ({"channels": (16, 40)}, 16, "generator.head_width"),
        ({"channels": (16, 40), "heads": 16}, 16, "generator.heads"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, size, message):
    with pytest.raises(UserError, match=message):
        ImagenDenoiser(SMALL.model_copy(update=change), size, 32, 8)


def test_images_of_another_size_are_refused():
    with pytest.raises(UserError, match="halved often enough"):
        make_model().denoise(torch.zeros(3, 3, 16, 9), torch.zeros(3).long(), make_condition())


@pytest.mark.parametrize("length", [4, 16, 64])
def test_as_many_tokens_as_a_level_has_pixels_are_told_apart(length):
    """The trap: there diffusers takes the text's mask for a mask of text and pixels, and fails or leaks."""
    torch.manual_seed(0)
    model = ImagenDenoiser(options(attention=(True, True)), 16, 32, length).eval()
    torch.nn.init.normal_(model.unet.conv_out.weight, std=0.1)
    encoder = BuiltinTextEncoder(BuiltinTextConfig(width=32, length=length))
    longer = BuiltinTextEncoder(BuiltinTextConfig(width=32, length=length + 1))
    x, t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 999])
    outputs = []
    model.tower.positions.data = torch.cat([model.tower.positions.data, torch.zeros(1, 16)])
    for each in (encoder, longer):
        text = each.encode(["red cat", "fish"])
        with torch.no_grad():
            outputs.append(model.denoise(x, t, Condition(("red cat", "fish"), text, text[:1])))
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)


def test_heads_can_be_the_same_number_at_every_level():
    """The trap: diffusers reads attention_head_dim in one order down and in the other up."""
    config = options(channels=(8, 16, 32), attention=(False, True, True), heads=4)
    attentions = [m for m in make_model(config).unet.modules() if type(m).__name__ == "Attention"]
    assert len(attentions) == 2 + 1 + 4
    assert {attention.heads for attention in attentions} == {4}
    assert head_widths(config) == [8, 4, 8]
    with pytest.raises(UserError, match="cannot both attend"):
        make_model(options(channels=(16, 32), attention=(True, True), heads=4))


def test_resampling_by_convolution_keeps_sizes_and_takes_fewer_parameters():
    sizes = {}
    for resampling in ("conv", "resnet"):
        config = options(channels=(16, 16, 32), attention=(False, True, True), resampling=resampling)
        model = make_model(config, speaks=True).eval()
        sizes[resampling] = sum(p.numel() for p in model.unet.parameters())
        with torch.no_grad():
            out = model.denoise(torch.randn(3, 3, 16, 16), torch.tensor([1, 2, 3]), make_condition())
        assert out.shape == (3, 3, 16, 16)
        resamplers = [
            type(module).__name__
            for block in (*model.unet.down_blocks, *model.unet.up_blocks)
            for module in (getattr(block, "downsamplers", None) or getattr(block, "upsamplers", None) or [])
        ]
        assert len(resamplers) == 4
        assert ("ResnetBlock2D" in resamplers) == (resampling == "resnet")
    assert sizes["conv"] < sizes["resnet"]


def test_channels_last_changes_the_layout_alone():
    x, t = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 500, 999])
    outputs, state = [], make_model(speaks=True).state_dict()
    for channels_last in (False, True):
        model = make_model(options(channels_last=channels_last)).eval()
        model.load_state_dict(state)
        weight = model.unet.mid_block.resnets[0].conv1.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
        with torch.no_grad():
            outputs.append(model.denoise(x, t, make_condition()))
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-4)
