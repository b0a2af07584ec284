"""The example that trains a small CLIP as a teacher."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.nn.clip import load_clip
from t2ikit.recipes.schema import OptimizerConfig

SCRIPT = Path(__file__).parents[2] / "examples" / "train_clip.py"
SMALL = ["--steps", "3", "--batch", "4", "--patch", "8", "--width", "32"]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_clip", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def creatures() -> Creatures:
    return Creatures(CreaturesConfig(count=200))


def test_a_folder_of_images_becomes_a_teacher_that_opens(example, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "teacher"
    data.mkdir()
    for number in range(40):
        Image.new("RGB", (16, 16), (6 * number, 90, 30)).save(data / f"{number:02d}.png")
        (data / f"{number:02d}.txt").write_text(f"Shade number{number}, plain")
    example.main(["--data", str(data), "--out", str(out), "--size", "16", *SMALL])
    assert "nearest to their own caption" in capsys.readouterr().out
    teacher = load_clip(str(out))
    assert {path.suffix for path in out.iterdir()} <= {".json", ".safetensors"}
    text = teacher.text_embeddings(["shade number3, plain", "Shade NUMBER3, plain", "shade number4, plain"])
    assert torch.equal(text[0], text[1])
    assert (text[0] - text[2]).abs().max() > 1e-4


def test_the_saved_folder_embeds_as_the_trained_model_did(example, creatures, tmp_path):
    tokenizer = example.make_tokenizer(creatures)
    torch.manual_seed(0)
    embedder = example.Embedder(example.make_model(tokenizer, 32, 8, 32), tokenizer)
    example.save(embedder, tmp_path, 32)
    teacher = load_clip(str(tmp_path))
    records = [creatures.record("train", i) for i in range(3)]
    images, captions = torch.stack([r.image for r in records]), [r.captions[0] for r in records]
    embedder.model.eval()
    with torch.no_grad():
        ours, texts = embedder.images(images), embedder.texts(captions)
    theirs = teacher.image_embeddings(images.float() / 127.5 - 1)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
    torch.testing.assert_close(teacher.text_embeddings(captions), texts, rtol=0, atol=1e-5)
    assert teacher.length == tokenizer.model_max_length


def test_a_caption_is_read_at_its_end_token(example, creatures):
    tokenizer = example.make_tokenizer(creatures)
    tokens = tokenizer(["a red cat", "a drawing of a jumping red cat"], padding=True)["input_ids"]
    assert tokens[0][:5] == tokenizer.convert_tokens_to_ids(["[BOS]", "a", "red", "cat", "[EOS]"])
    assert set(tokens[0][5:]) == {tokenizer.pad_token_id}
    long = tokenizer("red cat " * 99, truncation=True)["input_ids"]
    assert len(long) == tokenizer.model_max_length
    assert long[-1] == tokenizer.eos_token_id
    model = example.make_model(tokenizer, 32, 8, 32)
    assert model.config.text_config.eos_token_id == tokenizer.eos_token_id != 2
    embedder = example.Embedder(model.eval(), tokenizer)
    ends = embedder.texts(["a red cat", "a red bird", "a red cat, jumping"])
    assert (ends[0] - ends[1]).abs().max() > 1e-3, "what comes before the end is heard"
    assert (ends[0] - ends[2]).abs().max() > 1e-3


def test_equal_captions_are_no_negatives(example, creatures):
    tokenizer = example.make_tokenizer(creatures)
    torch.manual_seed(0)
    embedder = example.Embedder(example.make_model(tokenizer, 32, 8, 32), tokenizer)
    images = torch.stack([creatures.record("train", i).image for i in range(4)])
    assert float(embedder.loss(images, ["a red cat"] * 4).detach()) == 0.0
    assert float(embedder.loss(images, ["a red cat", "a blue cat", "bird", "fish"]).detach()) > 0.5


def test_it_learns(example):
    creatures = Creatures(CreaturesConfig(count=17))
    tokenizer = example.make_tokenizer(creatures)
    torch.manual_seed(0)
    embedder = example.Embedder(example.make_model(tokenizer, 32, 8, 32), tokenizer)
    share = example.BatchLoader(creatures, 0, 16)[0]
    with torch.no_grad():
        before = float(embedder.loss(share.images, share.captions))
    example.train(embedder, creatures, OptimizerConfig(kind="muon", lr=3e-3, warmup_steps=2), 30, 16, 0)
    with torch.no_grad():
        after = float(embedder.loss(share.images, share.captions))
    assert before > 2.5
    assert after < 1.0
    assert example.retrieval(embedder, creatures) == (1.0, 1)


def test_mistakes_are_explained(example, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("precious")
    new = ["--out", str(tmp_path / "new")]
    for arguments, words in (
        (["--out", str(tmp_path)], "not empty"),
        ([*new, "--size", "20", "--patch", "8"], "a multiple of --patch"),
        ([*new, "--width", "33"], "multiple of 32"),
        ([*new, "--data", "creaturs"], "did you mean 'creatures'"),
        ([*new, "--steps", "0"], "at least 1"),
    ):
        with pytest.raises(SystemExit) as caught:
            example.main(arguments)
        assert caught.value.code == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_preprocessor_is_one_that_transformers_reads(example, creatures, tmp_path):
    tokenizer = example.make_tokenizer(creatures)
    example.save(example.Embedder(example.make_model(tokenizer, 32, 8, 32), tokenizer), tmp_path, 32)
    prepared = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert prepared["image_mean"] == [0.5] * 3
    assert prepared["crop_size"] == {"height": 32, "width": 32}
