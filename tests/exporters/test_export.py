"""Exports: images to the bit, files that repeat, text encoders inside, and what is refused."""

from __future__ import annotations

import filecmp
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, SchedulerMixin, UniPCMultistepScheduler
from huggingface_hub import ModelCard
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from test_pretrained_text import t5_folder
from test_super_resolution import DENOISER, TINY
from transformers import T5EncoderModel

import t2ikit
import t2ikit.exporters.export
import t2ikit_imagen.pipeline
from conftest import TOYS
from t2ikit import UserError, open_run
from t2ikit.core.rng import derive_seed
from t2ikit.evaluation.evaluator import Evaluator, measure_run
from t2ikit.evaluation.files import measure_into
from t2ikit.evaluation.results import EvaluationOptions
from t2ikit.exporters.export import export, find_format, push
from t2ikit.pipeline import GeneratorModel, TextToImagePipeline
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model
from t2ikit.testing import check_exporter
from t2ikit.text.model_files import name_tokenizers
from t2ikit.training.start import start_run
from t2ikit_gigagan.pipeline import GigaGANPipeline
from t2ikit_imagen.deepfloyd_export import export_if, obstacles
from t2ikit_imagen.pipeline import ImagenPipeline

PROMPTS = ["a red cat", "a blue bird with green eyes"]
GAN = [
    "generator.channels=[16,16,16]",
    "generator.filters=[1,1,1]",
    "generator.attention=[false,true,false]",
    "generator.text_attention=[]",
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
    return sample_images(open_model(open_run(path)), PROMPTS, samples=range(2), **options)


@pytest.mark.parametrize(("name", "kind"), [("imagen", ImagenPipeline), ("gigagan", GigaGANPipeline)])
def test_a_pipeline_draws_what_sample_draws_to_the_bit(runs, tmp_path, name, kind):
    export(runs / name, "diffusers", out=tmp_path / "out")
    pipeline = kind.from_pretrained(tmp_path / "out")
    found = pipeline(PROMPTS, num_images_per_prompt=2, output_type="pt").images
    assert torch.equal(found, drawn(runs / name))
    assert torch.equal(drawn(tmp_path / "out"), found)  # `t2ikit sample` opens the export, too
    assert not torch.equal(pipeline(PROMPTS, num_images_per_prompt=2, seed=1, output_type="pt").images, found)
    images = pipeline(PROMPTS[0]).images
    assert [image.size for image in images] == [(16, 16)]
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
    export(runs / "t5", "diffusers", out=tmp_path / "out")
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
        torch.testing.assert_close(
            swapped, sample_images(model, PROMPTS, guidance=guidance), atol=1e-5, rtol=1e-5
        )
    pipeline.scheduler = None
    assert torch.equal(pipeline(PROMPTS, output_type="pt").images, first)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("FlowMatchEulerDiscreteScheduler", "no diffusion schedule"),
        ("EulerAncestralDiscreteScheduler", "NotImplementedError"),
        ("KDPM2DiscreteScheduler", "NotImplementedError"),
        ("PNDMScheduler", "ValueError"),
    ],
)
def test_a_scheduler_that_takes_no_clean_images_is_refused(runs, name, words):
    pipeline = ImagenPipeline.from_run(runs / "imagen")
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config)
    with pytest.raises(UserError, match="cannot sample this model") as error:
        pipeline(PROMPTS)
    assert words in str(error.value)
    assert "DDIMScheduler" in str(error.value)


@pytest.mark.parametrize("name", t2ikit_imagen.pipeline.WORKING)
def test_the_schedulers_that_are_recommended_work(runs, name):
    pipeline = ImagenPipeline.from_run(runs / "imagen")
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config)
    assert bool(pipeline(PROMPTS, output_type="pt").images.isfinite().all())


def test_a_model_that_enlarges_takes_images(runs, tmp_path):
    export(runs / "sr", "diffusers", out=tmp_path / "out")
    pipeline = ImagenPipeline.from_pretrained(tmp_path / "out")
    small = torch.zeros(2, 3, 8, 8)
    assert torch.equal(
        pipeline(PROMPTS, image=small, output_type="pt").images,
        sample_images(open_model(open_run(runs / "sr")), PROMPTS, low_res=small),
    )
    image = Image.new("RGB", (8, 8), (255, 0, 0))
    red = torch.tensor([1.0, -1.0, -1.0])[:, None, None].expand(3, 8, 8)
    assert torch.equal(
        pipeline(PROMPTS[:1], image=image, num_images_per_prompt=2, output_type="pt").images,
        pipeline(PROMPTS[:1], image=red[None], num_images_per_prompt=2, output_type="pt").images,
    )
    with pytest.raises(UserError, match="no images"):
        pipeline(PROMPTS)
    with pytest.raises(UserError, match="one image for each prompt"):
        pipeline(PROMPTS, image=[image, Image.new("RGB", (9, 8)), image])


