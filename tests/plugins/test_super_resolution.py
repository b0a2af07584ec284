"""SuperResolution: pieces, noise, the two models, cascades, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from PIL import Image

from clip_support import clip_folder
from imagen_support import CAPTIONS, ENCODER, make_batch, make_condition
from t2ikit import Draws, Prediction, UserError, guided
from t2ikit.core.step import Step
from t2ikit.core.super_resolution import SuperResolution, prepare_low_res, shrink, upscale, with_noise
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.data.loader import BatchLoader
from t2ikit.errors import UserErrors, reworded
from t2ikit.evaluation.evaluator import measure_run
from t2ikit.evaluation.results import EvaluationOptions
from t2ikit.memory.forecast import forecast
from t2ikit.recipes.compose import build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.runs.open import open_run
from t2ikit.sampling.cascade import open_stages
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model, with_sampler
from t2ikit.sampling.sample import sample as sample_run
from t2ikit.testing import check_generator
from t2ikit.training.start import start_run
from t2ikit_gigagan.configs import UpsamplerConfig
from t2ikit_gigagan.paired import PerceptualLoss, pixel_loss
from t2ikit_gigagan.sampler import OneStepSampler
from t2ikit_gigagan.upsampler import GigaUpsampler
from t2ikit_imagen.configs import DDIMConfig, SuperResolutionConfig
from t2ikit_imagen.samplers import DDIMSampler
from t2ikit_imagen.super_resolution import ImagenUpsampler, tints
from t2ikit_imagen.text_attention import TextAttention

SMALL = SuperResolutionConfig(
    channels=(16, 32),
    attention=(False, True),
    layers=(1, 2),
    self_attention=False,
    text_width=16,
    text_layers=1,
    crop=8,
)


def upsampler(config: SuperResolutionConfig = SMALL) -> ImagenUpsampler:
    """A denoiser from 8 to 16 px whose output is not 0."""
    torch.manual_seed(0)
    model = ImagenUpsampler(config, 16, 32, 8)
    torch.nn.init.normal_(model.unet.conv_out.weight, std=0.1)
    return model


def sr_batch(count: int = 3, ratio: int = 2):
    batch = make_batch(count)
    return replace(batch, condition=replace(batch.condition, low_res=shrink(batch.images, ratio)))


# ---------------------------------------------------------------- data


def test_a_piece_lies_on_the_grid_of_its_small_image():
    image = torch.arange(3 * 20 * 20).reshape(3, 20, 20)
    enlarging = SuperResolution(4, 8)
    places = set()
    for number in range(200):
        piece = enlarging.random_crop(image, 7, number)
        assert piece.shape == (3, 8, 8)
        first = int(piece[0, 0, 0])
        top, left = divmod(first, 20)
        assert torch.equal(piece, image[:, top : top + 8, left : left + 8])
        assert top % 4 == 0
        assert left % 4 == 0
        whole = shrink(image[None].float(), 4)
        part = whole[:, :, top // 4 : top // 4 + 2, left // 4 : left // 4 + 2]
        assert torch.equal(shrink(piece[None].float(), 4), part)
        places.add((top, left))
    assert len(places) == 16  # every place comes up
    assert torch.equal(enlarging.random_crop(image, 7, 3), enlarging.random_crop(image, 7, 3))
    assert SuperResolution(4).random_crop(image, 7, 3) is image


def test_pieces_show_borders_nearly_as_often_as_what_is_inside():
    image, seen = torch.arange(64 * 64).reshape(1, 64, 64), torch.zeros(64 * 64)
    for number in range(2000):
        seen[SuperResolution(2, 16).random_crop(image, 7, number).flatten()] += 1
    seen = seen.reshape(64, 64) / seen.mean()
    border = torch.cat([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
    assert border.mean() > 0.45  # of corners anywhere inside, a border would show 0.08 times as often
    assert 0.9 < seen[:16].mean() < 1.1


def test_training_gives_pieces_with_their_small_images_and_validation_whole_ones():
    dataset = Creatures(CreaturesConfig(size=32, count=64))
    for whole, side in ((False, 16), (True, 32)):
        share = BatchLoader(dataset, 0, 4, super_resolution=SuperResolution(2, 16), whole=whole)[0]
        batch = share.batch(ENCODER, "cpu")
        assert batch.images.shape == (4, 3, side, side)
        low = batch.condition.low_res
        assert low.shape == (4, 3, side // 2, side // 2)
        slow = batch.images.reshape(4, 3, side // 2, 2, side // 2, 2).double().mean((3, 5))
        torch.testing.assert_close(low.double(), slow, atol=1e-6, rtol=0)
    assert BatchLoader(dataset, 0, 4)[0].batch(ENCODER, "cpu").condition.low_res is None


# ---------------------------------------------------------------- noise


def test_noise_beside_a_slow_reference():
    batch = sr_batch()
    level = torch.tensor([0.0, 0.4, 1.0])
    noisy = with_noise(batch.condition, (16, 16), level, Draws(batch.keys, "x"))
    clean = upscale(batch.condition.low_res, (16, 16))
    fresh = Draws(batch.keys, "x").randn(3, 16, 16)
    for i, s in enumerate(level.tolist()):
        expected = math.cos(s * math.pi / 2) * clean[i] + math.sin(s * math.pi / 2) * fresh[i]
        torch.testing.assert_close(noisy.low_res[i], expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(noisy.noise_level, level)
    images, told = prepare_low_res(batch.condition, (16, 16))
    assert torch.equal(images, clean)
    assert torch.equal(told, torch.zeros(3))


def test_training_lays_noise_of_every_level_up_to_the_greatest_and_sampling_of_one():
    batch, enlarging = sr_batch(), SuperResolution(2, augmentation=0.3)
    levels = torch.cat(
        [
            enlarging.augmented(batch.condition, (16, 16), Draws(torch.arange(3) + 3 * i, "x")).noise_level
            for i in range(200)
        ]
    )
    assert 0 <= float(levels.min()) < 0.01
    assert 0.29 < float(levels.max()) <= 0.3
    assert float(levels.mean()) == pytest.approx(0.15, abs=0.015)
    fixed = enlarging.augmented(batch.condition, (16, 16), Draws(batch.keys, "x"), 0.1)
    assert torch.equal(fixed.noise_level, torch.full((3,), 0.1))


def keys_cubic(x: float, a: float = -0.75) -> float:
    """The kernel of bicubic interpolation (Keys 1981, equation 4)."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


