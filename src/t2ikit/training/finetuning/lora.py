"""LoRA: low-rank adapters of the attention layers, which alone are trained.

Source: LoRA, arXiv 2106.09685 (equation 3): W x + B A x with A (r, in) random and B (out, r) zero at first;
alpha = r, so the product is not scaled. Runs are opened merged (`t2ikit.nn.weights.merge_lora`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from t2ikit.core.rng import derive_seed
from t2ikit.errors import UserError
from t2ikit.utils.extras import import_extra


def attention_layers(generator: nn.Module) -> list[str]:
    """Names of the linear layers within the attention of diffusers: queries, keys, values and outputs."""
    from diffusers.models.attention_processor import Attention

    return [
        f"{name}.{inner}"
        for name, module in generator.named_modules()
        if isinstance(module, Attention)
        for inner, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
    ]


def add_lora(generator: nn.Module, rank: int, seed: int, log: Callable[[str], None]) -> None:
    """Add adapters to the attention layers of a generator, and freeze the rest of it.

    Args:
        generator: with weights that are worth keeping.
        rank: r.
        seed: of A.
        log: told how much is trained.

    Raises:
        UserError: peft is not installed, or the generator has no such layers.
    """
    peft = import_extra("peft", "lora", "train.lora")
    names = attention_layers(generator)
    if not names:
        raise UserError(
            f"train.lora: {type(generator).__name__} has no attention layers to adapt",
            expected="a generator with attention of diffusers, such as imagen/unet",
            got="none",
            fix="--set train.lora=0, which trains all weights",
        )
    device = next(generator.parameters()).device
    torch.manual_seed(derive_seed(seed, "lora"))
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=names)
    peft.inject_adapter_in_model(config, generator)
    generator.to(device)
    count = sum(own.numel() for own in generator.parameters() if own.requires_grad)
    total = sum(own.numel() for own in generator.parameters())
    log(f"LoRA of rank {rank}: {count:,} of {total:,} parameters are trained, in {len(names)} layers")
