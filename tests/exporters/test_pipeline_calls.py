"""What callers know from other pipelines of diffusers is supported, or refused in one sentence."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from test_super_resolution import DENOISER, TINY

import t2ikit
from t2ikit import UserError
from t2ikit.exporters.export import export
from t2ikit.exporters.pipeline_calls import UNSUPPORTED, shape_called
from t2ikit.pipeline import TextToImagePipeline
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.training.start import start_run
from t2ikit_gigagan.pipeline import GigaGANPipeline
from t2ikit_imagen.pipeline import ImagenPipeline

OURS = set(inspect.signature(TextToImagePipeline.__call__).parameters)
PEERS = (
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "IFPipeline",
)
PROMPT = "a red cat"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    settings = [*TINY, "data.size=16", "sampler.steps=2", *DENOISER]
    recipe = read_recipe(Registry.load(), "imagen/default", settings=settings)
    start_run(Registry.load(), recipe, folder / "run", device="cpu")
    return export(folder / "run", "diffusers", out=folder / "my-model")


@pytest.fixture(scope="module")
def pipeline(exported):
    return ImagenPipeline.from_pretrained(exported)


def images(pipeline, **options):
    return pipeline(PROMPT, output_type="pt", **options).images


def refusal(error, most=200):
    """The message of an error, which must be one sentence."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < most
    return text


# ---------------------------------------------------------------- options of a call


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("masked_image_latents", torch.zeros(1), "mask_image="),
        ("callback", print, "callback_on_step_end="),
        ("latents", torch.zeros(1), "seed="),
        ("prompt_embeds", torch.zeros(1), "prompt="),
        ("eta", 0.5, "pipeline.scheduler"),
        ("timesteps", [3, 2], "num_inference_steps="),
        ("clean_caption", True, "read as they are"),
    ],
)
def test_an_option_of_other_pipelines_is_refused_with_what_to_do(pipeline, name, value, instead):
    with pytest.raises(NotImplementedError, match=rf"^{name}= is not supported: ") as error:
        pipeline(PROMPT, **{name: value})
    assert instead in refusal(error)


def test_none_is_as_good_as_not_given(pipeline):
    assert torch.equal(images(pipeline, **dict.fromkeys(UNSUPPORTED)), images(pipeline))


@pytest.mark.parametrize("peer", PEERS)
def test_every_option_of_a_peer_is_known(peer):
    theirs = inspect.signature(getattr(diffusers, peer).__call__).parameters
    unknown = set(theirs) - OURS - set(UNSUPPORTED) - {"kwargs"}
    assert {name for name in unknown if not name.startswith("ip_adapter_image")} == set()


def test_what_is_done_anyway_may_be_asked_for(pipeline):
    asked = images(pipeline, negative_prompt=[""], clean_caption=False, height=16, width=16)
    assert torch.equal(asked, images(pipeline))


@pytest.mark.parametrize("side", ["height", "width"])
def test_another_size_is_refused(pipeline, side):
    with pytest.raises(ValueError, match=rf"{side}=62: this model makes images of multiples of 4") as error:
        pipeline(PROMPT, **{side: 62})
    refusal(error)
    square = SimpleNamespace(shape_multiple=0)
    with pytest.raises(ValueError, match=rf"{side}=64: this model makes images of 16 x 16 pixels") as error:
        shape_called(16, square, **{"height": 16, "width": None, side: 64})
    refusal(error)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("guidance_scal", "guidance_scale"), ("num_steps", "num_inference_steps"), ("hight", "height")],
)
def test_a_misspelled_option_gets_a_suggestion(pipeline, name, meant):
    with pytest.raises(ValueError, match=rf"no option {name}=; did you mean '{meant}'") as error:
        pipeline(PROMPT, **{name: 3})
    refusal(error)


def test_an_unknown_option_is_told_what_there_is(pipeline):
    with pytest.raises(
        ValueError, match=r"no option zebra=; choose one of callback_on_step_end, .*guidance_scale, height"
    ) as error:
        pipeline(PROMPT, zebra=3)
    assert "self" not in refusal(error, 310)  # with every option


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_inference_steps", "20"),
        ("num_inference_steps", 2.5),
        ("num_images_per_prompt", "2"),
        ("guidance_scale", "strong"),
        ("guidance_scale", True),
        ("seed", None),
        ("seed", torch.Generator()),
    ],
)
def test_what_is_no_number_is_refused(pipeline, name, value):
    with pytest.raises(ValueError, match=rf"^{name}=.*: this option takes a (whole )?number"):
        pipeline(PROMPT, **{name: value})


def test_numbers_of_numpy_are_numbers(pipeline):
    options = {"num_inference_steps": 2, "guidance_scale": 2.0, "seed": 3, "num_images_per_prompt": 2}
    theirs = {
        name: np.int64(value) if isinstance(value, int) else np.float32(value)
        for name, value in options.items()
    }
    assert torch.equal(images(pipeline, **theirs), images(pipeline, **options))


@pytest.mark.parametrize("image", [64, np.zeros((8, 8, 3)), torch.zeros(1, 8, 8), ["cat.png"]])
def test_what_is_no_image_is_refused(pipeline, image):
    with pytest.raises(UserError, match="this is no image that can be read"):
        pipeline(PROMPT, image)