@pytest.mark.parametrize("ratio", [2, 4])
def test_enlarging_is_bicubic_beside_a_slow_reference(ratio):
    small = torch.rand(1, 1, 9, 9, dtype=torch.float64) * 2 - 1
    weights = torch.zeros(9 * ratio, 9, dtype=torch.float64)
    for place in range(9 * ratio):
        at = (place + 0.5) / ratio - 0.5
        for near in range(math.floor(at) - 1, math.floor(at) + 3):
            weights[place, min(max(near, 0), 8)] += keys_cubic(at - near)
    expected = weights @ small[0, 0] @ weights.T
    found = upscale(small, (9 * ratio, 9 * ratio))[0, 0]
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)


def seen_by_unet(model: ImagenUpsampler, calls):
    """The upscaled images that the U-Net sees while `calls` runs, and their levels."""
    images, levels = [], []
    inner = model._with_images

    def spy(x, pooled, condition, previous):
        joined, told = inner(x, pooled, condition, previous)
        images.append(joined[:, 3:].detach())
        levels.append(condition.noise_level)
        return joined, told

    model._with_images = spy
    try:
        calls()
    finally:
        del model._with_images
    return torch.cat(images), torch.cat(levels)


@pytest.mark.parametrize("level", [0.0, 0.2, 0.6])
def test_the_unet_sees_the_same_statistics_in_training_and_in_sampling(level):
    """The trap of an anchor, whose deviations were 0.73 in training and 1.39 in sampling."""
    model = upsampler(SMALL.model_copy(update={"crop": 0})).eval()
    batch = sr_batch(64)
    fixed = Draws.rand
    with torch.no_grad():

        def train():
            def rand(self, *shape):
                chosen = self.path and self.path[-1] == "augmentation"
                return torch.full((len(self.keys),), level) if chosen else fixed(self, *shape)

            Draws.rand = rand
            try:
                model(batch, Draws(batch.keys, 0))
            finally:
                Draws.rand = fixed

        def draw():
            config = DDIMConfig(steps=1, guidance=1.0, augmentation=level)
            DDIMSampler(config)(model, batch.condition, draws=Draws(batch.keys, "sample"))

        trained, told = seen_by_unet(model, train)
        sampled, again = seen_by_unet(model, draw)
    assert torch.equal(told, again)
    assert float(trained.std() / sampled.std()) == pytest.approx(1, abs=0.02)
    assert abs(float(trained.mean() - sampled.mean())) < 0.02


