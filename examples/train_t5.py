"""Train a small T5 encoder on a dataset's own captions: for imagen/imagen-if, without a download.

    python examples/train_t5.py --data creatures --out t5-creatures
    t2ikit train --plugin imagen --recipe imagen/imagen-if --set text.model=t5-creatures

The encoder learns to say which words of a caption were hidden (as BERT, arXiv 1810.04805; T5 itself has a
decoder for that, arXiv 1910.10683). OUT is a folder as transformers writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from t2ikit import Dataset, UserError
from t2ikit.recipes.datasets import find_dataset
from t2ikit.registry.registry import Registry

PAD, EOS, UNKNOWN, HIDDEN = "<pad>", "</s>", "<unk>", "<hidden>"
SHARE = 0.25
"""Of a caption's words that are hidden."""


def open_dataset(spec: str) -> Dataset:
    """The dataset a SPEC names."""
    entry = find_dataset(Registry.load(), spec)
    dataset: Dataset = entry.spec.build(entry.spec.config(spec=spec, size=32), None)
    return dataset


def captions_of(dataset: Dataset, most: int) -> list[str]:
    """Captions of evenly chosen training images, each once."""
    size = dataset.size("train")
    places = range(0, size, max(1, size // most))
    return list(dict.fromkeys(caption for place in places for caption in dataset.captions("train", place)))


def make_tokenizer(captions: list[str]) -> PreTrainedTokenizerFast:
    """One token a word in lower case, in the order of the alphabet, and an end."""
    split = pre_tokenizers.Whitespace()
    words = sorted({word for caption in captions for word, _ in split.pre_tokenize_str(caption.lower())})
    vocabulary = {word: place for place, word in enumerate([PAD, EOS, UNKNOWN, HIDDEN, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = split
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {EOS}", special_tokens=[(EOS, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNKNOWN, mask_token=HIDDEN
    )


def hide(ids: Tensor, rng: Random) -> tuple[Tensor, Tensor]:
    """Tokens (B, L) with some words hidden, and a mask (B, L) of those."""
    chosen = torch.tensor([[rng.random() < SHARE for _ in row] for row in ids]) & (ids > 3)
    return ids.masked_fill(chosen, 3), chosen


def train(
    model: T5EncoderModel, tokenizer: PreTrainedTokenizerFast, captions: list[str], steps: int
) -> float:
    """Teach it to name hidden words; gives the share it names rightly at the end."""
    rng, right, seen = Random(0), 0, 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scale = torch.nn.Parameter(torch.tensor(model.config.d_model**-0.5))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 50) * (1 - step / steps)
        batch = tokenizer(rng.choices(captions, k=64), padding=True, return_tensors="pt")
        ids, chosen = hide(batch.input_ids, rng)
        states = model(input_ids=ids, attention_mask=batch.attention_mask).last_hidden_state
        logits = states[chosen] @ model.shared.weight.T * scale
        loss = F.cross_entropy(logits, batch.input_ids[chosen])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step >= steps - steps // 5:
            right += int((logits.argmax(1) == batch.input_ids[chosen]).sum())
            seen += len(logits)
        if (step + 1) % 100 == 0:
            print(f"step {step + 1:5}  loss {loss.item():.3f}")
    return right / max(1, seen)


def main(
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    data: Annotated[str, typer.Option(help="As for t2ikit train.")] = "creatures",
    steps: Annotated[int, typer.Option(min=1, help="Batches of 64 captions.")] = 600,
    width: Annotated[int, typer.Option(min=16, help="Of a token, a multiple of 16.")] = 64,
    layers: Annotated[int, typer.Option(min=1, help="Of the encoder.")] = 2,
) -> None:
    """Train and save."""
    if out.exists() and any(out.iterdir()):
        raise typer.BadParameter(f"{out} is there already and not empty")
    if width % 16:
        raise typer.BadParameter(f"--width must be a multiple of 16, got {width}")
    torch.manual_seed(0)
    try:
        captions = captions_of(open_dataset(data), 20_000)
    except UserError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    tokenizer = make_tokenizer(captions)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=16,
        d_ff=2 * width,
        num_layers=layers,
        num_heads=width // 16,
        pad_token_id=0,
        eos_token_id=1,
        dropout_rate=0.0,
    )
    model = T5EncoderModel(config)
    share = train(model, tokenizer, captions, steps)
    model.eval().save_pretrained(out)
    tokenizer.save_pretrained(out)
    print(f"{share:.0%} of hidden words are named; saved in {out}")


if __name__ == "__main__":
    typer.run(main)
