"""imagen-pytorch, trained by its own `ImagenTrainer`."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from typing import Any
from unittest.mock import MagicMock

from accelerate import Accelerator
from peers import stand_ins
from torch import Tensor, nn

from equal.rival import Rival, from_unit, to_unit
from t2ikit.core.batch import Batch, TextEmbedding


class ImagenPytorch(Rival):
    """Its `Imagen` of one base U-Net, of the README's shape, narrowed."""

    name = "imagen-pytorch"
    packages = ("imagen_pytorch", "einops", "ema_pytorch")
    rates = (1e-4, 3e-4, 1e-3)
    guidances = (3.0, 1.0)
    steps = 1000
    documented = (
        "README and `ImagenTrainer` of 2.1.0: Adam at 1e-4 with betas 0.9 and 0.99, noise prediction with "
        "min-SNR weights, cosine schedule, 1,000 steps, captions dropped with 0.1, averaged weights "
        "(0.9999), `cond_scale` 3, dynamic thresholding at 0.95. The README's first U-Net with levels 1, "
        "2, 4, one block each and 16 channels in place of 1, 2, 4, 8, three blocks and 32. Import: stand- "
        "ins for torchvision, pytorch-warmup and its T5, whose width it asks the Hub for; `split_batches` "
        "is kept from `Accelerator`, which no longer takes it"
    )

    def build(self) -> None:
        """The U-Net, `Imagen` and the trainer."""
        module, trainer = load()
        unet = module.Unet(
            dim=8 if self.toy else 16,
            cond_dim=16 if self.toy else 64,
            dim_mults=(1, 2) if self.toy else (1, 2, 4),
            num_resnet_blocks=1,
            layer_attns=(False, True) if self.toy else (False, True, True),
            layer_cross_attns=(False, True) if self.toy else (False, True, True),
            attn_dim_head=16 if self.toy else 64,
            attn_heads=2 if self.toy else 8,
        )
        self.imagen = module.Imagen(
            unets=(unet,),
            image_sizes=(self.task.size,),
            timesteps=self.steps,
            cond_drop_prob=0.1,
            text_embed_dim=self.task.text_width,
        )
        self.unet: nn.Module = self.imagen.unets[0]
        self.trainer = trainer.ImagenTrainer(self.imagen, lr=self.rate, accelerate_cpu=True, verbose=False)
        self.average: Any = self.trainer.ema_unets[0]

    def step(self, batch: Batch, done: float) -> None:
        """As its README has it."""
        text = self.text(batch)
        images = to_unit(batch.images)
        self.trainer(images, text_embeds=text.tokens, text_masks=text.mask, unet_number=1)
        self.trainer.update(unet_number=1)

    @property
    def trained(self) -> Sequence[nn.Module]:
        """The U-Net."""
        return [self.unet]

    @property
    def sampled(self) -> nn.Module:
        """The averaged U-Net."""
        model: nn.Module = self.average.ema_model
        return model

    def sample(self, captions: Sequence[str], text: TextEmbedding, guidance: float, steps: int) -> Tensor:
        """Its own sampler; its time is continuous, so it takes any number of steps."""
        self.imagen.reset_unets_all_one_device()
        kept, self.imagen.unets = self.imagen.unets, nn.ModuleList([self.sampled])
        self.imagen.noise_schedulers[0].num_timesteps = steps
        try:
            images = self.imagen.sample(
                text_embeds=text.tokens, text_masks=text.mask, cond_scale=guidance, use_tqdm=False
            )
        finally:
            self.imagen.noise_schedulers[0].num_timesteps = self.steps
            self.imagen.unets = kept
        return from_unit(images)


@functools.cache
def load() -> tuple[Any, Any]:
    """The package's main module and that of its trainer."""
    unused = {"pytorch_warmup": MagicMock(), "imagen_pytorch.data": MagicMock()}
    with stand_ins("imagen_pytorch", **unused):
        found = importlib.import_module("imagen_pytorch.imagen_pytorch")
        trainer: Any = importlib.import_module("imagen_pytorch.trainer")
    trainer.Accelerator = accelerator
    return found, trainer


def accelerator(split_batches: bool = True, **given: Any) -> Accelerator:
    """`Accelerator` without the argument that it dropped, which only matters to its own data loaders."""
    return Accelerator(**given)
