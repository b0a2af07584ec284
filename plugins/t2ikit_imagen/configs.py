"""Config classes of the imagen plugin. Imports no torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from t2ikit import Config, SamplerConfig

Fraction = Annotated[float, Field(ge=0, le=1)]


class UNetConfig(Config):
    """Options of the U-Net, its noise schedule and its training."""

    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field((32, 64, 96), min_length=2, max_length=6)
    """channels of each level, from the finest"""
    attention: tuple[bool, ...] = Field((False, True, True), min_length=2, max_length=6)
    """whether each level attends to itself and to the text"""
    layers: Annotated[int, Field(ge=1, le=8)] | tuple[Annotated[int, Field(ge=1, le=8)], ...] = 1
    """residual blocks per level, or a list from the finest level"""
    self_attention: bool = True
    """false: levels with attention attend only to the text"""
    head_width: int = Field(16, ge=4)
    """channels of an attention head; divides the channels of every level that attends"""
    heads: int = Field(0, ge=0)
    """attention heads at every level; 0: as many as `head_width` gives"""
    groups: int = Field(8, ge=1)
    """groups of the group norms; divides the channels of every level"""
    resampling: Literal["conv", "resnet"] = "conv"
    """down- and upsampling: one convolution, or DeepFloyd IF's residual blocks"""
    channels_last: bool = False
    """keep channels last in memory: faster for wide U-Nets"""
    patch: Literal[1, 2, 4] = 2
    """size of the patches that are folded into channels before the U-Net, pixels"""
    time_width: int = Field(0, ge=0)
    """width of the embedding of timestep and pooled text; 0: four times the channels of the finest level"""
    text_width: int = Field(64, ge=8, multiple_of=4)
    """width of the trainable text tower"""
    text_layers: int = Field(2, ge=0, le=12)
    """transformer layers of the trainable text tower, on top of its convolutions"""
    prediction: Literal["v_prediction", "epsilon", "sample", "flow_prediction"] = "v_prediction"
    """prediction target: v, the noise, the clean image, or the velocity of the flow"""
    schedule: Literal["linear", "cosine", "sigmoid"] = "cosine"
    """noise schedule; a flow model trains on its straight path and uses this one only for sampling"""
    zero_snr: bool = True
    """rescale the schedule so that the last step is pure noise; not for epsilon, which is 0/0 there"""
    timesteps: int = Field(1000, ge=10, le=10000)
    """noise levels of the training schedule"""
    timestep_sampling: Literal["uniform", "logit_normal"] = "uniform"
    """distribution of the timesteps in training: uniform, or mostly in the middle (arXiv 2403.03206)"""
    timestep_shift: float = Field(1.0, ge=0.1, le=10)
    """above 1: more of the noisy levels, where shapes form; u becomes s u / (1 + (s - 1) u) (same source)"""
    low_discrepancy: bool = False
    """spread the timesteps of a batch evenly, rather than drawing each by itself: less noise in the gradients
    (arXiv 2107.00630)"""
    caption_dropout: float = Field(0.1, ge=0, lt=1)
    """share of samples trained on the empty caption; guidance needs it above 0"""
    self_conditioning: float = Field(0.0, ge=0, le=1)
    """share of samples conditioned on a first estimate of the clean image; 0: no self-conditioning"""
    augment: float = Field(0.0, ge=0, le=1)
    """probability of each geometric augmentation; the U-Net is conditioned on it; for small datasets"""
    checkpointing: bool = False
    """recompute activations in the backward pass: less memory, about a third more time"""

    @model_validator(mode="after")
    def _epsilon_has_a_signal(self) -> Self:
        if self.prediction == "epsilon" and self.zero_snr:
            raise ValueError(
                "prediction = 'epsilon' cannot be used with zero_snr = true: pure noise says nothing of the "
                "image, so its estimate is 0/0. Set zero_snr=false or prediction=v_prediction"
            )
        return self


class IFConfig(UNetConfig):
    """Options of a U-Net like DeepFloyd IF's, which diffusers' own pipeline can open."""

    patch: Literal[1] = 1
    """pixels are not folded"""
    resampling: Literal["resnet"] = "resnet"
    """down- and upsampling: residual blocks"""
    self_attention: Literal[True] = True
    """levels with attention attend to themselves and to the text"""
    text_layers: Literal[0] = 0
    """there is no text tower: the U-Net takes the encoder's tokens"""
    self_conditioning: Literal[0] = 0
    """no self-conditioning"""
    augment: Literal[0] = 0
    """no augmentation"""
    prediction: Literal["v_prediction", "epsilon", "sample"] = "v_prediction"
    """prediction target: v, the noise or the clean image"""


class SuperResolutionConfig(UNetConfig):
    """Options of the super-resolution U-Net; without `augment` and `self_conditioning`."""

    ratio: Literal[2, 4] = 2
    """output size over input size"""
    crop: int = Field(0, ge=0)
    """size of the random training crops, pixels; 0: whole images. Sampling uses whole images"""
    augmentation: Fraction = 1.0
    """maximum level of the noise added to small images in training; 0: none, 1: pure noise"""

    @model_validator(mode="after")
    def _geometry(self) -> Self:
        if self.augment or self.self_conditioning:
            raise ValueError("augment and self_conditioning are not for models that upscale: set both to 0")
        step = self.patch * 2 ** (len(self.channels) - 1)
        if self.crop % step or self.crop % self.ratio:
            raise ValueError(f"crop must be a multiple of {math.lcm(step, self.ratio)}, got {self.crop}")
        return self


class DenoiseConfig(Config):
    """Options of the denoising loss."""

    kind: Literal["l2", "l1", "huber"] = "l2"
    """squared error, absolute error, or squared when small and absolute when large"""
    huber_delta: float = Field(0.1, gt=0)
    """error at which the Huber loss changes from squared to absolute"""
    gradient: float = Field(0.0, ge=0)
    """weight of the error of image gradients (differences between neighbouring pixels) beside that of pixels:
    small and sharp parts, such as eyes, are learnt earlier (arXiv 1511.05440)"""
    weighting: Literal["min_snr", "soft_min_snr", "snr_plus_one", "none"] = "min_snr"
    """weighting of noise levels: min-SNR (arXiv 2303.09556), its smooth form (arXiv 2401.11605), SNR + 1
    capped at gamma (arXiv 2202.00512), or none"""
    gamma: float = Field(5.0, gt=0)
    """maximum weight of an error in the clean image; not used by "none" """


class DDPMConfig(SamplerConfig):
    """Options of ancestral sampling."""

    steps: int = Field(1000, ge=1, le=10000)
    """U-Net calls"""


class DDIMConfig(SamplerConfig):
    """Options of DDIM."""

    steps: int = Field(50, ge=1, le=10000)
    """U-Net calls"""
    eta: float = Field(0.0, ge=0, le=1)
    """share of DDPM's noise to add at each step; 0: deterministic"""


class MultistepConfig(SamplerConfig):
    """Options of the multistep solvers."""

    order: Literal[1, 2, 3] = 2
    """order of the solver; 2 for guided sampling"""


class EulerConfig(SamplerConfig):
    """Options of the Euler samplers."""

    steps: int = Field(30, ge=1, le=10000)
    """U-Net calls"""


class FlowConfig(EulerConfig):
    """Options of the flow sampler."""

    shift: float = Field(1.0, gt=0, le=20)
    """above 1: more steps at high noise (arXiv 2403.03206, equation 23)"""