# ---------------------------------------------------------------- the denoiser


def test_the_interface_holds():
    options = {"channels": [16, 32], "attention": [False, True], "text_width": 16}
    check_generator("imagen/super-resolution", None, 16, 8, **options)
    check_generator("imagen/super-resolution", None, 16, 4, ratio=4, self_attention=False, **options)
    check_generator("imagen/if-unet", None, 16, **options)
    levels = {"channels": [16, 16, 8], "filters": [1, 1, 2], "attention": [True, False, False]}
    check_generator("gigagan/upsampler", None, 16, 8, **levels, head_width=8)
    check_generator("gigagan/upsampler", None, 16, 4, ratio=4, **levels, head_width=8, checkpointing=True)


def test_trained_on_pieces_it_draws_whole_images_and_heeds_what_it_is_given():
    model = upsampler().eval()
    assert model.super_resolution == SuperResolution(2, 8)
    batch = sr_batch()
    piece = replace(
        batch,
        images=batch.images[..., :8, :8],
        condition=replace(batch.condition, low_res=batch.condition.low_res[..., :4, :4]),
    )
    prediction = model(piece, Draws(piece.keys, 0))
    assert prediction.images[-1].shape == (3, 3, 8, 8)
    prediction.images[-1].square().mean().backward()
    assert model.level_embedding.layers.linear_1.weight.grad.abs().sum() > 0
    sampler = DDIMSampler(DDIMConfig(steps=3, guidance=3.0))
    drawn = sampler(model, batch.condition, draws=Draws(batch.keys, "sample"))
    assert drawn.shape == (3, 3, 16, 16)
    other = replace(batch.condition, low_res=-batch.condition.low_res)
    assert not torch.allclose(sampler(model, other, draws=Draws(batch.keys, "sample")), drawn, atol=1e-3)
    level = replace(
        with_noise(batch.condition, (16, 16), torch.zeros(3), Draws(batch.keys, 0)), level=torch.ones(3)
    )
    t = torch.full((3,), 500)
    told = model.denoise(batch.images, t, level)
    assert not torch.allclose(told, model.denoise(batch.images, t, batch.condition), atol=1e-4)


def test_a_network_of_clean_images_begins_with_the_tints_of_what_it_is_given():
    torch.manual_seed(0)
    model = ImagenUpsampler(SMALL.model_copy(update={"prediction": "sample"}), 16, 32, 8).eval()
    torch.nn.init.zeros_(model.unet.conv_out.weight)
    torch.nn.init.zeros_(model.unet.conv_out.bias)
    batch = sr_batch()
    t = torch.full((3,), 500)
    with torch.no_grad():
        plain = model.denoise(batch.images, t, batch.condition)
        noisy = with_noise(batch.condition, (16, 16), torch.full((3,), 0.5), Draws(batch.keys, 0))
        half = model.denoise(batch.images, t, noisy)
    upscaled = upscale(batch.condition.low_res, (16, 16))
    for found, given in ((plain, upscaled), (half, noisy.low_res * math.cos(math.pi / 4))):
        # In the corners, farther out than the squares' centres, their means alone are seen.
        for rows, columns in ((slice(0, 4), slice(0, 4)), (slice(12, 16), slice(0, 4))):
            square = slice(0, 8) if rows.start == 0 else slice(8, 16)
            mean = given[:, :, square, :8].mean((2, 3), keepdim=True)
            torch.testing.assert_close(found[:, :, rows, columns], mean.expand(-1, -1, 4, 4))
    flat = torch.full((2, 3, 4, 6), 0.3)
    torch.testing.assert_close(tints(flat), flat)  # smaller than a square