def test_the_card_says_what_it_is(runs, tmp_path):
    export(runs / "imagen", "diffusers", out=tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: diffusers\nlicense: apache-2.0\n")
    assert "ImagenPipeline.from_pretrained" in card
    assert open_run(runs / "imagen").info["data_fingerprint"] in card
    assert 'use = "imagen/unet"' in card
    assert Image.open(tmp_path / "out" / "grid.png").size[0] > 100
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert index["_class_name"] == ["pipeline", "ImagenPipeline"]
    names = {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == {".json", ".safetensors", ".md", ".toml", ".png", ".py"}


def test_the_card_of_a_model_that_enlarges_says_so(runs, tmp_path):
    export(runs / "sr", "diffusers", out=tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "pipeline_tag: image-to-image" in card
    assert "Upscales 8 x 8 to 16 x 16 pixels" in card
    assert "image=small" in card
    assert "text-to-image" not in card


def test_the_card_holds_numbers_of_what_is_exported_alone(runs, tmp_path):
    run = shutil.copytree(runs / "imagen", tmp_path / "run")
    options = EvaluationOptions(n=16, metrics=["colours"], repeated_prompts=0)
    whole = measure_into(Evaluator(run, options)).folder
    numbers = json.loads((whole / "evaluation.json").read_text())
    step = numbers["settings"]["step"]
    wrong = [{"weights": "raw"}, {"guidance": 7.0}, {"steps": 9}, {"step": step + 1}, {"data": "other"}]
    for number, change in enumerate(wrong):
        changed = {**numbers, "settings": {**numbers["settings"], **change}}
        changed["measures"] = {"colours/wrong": next(iter(numbers["measures"].values()))}
        (run / "evaluations" / f"step-{number}").mkdir()
        (run / "evaluations" / f"step-{number}" / "evaluation.json").write_text(json.dumps(changed))
    for number, damaged in enumerate(
        ["", "[]", "{", '{"settings": 3}', json.dumps({**numbers, "measures": 3})]
    ):
        (run / "evaluations" / f"step-damaged-{number}").mkdir()
        (run / "evaluations" / f"step-damaged-{number}" / "evaluation.json").write_text(damaged)
    export(run, "diffusers", out=tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| colours/" in card
    assert "colours/wrong" not in card
    assert f"Of step {step}: n 16, seed 0" in card
    shutil.rmtree(whole)
    export(run, "diffusers", out=tmp_path / "again")
    assert "## Numbers" not in (tmp_path / "again" / "README.md").read_text()


@pytest.mark.parametrize("count", [1, 4, 15])
def test_figures_of_few_images_stay_out_of_the_card(runs, tmp_path, count):
    run = shutil.copytree(runs / "imagen", tmp_path / "run")
    measure_into(Evaluator(run, EvaluationOptions(n=count, metrics=["colours"], repeated_prompts=0)))
    export(run, "diffusers", out=tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| colours/" not in card
    assert "figures of fewer than 16 images are left out" in card


def test_an_export_names_no_folder_of_this_machine(runs, tmp_path):
    run = shutil.copytree(runs / "t5", tmp_path / "run")
    table = (run / "recipe.toml").read_text().replace('"creatures"', f'"{tmp_path}/images"')
    (run / "recipe.toml").write_text(table)
    export(run, "diffusers", out=tmp_path / "out")
    texts = {
        path.name: path for path in (tmp_path / "out").rglob("*") if path.suffix in (".md", ".toml", ".json")
    }
    for name, path in texts.items():
        assert str(runs) not in path.read_text(), name
        assert str(tmp_path) not in path.read_text(), name
    assert 'model = "text_encoder"' in texts["README.md"].read_text()
    assert 'spec = "images"' in texts["recipe.toml"].read_text()
    moved = shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    torch.testing.assert_close(drawn(moved), drawn(runs / "t5"), atol=1e-5, rtol=1e-5)


def test_an_export_is_measured_like_its_run(runs, tmp_path):
    export(runs / "imagen", "diffusers", out=tmp_path / "imagen")
    question = EvaluationOptions(n=4, metrics=["colours"], repeated_prompts=0)
    ours, theirs = (measure_run(path, question) for path in (runs / "imagen", tmp_path / "imagen"))
    assert ours.measures == theirs.measures
    assert ours.name == theirs.name


@pytest.mark.parametrize("name", ["imagen/diffusers", "gigagan/diffusers"])
def test_the_exporters_hold_the_interface(runs, name):
    check_exporter(name, open_run(runs / name.split("/")[0]))


def test_half_an_export_does_not_stay(runs, tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(t2ikit.exporters.export, "write_model_card", full)
    with pytest.raises(UserError, match="cannot be written"):
        export(runs / "imagen", "diffusers", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    export(runs / "imagen", "diffusers", out=tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.safetensors"):
        assert path.stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (UserError("no"), UserError),
        (SafetensorError("full"), UserError),
        (ValueError(), ValueError),
    ],
)
@pytest.mark.parametrize("existed", [False, True])
def test_half_an_export_never_bars_the_next(runs, tmp_path, monkeypatch, error, kind, existed):
    def ends(*_):
        raise error

    out = tmp_path / "out"
    if existed:
        out.mkdir()
    monkeypatch.setattr(t2ikit.exporters.export, "write_model_card", ends)
    with pytest.raises(kind):
        export(runs / "imagen", "diffusers", out=out)
    assert out.exists() == existed
    monkeypatch.undo()
    export(runs / "imagen", "diffusers", out=out)


def test_the_card_s_grid_is_not_of_later_steps(runs, tmp_path):
    run = shutil.copytree(runs / "imagen", tmp_path / "run")
    Image.new("RGB", (8, 8)).save(run / "samples" / "step-00000003.png")
    export(run, "diffusers", out=tmp_path / "out")
    assert Image.open(tmp_path / "out" / "grid.png").size != (8, 8)
    assert "at step 2](grid.png)" in (tmp_path / "out" / "README.md").read_text()


def test_mistakes_exit_2(runs, tmp_path, cli_here):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    out = ("--format", "diffusers", "--out", tmp_path / "out")
    assert cli_here("export", runs / "imagen", *out).returncode == 0
    wrong = {
        ("export", runs / "imagen", "--format", "onnx", "--out", tmp_path / "new"): "no such format",
        ("export", runs / "imagen", "--format", "diffusers", "--out", tmp_path / "full"): "is not empty",
        ("export", tmp_path / "nothing", *out): "is not a run folder",
        ("sample", tmp_path / "out", "a cat", "--weights", "raw"): "averaged weights of one checkpoint alone",
    }
    for words, expected in wrong.items():
        result = cli_here(*words)
        assert result.returncode == 2, result.stderr
        assert expected in result.stderr
    (tmp_path / "out" / "generator" / "diffusion_pytorch_model.safetensors").unlink()
    result = cli_here("sample", tmp_path / "out", "a cat")
    assert result.returncode == 2
    assert "is damaged" in result.stderr


def test_what_else_has_a_model_index_is_explained(runs, tmp_path):
    export(runs / "t5", "diffusers", out=tmp_path / "out")
    ImagenPipeline.from_pretrained(tmp_path / "out").save_pretrained(tmp_path / "saved")
    with pytest.raises(UserError, match="is not a run folder") as error:
        open_run(tmp_path / "saved")
    assert "DiffusionPipeline.from_pretrained" in str(error.value)
    assert "--format diffusers" in str(error.value)
    whole = (tmp_path / "out" / "recipe.toml").read_text()
    for damage in ("[text]", "[data]"):
        (tmp_path / "out" / "recipe.toml").write_text(whole.replace(damage, "[other]"))
        with pytest.raises(UserError, match=r"recipe\.toml is damaged"):
            open_run(tmp_path / "out")
    (tmp_path / "out" / "recipe.toml").write_text(whole)
    info = json.loads((tmp_path / "out" / "run.json").read_text())
    (tmp_path / "out" / "run.json").write_text(json.dumps({**info, "step": "last"}))
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        open_run(tmp_path / "out")


def test_an_upload_goes_up_to_the_network_and_says_why_it_failed(runs, tmp_path, monkeypatch):
    import huggingface_hub

    export(runs / "gigagan", "diffusers", out=tmp_path / "out")
    sent = {}

    def upload(repo_id, folder_path):
        sent.update(repo=repo_id, files=sorted(path.name for path in folder_path.iterdir()))

    class Made(str):
        repo_id = "me/mine"

    asked = []

    def create(name, exist_ok, private):
        asked.append(private)
        return Made(f"https://hub/{name}")

    monkeypatch.setattr("t2ikit.exporters.export.require", lambda address: None)
    monkeypatch.setattr(huggingface_hub, "create_repo", create)
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload)
    assert push(tmp_path / "out", "me/mine") == "https://hub/me/mine"
    assert sent["repo"] == "me/mine"
    assert {"README.md", "model_index.json", "generator"} <= set(sent["files"])

    for private in (True, False):
        info = SimpleNamespace(private=private)
        monkeypatch.setattr(huggingface_hub, "repo_info", lambda name, info=info: info)
        sent.clear()
        if private:
            push(tmp_path / "out", "me/mine", private=True)
        else:  # it was there before
            with pytest.raises(UserError, match="not private"):
                push(tmp_path / "out", "me/mine", private=True)
        assert bool(sent) == private
    assert asked == [None, True, True]

    def offline(name, exist_ok, private):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "create_repo", offline)
    with pytest.raises(UserError, match="the Hub did not take it") as error:
        push(tmp_path / "out", "me/mine")
    assert "is whole in" in str(error.value)


def test_a_hub_that_cannot_be_reached_is_asked_for_nothing(runs, tmp_path, monkeypatch):
    import huggingface_hub

    def nothing(*_, **__):
        raise AssertionError("a request was made")

    def no_answer(address):
        raise ConnectionError("the server does not answer")

    export(runs / "gigagan", "diffusers", out=tmp_path / "out")
    monkeypatch.setattr("t2ikit.exporters.export.require", no_answer)
    monkeypatch.setattr(huggingface_hub, "create_repo", nothing)
    with pytest.raises(UserError, match="the Hub did not take it") as caught:
        push(tmp_path / "out", "me/mine")
    assert caught.value.got == "the server does not answer"


def test_a_hub_that_does_not_answer_is_no_traceback(runs, tmp_path, cli):
    words = ("--format", "diffusers", "--out", tmp_path / "out", "--push-to", "me/mine", "--private")
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    result = cli("export", runs / "gigagan", *words, env=nowhere)
    assert result.returncode == 2, result.stderr
    assert "the Hub did not take it" in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "out" / "README.md").is_file()


# ---------------------------------------------------------------- what a folder may hold

EVIL = "from pathlib import Path\nPath({mark!r}).touch()\nclass Evil: pass\n"


@pytest.mark.parametrize(
    ("part", "value", "file"),
    [
        ("scheduler", ["evil", "Evil"], "scheduler/evil.py"),
        ("scheduler", ["diffusers", "Evil"], "scheduler/diffusers.py"),
        ("_class_name", ["t2ikit", "Evil"], "t2ikit.py"),
        ("_class_name", ["t2ikit", "Evil", "more"], "t2ikit.py"),
        ("scheduler", ["diffusers", "Evil", "more"], "scheduler/diffusers.py"),
        ("tokenizer", ["os", "system"], "tokenizer/none.txt"),
    ],
)
def test_code_in_a_folder_is_not_run(runs, tmp_path, part, value, file):
    ImagenPipeline.from_run(runs / "imagen").save_pretrained(tmp_path / "out")
    index = tmp_path / "out" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), part: value}))
    (tmp_path / "out" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / file).write_text(EVIL.format(mark=str(tmp_path / "it-ran")))
    with pytest.raises(UserError, match="names code that is not installed"):
        ImagenPipeline.from_pretrained(tmp_path / "out", trust_remote_code=True)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    "changed",
    [
        [],
        {"_class_name": None},
        {"_class_name": 3},
        *({"scheduler": value} for value in ("ab", "", 3, None, True, {"a": 1, "b": 2})),
        *(
            {"generator": value}
            for value in (["diffusers", 3], [None, "T5EncoderModel"], ["a", "b", "c"], [])
        ),
        {"generator": ["diffusers", "NoSuchModel"]},
        {"generator": ["transformers", "pipeline"]},
        {"text_encoder": ["transformers", "T5Tokenizer"]},
        {"tokenizer": ["transformers", "__version__"]},
    ],
)
def test_a_damaged_index_is_told(runs, tmp_path, changed):
    ImagenPipeline.from_run(runs / "t5").save_pretrained(tmp_path / "out")
    index = tmp_path / "out" / "model_index.json"
    whole = {**json.loads(index.read_text()), **changed} if changed else changed
    index.write_text(json.dumps(whole))
    with pytest.raises(UserError, match=r"is damaged|cannot be opened as a pipeline"):
        ImagenPipeline.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("changed", [{}, {"use": "imagen/unet"}, {"use": "none"}])