def test_images_are_edited_as_sample_does_it(pipeline, exported):
    start = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).round() * 2 - 1
    mask = (torch.arange(16) >= 9).float().expand(16, 16)
    options = {"image": start, "mask_image": mask, "strength": 0.5, "negative_prompt": "a fish"}
    found = images(pipeline, num_images_per_prompt=2, **options)
    expected = t2ikit.sample(exported, PROMPT, n=2, progress=False, **options).images[0, 0]
    torch.testing.assert_close(found, expected)
    assert torch.equal(found[..., :9], start.expand(2, -1, -1, -1)[..., :9])
    assert (found - images(pipeline, num_images_per_prompt=2))[..., 9:].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"strength": 0.5}, "strength: there is no image to begin at"),
        ({"image": Image.new("RGB", (16, 16)), "strength": 2}, "no share of the steps"),
        ({"negative_prompt": ["a cat", "a fish"]}, "neither one text for all prompts nor one for each"),
    ],
)
def test_what_cannot_be_edited_is_refused(pipeline, options, says):
    with pytest.raises(UserError, match=says):
        pipeline(PROMPT, **options)


def test_a_call_without_a_prompt_is_refused(pipeline):
    with pytest.raises(UserError, match="there is nothing to sample"):
        pipeline()


def test_images_have_every_type_and_number_that_is_asked_for(pipeline):
    found = pipeline([PROMPT, "a dog"], num_images_per_prompt=2).images
    assert [type(image) for image in found] == [Image.Image] * 4
    assert pipeline(PROMPT, output_type="np", return_dict=False)[0].shape == (1, 16, 16, 3)
    with pytest.raises(UserError, match="output_type 'latent' is none"):
        pipeline(PROMPT, output_type="latent")


# ---------------------------------------------------------------- methods


@pytest.mark.parametrize(
    "name", ["enable_model_cpu_offload", "enable_sequential_cpu_offload", "enable_group_offload"]
)
def test_offloading_is_refused(pipeline, name):
    with pytest.raises(NotImplementedError, match=r"^offloading is not supported: .*pipeline\.to") as error:
        getattr(pipeline, name)(device="cuda")
    refusal(error)
    assert images(pipeline).isfinite().all()


@pytest.mark.parametrize("name", ["attention_slicing", "xformers_memory_efficient_attention"])
def test_other_ways_of_attention_are_refused_and_never_half_set(pipeline, name):
    before = images(pipeline)
    with pytest.raises(NotImplementedError, match="is not supported: attention is computed whole") as error:
        getattr(pipeline, f"enable_{name}")()
    refusal(error)
    getattr(pipeline, f"disable_{name}")()
    assert torch.equal(images(pipeline), before)


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize("where", ["cuda", "balanced", {"generator": "cpu"}])
def test_a_device_map_is_refused(exported, where):
    with pytest.raises(NotImplementedError, match=r"^device_map= is not supported: .*pipeline\.to") as error:
        ImagenPipeline.from_pretrained(exported, device_map=where)
    refusal(error)


def test_stock_diffusers_opens_an_export_when_its_file_is_trusted(exported, tmp_path, monkeypatch):
    cache = str(tmp_path / "modules")  # not the user's, where diffusers copies pipeline.py to
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", cache)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(ValueError, match=r"custom code in pipeline\.py.*\n?.*trust_remote_code=True"):
        DiffusionPipeline.from_pretrained(exported)
    pipeline = DiffusionPipeline.from_pretrained(exported, trust_remote_code=True)
    assert type(pipeline) is ImagenPipeline
    assert torch.equal(images(pipeline), images(ImagenPipeline.from_pretrained(exported)))


def test_the_class_that_an_export_names_is_in_its_file(exported, monkeypatch):
    index = json.loads((exported / "model_index.json").read_text())
    assert index["_class_name"] == ["pipeline", "ImagenPipeline"]
    source = compile((exported / "pipeline.py").read_text(), "pipeline.py", "exec")
    exec(source, found := {})
    assert found["ImagenPipeline"] is ImagenPipeline
    monkeypatch.setitem(sys.modules, "t2ikit_imagen.pipeline", None)  # as where t2ikit is not installed
    with pytest.raises(ImportError, match=r"^this model needs t2ikit \d"):
        exec(source, {})


@pytest.mark.parametrize("kind", [ImagenPipeline, TextToImagePipeline])
def test_our_classes_open_it_without_running_its_file(exported, tmp_path, kind):
    folder = shutil.copytree(exported, tmp_path / "copy")
    (folder / "pipeline.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')")
    opened = kind.from_pretrained(folder, trust_remote_code=True)
    assert type(opened) is kind
    assert not (tmp_path / "it-ran").exists()
    index = folder / "model_index.json"
    index.write_text(
        json.dumps({**json.loads(index.read_text()), "_class_name": ["pipeline", "Evil", "more"]})
    )
    with pytest.raises(UserError, match="names code that is not installed"):
        kind.from_pretrained(folder)


def test_an_export_of_an_earlier_version_opens(exported, tmp_path):
    """Whose index has the class's name alone, another home of GeneratorModel, and no plugins."""
    folder = shutil.copytree(exported, tmp_path / "copy")
    index = json.loads((folder / "model_index.json").read_text())
    recipe = {key: value for key, value in index["recipe"].items() if key != "plugins"}
    older = {
        **index,
        "_class_name": "ImagenPipeline",
        "generator": ["t2ikit.pipeline", "GeneratorModel"],
        "recipe": recipe,
    }
    (folder / "model_index.json").write_text(json.dumps(older))
    assert torch.equal(
        images(ImagenPipeline.from_pretrained(folder)), images(ImagenPipeline.from_pretrained(exported))
    )


def test_a_pipeline_of_another_family_refuses_the_same_options():
    assert inspect.signature(GigaGANPipeline.__call__) == inspect.signature(TextToImagePipeline.__call__)
    assert GigaGANPipeline.enable_model_cpu_offload is TextToImagePipeline.enable_model_cpu_offload
