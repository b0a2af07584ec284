"""How the imagen plugin's parts are configured. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from t2ikit import Config


class UNetConfig(Config):
    """Options of the U-Net and its noise schedule."""

    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field((32, 64, 96), min_length=2, max_length=6)
    """channels of each level, from the finest"""
    attention: tuple[bool, ...] = Field((False, True, True), min_length=2, max_length=6)
    """whether each level attends to itself and to the text"""
    layers: int = Field(1, ge=1, le=4)
    """residual blocks a level"""
    head_width: int = Field(16, ge=4)
    """channels of an attention head; divides the channels of every level that attends"""
    groups: int = Field(8, ge=1)
    """groups of the group norms; divides the channels of every level"""
    patch: Literal[1, 2, 4] = 2
    """side of the squares of pixels that are folded into channels before the U-Net, pixels"""
    text_width: int = Field(64, ge=8, multiple_of=4)
    """width of the trainable text tower"""
    text_layers: int = Field(2, ge=1, le=12)
    """layers of the trainable text tower"""
    caption_dropout: float = Field(0.1, ge=0, lt=1)
    """share of samples trained on the empty caption; guidance needs it above 0"""
    timesteps: int = Field(1000, ge=10, le=10000)
    """noise levels of the training schedule"""


class DenoiseConfig(Config):
    """Options of the denoising loss."""

    min_snr_gamma: float = Field(5.0, gt=0)
    """greatest signal-to-noise ratio that counts: weight min(SNR, gamma) / (SNR + 1)"""


class DPMSolverConfig(Config):
    """Options of the DPM-Solver++ sampler."""

    steps: int = Field(20, ge=1, le=1000)
    """U-Net calls"""
    guidance: float = Field(3.0, ge=0, le=50)
    """classifier-free guidance weight; 1: none, 0: the caption is ignored"""
    thresholding: Literal["none", "static", "dynamic"] = "static"
    """how the predicted picture is kept in range: not, clipped, or by percentile (Imagen)"""
    percentile: float = Field(0.95, gt=0, le=1)
    """share of pixels that dynamic thresholding leaves unclipped"""
