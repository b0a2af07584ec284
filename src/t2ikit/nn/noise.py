"""Noise schedules, the ways in which a denoiser may state its prediction, and what training does with both.

A noisy image is x = alpha x0 + sigma noise. On a diffusion schedule alpha^2 + sigma^2 = 1 at integer
timesteps; on the straight path of flow matching alpha = 1 - sigma and t = sigma T is any number.

Sources: linear schedule, arXiv 2006.11239; cosine, arXiv 2102.09672 (equation 17); sigmoid, arXiv 2212.11972
(section 3.2, with start -3, end 3, temperature 1); zero terminal SNR, arXiv 2305.08891 (algorithm 1);
v-prediction, arXiv 2202.00512 (appendix D); flow matching, arXiv 2210.02747; logit-normal and shifted
timesteps, arXiv 2403.03206 (section 3.1 and equation 23); timesteps of low
discrepancy, arXiv 2107.00630 (appendix I.1); caption dropout, arXiv 2207.12598.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from t2ikit.core.batch import Batch, Condition, Prediction
from t2ikit.core.interfaces import Denoiser
from t2ikit.core.rng import Draws

if TYPE_CHECKING:
    from diffusers import DDPMScheduler

FLOW = "flow_prediction"
PredictionType = Literal["v_prediction", "epsilon", "sample", "flow_prediction"]
ScheduleName = Literal["linear", "cosine", "sigmoid"]


def sigmoid_betas(timesteps: int, start: float = -3.0, end: float = 3.0) -> list[float]:
    """Betas (T,) of the schedule whose cumulative alpha falls as a sigmoid, at most 0.999."""
    low, high = 1 / (1 + math.exp(-start)), 1 / (1 + math.exp(-end))

    def alpha_bar(place: float) -> float:
        return (high - 1 / (1 + math.exp(-(start + place * (end - start))))) / (high - low)

    bars = [alpha_bar(step / timesteps) for step in range(timesteps + 1)]
    return [min(0.999, 1 - after / before) for before, after in itertools.pairwise(bars)]


def noise_schedule(
    name: ScheduleName = "cosine",
    *,
    timesteps: int = 1000,
    zero_snr: bool = True,
    prediction: PredictionType = "v_prediction",
) -> DDPMScheduler:
    """A schedule to train on: its `alphas_cumprod` (T,), and its `config` for `Denoiser.scheduler_config`.

    Args:
        name: "linear", "cosine" or "sigmoid".
        timesteps: T, the number of noise levels.
        zero_snr: rescale it so that the last step is pure noise; not for epsilon, which is 0/0 there.
        prediction: what the model predicts. A flow model trains on its own straight path; the schedule is
            that of samplers other than the flow's.

    Example:
        >>> scheduler = noise_schedule("cosine", prediction="v_prediction")
        >>> scheduler.alphas_cumprod.shape, scheduler.alphas_cumprod[-1]
        (torch.Size([1000]), tensor(0.))
        >>> scheduler_config = {**scheduler.config, "prediction_type": "v_prediction"}
    """
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    # Linear: 1e-4 to 0.02 over 1000 steps, and as much noise over any other number.
    low, high = 0.1 / timesteps, min(0.999, 20 / timesteps)
    shapes: dict[str, dict[str, Any]] = {
        "linear": {"beta_schedule": "linear", "beta_start": low, "beta_end": high},
        "cosine": {"beta_schedule": "squaredcos_cap_v2"},
        "sigmoid": {"trained_betas": sigmoid_betas(timesteps)},
    }
    return DDPMScheduler(
        num_train_timesteps=timesteps,
        prediction_type="v_prediction" if prediction == FLOW else prediction,
        rescale_betas_zero_snr=zero_snr,
        timestep_spacing="trailing",
        clip_sample=False,
        **shapes[name],
    )


def noise_levels(prediction: str, alphas_cumprod: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma, each (B, 1, 1, 1), at timesteps t (B,): integers, or any number on the flow path.

    Args:
        prediction: what the model predicts, in diffusers' words; "flow_prediction" is on the straight path.
        alphas_cumprod: (T,), the schedule.
        t: (B,), timesteps.
    """
    if prediction == FLOW:
        sigma = t.float() / len(alphas_cumprod)
        alpha = 1 - sigma
    else:
        alpha = alphas_cumprod[t].sqrt()
        sigma = (1 - alphas_cumprod[t]).sqrt()
    return alpha[:, None, None, None], sigma[:, None, None, None]


