"""Train a small CLIP on a dataset's own images: a teacher for the gigagan plugin, without a download.

    python examples/train_clip.py --data creatures --out clip-creatures --steps 1500 --seed 0
    t2ikit train --plugin gigagan --set losses.clip.weight=0.2 --set losses.clip.model=clip-creatures

OUT is a folder as transformers writes it: `CLIPModel.from_pretrained(OUT)` and
`AutoTokenizer.from_pretrained(OUT)` open it too. Source: CLIP, arXiv 2103.00020 (figure 3); captions that
are equal are not each other's negatives.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from t2ikit import Dataset, UserError
from t2ikit.data.loader import BatchLoader
from t2ikit.nn.clip import GREATEST_SCALE, pooled
from t2ikit.recipes.datasets import find_dataset
from t2ikit.recipes.schema import OptimizerConfig
from t2ikit.registry.registry import Registry
from t2ikit.training.schedule import learning_rate
from t2ikit.training.trainer import make_optimizer
from t2ikit.utils.devices import find_device
from t2ikit.utils.files import write_json
from t2ikit_gigagan.contrastive import clip_contrastive, find_duplicates

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
"""In the order of their numbers: CLIPTextModel takes an end-of-text token of number 2 for another one."""
WORDS, LENGTH = 20_000, 77
"""The vocabulary and the captions are cut there."""
MEAN = STD = 0.5


def open_dataset(spec: str, size: int) -> Dataset:
    """The dataset that `t2ikit train --data SPEC` would open."""
    entry = find_dataset(Registry.load(), spec)
    dataset: Dataset = entry.spec.build(entry.spec.config(spec=spec, size=size), None)
    return dataset


def make_tokenizer(dataset: Dataset) -> PreTrainedTokenizerFast:
    """Words of the training captions, lower-case, between a start and an end token."""
    captions = [text for i in range(dataset.size("train")) for text in dataset.captions("train", i)]
    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL["unk_token"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(
        vocab_size=WORDS, special_tokens=list(SPECIAL.values()), show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    ends = {key: SPECIAL[key] for key in ("bos_token", "eos_token")}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="{bos_token} $A {eos_token}".format(**ends),
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ends.values()],
    )
    longest = max(len(encoding.ids) for encoding in tokenizer.encode_batch(list(set(captions))))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=min(longest, LENGTH), **SPECIAL
    )


def make_model(tokenizer: PreTrainedTokenizerFast, size: int, patch: int, width: int) -> CLIPModel:
    """A CLIP of 4 vision and 3 text layers with random weights."""
    shared = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": width // 32}
    text = {
        **shared,
        "num_hidden_layers": 3,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {**shared, "num_hidden_layers": 4, "image_size": size, "patch_size": patch}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=width))


class Embedder:
    """Both sides of a CLIP in training, unit norm."""

    def __init__(self, model: CLIPModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self.model, self.tokenizer = model, tokenizer

    def images(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 to (B, E)."""
        pixels = (images.to(self.model.device) / 255 - MEAN) / STD
        return F.normalize(pooled(self.model.get_image_features(pixels)), dim=-1)

    def texts(self, captions: Sequence[str]) -> Tensor:
        """B captions to (B, E)."""
        tokens = self.tokenizer(
            list(captions), padding=True, truncation=True, return_tensors="pt", return_token_type_ids=False
        )
        return F.normalize(pooled(self.model.get_text_features(**tokens.to(self.model.device))), dim=-1)

    def loss(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """The symmetric InfoNCE loss of one batch."""
        image, text = self.images(images), self.texts(captions)
        own = torch.arange(len(captions), device=image.device)
        others = find_duplicates(captions, own)
        scale = self.model.logit_scale.exp()
        both = (
            clip_contrastive(image, text, own, others, scale),
            clip_contrastive(text, image, own, others, scale),
        )
        return (both[0] + both[1]).mean() / 2


def train(
    embedder: Embedder, dataset: Dataset, config: OptimizerConfig, steps: int, batch: int, seed: int
) -> None:
    """Train both towers on `steps` batches."""
    model = embedder.model.train()
    optimizer = make_optimizer(list(model.parameters()), config)
    began = time.monotonic()
    for step, share in enumerate(BatchLoader(dataset, seed, batch).steps(0, steps)):
        loss = embedder.loss(share.images, share.captions)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step, steps)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(GREATEST_SCALE))
        done = step + 1
        if done % 100 == 0 or done == steps:
            print(f"step {done:5d}  loss {loss.item():.3f}  {time.monotonic() - began:.0f} s", flush=True)


