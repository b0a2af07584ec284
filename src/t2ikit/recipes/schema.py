"""The parts of a recipe that belong to the core, with their defaults and bounds. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from t2ikit.config.base import Config

Precision = Literal["no", "bf16", "fp16"]
Tracker = Literal["tensorboard", "wandb", "trackio"]


class TrainConfig(Config):
    """How long, how much at a time, and what is kept of it: the table `[train]`."""

    steps: int = Field(1000, ge=1)
    """optimiser steps of each player"""
    minutes: float = Field(0, ge=0, allow_inf_nan=False)
    """minutes to train on this machine, in place of `steps`; 0: train `steps`"""
    batch: int = Field(16, ge=1)
    """images an optimiser step, over all devices"""
    micro_batch: int = Field(0, ge=0)
    """images at once on one device; gradients accumulate up to `batch`; 0: all of the device's share"""
    precision: Precision = "no"
    """autocast: no (fp32), bf16 or fp16 (GPU, one player only)"""
    seed: int = Field(0, ge=0, lt=2**31)
    """what weights, data order and noise are drawn from"""
    ema_decay: float = Field(0.999, ge=0, lt=1)
    """decay of the averaged weights, a step; 0: none are kept"""
    num_workers: int = Field(0, ge=0, le=64)
    """processes that prepare images, at most one for a stream; 0: the training process does it"""
    log_every: int = Field(10, ge=1)
    """steps between lines of log.jsonl; each holds means over the steps since the last"""
    validate_every: int = Field(200, ge=1)
    """steps between validation losses, which are also measured for each checkpoint"""
    validation_images: int = Field(64, ge=1)
    """held-out images a validation loss is measured on"""
    sample_every: int = Field(500, ge=1)
    """steps between grids of validation prompts"""
    prompts: tuple[str, ...] = ()
    """validation prompts; empty: four that the data gives"""
    samples: int = Field(4, ge=1, le=64)
    """images of each validation prompt"""
    save_every: int = Field(500, ge=1)
    """steps between checkpoints"""
    keep_last: int = Field(2, ge=1)
    """how many of the latest checkpoints are kept"""
    keep_best: int = Field(1, ge=0)
    """how many are kept besides for their validation loss"""
    trackers: tuple[Tracker, ...] = ()
    """where scalars and grids go besides log.jsonl"""

    @model_validator(mode="after")
    def _micro_batch_fits(self) -> Self:
        if self.micro_batch > self.batch:
            raise ValueError(
                f"micro_batch ({self.micro_batch}) must not be larger than batch ({self.batch}): "
                "lower it, or set 0 for all at once"
            )
        return self


class OptimizerConfig(Config):
    """The optimiser of one player: the tables `[optimizer.generator]` and `[optimizer.critic]`."""

    kind: Literal["adamw", "muon"] = "adamw"
    """adamw; or muon for matrices and convolutions, with adamw for the rest: fewer, dearer steps"""
    lr: float = Field(1e-3, gt=0, le=1)
    """greatest learning rate"""
    betas: tuple[float, float] = (0.9, 0.99)
    """decay of the first and second moment"""
    momentum: float = Field(0.95, ge=0, lt=1)
    """muon: decay of its momentum"""
    weight_decay: float = Field(0.01, ge=0)
    """decoupled weight decay"""
    eps: float = Field(1e-8, gt=0)
    """added to the root of the second moment"""
    warmup_steps: int = Field(0, ge=0)
    """steps over which the learning rate rises from 0"""
    decay: Literal["none", "linear", "cosine"] = "none"
    """how the learning rate falls to 0 from the end of the warm-up to the last step"""
    max_grad_norm: float = Field(1.0, ge=0)
    """greatest gradient norm over the player's parameters; 0: no clipping"""

    @model_validator(mode="after")
    def _betas_are_decays(self) -> Self:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), got {list(self.betas)}")
        return self


class LossConfig(Config):
    """What a recipe says of any loss; the rest of its table is the loss's own."""

    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    """factor of this loss in the player's sum; 0 leaves the loss out"""
    every: int = Field(1, ge=1)
    """compute only every so many steps, and then `every` times as strongly (lazy regularisation)"""


SECTIONS: dict[str, type[Config]] = {"train": TrainConfig, "optimizer": OptimizerConfig, "loss": LossConfig}
