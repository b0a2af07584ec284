"""What every pipeline of diffusers does with its options, ours does, as diffusers' own tests check it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from PIL import Image
from test_super_resolution import DENOISER, TINY

import t2ikit
from t2ikit.exporters.pipeline_steps import call_between_steps
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.sampling.one_step import OneStepSampler
from t2ikit.training.start import start_run
from t2ikit_imagen.pipeline import ImagenPipeline

PROMPTS = ["a red cat", "a blue dog", "a green fish"]
STEPS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = [*TINY, "data.size=16", f"sampler.steps={STEPS}", *DENOISER]
    recipe = read_recipe(Registry.load(), "imagen/default", settings=settings)
    return start_run(Registry.load(), recipe, tmp_path_factory.mktemp("runs") / "run", device="cpu").path


@pytest.fixture(scope="module")
def pipeline(run):
    found = ImagenPipeline.from_run(run)
    found.set_progress_bar_config(disable=True)
    return found


def images(pipeline, prompt=PROMPTS[0], **options):
    return pipeline(prompt, output_type="pt", **options).images


def seeded(*seeds):
    made = [torch.Generator().manual_seed(seed) for seed in seeds]
    return made[0] if len(made) == 1 else made


# ---------------------------------------------------------------- noise


def test_one_seed_makes_the_images_of_sample(pipeline, run):
    expected = t2ikit.sample(run, PROMPTS, n=2, seed=4, progress=False).images.flatten(0, 2)
    assert torch.equal(images(pipeline, PROMPTS, num_images_per_prompt=2, seed=4), expected)


def test_generators_of_one_seed_make_one_image_and_move_on(pipeline):
    first, same = images(pipeline, generator=seeded(7)), images(pipeline, generator=seeded(7))
    assert torch.equal(first, same)
    used = seeded(7)
    assert torch.equal(images(pipeline, generator=used), first)
    assert (images(pipeline, generator=used) - first).abs().max() > 1e-2


def test_a_batch_of_generators_makes_the_images_of_each_alone(pipeline):
    """As diffusers' `test_inference_batch_single_identical`, for prompts and for images of one."""
    batch = images(pipeline, PROMPTS, generator=seeded(1, 2, 3))
    for place, prompt in enumerate(PROMPTS):
        alone = images(pipeline, prompt, generator=seeded(place + 1))
        torch.testing.assert_close(batch[place], alone[0], atol=1e-5, rtol=0)
    several = images(pipeline, num_images_per_prompt=2, generator=seeded(1, 9))
    torch.testing.assert_close(several[0], batch[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"generator": seeded(1, 2)},
            "takes one torch.Generator, or a list of 1, one for each image; got 2 of them",
        ),
        ({"generator": [3]}, "got int"),
        ({"generator": seeded(1), "seed": 2}, "both say where the noise comes from"),
    ],
)
def test_generators_that_do_not_fit_are_refused(pipeline, options, says):
    with pytest.raises(ValueError, match=says):
        pipeline(PROMPTS[0], **options)


# ---------------------------------------------------------------- prompts and images


@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize("each", [1, 2])
def test_there_are_as_many_images_as_asked_for(pipeline, prompts, each):
    found = images(pipeline, PROMPTS[:prompts], num_images_per_prompt=each)
    assert found.shape == (prompts * each, 3, 16, 16)


def test_each_prompt_has_a_negative_prompt_of_its_own(pipeline):
    each = images(pipeline, PROMPTS, negative_prompt=["a fish", "", "a cat"], guidance_scale=4.0)
    for place, negative in enumerate(["a fish", "", "a cat"]):
        alone = images(pipeline, PROMPTS[place], negative_prompt=negative, guidance_scale=4.0)
        torch.testing.assert_close(each[place], alone[0], atol=1e-5, rtol=0)
    assert (each - images(pipeline, PROMPTS, guidance_scale=4.0))[0].abs().max() > 1e-3


def test_outputs_of_every_type_are_the_same_images(pipeline):
    tensors = images(pipeline, PROMPTS)
    arrays = pipeline(PROMPTS, output_type="np").images
    pictures = pipeline(PROMPTS).images
    assert arrays.dtype == np.float32
    assert 0 <= arrays.min() <= arrays.max() <= 1
    np.testing.assert_allclose(arrays, ((tensors + 1) / 2).permute(0, 2, 3, 1).numpy(), atol=1e-6)
    assert all(isinstance(picture, Image.Image) for picture in pictures)
    shown = np.stack([np.asarray(picture) for picture in pictures]) / 255
    np.testing.assert_allclose(shown, arrays, atol=0.51 / 255)


def test_a_tuple_holds_what_the_output_holds(pipeline):
    (alone,) = pipeline(PROMPTS[0], output_type="pt", return_dict=False)
    assert torch.equal(alone, images(pipeline))