def test_guidance_keeps_what_is_enlarged_in_both_branches():
    model = upsampler().eval()
    batch = sr_batch()
    t = torch.full((3,), 300)
    condition = with_noise(batch.condition, (16, 16), torch.full((3,), 0.2), Draws(batch.keys, 0))
    with torch.no_grad():
        both = guided(model, batch.images, t, condition, 3.0)
        text = guided(model, batch.images, t, condition, 1.0)
        empty = guided(model, batch.images, t, condition, 0.0)
    torch.testing.assert_close(both, empty + 3 * (text - empty), atol=1e-4, rtol=1e-4)


def test_text_attention_beside_a_slow_reference():
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "UpBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        only_cross_attention=True,
        mid_block_only_cross_attention=True,
        attention_head_dim=8,
        cross_attention_dim=12,
        norm_num_groups=4,
    )
    attn = unet.mid_block.attentions[0].double()
    x, text = torch.randn(2, 32, 3, 5).double(), torch.randn(2, 6, 12).double()
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    bias = ((1 - mask.double()) * -10000.0)[:, None]
    found = TextAttention()(attn, x, text, bias)
    pixels = F.group_norm(x.flatten(2), 4, attn.group_norm.weight, attn.group_norm.bias, attn.group_norm.eps)
    for b in range(2):
        q = attn.to_q(pixels[b].T)
        k, v = attn.add_k_proj(text[b, : mask[b].sum()]), attn.add_v_proj(text[b, : mask[b].sum()])
        heads = []
        for head in range(attn.heads):
            cut = slice(8 * head, 8 * head + 8)
            weights = torch.softmax(q[:, cut] @ k[:, cut].T / math.sqrt(8), 1)
            heads.append(weights @ v[:, cut])
        expected = attn.to_out[0](torch.cat(heads, 1)).T.reshape(32, 3, 5) + x[b]
        torch.testing.assert_close(found[b], expected, atol=1e-9, rtol=1e-9)


def test_padding_does_not_leak():
    model = upsampler().eval()
    batch = sr_batch()
    text = batch.condition.text
    changed = replace(text, tokens=torch.where(text.mask[..., None], text.tokens, 100.0))
    t = torch.full((3,), 500)
    with torch.no_grad():
        a = model.denoise(batch.images, t, batch.condition)
        b = model.denoise(batch.images, t, replace(batch.condition, text=changed))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_sr_64_256_is_small_and_fits_12_gb():
    recipe = read_recipe(Registry.load(), "imagen/sr-64-256")
    with torch.device("meta"):
        model = ImagenUpsampler(recipe.parts["generator"].config, 256, 512, 64)
    assert sum(p.numel() for p in model.parameters()) < 100e6
    assert recipe.train.batch >= 16
    found = forecast(recipe, Registry.load())
    assert found.total < 8 << 30


# ---------------------------------------------------------------- the GAN


def gan_upsampler() -> GigaUpsampler:
    torch.manual_seed(0)
    return GigaUpsampler(
        UpsamplerConfig(channels=(8, 8, 8), filters=(1, 1, 1), attention=(False,) * 3), 16, 32, 8
    )