def test_a_damaged_config_of_the_generator_is_told(runs, tmp_path, changed):
    ImagenPipeline.from_run(runs / "imagen").save_pretrained(tmp_path / "out")
    config = tmp_path / "out" / "generator" / "config.json"
    config.write_text(json.dumps({"_class_name": "GeneratorModel", **changed}))
    with pytest.raises(UserError):
        ImagenPipeline.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        *(("text_encoder/config.json", content) for content in ("[]", "3", '{"model_type": [1]}')),
        *(("tokenizer/tokenizer_config.json", content) for content in ("[]", "null")),
        *(("tokenizer/tokenizer.json", content) for content in ("[]", "{}")),
        ("generator/config.json", "[]"),
    ],
)
def test_a_damaged_file_of_a_part_is_told(runs, tmp_path, file, content):
    ImagenPipeline.from_run(runs / "t5").save_pretrained(tmp_path / "out")
    (tmp_path / "out" / file).write_text(content)
    with pytest.raises(UserError):
        ImagenPipeline.from_pretrained(tmp_path / "out")


def test_a_pipeline_that_is_not_whole_is_told(runs, tmp_path):
    ImagenPipeline.from_run(runs / "t5").save_pretrained(tmp_path / "out")
    index = tmp_path / "out" / "model_index.json"
    whole = json.loads(index.read_text())
    opened = [ImagenPipeline.from_pretrained(tmp_path / "out", tokenizer=None)]
    for recipe in (3, ["a", "b"], {}):
        index.write_text(json.dumps({**whole, "recipe": recipe}))
        opened.append(ImagenPipeline.from_pretrained(tmp_path / "out"))
    opened.append(ImagenPipeline.from_run(runs / "t5"))
    opened[-1].register_modules(generator=torch.nn.Linear(2, 2))
    for pipeline, words in zip(opened, ["tokenizer", "recipe 3", "recipe", "recipe", "Linear"], strict=True):
        with pytest.raises(UserError, match="the pipeline is not whole") as error:
            pipeline("a red cat")
        assert words in error.value.got


