"""Exports: pictures to the bit, files that repeat, text encoders inside, and what is refused."""

from __future__ import annotations

import filecmp
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from PIL import Image

from t2ikit import UserError, open_run
from t2ikit.batch import mix
from t2ikit.drawing import open_model
from t2ikit.evaluating import Question, evaluate
from t2ikit.exporting import export, push
from t2ikit.pipeline import TextToImagePipeline
from t2ikit.recipe import read_recipe
from t2ikit.registry import Registry
from t2ikit.sample import sample
from t2ikit.testing import check_exporter
from t2ikit.training import start_run
from t2ikit_gigagan.pipeline import GigaGANPipeline
from t2ikit_imagen.deepfloyd_export import export_if
from t2ikit_imagen.pipeline import ImagenPipeline
from test_pretrained_text import t5_folder
from test_super_resolution import DENOISER, TINY

PROMPTS = ["a red cat", "a blue bird with green eyes"]
GAN = [
    "generator.channels=[16,16,16]",
    "generator.filters=[1,1,1]",
    "generator.attention=[false,true,false]",
    "generator.head_width=16",
    "critics.multiscale.channels=[16,16,16]",
    "critics.multiscale.attention=[false,true,false]",
    "critics.multiscale.head_width=16",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each plugin, and one whose text encoder has weights."""
    folder = tmp_path_factory.mktemp("export")
    registry = Registry.load()
    encoder = ["text.use=t5", f"text.model={t5_folder(folder / 'encoder')}", "text.length=8"]
    wanted = {
        "imagen": ("imagen/default", ["sampler.steps=3", *DENOISER]),
        "gigagan": ("gigagan/default", GAN),
        "t5": ("imagen/default", ["sampler.steps=3", *DENOISER, *encoder]),
        "if": ("imagen/imagen-if", ["sampler.steps=3", *DENOISER, *encoder[1:2]]),
        "sr": ("imagen/sr-32-64", [*DENOISER, "generator.layers=1", "generator.crop=8"]),
    }
    for name, (recipe, settings) in wanted.items():
        chosen = read_recipe(registry, recipe, settings=[*TINY, "data.size=16", *settings])
        start_run(registry, chosen, folder / name, device="cpu")
    return folder


def drawn(path, **options):
    """What `t2ikit sample` draws before it is made a PNG."""
    return sample(open_model(open_run(path)), PROMPTS, samples=range(2), **options)


@pytest.mark.parametrize(("name", "kind"), [("imagen", ImagenPipeline), ("gigagan", GigaGANPipeline)])
def test_a_pipeline_draws_what_sample_draws_to_the_bit(runs, tmp_path, name, kind):
    export(runs / name, "diffusers", tmp_path / "out")
    pipeline = kind.from_pretrained(tmp_path / "out")
    found = pipeline(PROMPTS, num_images_per_prompt=2, output_type="pt").images
    assert torch.equal(found, drawn(runs / name))
    assert torch.equal(drawn(tmp_path / "out"), found)  # `t2ikit sample` opens the export, too
    assert not torch.equal(pipeline(PROMPTS, num_images_per_prompt=2, seed=1, output_type="pt").images, found)
    pictures = pipeline(PROMPTS[0]).images
    assert [picture.size for picture in pictures] == [(16, 16)]
    (array,) = pipeline(PROMPTS[0], output_type="np", return_dict=False)
    assert array.shape == (1, 16, 16, 3)
    assert 0 <= array.min() <= array.max() <= 1


@pytest.mark.parametrize(("name", "kind"), [("imagen", ImagenPipeline), ("t5", ImagenPipeline)])
def test_saved_loaded_and_saved_again_it_is_the_same(runs, tmp_path, name, kind):
    kind.from_run(runs / name).save_pretrained(tmp_path / "first")
    kind.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    files = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*") if p.is_file())
    assert len(files) >= 4
    for file in files:
        assert filecmp.cmp(tmp_path / "first" / file, tmp_path / "second" / file, shallow=False), file


def test_the_text_encoder_travels_inside(runs, tmp_path, monkeypatch):
    export(runs / "t5", "diffusers", tmp_path / "out")
    before = drawn(runs / "t5")
    hidden = runs / "encoder"
    shutil.move(hidden, runs / "away")
    try:
        pipeline = ImagenPipeline.from_pretrained(tmp_path / "out")
        assert pipeline.text_encoder is not None
        found = pipeline(PROMPTS, num_images_per_prompt=2, output_type="pt").images
        torch.testing.assert_close(found, before, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(drawn(tmp_path / "out"), before, atol=1e-5, rtol=1e-5)
    finally:
        shutil.move(runs / "away", hidden)


def test_a_scheduler_can_be_swapped(runs):
    pipeline = ImagenPipeline.from_run(runs / "imagen")
    first = pipeline(PROMPTS, output_type="pt").images
    for kind, name in ((UniPCMultistepScheduler, "unipc"), (DDIMScheduler, "ddim")):
        pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
        swapped = pipeline(PROMPTS, output_type="pt").images
        assert not torch.equal(swapped, first)
        model = open_model(open_run(runs / "imagen"), sampler=name, settings=["sampler.steps=3"])
        guidance = pipeline.config.recipe["sampler"]["guidance"]
        torch.testing.assert_close(swapped, sample(model, PROMPTS, guidance=guidance), atol=1e-5, rtol=1e-5)
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler()
    with pytest.raises(UserError, match="no diffusion schedule"):
        pipeline(PROMPTS)
    pipeline.scheduler = None
    assert torch.equal(pipeline(PROMPTS, output_type="pt").images, first)


def test_a_model_that_enlarges_takes_pictures(runs, tmp_path):
    export(runs / "sr", "diffusers", tmp_path / "out")
    pipeline = ImagenPipeline.from_pretrained(tmp_path / "out")
    small = torch.zeros(2, 3, 8, 8)
    assert torch.equal(
        pipeline(PROMPTS, image=small, output_type="pt").images,
        sample(open_model(open_run(runs / "sr")), PROMPTS, low_res=small),
    )
    picture = Image.new("RGB", (8, 8), (255, 0, 0))
    red = torch.tensor([1.0, -1.0, -1.0])[:, None, None].expand(3, 8, 8)
    assert torch.equal(
        pipeline(PROMPTS[:1], image=picture, num_images_per_prompt=2, output_type="pt").images,
        pipeline(PROMPTS[:1], image=red[None], num_images_per_prompt=2, output_type="pt").images,
    )
    with pytest.raises(UserError, match="no pictures"):
        pipeline(PROMPTS)
    with pytest.raises(UserError, match="one picture for each prompt"):
        pipeline(PROMPTS, image=[picture, Image.new("RGB", (9, 8)), picture])


def test_the_card_says_what_it_is(runs, tmp_path):
    export(runs / "imagen", "diffusers", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: diffusers\n")
    assert "ImagenPipeline.from_pretrained" in card
    assert open_run(runs / "imagen").info["data_fingerprint"] in card
    assert 'use = "imagen/unet"' in card
    assert Image.open(tmp_path / "out" / "grid.png").size[0] > 100
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert index["_class_name"] == "ImagenPipeline"
    names = {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names <= {".json", ".safetensors", ".md", ".toml", ".png"}


def test_an_export_is_measured_like_its_run(runs, tmp_path):
    export(runs / "imagen", "diffusers", tmp_path / "imagen")
    question = Question(n=4, metrics=["colours"], again=0)
    ours, theirs = (evaluate(path, question) for path in (runs / "imagen", tmp_path / "imagen"))
    assert ours.measures == theirs.measures
    assert ours.name == theirs.name


@pytest.mark.parametrize("name", ["imagen/diffusers", "gigagan/diffusers"])
def test_the_exporters_hold_the_interface(runs, name):
    check_exporter(name, open_run(runs / name.split("/")[0]))


def test_mistakes_exit_2(runs, tmp_path, cli):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    out = ("--format", "diffusers", "--out", tmp_path / "out")
    assert cli("export", runs / "imagen", *out).returncode == 0
    wrong = {
        ("export", runs / "imagen", "--format", "onnx", "--out", tmp_path / "new"): "no such format",
        ("export", runs / "imagen", "--format", "diffusers", "--out", tmp_path / "full"): "is not empty",
        ("export", tmp_path / "nothing", *out): "is not a run folder",
        ("sample", tmp_path / "out", "a cat", "--weights", "raw"): "averaged weights of one checkpoint alone",
    }
    for words, expected in wrong.items():
        result = cli(*words)
        assert result.returncode == 2, result.stderr
        assert expected in result.stderr
    (tmp_path / "out" / "generator" / "diffusion_pytorch_model.safetensors").unlink()
    result = cli("sample", tmp_path / "out", "a cat")
    assert result.returncode == 2
    assert "is damaged" in result.stderr


def test_an_upload_goes_up_to_the_network_and_says_why_it_failed(runs, tmp_path, monkeypatch):
    import huggingface_hub

    export(runs / "gigagan", "diffusers", tmp_path / "out")
    sent = {}

    def upload(repo_id, folder_path):
        sent.update(repo=repo_id, files=sorted(path.name for path in folder_path.iterdir()))

    class Made(str):
        repo_id = "me/mine"

    monkeypatch.setattr(huggingface_hub, "create_repo", lambda name, exist_ok: Made(f"https://hub/{name}"))
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload)
    assert push(tmp_path / "out", "me/mine") == "https://hub/me/mine"
    assert sent["repo"] == "me/mine"
    assert {"README.md", "model_index.json", "generator"} <= set(sent["files"])

    def offline(name, exist_ok):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "create_repo", offline)
    with pytest.raises(UserError, match="the Hub did not take it") as error:
        push(tmp_path / "out", "me/mine")
    assert "is whole in" in str(error.value)


def test_a_pipeline_of_neither_plugin_is_the_core_s_own(runs):
    pipeline = TextToImagePipeline.from_run(runs / "gigagan")
    assert torch.equal(
        pipeline(PROMPTS, num_images_per_prompt=2, output_type="pt").images, drawn(runs / "gigagan")
    )


# ---------------------------------------------------------------- for stock diffusers

STOCK = """
import json, sys
import torch
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("out")
seeds = json.loads(sys.argv[1])
generators = [torch.Generator().manual_seed(seed) for seed in seeds]
images = pipeline(json.loads(sys.argv[2]), num_inference_steps=3, guidance_scale=2.5, generator=generators,
                  output_type="pt").images
torch.set_printoptions(profile="full")
print(json.dumps({"class": type(pipeline).__name__, "images": images.tolist(),
                  "ours": sorted(name for name in sys.modules if name.startswith("t2ikit"))}))
"""


def test_stock_diffusers_draws_the_same_pictures(runs, tmp_path):
    """With the noise that t2ikit would draw, and without t2ikit."""
    export(runs / "if", "if", tmp_path / "out")
    keys = [mix(0, prompt, 0) for prompt in PROMPTS]
    seeds = [mix(key, "sample") for key in keys]
    command = [sys.executable, "-c", STOCK, json.dumps(seeds), json.dumps(PROMPTS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["class"] == "IFPipeline"
    assert found["ours"] == []
    ours = sample(open_model(open_run(runs / "if")), PROMPTS)
    torch.testing.assert_close(torch.tensor(found["images"]), ours, atol=1e-4, rtol=1e-4)


def test_padding_is_given_as_text_where_it_is_asked_for(runs):
    model = open_model(open_run(runs / "if"))
    text = model.encoder.encode(["a red cat"])
    assert text.tokens.shape[1] == 77
    assert bool(text.mask.all())
    encoder, tokenizer = model.encoder.components()
    given = tokenizer(["a red cat"], padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        theirs = encoder(given.input_ids, attention_mask=given.attention_mask)[0]
    torch.testing.assert_close(text.tokens, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("imagen", ["not imagen/if-unet", "no model that transformers could open", "not 77 and true"]),
        ("gigagan", ["not imagen/if-unet", "no scheduler of diffusers"]),
        ("t5", ["not imagen/if-unet", "text.length 8"]),
    ],
)
def test_other_models_are_refused_with_every_obstacle(runs, tmp_path, name, expected):
    with pytest.raises(UserError, match="cannot hold this model") as error:
        export(runs / name, "imagen/if", tmp_path / "out")
    for part in expected:
        assert part in str(error.value)


def test_samplers_that_it_cannot_hold_are_refused(runs, tmp_path):
    run = open_run(runs / "if")
    for settings, expected in (
        ({"use": "imagen/euler"}, "no thresholding"),
        ({"use": "imagen/flow"}, "no scheduler of diffusers"),
        ({**run.table["sampler"], "guidance_interval": [0.2, 0.8]}, "guidance_interval"),
    ):
        changed = replace(run, table={**run.table, "sampler": settings})
        with pytest.raises(UserError, match="cannot hold this model") as error:
            export_if(changed, tmp_path / "out")
        assert expected in str(error.value)