def test_the_gan_begins_with_bicubic_interpolation_and_learns_from_there():
    model = gan_upsampler()
    small = torch.rand(2, 3, 8, 8).round() * 2 - 1  # overshoots
    condition = replace(make_condition(CAPTIONS[:2]), low_res=small)
    (made,) = model.generate(condition, Draws(torch.arange(2), 0))
    expected = upscale(small, (16, 16))
    assert expected.abs().max() > 1.2
    torch.testing.assert_close(made, expected.clamp(-1, 1), atol=1e-4, rtol=0)
    made.retain_grad()
    (made * torch.randn_like(made)).sum().backward()
    heads = [block.to_rgb for block in model.blocks if block.to_rgb is not None]
    assert len(heads) == 2
    for head in heads:
        assert head.bank.grad.abs().min() > 0  # no pixel is beyond reach


def test_the_sampler_of_the_gan_lays_noise_of_the_level_it_is_told():
    model, batch = gan_upsampler(), sr_batch(2)
    draws = Draws(batch.keys, "sample")
    for level in (0.0, 0.1):
        seen = with_noise(batch.condition, (8, 8), torch.full((2,), level), draws.named("augmentation"))
        expected = upscale(seen.low_res, (16, 16)).clamp(-1, 1)
        drawn = OneStepSampler(augmentation=level)(model, batch.condition, draws=draws)
        torch.testing.assert_close(drawn, expected, atol=1e-4, rtol=0)


def test_upsamplers_of_the_gan_refuse_what_does_not_fit():
    options = {"filters": (1, 1, 1), "attention": (False,) * 3}
    with pytest.raises(UserError, match="given none"):
        GigaUpsampler(UpsamplerConfig(channels=(8, 8, 8), **options), 16, 32, 8).generate(
            make_condition(), Draws(torch.arange(3), 0)
        )
    with pytest.raises(UserError, match="cannot be halved 2 times"):
        GigaUpsampler(UpsamplerConfig(channels=(8, 8, 8), **options), 18, 32, 8)
    with pytest.raises(UserError, match="one entry for each level"):
        GigaUpsampler(UpsamplerConfig(channels=(8, 8), **options), 16, 32, 8)
    with pytest.raises(UserError, match=r"--set generator\.crop=16"):
        GigaUpsampler(UpsamplerConfig(channels=(8, 8, 8), crop=32, **options), 16, 32, 8)
    with pytest.raises(UserError, match="do not reach 4 times"):
        GigaUpsampler(
            UpsamplerConfig(ratio=4, channels=(8, 8), filters=(1, 1), attention=(False, False)), 16, 32, 8
        )


