"""The package `gigagan-pytorch`, its parts and a whole trainer, without a pretrained CLIP.

Install it beside t2ikit without what it would pull in:

    pip install --no-deps gigagan-pytorch kornia kornia_rs einops beartype ema-pytorch numerize tqdm ftfy

`torchvision` and `open_clip`, which a step without CLIP losses does not use, may be absent.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

TOKENS, TEXT_WIDTH = 77, 512


def load() -> ModuleType:
    """The package's main module.

    Raises:
        SystemExit: it is not installed.
    """
    if importlib.util.find_spec("gigagan_pytorch") is None:
        sys.exit("gigagan-pytorch is not installed: see the first lines of benchmarks/gigagan_peer.py")
    for name in ("torchvision.transforms", "torchvision", "open_clip"):
        if name not in sys.modules and importlib.util.find_spec(name.split(".")[0]) is None:
            sys.modules[name] = MagicMock()
    return importlib.import_module("gigagan_pytorch.gigagan_pytorch")


def trainer(image_size: int, device: str = "cpu", dtype: str = "fp32", width: int = 256) -> Any:
    """Its `GigaGAN` of dim_capacity 8, dim_max `width`, with text, multi-scale and matching losses."""
    module = load()
    adapter = importlib.import_module("gigagan_pytorch.open_clip").OpenClipAdapter

    class Texts(adapter):  # type: ignore[misc, valid-type]
        """Gives random token states, as many as CLIP does."""

        def __init__(self) -> None:
            nn.Module.__init__(self)
            self._dim_latent = TEXT_WIDTH
            self.place = nn.Parameter(torch.zeros(1))

        def embed_texts(self, texts: list[str]) -> tuple[Tensor, Tensor]:
            """Pooled (B, D) and tokens (B, L, D)."""
            tokens = torch.randn(len(texts), TOKENS, TEXT_WIDTH, device=self.place.device)
            return tokens.mean(1), tokens

    sizes = {"image_size": image_size, "dim_capacity": 8, "dim_max": width, "num_conv_kernels": 2}
    text = {"dim": 64, "depth": 2}
    generator = module.Generator(
        **sizes,
        style_network=module.StyleNetwork(dim=64, depth=4, dim_text_latent=64),
        text_encoder=module.TextEncoder(**text, clip=Texts()),
    )
    discriminator = module.Discriminator(**sizes, text_encoder=module.TextEncoder(**text, clip=Texts()))
    folder = tempfile.mkdtemp()
    return module.GigaGAN(
        generator=generator,
        discriminator=discriminator,
        generator_contrastive_loss_weight=0.0,
        model_folder=folder,
        results_folder=folder,
        accelerate_kwargs={"cpu": device == "cpu"},
        amp=dtype == "bf16",
        mixed_precision_type="bf16",
    )


class Pairs:
    """Endless batches of random images in [0, 1] with captions."""

    def __init__(self, batch: int, image_size: int) -> None:
        self.batch, self.image_size = batch, image_size

    def __next__(self) -> tuple[Tensor, list[str]]:
        return torch.rand(self.batch, 3, self.image_size, self.image_size), ["a caption"] * self.batch

    def __iter__(self) -> Pairs:
        return self