def noise_target(prediction: str, clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What a model should give for alpha clean + sigma noise, (B, 3, H, W).

    Args:
        prediction: what it predicts, in diffusers' words.
        clean, noise: (B, 3, H, W).
        alpha, sigma: (B, 1, 1, 1), as `noise_levels` gives them.
    """
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return clean
    return alpha * noise - sigma * clean if prediction == "v_prediction" else noise - clean


def to_clean(prediction: str, output: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The clean images that a model's output for x stands for, (B, 3, H, W).

    Args:
        prediction: what it predicts, in diffusers' words.
        output: (B, 3, H, W), the model's.
        x: (B, 3, H, W), what it was given.
        alpha, sigma: of x, (B, 1, 1, 1) or scalars.

    Example:
        >>> alpha, sigma = torch.tensor(0.6), torch.tensor(0.8)
        >>> clean, noise = torch.tensor(0.5), torch.tensor(-1.0)
        >>> v = noise_target("v_prediction", clean, noise, alpha, sigma)
        >>> print(f"{to_clean('v_prediction', v, alpha * clean + sigma * noise, alpha, sigma):.2f}")
        0.50
    """
    if prediction == "epsilon":
        return (x - sigma * output) / alpha.clamp_min(torch.finfo(torch.float32).tiny)
    if prediction == "sample":
        return output
    return alpha * x - sigma * output if prediction == "v_prediction" else x - sigma * output


def signal_to_noise(alpha: Tensor, sigma: Tensor) -> Tensor:
    """SNR (B,) = (alpha / sigma)^2; 0 at pure noise.

    Example:
        >>> signal_to_noise(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0]))
        tensor([0.2500, 0.0000])
    """
    return (alpha / sigma.clamp_min(1e-12)).square().flatten()


def clean_weight(snr: Tensor, gamma: float, prediction: str) -> Tensor:
    """Weight (B,) of the squared error in the clean images, at most `gamma`: SNR + 1, of epsilon SNR.

    v's error is SNR + 1 times the clean image's, and epsilon's SNR times (arXiv 2202.00512, section 4), which
    goes to 0 where its clean image has no bound.

    Args:
        snr: (B,), signal-to-noise ratios.
        gamma: the greatest weight.
        prediction: what the model predicts.
    """
    return (snr if prediction == "epsilon" else snr + 1).clamp_max(gamma)


def random_timesteps(
    draws: Draws,
    timesteps: int,
    *,
    prediction: str = "v_prediction",
    sampling: Literal["uniform", "logit_normal"] = "uniform",
    shift: float = 1.0,
    low_discrepancy: bool = False,
) -> Tensor:
    """Timesteps (B,) to train at: integers below `timesteps`, or for a flow model any number in (0, T).

    Args:
        draws: the samples' randomness.
        timesteps: T.
        prediction: what the model predicts.
        sampling: evenly, or mostly in the middle ("logit_normal").
        shift: above 1 gives more of the noisy levels: u becomes s u / (1 + (s - 1) u).
        low_discrepancy: spread the timesteps of a step's samples evenly, rather than drawing each by itself;
            gradients then have less variance.
    """
    if sampling == "logit_normal":
        place = torch.sigmoid(torch.special.ndtri(draws.spread()) if low_discrepancy else draws.randn())
    else:
        place = draws.spread() if low_discrepancy else draws.rand()
    place = shift * place / (1 + (shift - 1) * place)
    scaled = place * timesteps
    return scaled if prediction == FLOW else scaled.long().clamp(max=timesteps - 1)


def noised_prediction(
    model: Denoiser,
    batch: Batch,
    draws: Draws,
    alphas_cumprod: Tensor,
    *,
    predict: Callable[[Tensor, Tensor, Condition], Tensor] | None = None,
    t: Tensor | None = None,
    images: Tensor | None = None,
) -> Prediction:
    """A denoiser's whole `forward`: noise the images, drop captions, predict, derive the clean images.

    Captions are dropped with the model's `caption_dropout`; what it predicts is its
    `scheduler_config["prediction_type"]`.

    Args:
        model: the denoiser.
        batch, draws: as `forward` is given them.
        alphas_cumprod: (T,), the schedule, on the model's device.
        predict: the output (B, 3, H, W) for x (B, 3, H, W), t (B,) and a condition; None: `model.denoise`.
        t: (B,), timesteps; None: drawn evenly.
        images: (B, 3, H, W) to train towards; None: the batch's own.

    Example:
        >>> class MyDenoiser(Denoiser):
        ...     def forward(self, batch, draws):
        ...         return noised_prediction(self, batch, draws, self.alphas_cumprod)
    """
    kind: str = model.scheduler_config["prediction_type"]
    if t is None:
        t = random_timesteps(draws, len(alphas_cumprod), prediction=kind)
    keep = draws.rand() >= model.caption_dropout
    real = batch.images if images is None else images
    fresh = draws.randn(*real.shape[1:])
    alpha, sigma = noise_levels(kind, alphas_cumprod, t)
    x = alpha * real + sigma * fresh
    text = batch.condition.text.where(keep, batch.condition.empty.expand(len(batch)))
    condition = replace(batch.condition, text=text)
    output = (predict or model.denoise)(x, t, condition).float()
    snr = signal_to_noise(alpha, sigma)
    return Prediction(
        images=[to_clean(kind, output, x, alpha, sigma)],
        image_weight=snr / (snr + 1),
        output=output,
        target=noise_target(kind, real, fresh, alpha, sigma),
        timestep=t,
        snr=snr,
        prediction_type=kind,
        real=images,
    )
