"""Settings of the core in a recipe, with defaults and bounds. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from t2ikit.config.base import Config

Precision = Literal["auto", "no", "bf16", "fp16"]
Compile = Literal["auto", "off", "graphs", "on"]
Tracker = Literal["tensorboard", "wandb", "trackio"]


class TrainConfig(Config):
    """Training length, batch size, logging and checkpoints: the table `[train]`."""

    steps: int = Field(1000, ge=1)
    """optimiser steps of each player"""
    minutes: float = Field(0, ge=0, allow_inf_nan=False)
    """minutes to train on this machine, instead of `steps`; 0: train `steps`"""
    batch: int = Field(16, ge=1)
    """images per optimiser step, over all devices"""
    micro_batch: int = Field(0, ge=0)
    """images at once on one device; gradients accumulate up to `batch`; 0: no accumulation"""
    precision: Precision = "auto"
    """autocast: no (fp32), bf16 or fp16 (GPU, one player only); auto: bf16 where the device is fast at it"""
    compile: Compile = "auto"
    """off, graphs (each step a CUDA graph), on (torch.compile too, also on a CPU); auto: graphs on a CUDA
    device, and torch.compile where the run is long enough to repay it"""
    seed: int = Field(0, ge=0, lt=2**31)
    """seed of weights, data order and noise"""
    ema_decay: float = Field(0.999, ge=0, lt=1)
    """decay of the EMA weights per step; 0: no EMA"""
    ema_snapshots: int = Field(0, ge=0, le=100)
    """store averages at up to so many steps, so that the length of the EMA can be chosen after training
    (`--ema 0.1`); 12 are enough; 0: none"""
    lora: int = Field(0, ge=0, le=256)
    """rank of LoRA adapters of the attention layers, which alone are trained, from the weights of another run
    (`--init`); 0: train all weights"""
    num_workers: Literal["auto"] | Annotated[int, Field(ge=0, le=64)] = "auto"
    """processes that prepare data, one for a stream; 0: none; auto: up to 8 on CUDA, else for streams"""
    log_every: int = Field(10, ge=1)
    """steps between lines of log.jsonl; a line has means over the steps since the last"""
    validate_every: int = Field(200, ge=1)
    """steps between validation losses; each checkpoint also gets one"""
    validation_images: int = Field(64, ge=1)
    """held-out images for the validation loss"""
    sample_every: int = Field(500, ge=1)
    """steps between sample grids of the validation prompts"""
    prompts: tuple[str, ...] = ()
    """validation prompts; empty: four from the data"""
    samples: int = Field(4, ge=1, le=64)
    """images per validation prompt"""
    save_every: int = Field(500, ge=1)
    """steps between checkpoints"""
    keep_last: int = Field(2, ge=1)
    """number of latest checkpoints to keep"""
    keep_best: int = Field(1, ge=0)
    """number of checkpoints to keep in addition, those of lowest validation loss"""
    trackers: tuple[Tracker, ...] = ()
    """trackers that get scalars and grids, in addition to log.jsonl"""

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
    """adamw; or muon for matrices and convolutions and adamw for the rest: fewer but more expensive steps"""
    lr: float = Field(1e-3, gt=0, le=1)
    """peak learning rate"""
    betas: tuple[float, float] = (0.9, 0.99)
    """decay of the first and second moments"""
    momentum: float = Field(0.95, ge=0, lt=1)
    """muon: decay of the momentum"""
    weight_decay: float = Field(0.01, ge=0)
    """decoupled weight decay"""
    eps: float = Field(1e-8, gt=0)
    """added to the square root of the second moment"""
    warmup_steps: int = Field(0, ge=0)
    """steps over which the learning rate rises from 0"""
    decay: Literal["none", "linear", "cosine"] = "none"
    """decay of the learning rate to 0, from the end of the warm-up to the last step"""
    max_grad_norm: float = Field(1.0, ge=0)
    """maximum gradient norm over all parameters of the player; 0: no clipping"""

    @model_validator(mode="after")
    def _betas_are_decays(self) -> Self:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), got {list(self.betas)}")
        return self


class LossConfig(Config):
    """Settings of every loss; the rest of its table are the loss's own options."""

    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    """weight of this loss in the player's sum; 0 leaves the loss out"""
    every: int = Field(1, ge=1)
    """compute only every this many steps, with `every` times the weight (lazy regularisation)"""


SECTIONS: dict[str, type[Config]] = {"train": TrainConfig, "optimizer": OptimizerConfig, "loss": LossConfig}
