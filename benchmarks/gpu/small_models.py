"""A small CLIP and a small T5 with random weights, for recipes that name one that would be downloaded.

    python benchmarks/gpu/small_models.py clip FOLDER

What such a recipe takes is measured with another model than it names, and its row says so.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

WORDS = ("a", "and", "red", "green", "blue", "grey", "white", "cat", "dog", "bird", "fish", "with", "eyes")
WIDTH, LAYERS, HEADS = 256, 4, 4


def tokenizer(specials: list[str], template: str, **names: str) -> PreTrainedTokenizerFast:
    """One token a word; words that are not known are one token, too."""
    vocabulary = {word: place for place, word in enumerate([*specials, *WORDS])}
    found = Tokenizer(models.WordLevel(vocabulary, unk_token=names["unk_token"]))
    found.normalizer = normalizers.Lowercase()
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(word, vocabulary[word]) for word in specials if word in template]
    found.post_processor = processors.TemplateProcessing(single=template, special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=found, model_max_length=77, **names)


def clip(folder: Path, image_size: int = 64) -> None:
    """Write a CLIP of four layers and width 256 on either side."""
    layers = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
    }
    specials = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
    text = CLIPTextConfig(
        **layers,
        vocab_size=len(specials) + len(WORDS),
        max_position_embeddings=77,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    vision = CLIPVisionConfig(**layers, image_size=image_size, patch_size=8)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH)
    CLIPModel(config).save_pretrained(folder)
    tokenizer(
        specials, "[BOS] $A [EOS]", pad_token="[PAD]", unk_token="[UNK]", bos_token="[BOS]", eos_token="[EOS]"
    ).save_pretrained(folder)
    prepared = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))


def t5(folder: Path) -> None:
    """Write a T5 encoder of four layers and width 512, as wide as T5-small."""
    specials = ["<pad>", "</s>", "<unk>"]
    config = T5Config(
        d_model=512,
        d_kv=64,
        d_ff=1024,
        num_layers=LAYERS,
        num_heads=8,
        vocab_size=len(specials) + len(WORDS),
        pad_token_id=0,
        eos_token_id=1,
    )
    T5EncoderModel(config).save_pretrained(folder)
    tokenizer(specials, "$A </s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>").save_pretrained(
        folder
    )


KINDS = {"clip": clip, "t5": t5}

if __name__ == "__main__":
    KINDS[sys.argv[1]](Path(sys.argv[2]))
