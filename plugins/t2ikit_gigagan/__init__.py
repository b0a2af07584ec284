"""The gigagan plugin: filter-bank layers, a text-conditional GAN, its critics and losses.

Names load on first use, so that listing the plugin imports no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "filter_bank": ("FilterBankConv2d", "choose_formulation", "demodulation", "filter_bank_conv2d"),
    "attention": ("L2SelfAttention", "TextCrossAttention", "l2_attend"),
    "mapping": ("MappingNetwork",),
    "resampling": ("downsample", "upsample"),
    "generator": ("GigaGenerator", "SynthesisBlock"),
    "upsampler": ("GigaUpsampler",),
    "paired": ("PerceptualLoss", "pixel_loss"),
    "pipeline": ("GigaGANPipeline",),
    "discriminator": ("Embedding", "GigaCritic", "Predictor", "TrunkBlock"),
    "vision": ("VisionAidedCritic",),
    "adversarial": ("logistic_critic", "logistic_generator", "matching_aware", "r1_penalty", "relativistic"),
    "contrastive": ("clip_contrastive",),
    "clip_loss": ("ClipLoss", "load_clip"),
    "augmentation": ("DiffAugment",),
    "sampler": ("OneStepSampler",),
    "configs": (
        "AugmentConfig",
        "ClipConfig",
        "ContrastiveConfig",
        "CriticConfig",
        "GeneratorConfig",
        "OneStepConfig",
        "PerceptualConfig",
        "PixelConfig",
        "UpsamplerConfig",
        "VisionCriticConfig",
    ),
}
_LAZY = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"t2ikit_gigagan.{_LAZY[name]}"), name)
    raise AttributeError(f"module 't2ikit_gigagan' has no attribute {name!r}")


__all__ = list(_LAZY)
