"""gigagan-pytorch, trained by its own `GigaGAN`."""

from __future__ import annotations

import contextlib
import importlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import gigagan_peer
import torch
from torch import Tensor, nn

from equal.rival import Rival, from_unit, to_unit
from equal.task import Task
from t2ikit.core.batch import Batch, TextEmbedding


class GigaganPytorch(Rival):
    """Its text-conditional `GigaGAN`, narrowed."""

    name = "gigagan-pytorch"
    packages = ("gigagan_pytorch", "kornia", "einops", "ema_pytorch", "beartype", "numerize")
    rates = (2e-4, 5e-4, 1e-3)
    documented = (
        "README and `GigaGAN` of 0.3.0: Adam at 2e-4 with betas 0.5 and 0.9, hinge loss, matching-aware "
        "and multi-scale losses at 0.1, reconstruction at 1, gradient penalty every 4 steps, averaged "
        "weights. Capacity 8 for the generator and 16 for the critic as in the README, `dim_max` 64 and "
        "`dim_latent` 64 in place of 512, style and text 64 wide, attention at 16 and 8 px in place of 32 "
        "and 16, where a step would take several times as long. Each step gets one batch, so that real "
        "images keep their own captions, which its own loop mixes up. Its CLIP loss is left out, as it "
        "needs OpenCLIP's weights; stand-ins for torchvision and open_clip"
    )

    def build(self) -> None:
        """Generator, critic and the trainer."""
        module = gigagan_peer.load()
        with contextlib.redirect_stdout(io.StringIO()):
            self.gan = self._trainer(module)

    def _trainer(self, module: Any) -> Any:
        wide, critic_capacity = (16, 8) if self.toy else (64, 16)
        sizes = {"image_size": self.task.size, "dim_max": wide}
        places = (8,) if self.toy else (16, 8)
        few = {"attn_dim_head": 8, "attn_heads": 2} if self.toy else {}

        def encoder() -> nn.Module:
            made: nn.Module = module.TextEncoder(dim=wide, depth=2, clip=captions_encoder(self.task))
            return made

        generator = module.Generator(
            **sizes,
            **{f"{kind}_{name}": value for kind in ("self", "cross") for name, value in few.items()},
            self_attn_resolutions=places,
            cross_attn_resolutions=places,
            dim_capacity=8,
            dim_latent=wide,
            style_network=module.StyleNetwork(dim=wide, depth=4, dim_text_latent=wide),
            text_encoder=encoder(),
        )
        critic = module.Discriminator(
            **sizes, **few, attn_resolutions=places, dim_capacity=critic_capacity, text_encoder=encoder()
        )
        folder = tempfile.mkdtemp()
        return module.GigaGAN(
            generator=generator,
            discriminator=critic,
            learning_rate=self.rate,
            generator_contrastive_loss_weight=0.0,
            model_folder=folder,
            results_folder=folder,
            accelerate_kwargs={"cpu": True},
        )

    def step(self, batch: Batch, done: float) -> None:
        """A step of the critic, then of the generator, as its `forward` has it."""
        gan, pairs = self.gan, Pairs(to_unit(batch.images), list(batch.condition.captions))
        steps = int(gan.steps)
        gan.train_discriminator_step(
            dl_iter=pairs, apply_gradient_penalty=steps % gan.apply_gradient_penalty_every == 0
        )
        gan.train_generator_step(dl_iter=pairs, batch_size=len(batch.images))
        gan.steps += 1

    @property
    def trained(self) -> Sequence[nn.Module]:
        """Generator and critic."""
        return [self.gan.unwrapped_G, self.gan.unwrapped_D]

    @property
    def sampled(self) -> nn.Module:
        """The averaged generator."""
        model: nn.Module = self.gan.G_ema.ema_model
        return model

    @torch.no_grad()
    def sample(self, captions: Sequence[str], text: TextEmbedding, guidance: float, steps: int) -> Tensor:
        """One call of the generator."""
        generator: Any = self.sampled.eval()
        noise = torch.randn(len(captions), generator.style_network.dim)
        return from_unit(generator(texts=list(captions), noise=noise, batch_size=len(captions)))


class Pairs:
    """The images and captions of one step, as often as they are asked for: the package asks three times."""

    def __init__(self, images: Tensor, captions: list[str]) -> None:
        self.images, self.captions = images, captions

    def __next__(self) -> tuple[Tensor, list[str]]:
        return self.images.detach().clone(), self.captions

    def __iter__(self) -> Iterator[tuple[Tensor, list[str]]]:
        return self


def captions_encoder(task: Task) -> Any:
    """In place of its OpenCLIP: the token embeddings that everybody gets."""
    adapter: Any = importlib.import_module("gigagan_pytorch.open_clip").OpenClipAdapter

    class Captions(adapter):  # type: ignore[misc]
        """Pooled (B, D) and tokens (B, L, D), zero where there is no word."""

        def __init__(self) -> None:
            nn.Module.__init__(self)
            self._dim_latent = task.text_width

        def embed_texts(self, texts: list[str]) -> tuple[Tensor, Tensor]:
            """Embed captions."""
            found = task.encode(texts)
            return found.pooled, found.tokens

    return Captions()
