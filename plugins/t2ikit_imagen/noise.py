"""Noise schedules, and the ways in which a denoiser may state its prediction.

A noisy picture is x = alpha x0 + sigma noise. On a diffusion schedule alpha^2 + sigma^2 = 1 at integer
timesteps; on the straight path of flow matching alpha = 1 - sigma and t = sigma T is any number.

Sources: linear schedule, arXiv 2006.11239; cosine, arXiv 2102.09672 (equation 17); sigmoid, arXiv 2212.11972
(section 3.2, with start -3, end 3, temperature 1); zero terminal SNR, arXiv 2305.08891 (algorithm 1);
v-prediction, arXiv 2202.00512 (appendix D); flow matching, arXiv 2210.02747.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from t2ikit_imagen.configs import UNetConfig

FLOW = "flow_prediction"


def sigmoid_betas(timesteps: int, start: float = -3.0, end: float = 3.0) -> list[float]:
    """Betas (T,) of the schedule whose cumulative alpha falls as a sigmoid, at most 0.999."""
    low, high = 1 / (1 + math.exp(-start)), 1 / (1 + math.exp(-end))

    def alpha_bar(place: float) -> float:
        return (high - 1 / (1 + math.exp(-(start + place * (end - start))))) / (high - low)

    bars = [alpha_bar(step / timesteps) for step in range(timesteps + 1)]
    return [min(0.999, 1 - after / before) for before, after in itertools.pairwise(bars)]


def make_scheduler(config: UNetConfig) -> DDPMScheduler:
    """The training schedule. A flow model has one too: that of samplers other than `flow`."""
    # Linear: 1e-4 to 0.02 over 1000 steps, and as much noise over any other number.
    low, high = 0.1 / config.timesteps, min(0.999, 20 / config.timesteps)
    shapes: dict[str, dict[str, Any]] = {
        "linear": {"beta_schedule": "linear", "beta_start": low, "beta_end": high},
        "cosine": {"beta_schedule": "squaredcos_cap_v2"},
        "sigmoid": {"trained_betas": sigmoid_betas(config.timesteps)},
    }
    return DDPMScheduler(
        num_train_timesteps=config.timesteps,
        prediction_type="v_prediction" if config.prediction == FLOW else config.prediction,
        rescale_betas_zero_snr=config.zero_snr,
        timestep_spacing="trailing",
        clip_sample=False,
        **shapes[config.schedule],
    )


def levels(prediction: str, alphas_cumprod: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma, each (B, 1, 1, 1), at timesteps t (B,): integers, or any number on the flow path."""
    if prediction == FLOW:
        sigma = t.float() / len(alphas_cumprod)
        alpha = 1 - sigma
    else:
        alpha = alphas_cumprod[t].sqrt()
        sigma = (1 - alphas_cumprod[t]).sqrt()
    return alpha[:, None, None, None], sigma[:, None, None, None]


def target(prediction: str, clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What the model should give, (B, 3, H, W)."""
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return clean
    return alpha * noise - sigma * clean if prediction == "v_prediction" else noise - clean


def to_clean(prediction: str, output: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The clean picture that a model's output for x stands for, (B, 3, H, W)."""
    if prediction == "epsilon":
        return (x - sigma * output) / alpha.clamp_min(torch.finfo(torch.float32).tiny)
    if prediction == "sample":
        return output
    return alpha * x - sigma * output if prediction == "v_prediction" else x - sigma * output


def signal_to_noise(alpha: Tensor, sigma: Tensor) -> Tensor:
    """SNR (B,) = (alpha / sigma)^2; 0 at pure noise."""
    return (alpha / sigma.clamp_min(1e-12)).square().flatten()