def test_a_compiled_generator_draws(runs):
    pipeline = ImagenPipeline.from_run(runs / "imagen")
    expected = pipeline(PROMPTS[:1], output_type="pt").images
    pipeline.generator = torch.compile(pipeline.generator, backend="eager")
    assert torch.equal(pipeline(PROMPTS[:1], output_type="pt").images, expected)


def test_memory_that_runs_out_is_not_taken_for_damage(runs, tmp_path, monkeypatch):
    ImagenPipeline.from_run(runs / "imagen").save_pretrained(tmp_path / "out")

    def full(self, *given, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(GeneratorModel, "load_state_dict", full)
    monkeypatch.setattr(GeneratorModel, "__init__", full)
    with pytest.raises(torch.OutOfMemoryError):
        ImagenPipeline.from_pretrained(tmp_path / "out")


def test_code_that_diffusers_would_look_for_is_not_run_either(runs, tmp_path):
    ImagenPipeline.from_run(runs / "imagen").save_pretrained(tmp_path / "out")
    evil = EVIL.format(mark=str(tmp_path / "it-ran"))
    options = {"trust_remote_code": True, "custom_pipeline": str(tmp_path / "out")}
    (tmp_path / "out" / "pipeline.py").write_text(evil)
    assert type(ImagenPipeline.from_pretrained(tmp_path / "out", **options)) is ImagenPipeline
    (tmp_path / "out" / "None.py").write_text(evil)  # diffusers looks for it where custom_pipeline is None
    with pytest.raises(UserError, match=r"custom code in None\.py"):
        ImagenPipeline.from_pretrained(tmp_path / "out", **options)
    assert not (tmp_path / "it-ran").exists()


def test_a_pipeline_within_a_pipeline_is_not_opened(runs, tmp_path):
    ImagenPipeline.from_run(runs / "t5").save_pretrained(tmp_path / "out")
    index = tmp_path / "out" / "model_index.json"
    index.write_text(
        json.dumps({**json.loads(index.read_text()), "text_encoder": ["diffusers", "DiffusionPipeline"]})
    )
    shutil.copy(index, tmp_path / "out" / "text_encoder")
    with pytest.raises(UserError, match="a pipeline of its own"):
        ImagenPipeline.from_pretrained(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "text_encoder")  # diffusers would take the folder itself
    with pytest.raises(UserError, match="but no folder text_encoder"):
        ImagenPipeline.from_pretrained(tmp_path / "out")


def test_a_part_that_is_given_need_not_be_in_the_folder(runs, tmp_path):
    pipeline = ImagenPipeline.from_run(runs / "t5")
    pipeline.save_pretrained(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "text_encoder")
    opened = ImagenPipeline.from_pretrained(tmp_path / "out", text_encoder=pipeline.text_encoder)
    assert opened.text_encoder is pipeline.text_encoder


@pytest.mark.parametrize("stages", [[64, 128, 256], [64, 256], [], ["text", "more"]])
def test_lists_among_the_options_of_a_plugin_s_pipeline_are_no_parts(runs, tmp_path, monkeypatch, stages):
    monkeypatch.setattr(t2ikit_imagen.pipeline, "Staged", Staged, raising=False)
    monkeypatch.setattr(Staged, "__module__", "t2ikit_imagen.pipeline")
    pipeline = Staged.from_run(runs / "imagen")
    pipeline.register_to_config(stages=stages)
    pipeline.save_pretrained(tmp_path / "out")
    assert list(Staged.from_pretrained(tmp_path / "out").config.stages) == stages


class Staged(ImagenPipeline):
    """With an option that is a list."""

    def __init__(self, generator, scheduler=None, text_encoder=None, tokenizer=None, recipe=None, stages=()):
        super().__init__(generator, scheduler, text_encoder, tokenizer, recipe)
        self.register_to_config(stages=list(stages))


def test_a_repository_has_the_folder_s_name(runs, tmp_path, monkeypatch):
    asked = []

    def create(repo_id, **options):
        asked.append(repo_id)
        raise OSError("no network")

    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.create_repo", create)
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    for options in ({}, {"repo_id": "me/other"}):
        with pytest.raises(OSError, match="no network"):
            ImagenPipeline.from_run(runs / "imagen").save_pretrained(".", push_to_hub=True, **options)
    assert asked == ["mine", "me/other"]


def test_an_upload_while_saving_is_of_what_was_saved(runs, tmp_path, monkeypatch):
    made, sent = {}, {}

    def create(repo_id, **options):
        made.update(options)
        return SimpleNamespace(repo_id=f"me/{repo_id}")

    def upload(**options):
        files = [path for path in Path(options["folder_path"]).rglob("*") if path.is_file()]
        sent.update(options, files={path.name: path.read_bytes() for path in files})

    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.create_repo", create)
    monkeypatch.setattr("diffusers.utils.hub_utils.upload_folder", upload)
    card = ModelCard("---\nlicense: mit\n---\n")
    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.load_or_create_model_card", lambda *a, **o: card)
    pipeline = ImagenPipeline.from_run(runs / "t5")
    options = {"variant": "fp16", "max_shard_size": "20KB", "commit_message": "first"}
    pipeline.save_pretrained(tmp_path / "out", push_to_hub=True, private=True, **options)
    assert made["private"] is True
    assert (sent["repo_id"], sent["commit_message"]) == ("me/out", "first")
    saved = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert set(sent["files"]) == saved
    assert sum(name.endswith(".safetensors") and "fp16" in name for name in saved) > 2
    assert not any(b"TokenizersBackend" in content for content in sent["files"].values())


def test_tokenizers_of_every_part_get_the_name_that_both_versions_know(tmp_path):
    index = {"_class_name": "Two", "tokenizer_2": ["transformers", "TokenizersBackend"], "steps": [1, 2]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for folder in ("tokenizer_2", "elsewhere"):
        (tmp_path / folder).mkdir()
        config = {"tokenizer_class": "TokenizersBackend"}
        (tmp_path / folder / "tokenizer_config.json").write_text(json.dumps(config))
    name_tokenizers(tmp_path)
    named = {
        path.parent.name: "PreTrainedTokenizerFast" in path.read_text() for path in tmp_path.rglob("*.json")
    }
    assert named == {tmp_path.name: True, "tokenizer_2": True, "elsewhere": False}


def test_weights_that_are_not_the_generator_s_are_refused(runs, tmp_path):
    ImagenPipeline.from_run(runs / "imagen").save_pretrained(tmp_path / "out")
    path = tmp_path / "out" / "generator" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    for changed, words in (
        ({key: value for key, value in weights.items() if key != name}, f"missing_keys: {name}"),
        ({**weights, "more": torch.zeros(1)}, "unexpected_keys: more"),
        ({**weights, name: torch.zeros(3, 1)}, name),
    ):
        save_file(changed, path)
        with pytest.raises(UserError, match="the weights are not those of the generator") as error:
            ImagenPipeline.from_pretrained(tmp_path / "out")
        assert words in str(error.value)
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be opened as a pipeline"):
        ImagenPipeline.from_pretrained(tmp_path / "out")


def test_a_damaged_text_encoder_is_told(runs, tmp_path):
    ImagenPipeline.from_run(runs / "t5").save_pretrained(tmp_path / "out")
    (tmp_path / "out" / "text_encoder" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be opened as a pipeline"):
        ImagenPipeline.from_pretrained(tmp_path / "out")


def test_a_text_encoder_of_other_weights_is_told(runs, tmp_path):
    ImagenPipeline.from_run(runs / "t5").save_pretrained(tmp_path / "out")
    path = tmp_path / "out" / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    name = next(key for key in sorted(weights) if key.endswith("SelfAttention.q.weight"))
    for changed, words in (
        ({key: value for key, value in weights.items() if key != name}, f"missing in .*: {name}"),
        ({**weights, name: torch.zeros(3, 1)}, "cannot be opened as a pipeline"),
    ):
        save_file(changed, path, metadata={"format": "pt"})
        for options in ({}, {"device_map": None}):
            with pytest.raises(UserError, match=words):
                ImagenPipeline.from_pretrained(tmp_path / "out", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"torch_dtype": "float16"},
        {"dtype": {"default": "auto"}},
        {"dtype": torch.float32, "torch_dtype": torch.bfloat16},
    ],
)
def test_precisions_are_torch_s_own_and_one(runs, tmp_path, options):
    ImagenPipeline.from_run(runs / "imagen").save_pretrained(tmp_path / "out")
    with pytest.raises(UserError, match="dtype="):
        ImagenPipeline.from_pretrained(tmp_path / "out", **options)


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("given", [torch.bfloat16, {"text_encoder": torch.bfloat16}])
def test_the_text_encoder_takes_the_precision_that_is_asked_for(runs, tmp_path, given, name):
    ImagenPipeline.from_run(runs / "t5").save_pretrained(tmp_path / "out", variant="own")
    opened = ImagenPipeline.from_pretrained(tmp_path / "out", variant="own", **{name: given})
    assert opened.text_encoder.dtype == torch.bfloat16
    wanted = torch.float32 if isinstance(given, dict) else given
    assert opened.generator.dtype == wanted


# ---------------------------------------------------------------- from the Hub


def test_a_pipeline_comes_from_the_hub_without_code(runs, tmp_path, monkeypatch):
    import huggingface_hub

    export(runs / "t5", "diffusers", out=tmp_path / "there")
    asked = {}

    def snapshot(name, allow_patterns, **options):
        asked.update(name=name, **options)
        for path in (tmp_path / "there").rglob("*"):
            if path.is_file() and any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                copy = tmp_path / "here" / path.relative_to(tmp_path / "there")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
        return str(tmp_path / "here")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr("t2ikit.utils.hub.unreachable", lambda urls: {})
    pipeline = ImagenPipeline.from_pretrained("me/mine", revision="main", token="secret")
    given = {"revision": "main", "token": "secret", "local_files_only": False}
    assert asked == {"name": "me/mine", **given}
    assert not list((tmp_path / "here").rglob("*.py"))
    expected = ImagenPipeline.from_pretrained(tmp_path / "there")(PROMPTS, output_type="pt").images
    assert torch.equal(pipeline(PROMPTS, output_type="pt").images, expected)


@pytest.mark.parametrize("name", ["typo", "me/typo", "a/b/c", "/no/where"])
def test_what_neither_is_a_folder_nor_on_the_hub_is_told(name, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="is no folder, and cannot be had"):
        ImagenPipeline.from_pretrained(name)


def test_a_pipeline_of_one_s_own_may_have_parts_of_its_own_module(runs, tmp_path):
    class Mine(ImagenPipeline):
        pass

    Mine.__module__ = Own.__module__ = "elsewhere.pipelines"
    sys.modules["elsewhere.pipelines"] = SimpleNamespace(Own=Own, SchedulerMixin=SchedulerMixin)
    try:
        pipeline = Mine.from_run(runs / "imagen")
        pipeline.scheduler = Own.from_config(pipeline.scheduler.config)
        pipeline.save_pretrained(tmp_path / "out")
        assert type(Mine.from_pretrained(tmp_path / "out").scheduler) is Own
        with pytest.raises(UserError, match="names code that is not installed"):
            ImagenPipeline.from_pretrained(tmp_path / "out")
    finally:
        del sys.modules["elsewhere.pipelines"]


class Own(DDIMScheduler):
    """A scheduler that diffusers does not have."""


def test_pickled_weights_are_not_opened(runs, tmp_path):
    ImagenPipeline.from_run(runs / "imagen").save_pretrained(tmp_path / "out")
    weights = tmp_path / "out" / "generator" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(UserError, match="cannot be opened as a pipeline"):
        ImagenPipeline.from_pretrained(tmp_path / "out", use_safetensors=False)
    with pytest.raises(OSError, match="safetensors"):
        GeneratorModel.from_pretrained(tmp_path / "out" / "generator")


def test_diffusers_opens_an_export_as_a_custom_pipeline(runs, tmp_path, monkeypatch):
    cache = str(tmp_path / "modules")  # not the user's, where diffusers copies pipeline.py to
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", cache)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, kind in (("imagen", ImagenPipeline), ("gigagan", GigaGANPipeline)):
        out = str(export(runs / name, "diffusers", out=tmp_path / name))
        with pytest.raises(ValueError, match="trust_remote_code"):
            DiffusionPipeline.from_pretrained(out, custom_pipeline=out)
        pipeline = DiffusionPipeline.from_pretrained(out, custom_pipeline=out, trust_remote_code=True)
        assert type(pipeline) is kind
        assert torch.equal(pipeline(PROMPTS, num_images_per_prompt=2, output_type="pt").images, drawn(out))


# ---------------------------------------------------------------- precision, place and calls


@pytest.mark.parametrize(
    ("name", "kind"), [("imagen", ImagenPipeline), ("gigagan", GigaGANPipeline), ("t5", ImagenPipeline)]
)
def test_it_draws_in_half_precision(runs, tmp_path, name, kind):
    whole = kind.from_run(runs / name)
    whole.save_pretrained(tmp_path / "out")
    half = kind.from_pretrained(tmp_path / "out", torch_dtype=torch.bfloat16)
    assert {weight.dtype for weight in half.generator.parameters()} == {torch.bfloat16}
    assert all(buffer.dtype == torch.float32 for buffer in half.generator.buffers())
    exact = whole(PROMPTS, output_type="pt").images
    for pipeline in (half, whole.to(torch.bfloat16)):
        found = pipeline(PROMPTS, output_type="pt").images
        assert found.dtype == torch.float32
        assert 0 < (found - exact).abs().max() < 0.3
        assert (found - exact).abs().mean() < 0.03
        assert pipeline.text_encoder is None or pipeline.text_encoder.dtype == torch.bfloat16
    with pytest.raises(UserError, match=r"torch\.float16, in which the device cpu cannot sample"):
        whole.to(torch.float16)(PROMPTS)


def test_a_pipeline_of_a_run_is_in_one_place(runs, monkeypatch):
    """On a machine with a GPU the run's text encoder is there, and its generator is not."""
    places = []
    monkeypatch.setattr(T5EncoderModel, "to", lambda self, *where: places.append(where) or self)
    ImagenPipeline.from_run(runs / "t5")
    assert ("cpu",) in places


def test_the_text_encoder_is_where_the_pipeline_is_and_may_be_exchanged(runs, tmp_path, monkeypatch):
    pipeline = ImagenPipeline.from_run(runs / "t5")
    first = pipeline(PROMPTS, output_type="pt").images
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # where the pipeline is not
    pipeline._encoder = None
    assert torch.equal(pipeline(PROMPTS, output_type="pt").images, first)
    kind, own = type(pipeline.text_encoder), pipeline.text_encoder
    pipeline.text_encoder = kind.from_pretrained(t5_folder(tmp_path / "other", seed=1)).eval()
    assert not torch.equal(pipeline(PROMPTS, output_type="pt").images, first)
    pipeline.text_encoder = own
    assert torch.equal(pipeline(PROMPTS, output_type="pt").images, first)
    wider = type(own.config)(**{**own.config.to_dict(), "d_model": 32})
    pipeline.text_encoder = kind(wider).eval()
    with pytest.raises(UserError, match="does not fit its generator"):
        pipeline(PROMPTS)


def test_calls_that_draw_nothing_are_refused(runs):
    pipeline = ImagenPipeline.from_run(runs / "imagen")
    for prompts, count in (([], 1), (PROMPTS, 0), ([None], 1)):
        with pytest.raises(UserError, match="nothing to sample"):
            pipeline(prompts, num_images_per_prompt=count)


# ---------------------------------------------------------------- whose exporter


def test_a_pipeline_of_neither_plugin_is_the_core_s_own(runs):
    pipeline = TextToImagePipeline.from_run(runs / "gigagan")
    assert torch.equal(
        pipeline(PROMPTS, num_images_per_prompt=2, output_type="pt").images, drawn(runs / "gigagan")
    )


def test_a_run_of_a_third_plugin_takes_the_core_s_exporter(runs, tmp_path):
    registry, run = Registry.load(), open_run(runs / "gigagan")
    third = replace(run, table={**run.table, "generator": {"use": "third/generator"}})
    chosen = [
        (run, "diffusers", "gigagan/diffusers"),
        (third, "diffusers", "t2ikit/diffusers"),
        (run, "t2ikit/diffusers", "t2ikit/diffusers"),
        (third, "if", "imagen/if"),
    ]
    for of, name, expected in chosen:
        assert find_format(registry, name, of).canonical == expected
    export(runs / "gigagan", "t2ikit/diffusers", out=tmp_path / "out")
    pipeline = TextToImagePipeline.from_pretrained(tmp_path / "out")
    found = pipeline(PROMPTS, num_images_per_prompt=2, output_type="pt").images
    assert torch.equal(found, drawn(runs / "gigagan"))


@pytest.mark.parametrize(
    ("name", "format"), [("imagen", "gigagan/diffusers"), ("gigagan", "imagen/diffusers")]
)
def test_a_pipeline_of_another_family_is_refused(runs, tmp_path, name, format):
    with pytest.raises(UserError, match="cannot hold this model") as error:
        export(runs / name, format, out=tmp_path / "out")
    assert "t2ikit/diffusers" in str(error.value)
    assert not (tmp_path / "out").exists()


MINE = """
from t2ikit import ExporterSpec, hookimpl

def write(run, out):
    out.mkdir()
    (out / "what.txt").write_text(type(run.model().generator).__name__)

@hookimpl
def t2ikit_exporters():
    return [ExporterSpec("mine", lambda config, context: write)]
"""


def test_plugin_files_reach_an_exporter_but_do_not_travel_with_a_pipeline(tmp_path):
    registry = Registry.load([str(TOYS)])
    settings = ["train.steps=1", "train.samples=1", "train.validation_images=1"]
    recipe = read_recipe(registry, "toys/denoiser", settings=settings)
    start_run(registry, recipe, tmp_path / "run", device="cpu")
    (tmp_path / "mine.py").write_text(MINE)
    plugins = [str(TOYS), str(tmp_path / "mine.py")]
    export(tmp_path / "run", "mine", out=tmp_path / "out", plugins=plugins)
    assert (tmp_path / "out" / "what.txt").read_text() == "ToyDenoiser"
    for given in (plugins, ()):
        with pytest.raises(UserError, match="cannot travel with a pipeline") as error:
            export(tmp_path / "run", "diffusers", out=tmp_path / "other", plugins=given)
    assert "install the file as a package" in str(error.value)


# ---------------------------------------------------------------- for stock diffusers

STOCK = """
import json, sys
import torch
from diffusers import DiffusionPipeline

found = {}
for name in json.loads(sys.argv[1]):
    pipeline = DiffusionPipeline.from_pretrained(name)
    generators = [torch.Generator().manual_seed(seed) for seed in json.loads(sys.argv[2])]
    steps, scale = (1, 1.0) if name == "student" else (3, 2.5)
    images = pipeline(json.loads(sys.argv[3]), num_inference_steps=steps, guidance_scale=scale,
                      generator=generators, output_type="pt").images
    found[name] = {"class": type(pipeline).__name__, "images": images.tolist()}
print(json.dumps({**found, "ours": sorted(name for name in sys.modules if name.startswith("t2ikit"))}))
"""
STUDENT = ["train.batch=2", "train.samples=1", "train.validation_images=2"]
CAPITALS = ["A red Cat", " a BLUE square with green cat "]
SAMPLERS = ("ddim", "ddpm", "dpm++", "euler", "unipc")
"""Those that the format takes."""
PLAIN = ("ddim", "euler")
"""Those of them whose scheduler has no thresholding, or another than t2ikit's."""


def with_sampler(run, name, **options):
    """The run with another sampler, and with random numbers that diffusers can draw."""
    plain = {"thresholding": "none"} if name in PLAIN else {}
    sampler = {"use": f"imagen/{name}", "steps": 3, "guidance": 2.5, **plain, **options}
    return replace(run, table={**run.table, "sampler": sampler}, info={**run.info, "random": "torch"})


@pytest.fixture(scope="module")
def stock(runs, tmp_path_factory):
    """What diffusers draws with each sampler, and with an encoder in bf16, without t2ikit; and the runs."""
    folder, run = tmp_path_factory.mktemp("stock"), open_run(runs / "if")
    wanted = {name: with_sampler(run, name) for name in SAMPLERS}
    info = {key: value for key, value in run.info.items() if key != "text_fingerprint"}
    info["random"] = "torch"
    wanted["bf16"] = replace(
        run, table={**run.table, "text": {**run.table["text"], "precision": "bf16"}}, info=info
    )
    student = t2ikit.distil(run, out=folder / "run", steps=2, set=STUDENT, device="cpu", progress=False)
    wanted["student"] = replace(student, info={**student.info, "random": "torch"})
    for name, each in wanted.items():
        export_if(each, folder / name)
    seeds = [derive_seed(derive_seed(0, prompt, 0), "sample") for prompt in CAPITALS]
    words = (json.dumps(given) for given in (list(wanted), seeds, CAPITALS))
    command = [sys.executable, "-c", STOCK, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1]), wanted


