"""From images to images: beginning at one, repainting a part of it, and negative prompts."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import HeunDiscreteScheduler, LMSDiscreteScheduler
from PIL import Image
from recorder import OnCPU
from test_samplers import KEYS, SAMPLERS
from test_super_resolution import DENOISER, TINY

import t2ikit
from imagen_support import CAPTIONS, exact_output, make_condition
from t2ikit import Draws, OneStepSampler, Sampler, SamplerConfig, UserError
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.sampling.editing.checks import check_edit
from t2ikit.sampling.editing.edit import ImageEdit
from t2ikit.sampling.editing.inputs import read_edit
from t2ikit.sampling.graphs import DenoiserGraphs
from t2ikit.testing.toys import ToyDenoiser, ToyGAN
from t2ikit.training.start import start_run
from t2ikit.utils.images import from_uint8, to_pil, to_uint8
from t2ikit_imagen import DDIMConfig, DDIMSampler, FlowConfig, FlowSampler
from t2ikit_imagen.pipeline import GivenScheduler
from toys.authors import Straight

LEVELS = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
MASK = (torch.arange(16) >= 9).expand(3, 1, 16, 16)
"""The right part is repainted."""


def edit(strength=1.0, mask=MASK):
    return ImageEdit(from_uint8(LEVELS), mask, strength)


def toy(seed):
    torch.manual_seed(seed)
    return ToyDenoiser(32, 16).eval()


MODEL = toy(0)


def sample(sampler, model=MODEL, index=slice(None), **more):
    return sampler(model, make_condition()[index], draws=Draws(KEYS[index], "s"), **more)


def own(name, **changes):
    kind, config = SAMPLERS[name]
    return kind(config(**{"steps": 5, **changes}))


# ---------------------------------------------------------------- every sampler


@pytest.mark.parametrize("name", SAMPLERS)
def test_strength_0_gives_the_image_back_without_asking_the_model(name):
    sampler = own(name)
    assert torch.equal(to_uint8(sample(sampler, edit=edit(0.0, None))), LEVELS)
    assert sampler.function_evaluations == 0


@pytest.mark.parametrize("name", SAMPLERS)
def test_strength_1_is_plain_sampling(name):
    sampler = own(name)
    assert torch.equal(sample(sampler, edit=edit(1.0, None)), sample(sampler))


@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_kept_is_kept_to_the_bit_and_the_rest_belongs_to_its_key(name, strength):
    sampler, kept, told = own(name), ~MASK.expand(3, 3, 16, 16), []
    found = sample(sampler, edit=edit(strength), progress=lambda done, total: told.append((done, total)))
    assert sampler.function_evaluations == 5 * strength * 3 * 2  # with guidance
    assert told[-1] == (5, 5)
    assert torch.equal(to_uint8(found)[kept], LEVELS[kept])
    assert (to_uint8(found)[~kept] != LEVELS[~kept]).float().mean() > 0.9
    assert torch.equal(found, sample(sampler, edit=edit(strength)))
    alone = sample(sampler, index=slice(1, 2), edit=edit(strength)[1:2])
    torch.testing.assert_close(alone, found[1:2], atol=1e-3, rtol=1e-3)


def gaussian(mean=0.2, deviation=0.3):
    """A model that knows that images are normal, in float64."""
    model = toy(0)

    def exact(x, t, condition, previous=None):
        root = model.alphas_cumprod.double().sqrt()
        low = t.long().clamp(max=998)
        alpha = torch.lerp(root[low], root[low + 1], t.double() - low)[:, None, None, None]
        sigma, x = (1 - alpha**2).sqrt(), x.double()
        clean = mean + alpha * deviation**2 * (x - alpha * mean) / (alpha**2 * deviation**2 + sigma**2)
        return exact_output("v_prediction", x, clean, alpha, sigma).float()

    model.denoise = exact
    return model


@pytest.mark.parametrize("name", ["ddim", "dpm++", "unipc", "euler", "flow", "third", "heun", "lms"])
def test_deterministic_samplers_go_on_from_the_noised_image_along_the_probability_flow(name):
    """Which is known for normal images: the distance from the mean shrinks as the deviation does."""
    model, steps, strength = gaussian(), 100, 0.4
    given = {"heun": HeunDiscreteScheduler, "lms": LMSDiscreteScheduler}
    asked = {"steps": steps, "guidance": 1.0, "thresholding": "none"}
    if name in given:
        sampler = GivenScheduler(SamplerConfig(**asked), given[name](), model)
    else:
        sampler = Straight(SamplerConfig(**asked)) if name == "third" else own(name, **asked)
    found = sample(sampler, model, edit=edit(strength, None)).double()
    noise, image = Draws(KEYS, "s").randn(3, 16, 16).double(), from_uint8(LEVELS).double()
    if name in ("flow", "third"):
        alpha, sigma = 1 - strength, strength
        scale = (alpha**2 + sigma**2) ** 0.5
        alpha, sigma = alpha / scale, sigma / scale
    else:
        cumulative = float(model.alphas_cumprod.double()[round(strength * 1000) - 1])
        alpha, sigma = cumulative**0.5, (1 - cumulative) ** 0.5
    x = alpha * image + sigma * noise
    expected = 0.2 + 0.3 * (x - alpha * 0.2) / (alpha**2 * 0.3**2 + sigma**2) ** 0.5
    assert (found - expected.clamp(-1, 1)).abs().mean() < 0.01
    assert (found - image).abs().mean() > 0.1
    assert sampler.function_evaluations == 3 * (2 * 40 - 1 if name == "heun" else 40)


def test_keeping_a_part_of_the_clean_images_is_blending_at_each_step():
    """As diffusers' inpainting does it: after each step, the image with that step's noise. In float64."""
    model, sampler = MODEL, DDIMSampler(DDIMConfig(steps=5, guidance=1.0, thresholding="none"))
    found = sample(sampler, edit=edit(0.8))
    cumulative, noise = model.alphas_cumprod.double(), Draws(KEYS, "s").randn(3, 16, 16).double()
    image = from_uint8(LEVELS).double()
    times = [799, 599, 399, 199, -1]
    levels = [cumulative[t] if t >= 0 else torch.tensor(1.0).double() for t in times]
    x = levels[0].sqrt() * image + (1 - levels[0]).sqrt() * noise
    for t, (a, b) in zip(times, itertools.pairwise(levels)):
        with torch.no_grad():
            v = model.denoise(x.float(), torch.full((3,), t), make_condition()).double()
        x = b.sqrt() * (a.sqrt() * x - (1 - a).sqrt() * v) + (1 - b).sqrt() * (
            (1 - a).sqrt() * x + a.sqrt() * v
        )
        x = torch.where(MASK, x, b.sqrt() * image + (1 - b).sqrt() * noise)
    torch.testing.assert_close(found.double(), x.clamp(-1, 1), atol=1e-3, rtol=1e-3)


def test_a_sampler_of_someone_else_takes_edits_as_flow_does():
    asked = {"steps": 5, "guidance": 2.0, "thresholding": "static"}
    found = sample(Straight(SamplerConfig(**asked)), edit=edit(0.6))
    expected = sample(FlowSampler(FlowConfig(**asked, shift=1.0)), edit=edit(0.6))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "evaluations"),
    [
        ({"guidance_interval": (0.0, 0.5)}, 3 * (3 + 2)),
        ({"guidance_model": "somewhere"}, 3 * 3 * 3),
        ({"thresholding": "none"}, 3 * 2 * 3),
        ({"thresholding": "static"}, 3 * 2 * 3),
    ],
)
@pytest.mark.parametrize("name", ["dpm++", "flow"])
def test_guidance_interval_autoguidance_and_thresholding_still_hold(name, changes, evaluations):
    sampler = own(name, **changes)
    sampler.guide = toy(1) if "guidance_model" in changes else None
    found = sample(sampler, edit=edit(0.6))
    assert sampler.function_evaluations == evaluations
    usual = sample(own(name), edit=edit(0.6))
    assert (found - usual)[..., 9:].abs().max() > 1e-3
    assert torch.equal(found[..., :9], usual[..., :9])


@pytest.mark.parametrize("name", ["ddim", "flow"])
def test_replayed_calls_give_the_same_images(name):
    sampler, graphs = own(name, steps=10), DenoiserGraphs(OnCPU())
    plain = sample(sampler, edit=edit(0.8))
    sampler.graphs = graphs
    assert torch.equal(sample(sampler, edit=edit(0.8)), plain)
    assert graphs.graphs is not None
    assert len(graphs.graphs) == 1


@pytest.mark.parametrize(
    ("steps", "strength", "taken"), [(20, 0.6, 12), (100, 0.29, 29), (20, 0.33, 6), (3, 1.0, 3), (3, 0.0, 0)]
)
def test_the_steps_that_are_taken(steps, strength, taken):
    assert edit(strength).skipped(steps) == steps - taken


# ---------------------------------------------------------------- negative prompts and whole runs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("edited") / "run"
    settings = [*TINY, "data.size=16", "sampler.steps=4", *DENOISER]
    start_run(
        Registry.load(), read_recipe(Registry.load(), "imagen/default", settings=settings), out, device="cpu"
    )
    return t2ikit.open_run(out)


def draw(run, prompts=CAPTIONS[:2], **more):
    return t2ikit.sample(run, prompts, n=2, progress=False, **more).images


def test_guidance_leads_away_from_the_negative_prompt(run):
    plain = draw(run, CAPTIONS[0], guidance=3.0)
    assert torch.equal(draw(run, CAPTIONS[0], guidance=3.0, negative_prompt=""), plain)
    found = draw(run, CAPTIONS[0], guidance=3.0, negative_prompt="a fish")
    assert (found - plain).abs().max() > 1e-4
    same = draw(run, CAPTIONS[0], guidance=3.0, negative_prompt=CAPTIONS[0])  # the branches are one
    torch.testing.assert_close(same, draw(run, CAPTIONS[0], guidance=1.0), atol=1e-4, rtol=1e-4)


def test_a_negative_prompt_without_guidance_is_told(run, capsys):
    draw(run, CAPTIONS[0], guidance=1.0, negative_prompt="a fish")
    assert "changes nothing at guidance 1" in capsys.readouterr().err


def test_files_are_edited_and_what_is_saved_is_kept(run, tmp_path, capsys):
    start, mask = to_pil(from_uint8(LEVELS[:1]))[0], np.zeros((16, 16), np.uint8)
    mask[:, 9:] = 255
    start.save(tmp_path / "start.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    files = {"image": tmp_path / "start.png", "mask_image": str(tmp_path / "mask.png")}
    samples = t2ikit.sample(run, CAPTIONS[:2], n=2, guidance=[1, 3], strength=0.5, progress=False, **files)
    assert samples.function_evaluations == (2 + 4) / 2  # two of four steps, without and with guidance
    samples.save(tmp_path / "out")
    saved = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "out").glob("0*.png"))]
    assert len(saved) == 8
    for one in saved:
        assert np.array_equal(one[:, :9], np.asarray(start)[:, :9])
    assert len({one.tobytes() for one in saved}) == 8
    assert "resized" not in capsys.readouterr().err


# ---------------------------------------------------------------- what is given


def read(image, mask=None, strength=None, prompts=2, size=16):
    return read_edit(image, mask, strength, prompts=prompts, size=size)


def test_images_come_from_files_of_pillow_and_as_tensors(tmp_path):
    start = from_uint8(LEVELS)
    for given in (start[0], to_pil(start)[0], start[:1], [start[0]]):
        found = read(given)
        assert torch.equal(found.image, start[:1].expand(2, -1, -1, -1))
        assert (found.mask, found.strength) == (None, 0.8)
    assert torch.equal(read(start[:2]).image, start[:2])
    mask = torch.eye(16)
    for given in (mask, mask.bool(), Image.fromarray(mask.numpy() * 255).convert("L"), mask[None]):
        found = read(start[0], given)
        assert torch.equal(found.mask, mask.bool().expand(2, 1, 16, 16))
        assert found.strength == 1
    assert read(None) is None


def test_another_size_is_resized_and_told_and_alpha_is_on_white(tmp_path, capsys):
    clear = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (20, 0, 40, 20))
    clear.save(tmp_path / "sprite.png")
    found = read(tmp_path / "sprite.png", clear.getchannel("A")).image
    told = capsys.readouterr().err
    assert "sprite.png: 40 x 20 px; its centre square is resized to 16 x 16 px" in " ".join(told.split())
    assert torch.equal(to_uint8(found)[0, :, 8, 2], torch.tensor([255, 255, 255], dtype=torch.uint8))
    assert torch.equal(to_uint8(found)[0, :, 8, 13], torch.tensor([255, 0, 0], dtype=torch.uint8))
    assert torch.equal(read(clear, clear.getchannel("A")).mask[0, 0, 0], torch.arange(16) >= 8)


START = to_pil(from_uint8(LEVELS[:1]))[0]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"image": "gone.png"}, "gone.png: this is no image"),
        ({"image": "."}, "got: a folder"),
        ({"image": __file__}, "test_editing.py: this is no image"),
        ({"image": 3}, "got: int"),
        ({"image": torch.full((3, 16, 16), 2.0)}, "beyond"),
        ({"image": [START] * 3}, "expected: 1 for all prompts, or 2"),
        ({"image": START, "strength": 1.5}, "a number from 0"),
        ({"image": START, "strength": float("nan")}, "a number from 0"),
        ({"image": None, "strength": 0.5}, "strength: there is no image to begin at"),
        ({"image": None, "mask": START}, "mask_image: there is no image to begin at"),
        ({"image": START, "mask": Image.new("L", (16, 24))}, "another shape than the image"),
        ({"image": START, "mask": torch.full((16, 16), 2.0)}, "beyond"),
    ],
)
def test_what_is_given_wrongly_is_told(given, says):
    with pytest.raises(UserError) as error:
        read(**given)
    assert says in " ".join(str(error.value).split())


# ---------------------------------------------------------------- who can


class NoiseAlone(Sampler):
    def __call__(self, model, condition, *, steps=None, guidance=None, draws, progress=None):
        raise AssertionError


def model_of(generator, sampler):
    return SimpleNamespace(generator=generator, sampler=sampler, context=SimpleNamespace(image_size=16))


@pytest.mark.parametrize(
    ("generator", "sampler", "asked", "says"),
    [
        (ToyGAN(8, 16), OneStepSampler(), {"edit": edit()}, "image: this model makes an image"),
        (ToyGAN(8, 16), OneStepSampler(), {"negative": "a"}, "negative_prompt: this model makes an image"),
        (MODEL, NoiseAlone(), {"edit": edit()}, "image: the sampler NoiseAlone begins at noise alone"),
        (
            MODEL,
            own("ddim"),
            {"edit": edit(0.1), "steps": 4},
            "strength 0.1 of 4 steps is not one step",
        ),
    ],
)
def test_what_cannot_be_edited_is_refused(generator, sampler, asked, says):
    with pytest.raises(UserError, match=says):
        check_edit(model_of(generator, sampler), **{"edit": None, "negative": "", **asked})
    check_edit(model_of(generator, sampler), None, "")