def test_saved_and_opened_it_samples_the_same(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    opened = ImagenPipeline.from_pretrained(tmp_path)
    opened.set_progress_bar_config(disable=True)
    assert torch.equal(images(opened, generator=seeded(3)), images(pipeline, generator=seeded(3)))


def test_half_precision_samples_nearly_the_same(run):
    whole, half = (ImagenPipeline.from_run(run).to(dtype) for dtype in (torch.float32, torch.bfloat16))
    difference = (images(whole) - images(half)).abs()
    assert half.dtype == torch.bfloat16
    assert 0 < difference.mean() < 0.05


# ---------------------------------------------------------------- between the steps


def test_a_callback_is_called_after_each_step(pipeline):
    seen = []

    def callback(given, step, timestep, tensors):
        assert given is pipeline
        assert given.num_timesteps == STEPS
        seen.append((step, float(timestep), tensors["latents"].clone()))
        return tensors

    found = images(pipeline, PROMPTS, callback_on_step_end=callback)
    steps, times, levels = zip(*seen, strict=True)
    assert steps == (0, 1, 2)
    assert list(times) == sorted(times, reverse=True)
    assert len(set(times)) == STEPS
    assert all(level.shape == (3, 3, 16, 16) for level in levels)
    torch.testing.assert_close(levels[-1].clamp(-1, 1), found)
    assert torch.equal(found, images(pipeline, PROMPTS))


def test_a_callback_changes_the_images(pipeline):
    """As diffusers' `test_callback_inputs`: zeros after the last step are what comes out."""

    def zeros_at_the_end(given, step, timestep, tensors):
        return {"latents": tensors["latents"] * 0} if step == given.num_timesteps - 1 else tensors

    def another_beginning(given, step, timestep, tensors):
        return {"latents": tensors["latents"].flip(-1)} if step == 0 else None

    assert images(pipeline, callback_on_step_end=zeros_at_the_end).abs().sum() == 0
    changed = images(pipeline, callback_on_step_end=another_beginning)
    assert (changed - images(pipeline)).abs().max() > 1e-2


def test_a_callback_may_interrupt(pipeline):
    steps = []

    def stop(given, step, timestep, tensors):
        steps.append(step)
        given._interrupt = step == 1

    images(pipeline, callback_on_step_end=stop)
    assert steps == [0, 1]
    images(pipeline, callback_on_step_end=lambda *seen: steps.append(seen[1]))
    assert steps == [0, 1, 0, 1, 2]  # the next call is not interrupted


def test_an_image_begun_at_counts_the_steps_that_are_taken(pipeline):
    start, steps = Image.new("RGB", (16, 16), "red"), []
    options = {"image": start, "strength": 0.7, "num_inference_steps": 4}
    images(pipeline, callback_on_step_end=lambda *seen: steps.append(seen[1]), **options)
    assert steps == [0, 1]


def test_callbacks_of_diffusers_name_their_tensors(pipeline):
    class Seen(PipelineCallback):
        tensor_inputs = ["latents"]
        count = 0

        def callback_fn(self, given, step, timestep, tensors):
            type(self).count += len(tensors)
            return tensors

    images(pipeline, callback_on_step_end=MultiPipelineCallbacks([Seen(0.5, None), Seen(0.5, None)]))
    assert Seen.count == 2 * STEPS
    got = []
    images(
        pipeline,
        callback_on_step_end=lambda *seen: got.append(seen[3]),
        callback_on_step_end_tensor_inputs=[],
    )
    assert got == [{}] * STEPS


def test_a_callback_that_cannot_be_is_refused(pipeline):
    with pytest.raises(ValueError, match=r"there is no prompt_embeds; only 'latents', the noisy images"):
        pipeline(
            PROMPTS[0],
            callback_on_step_end=lambda *seen: None,
            callback_on_step_end_tensor_inputs=["prompt_embeds"],
        )
    with pytest.raises(ValueError, match=r"returned latents \(1, 3, 8, 8\) in place of \(1, 3, 16, 16\)"):
        pipeline(PROMPTS[0], callback_on_step_end=lambda *seen: {"latents": torch.zeros(1, 3, 8, 8)})


@pytest.mark.parametrize("in_place", [True, False])
def test_what_a_callback_broke_is_not_put_down_to_the_weights(pipeline, in_place):
    def broken(given, step, timestep, tensors):
        if step == 1:
            tensors["latents"] = tensors["latents"].mul_(math.nan) if in_place else tensors["latents"] / 0
        return tensors

    with pytest.raises(ValueError, match=r"callback_on_step_end made latents that are not finite .* step 1"):
        pipeline(PROMPTS[0], callback_on_step_end=broken)


def test_a_model_without_steps_refuses_a_callback(pipeline):
    with pytest.raises(NotImplementedError, match="makes an image in one go, without steps"):
        call_between_steps(pipeline, OneStepSampler(), print, ["latents"])


# ---------------------------------------------------------------- the progress bar


def test_a_bar_counts_the_steps_and_can_be_turned_off(run, capsys):
    pipeline = ImagenPipeline.from_run(run)
    pipeline.set_progress_bar_config(desc="denoising", mininterval=0)
    images(pipeline)
    shown = capsys.readouterr().err
    assert "denoising" in shown
    assert f"{STEPS}/{STEPS}" in shown
    pipeline.set_progress_bar_config(disable=True)
    images(pipeline)
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------- what is of the wrong type


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"generator": 3}, r"takes one torch.Generator, or a list of 1, .*; got int"),
        ({"generator": [torch.Generator(), 3]}, "got Generator, int"),
        ({"height": 16.5}, r"height=16\.5: this option takes a whole number"),
        ({"height": 0}, "height=0: this model makes images of multiples of"),
        ({"callback_on_step_end": 3}, "callback_on_step_end=3: this option takes a function"),
        ({"callback_on_step_end": lambda *seen: 3}, "must return a dict or nothing, not int"),
    ],
)
def test_an_option_of_the_wrong_type_is_told_what_it_takes(pipeline, options, says):
    with pytest.raises(ValueError, match=says):
        pipeline(PROMPTS[0], **options)


@pytest.mark.parametrize(("prompt", "options"), [(3, {}), (PROMPTS[0], {"negative_prompt": 3})])
def test_prompts_that_are_no_texts_are_refused(pipeline, prompt, options):
    with pytest.raises(t2ikit.UserError):
        pipeline(prompt, **options)
