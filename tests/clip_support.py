"""A CLIP small enough for tests, as a folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

WORDS = [
    "[PAD]",
    "[UNK]",
    "[BOS]",
    "[EOS]",
    "a",
    "red",
    "green",
    "blue",
    "grey",
    "white",
    "square",
    "cat",
    "jumping",
    "standing",
]


def clip_folder(path: Path, *, size: int = 16, layers: int = 2, mean: float | None = 0.5) -> str:
    """Write a CLIP with random weights, its tokenizer and, unless `mean` is None, its preprocessor."""
    torch.manual_seed(3)
    shared = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_hidden_layers": layers,
        "initializer_factor": 5.0,
    }
    text = {"vocab_size": len(WORDS), "max_position_embeddings": 8, "bos_token_id": 2, "eos_token_id": 3}
    model = CLIPModel(
        CLIPConfig(
            text_config={**shared, **text, "pad_token_id": 0},
            vision_config={**shared, "image_size": size, "patch_size": 4},
            projection_dim=24,
        )
    )
    model.save_pretrained(path)
    _tokenizer().save_pretrained(path)
    if mean is not None:
        prepared = {"image_mean": [mean] * 3, "image_std": [0.25] * 3}
        (path / "preprocessor_config.json").write_text(json.dumps(prepared))
    return str(path)


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "bos_token", "eos_token"), WORDS))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=1000, **names)