def paired_step(fake: torch.Tensor, weight: torch.Tensor) -> Step:
    batch = make_batch(len(fake))
    return Step(batch, Prediction([fake], weight), {}, "generator", Draws(batch.keys, 0), 0)


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_pixel_loss_beside_a_slow_reference(kind):
    fake = torch.randn(3, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([1.0, 0.5, 0.0])
    step = paired_step(fake.float(), weight)
    loss = pixel_loss(step, kind)
    real, total = step.real[-1].double(), 0.0
    for i in range(3):
        error = (fake[i] - real[i]).abs() if kind == "l1" else (fake[i] - real[i]) ** 2
        total = total + weight[i].double() * error.mean() / 3
    assert loss.item() == pytest.approx(total.item(), rel=1e-5)
    (ours,) = torch.autograd.grad(loss, fake, retain_graph=True)
    (theirs,) = torch.autograd.grad(total, fake)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_perceptual_loss_in_a_clip_is_0_for_the_same_and_trains_towards_it(tmp_path):
    loss = PerceptualLoss(str(clip_folder(tmp_path)), depths=1)
    assert not list(loss.parameters())
    batch = make_batch(3)
    assert float(loss(paired_step(batch.images.clone(), torch.ones(3)))) == pytest.approx(0, abs=1e-6)
    fake = (batch.images + 0.3 * torch.randn(3, 3, 16, 16)).requires_grad_(True)
    value = loss(paired_step(fake, torch.ones(3)))
    (gradient,) = torch.autograd.grad(value, fake)
    nearer = (fake - 1e-2 * gradient / gradient.norm()).detach()
    assert float(loss(paired_step(nearer, torch.ones(3)))) < float(value)
    with pytest.raises(UserError, match="has 2 layers"):
        PerceptualLoss(str(clip_folder(tmp_path / "again")), depths=3)


# ---------------------------------------------------------------- cascades

TINY = ["train.steps=2", "train.batch=4", "train.samples=1", "train.validation_images=4", "data.count=64"]
DENOISER = ["generator.channels=[16,16]", "generator.head_width=16", "generator.attention=[false,true]"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A base and an upsampler of each plugin, 16 px to 32 px, of which the upsamplers read text with other
    encoders; and one from 32 px to 64.
    """
    folder = tmp_path_factory.mktemp("cascade")
    registry = Registry.load()
    gan = ["generator.channels=[16,16,16]", "generator.filters=[1,1,1]", "generator.head_width=16"]
    critic = [
        "critics.multiscale.channels=[16,16,16]",
        "critics.multiscale.attention=[false,true,false]",
        "critics.multiscale.head_width=16",
    ]
    wanted = {
        "diffusion": ("imagen/default", ["data.size=16", "sampler.steps=2", *DENOISER]),
        "gan": (
            "gigagan/default",
            [
                "data.size=16",
                *gan,
                *critic,
                "generator.attention=[false,true,false]",
                "generator.text_attention=[]",
            ],
        ),
        "diffusion-sr": (
            "imagen/sr-32-64",
            ["data.size=32", *DENOISER, "generator.layers=1", "generator.crop=16", "text.width=32"],
        ),
        "gan-sr": (
            "gigagan/sr-32-64",
            [
                *("data.size=32", "generator.crop=16", "generator.attention=[true,false,false]"),
                *("text.width=16", "text.length=12", *gan, *critic),
            ],
        ),
        "second-sr": ("imagen/sr-32-64", [*DENOISER, "generator.layers=1", "generator.crop=16"]),
    }
    for name, (recipe, settings) in wanted.items():
        chosen = read_recipe(registry, recipe, settings=[*TINY, *settings])
        start_run(registry, chosen, folder / name, device="cpu")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("base", ["diffusion", "gan"])
@pytest.mark.parametrize("stage", ["diffusion-sr", "gan-sr"])
def test_any_base_with_any_upsampler(runs, tmp_path, base, stage):
    """Each encodes the prompts with its own encoder."""
    prompts = ["a red cat", "a blue bird"]
    settings = ["upscale.steps=3"] if stage == "diffusion-sr" else ["upscale.1.truncation=0.5"]
    for name in ("one", "two"):
        sample_run(runs / base, prompts, n=2, upscale=[runs / stage], set=settings).save(tmp_path / name)
    files = sorted((tmp_path / "one").glob("0*.png"))
    assert len(files) == 4
    assert {Image.open(file).size for file in files} == {(32, 32)}
    for file in files:
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddim", "euler", "ddpm", "unipc"])
def test_a_stage_takes_another_sampler(runs, tmp_path, name):
    for place, setting in enumerate((f"upscale.use=imagen/{name}", f"upscale.1.use={name}")):
        out = tmp_path / str(place)
        settings = [setting, "upscale.steps=2"]
        sample_run(runs / "gan", "a red cat", n=1, upscale=runs / "diffusion-sr", set=settings).save(out)
    (model,) = open_stages(
        open_model(open_run(runs / "gan")),
        [runs / "diffusion-sr"],
        [f"upscale.use={name}"],
        lambda path, own: open_model(open_run(path), settings=own),
    )
    assert model.recipe.parts["sampler"].entry.canonical == f"imagen/{name}"
    one, other = (next((tmp_path / place).glob("0*.png")).read_bytes() for place in "01")
    assert one == other


@pytest.mark.slow
def test_another_sampler_keeps_what_the_recipe_says_but_for_the_steps(runs):
    run = open_run(runs / "diffusion-sr")
    own, other = open_model(run), open_model(run, settings=["sampler.use=ddim", "sampler.thresholding=none"])
    assert own.sampler.guidance == other.sampler.guidance == 1.0
    assert other.sampler.steps == DDIMConfig().steps
    assert other.recipe.parts["sampler"].config.thresholding == "none"
    assert open_model(run, sampler="ddim", settings=["sampler.guidance=2"]).sampler.guidance == 2
    now = {
        "use": "imagen/dpm++",
        "steps": 7,
        "guidance": 1.5,
        "maximum": 100.0,
        "guidance_interval": [0.0, 1.0],
    }
    told = with_sampler(Registry.load(), now, "ddim")
    assert told == {"use": "imagen/ddim", "guidance": 1.5}  # defaults are each sampler's own


@pytest.mark.slow
def test_two_stages_are_told_apart(runs, tmp_path):
    stages = [runs / "gan-sr", runs / "second-sr"]
    images = {}
    for name, settings in {
        "plain": ["upscale.2.steps=2", "upscale.2.augmentation=0"],
        "noisy": ["upscale.2.steps=2", "upscale.2.augmentation=0.4"],
    }.items():
        sample_run(runs / "diffusion", "a red cat", n=1, upscale=stages, set=settings).save(tmp_path / name)
        image = Image.open(next((tmp_path / name).glob("0*.png")))
        assert image.size == (64, 64)
        images[name] = image.tobytes()
    assert images["plain"] != images["noisy"]
    base = open_model(open_run(runs / "diffusion"))
    with pytest.raises(UserError) as error:
        open_stages(
            base,
            stages,
            ["upscale.2.augmentation=0.9"],
            lambda at, own: open_model(open_run(at), settings=own),
        )
    assert "upscale.2.augmentation: " in error.value.what
    assert "--set upscale.2.augmentation=0.4" in error.value.fix


@pytest.mark.slow
def test_an_upsampler_of_the_gan_is_validated_on_whole_images_without_its_critic(runs):
    lines = (runs / "gan-sr" / "log.jsonl").read_text().splitlines()
    found = {key for line in lines for key in json.loads(line) if key.startswith("validation/")}
    assert found == {"validation/pixel"}
    registry = Registry.load()
    run = open_run(runs / "gan-sr")
    components = build_components(run.recipe(registry, sampling=False), registry, torch.device("cpu"))
    count = min(4, components.dataset.size("validation"))
    shares = BatchLoader(
        components.dataset,
        0,
        count,
        split="validation",
        super_resolution=components.model.generator.super_resolution,
        whole=True,
    )
    batch = shares[0].batch(components.model.encoder, "cpu")
    batch = replace(batch, keys=-1 - batch.keys)
    generator = open_model(run, weights="raw").generator
    draws = Draws(batch.keys, "0/generator").named("generator")
    with torch.no_grad():
        error = (generator(batch, draws).images[-1] - batch.images).abs().mean()
    last = [json.loads(line)["validation/pixel"] for line in lines if "validation/pixel" in line][-1]
    assert float(error) == pytest.approx(last, rel=1e-4)


def test_errors_of_a_stage_leave_paths_as_they_are():
    error = UserError("runs/my-sampler.v2: sampler.steps is wrong", fix="--set sampler.steps=3")
    found = reworded(UserErrors("two", [error, error]), "sampler.", "upscale.2.", "runs/other").errors[1]
    assert found.what == "runs/my-sampler.v2: upscale.2.steps is wrong"
    assert (found.fix, found.got) == ("--set upscale.2.steps=3", None)
    for path in (
        "s",
        "sampler",
        "sampler.sr",
        "sampler.sr/old",
        "/my sampler.v2/run",
        r"C:\my sampler.v2\run",
    ):
        error = UserError(f"{path}/recipe.toml: sampler.steps is wrong", fix=f"look into {path}")
        found = reworded(error, "sampler.", "upscale.", path)
        assert found.what == f"{path}/recipe.toml: upscale.steps is wrong"
        assert found.fix == f"look into {path}"


def test_critics_are_told_of_pieces_that_do_not_fit(runs):
    recipe = read_recipe(Registry.load(), "gigagan/sr-32-64", settings=["generator.crop=24"])
    with pytest.raises(UserError, match=r"^generator\.crop: 24 pixels") as error:
        build_components(recipe, Registry.load(), torch.device("cpu"))
    assert error.value.fix == "--set generator.crop=32"


@pytest.mark.slow
def test_images_to_enlarge_are_counted_and_measured(runs):
    model = open_model(open_run(runs / "gan-sr"))
    for wrong, found in (
        (torch.zeros(1, 3, 16, 16), "1 of 16 x 16 px"),
        (torch.zeros(2, 3, 16, 24), "2 of 16 x 24 px"),
        (None, "no images"),
    ):
        with pytest.raises(UserError, match=r"2 image\(s\) of 16 x 16 px") as error:
            sample_images(model, ["a red cat", "a blue bird"], low_res=wrong)
        assert error.value.got == found


@pytest.mark.slow
def test_a_stage_enlarges_what_the_base_drew(runs, tmp_path):
    sample_run(runs / "gan", "a red cat", n=1).save(tmp_path / "base")
    sample_run(runs / "gan", "a red cat", n=1, upscale=[runs / "gan-sr"]).save(tmp_path / "both")
    small, large = (
        torch.from_numpy(np.array(Image.open(next((tmp_path / name).glob("0*.png"))))).float()
        for name in ("base", "both")
    )
    shrunk = F.avg_pool2d(large.permute(2, 0, 1), 2).permute(1, 2, 0)
    other = small.flip(1)
    assert float((shrunk - small).abs().mean()) < float((shrunk - other).abs().mean())


@pytest.mark.slow
def test_what_does_not_fit_exits_2_and_says_what_does(runs, cli_here):
    base, stage = runs / "diffusion", runs / "diffusion-sr"
    wrong = {
        ("sample", stage, "a cat"): "with a BASE of 16 px",
        ("sample", base, "a cat", "--upscale", base): "cannot upscale",
        ("sample", base, "a cat", "--upscale", stage, "--upscale", stage): "upscales 32 px",
        ("sample", base, "a cat", "--upscale", runs / "nothing"): "is not a run folder",
        ("sample", base, "a cat", "--set", "upscale.steps=3"): "together with --upscale RUN",
        ("sample", base, "a cat", "--upscale", stage, "--set", "upscale.stps=3"): "steps",
        ("sample", base, "a cat", "--upscale", stage, "--set", "upscale.2.steps=3"): "from 1 to 1",
        (
            "sample",
            base,
            "a cat",
            "--upscale",
            runs / "gan-sr",
            "--set",
            "upscale.augmentation=0.5",
        ): "fix:      --set upscale.augmentation=0.1",
    }
    for words, expected in wrong.items():
        result = cli_here(*words)
        assert result.returncode == 2, words
        assert expected in result.stderr, result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_an_upsampler_is_measured_on_shrunk_real_images(runs):
    question = EvaluationOptions(n=4, metrics=["colours"], repeated_prompts=2, images_per_prompt=2)
    found = measure_run(runs / "gan-sr", question)
    assert found.image_set.images.shape == (4, 3, 32, 32)
    torch.testing.assert_close(found.image_set.low_res, shrink(found.image_set.real, 2))
    grid = Image.open(runs / "diffusion-sr" / "samples" / "step-00000002.png")
    assert grid.size[0] > 300  # given, sample, real


def test_a_paired_loss_is_refused_where_nothing_is_enlarged():
    registry = Registry.load()
    recipe = read_recipe(registry, "gigagan/default", settings=["losses.pixel.weight=1"])
    with pytest.raises(UserError, match=r"losses\.pixel") as error:
        build_components(recipe, registry, torch.device("cpu"))
    assert "upscales images" in str(error.value)