@pytest.mark.parametrize("name", [*SAMPLERS, "bf16", "student"])
def test_stock_diffusers_draws_the_same_images(stock, name):
    """With the noise that t2ikit would draw, and without t2ikit; captions in capitals, too."""
    found, wanted = stock
    assert found[name]["class"] == "IFPipeline"
    assert found["ours"] == []
    ours = sample_images(open_model(wanted[name]), CAPITALS)
    near = 0.1 if name == "bf16" else 1e-4  # it computes in float32 what t2ikit computes in bf16
    theirs = torch.tensor(found[name]["images"]).clamp(-1, 1)  # which diffusers does on the way to an image
    torch.testing.assert_close(theirs, ours, atol=near, rtol=near)


def test_a_student_that_stock_diffusers_cannot_call_is_refused(stock, tmp_path):
    student = stock[1]["student"]
    for options, expected in (({"calls": 2}, "generator.calls 2"), ({"start": 0.9}, "generator.start 0.9")):
        generator = {**student.table["generator"], **options}
        changed = replace(student, table={**student.table, "generator": generator})
        with pytest.raises(UserError, match="cannot hold this model") as error:
            export_if(changed, tmp_path / "out")
        assert expected in str(error.value)


def test_the_card_of_a_student_says_what_it_came_from(stock, tmp_path):
    folder = export(stock[1]["student"].path, "if", out=tmp_path / "out")
    card = (folder / "README.md").read_text()
    assert 'pipeline("a prompt", num_inference_steps=1, guidance_scale=1.0)' in card
    assert "Distilled from `if` (imagen/if-unet) at step" in card