@torch.no_grad()
def retrieval(embedder: Embedder, dataset: Dataset, limit: int = 512) -> tuple[float, int]:
    """How well held-out images find their own caption among the first captions of all of them.

    Returns:
        The share whose nearest caption is, word for word, their own; and of how many images (0: none is held
        out).
    """
    embedder.model.eval()
    count = min(limit, dataset.size("validation"))
    if count == 0:
        return 0.0, 0
    captions = [dataset.captions("validation", index)[0] for index in range(count)]
    text = embedder.texts(captions)
    hits = 0
    for index, caption in enumerate(captions):
        image = dataset.record("validation", index).image[None]
        hits += captions[int((embedder.images(image) @ text.T).argmax())] == caption
    return hits / count, count


def save(embedder: Embedder, out: Path, size: int) -> None:
    """Weights as safetensors, the tokenizer, and how images are prepared: a whole folder or none."""
    beside = out.with_name(f".{out.name}.writing")
    embedder.model.save_pretrained(beside)
    embedder.tokenizer.save_pretrained(beside)
    square = {"height": size, "width": size}
    write_json(
        beside / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": True,
            "size": {"shortest_edge": size},
            "do_center_crop": True,
            "crop_size": square,
            "do_normalize": True,
            "image_mean": [MEAN] * 3,
            "image_std": [STD] * 3,
        },
    )
    if out.is_dir():  # empty, as `parse` saw to
        out.rmdir()
    beside.rename(out)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small CLIP on a dataset's own images.")
    parser.add_argument("--data", default="creatures", help="as for t2ikit train (default creatures)")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--steps", type=int, default=1500, help="batches (default 1500)")
    parser.add_argument("--batch", type=int, default=64, help="images a batch (default 64)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=32, help="side of the images, pixels (default 32)")
    parser.add_argument("--patch", type=int, default=8, help="side of a patch, pixels (default 8)")
    parser.add_argument("--width", type=int, default=128, help="of both towers (default 128)")
    parser.add_argument("--lr", type=float, default=2e-3, help="greatest learning rate (default 0.002)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    given = parser.parse_args(arguments)
    if given.out.is_file() or (given.out.is_dir() and any(given.out.iterdir())):
        parser.error(f"{given.out} is there already and not empty: name another folder, or remove it first")
    if not 16 <= given.size <= 1024 or given.patch < 1 or given.size % given.patch:
        parser.error(
            f"--size must be from 16 to 1024 and a multiple of --patch, got {given.size}, {given.patch}"
        )
    if given.width < 32 or given.width % 32:
        parser.error(f"--width must be a multiple of 32, got {given.width}")
    if given.steps < 1 or given.batch < 2:
        parser.error(f"--steps must be at least 1 and --batch at least 2, got {given.steps}, {given.batch}")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    given = parse(arguments)
    torch.manual_seed(given.seed)
    try:
        dataset, device = open_dataset(given.data, given.size), find_device(given.device)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    tokenizer = make_tokenizer(dataset)
    embedder = Embedder(make_model(tokenizer, given.size, given.patch, given.width).to(device), tokenizer)
    config = OptimizerConfig(
        kind="muon", lr=given.lr, betas=(0.9, 0.98), weight_decay=0.1, warmup_steps=50, decay="cosine"
    )
    train(embedder, dataset, config, given.steps, given.batch, given.seed)
    accuracy, count = retrieval(embedder, dataset)
    save(embedder, given.out, given.size)
    print(f"{accuracy:.1%} of {count} held-out images are nearest to their own caption; saved in {given.out}")


if __name__ == "__main__":
    main()