def test_a_student_is_a_pipeline_of_one_call(stock, tmp_path):
    run = stock[1]["student"].path
    pipeline = TextToImagePipeline.from_pretrained(export(run, "diffusers", out=tmp_path / "out"))
    found = pipeline(PROMPTS, num_images_per_prompt=2, output_type="pt").images
    assert torch.equal(found, drawn(run))
    model = open_model(open_run(run))
    sample_images(model, PROMPTS)
    assert model.sampler.function_evaluations == len(PROMPTS)
    opened = open_run(tmp_path / "out")
    assert opened.info["origin"]["run"] == "if"


def test_every_sampler_that_the_format_takes_is_tried_there(runs):
    run, taken = open_run(runs / "if"), []
    for entry in Registry.load().entries("samplers"):
        if entry.spec.requires == "Denoiser":
            changed = with_sampler(run, entry.spec.name)
            taken += [entry.spec.name] * (not obstacles(changed, changed.model()))
    assert sorted(taken) == sorted(SAMPLERS)


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
        export(runs / name, "imagen/if", out=tmp_path / "out")
    for part in expected:
        assert part in str(error.value)


def test_a_model_that_never_saw_the_empty_caption_is_refused(runs, tmp_path):
    run = open_run(runs / "if")
    generator = {**run.table["generator"], "caption_dropout": 0.0}
    changed = replace(
        run, table={**run.table, "generator": generator, "sampler": {"use": "imagen/dpm++", "guidance": 1.0}}
    )
    with pytest.raises(UserError, match="caption_dropout 0"):
        export_if(changed, tmp_path / "out")


def test_what_stock_diffusers_is_told_is_in_the_card(runs, tmp_path):
    export(runs / "if", "if", out=tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'pipeline("a prompt", num_inference_steps=3, guidance_scale=2.5)' in card


def test_a_fast_tokenizer_has_a_name_that_transformers_4_knows(runs, tmp_path):
    for name in ("t5", "if"):
        folder = export(runs / name, "diffusers" if name == "t5" else "if", out=tmp_path / name)
        for path in folder.rglob("*.json"):
            assert "TokenizersBackend" not in path.read_text(), path


def test_samplers_that_it_cannot_hold_are_refused(runs, tmp_path):
    run = open_run(runs / "if")
    for settings, expected in (
        ({"use": "imagen/euler"}, "no thresholding"),
        ({"use": "imagen/ddim"}, "no thresholding"),
        ({"use": "imagen/flow"}, "no scheduler of diffusers"),
        ({**run.table["sampler"], "guidance_interval": [0.2, 0.8]}, "guidance_interval"),
    ):
        changed = replace(run, table={**run.table, "sampler": settings})
        with pytest.raises(UserError, match="cannot hold this model") as error:
            export_if(changed, tmp_path / "out")
        assert expected in str(error.value)
