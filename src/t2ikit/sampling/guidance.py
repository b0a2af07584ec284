"""From a denoiser's raw output to the clean images that samplers work with.

Every sampler asks for the clean images, so guidance, thresholding and self-conditioning are the same for
all of them, also for those whose diffusers scheduler has no thresholding (Euler, flow).

Sources: classifier-free guidance, arXiv 2207.12598; autoguidance, arXiv 2406.02507; guidance interval, arXiv
2404.07724; static and dynamic thresholding, Imagen (arXiv 2205.11487, section 2.3 and figure A.10).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from t2ikit.core.batch import Condition, TextEmbedding
from t2ikit.core.interfaces import Denoiser
from t2ikit.nn import noise
from t2ikit.sampling.configs import SamplerConfig
from t2ikit.sampling.editing.edit import ImageEdit
from t2ikit.sampling.graphs import Call, DenoiserGraphs


def guided(
    model: Denoiser,
    x: Tensor,
    t: Tensor,
    condition: Condition,
    guidance: float,
    previous: Tensor | None = None,
) -> Tensor:
    """empty + guidance (text - empty), both branches in one call; one branch alone where one suffices.

    Args:
        model: predicts anything that is linear in the clean images.
        x: (B, 3, H, W), noisy images.
        t: (B,), timesteps.
        condition: of B captions.
        guidance: the weight; 1 takes the text branch alone, 0 the empty one.
        previous: (B, 3, H, W), the last clean images, for a self-conditioned model.

    Example:
        >>> text, empty = (guided(model, x, t, condition, weight) for weight in (1, 0))
        >>> torch.allclose(guided(model, x, t, condition, 3), empty + 3 * (text - empty), atol=1e-5)
        True
    """
    if guidance == 1:
        return _call(model, x, t, condition, previous)
    if guidance == 0:
        return _call(model, x, t, replace(condition, text=condition.empty.expand(len(x))), previous)
    without, with_text = _branches(model, x, t, condition, previous)
    return without + guidance * (with_text - without)


def autoguided(
    model: Denoiser,
    guide: Denoiser,
    call: Call,
    guidance: float,
    autoguidance: float,
) -> Tensor:
    """empty + guidance (text - empty) + (autoguidance - 1) (text - guide), all at the same images.

    `text` and `empty` are the model's outputs for the captions and without, `guide` the worse model's for the
    captions. With guidance 1 this is guide + autoguidance (text - guide), as in arXiv 2406.02507.

    Args:
        model: as in `guided`.
        guide: predicts the same on the same schedule.
        call: what both are asked; its `guide` is the condition as the guide prepared it.
        guidance: weight of the captions; 1 leaves out the branch without.
        autoguidance: weight of the model against the guide; 1 would need no guide.
    """
    if guidance == 1:
        found = with_text = _call(model, call.x, call.t, call.condition, call.previous).float()
    else:
        without, with_text = _branches(model, call.x, call.t, call.condition, call.previous)
        found = without + guidance * (with_text - without)
    assert call.guide is not None
    worse = _call(guide, call.x, call.t, call.guide, call.previous).float()
    return found + (autoguidance - 1) * (with_text - worse)


def _branches(
    model: Denoiser, x: Tensor, t: Tensor, condition: Condition, previous: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The outputs (B, 3, H, W) for the empty caption and for the captions, in one call."""
    both = replace(
        condition,
        captions=condition.captions * 2,
        text=TextEmbedding.cat([condition.empty.expand(len(x)), condition.text]),
        low_res=_twice(condition.low_res),
        noise_level=None if condition.noise_level is None else condition.noise_level.repeat(2),
    )
    output = _call(model, x.repeat(2, 1, 1, 1), t.repeat(2), both, _twice(previous))
    without, with_text = output.float().chunk(2)
    return without, with_text


def _call(model: Denoiser, x: Tensor, t: Tensor, condition: Condition, previous: Tensor | None) -> Tensor:
    if model.self_conditioning:
        return model.denoise(x, t, condition, previous)
    return model.denoise(x, t, condition)


def _twice(images: Tensor | None) -> Tensor | None:
    return None if images is None else images.repeat(2, 1, 1, 1)


def threshold(clean: Tensor, kind: str, percentile: float = 0.95, maximum: float = 100.0) -> Tensor:
    """Bring clean images (B, C, H, W) into [-1, 1].

    Static clips. Dynamic takes the `percentile` s of each image's absolute values, between 1 and
    `maximum`, clips to [-s, s] and divides by s; with `maximum` 1 it is static. "none" changes nothing.
    Alpha is only clipped, for divided by s what is transparent or opaque would be neither; the colours, which
    are times alpha, stay within it.

    Args:
        clean: (B, C, H, W); of 4 channels the last is alpha.
        kind: "none", "static" or "dynamic".
        percentile: share of the values that are not clipped, in (0, 1].
        maximum: greatest s.

    Example:
        >>> clean = torch.tensor([-4.0, 0.0, 1.0, 2.0]).view(1, 1, 2, 2)
        >>> threshold(clean, "dynamic", percentile=1.0).flatten()
        tensor([-1.0000,  0.0000,  0.2500,  0.5000])
        >>> threshold(clean, "static").flatten()
        tensor([-1.,  0.,  1.,  1.])
    """
    if kind == "none":
        return clean
    if kind == "static":
        return clean.clamp(-1, 1)
    if clean.shape[1] == 4:
        alpha = clean[:, 3:].clamp(-1, 1)
        colours = threshold(clean[:, :3], kind, percentile, maximum)
        return torch.cat([torch.minimum(colours, alpha), alpha], 1)
    s = torch.quantile(clean.abs().flatten(1).float(), percentile, dim=1).clamp(1, maximum)
    s = s.to(clean.dtype)[:, None, None, None]
    return clean.clamp(-s, s) / s


def clamp_images(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) clipped to [-1, 1]; what is infinite becomes NaN, so that nothing hides it."""
    return _infinite_as_nan(images).clamp(-1, 1)


def _infinite_as_nan(values: Tensor) -> Tensor:
    return torch.where(values.isfinite(), values, torch.nan)


def schedule_config(model: Denoiser) -> dict[str, Any]:
    """A model's scheduler config as samplers use it: of clean images, trailing, with no clipping."""
    return {
        **model.scheduler_config,
        "prediction_type": "sample",
        "timestep_spacing": "trailing",
        "clip_sample": False,
        "thresholding": False,
    }


def model_schedule(model: Denoiser) -> Tensor:
    """Cumulative alphas (T,) of a model's own schedule, in float32."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    alphas: Tensor = DDPMScheduler.from_config(schedule_config(model)).alphas_cumprod
    return alphas


class GuidedDenoiser:
    """A denoiser with prompts and options of sampling, asked for clean images step by step.

    It guides, thresholds and gives a self-conditioned model its last estimate, whatever the model predicts.

    Args:
        model: its `scheduler_config` says what it predicts and on which schedule.
        condition: of B captions.
        config: guidance interval, weight of autoguidance, and thresholding.
        guidance: the weight within the interval; None takes the config's.
        schedule: (T,), the cumulative alphas that `at_timestep` means; None takes the model's own.
        graphs: replays calls of the model as CUDA graphs; None: they are made one by one.
        guide: the worse model of autoguidance; None: there is none.
        edit: what the images begin at and what of them is kept; None: nothing.

    Attributes:
        skip: steps to come in which the clean images are the edit's own, and the model is not asked.
        timestep: the last one that was asked for, on the model's schedule.
        function_evaluations: images that networks were evaluated on; with guidance an image counts twice, and
            with autoguidance once more.

    Example:
        >>> denoiser = GuidedDenoiser(model, condition, SamplerConfig(guidance=3.0))
        >>> clean = denoiser.at_timestep(x, torch.tensor(999))
    """

    def __init__(
        self,
        model: Denoiser,
        condition: Condition,
        config: SamplerConfig,
        guidance: float | None = None,
        schedule: Tensor | None = None,
        graphs: DenoiserGraphs | None = None,
        guide: Denoiser | None = None,
        edit: ImageEdit | None = None,
    ) -> None:
        if schedule is None:
            schedule = model_schedule(model)
        if guide is not None and condition.prepared:
            raise ValueError(
                "the condition is prepared for the model already: its guide has another text tower"
            )
        self.model, self.condition = model, model.prepare(condition)
        self.guide, self.guide_condition = guide, None if guide is None else guide.prepare(condition)
        self.config, self.schedule, self.graphs = config, schedule.double(), graphs
        self.guidance = config.guidance if guidance is None else guidance
        self.kind: str = model.scheduler_config["prediction_type"]
        self.previous: Tensor | None = None
        self.edit, self.skip = edit, 0
        self.timestep = 0.0
        self.function_evaluations = 0

    def at_timestep(self, x: Tensor, t: Tensor) -> Tensor:
        """Clean images for x (B, 3, H, W) at timestep t of the schedule, alpha² + sigma² = 1."""
        place = int(t)
        alpha, sigma = self.schedule[place].sqrt(), (1 - self.schedule[place]).sqrt()
        if self.kind != noise.FLOW:
            return self._clean(x, t, alpha, sigma)
        total = alpha + sigma
        return self._clean(x / total.to(x), sigma / total * len(self.schedule), alpha / total, sigma / total)

    def at_flow(self, x: Tensor, sigma: float) -> Tensor:
        """Clean images for x = (1 - sigma) x0 + sigma noise."""
        level = torch.tensor(sigma, dtype=torch.float64)
        if self.kind == noise.FLOW:
            return self._clean(x, level * len(self.schedule), 1 - level, level)
        ratios = ((1 - self.schedule) / self.schedule.clamp_min(1e-12)).sqrt().cpu()
        # A schedule that never reaches pure noise is asked at its last timestep for anything beyond.
        ratio = (level / (1 - level)).clamp(ratios[0], ratios[-1])
        alpha = 1 / (1 + ratio**2).sqrt()
        norm = ((1 - level) ** 2 + level**2).sqrt()
        return self._clean(x / norm.to(x), _between(ratios, ratio), alpha, ratio * alpha)

    def _clean(self, x: Tensor, t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        if self.edit is not None and self.skip:
            return self.edit.image.to(x)
        self.timestep = float(t)
        times = t.to(x.device if t.dtype == torch.int64 else x).expand(len(x))
        output = self._guided(x, times, *self._weights(self.timestep / len(self.schedule))).float()
        output = _infinite_as_nan(output)  # thresholding would hide it
        clean = noise.to_clean(self.kind, output, x, alpha.to(x), sigma.to(x))
        clean = threshold(clean, self.config.thresholding, self.config.percentile, self.config.maximum)
        clean = clean if self.edit is None else self.edit.kept(clean)
        self.previous = clean.clamp(-1, 1)
        return clean

    def _weights(self, level: float) -> tuple[float, float]:
        """The weights of guidance and autoguidance at a noise level t/T; 1: there is none."""
        low, high = self.config.guidance_interval
        if not low <= level <= high:
            return 1.0, 1.0
        return self.guidance, 1.0 if self.guide is None else self.config.autoguidance

    def _guided(self, x: Tensor, times: Tensor, weight: float, against: float) -> Tensor:
        """The output at these weights of guidance and autoguidance."""
        guide = None if against == 1 else self.guide

        def network(call: Call) -> Tensor:
            if guide is None:
                return guided(self.model, call.x, call.t, call.condition, weight, call.previous)
            return autoguided(self.model, guide, call, weight, against)

        one_branch = weight == 1 or (weight == 0 and guide is None)
        self.function_evaluations += len(x) * ((1 if one_branch else 2) + (guide is not None))
        call = Call(x, times, self.condition, self.previous, None if guide is None else self.guide_condition)
        return network(call) if self.graphs is None else self.graphs((weight, against), network, call)


def _between(ratios: Tensor, ratio: Tensor) -> Tensor:
    """The timestep, between two of the schedule's where need be, at which sigma / alpha is `ratio`."""
    after = int(torch.searchsorted(ratios, ratio).clamp(1, len(ratios) - 1))
    before, beyond = ratios[after - 1].log(), ratios[after].log()
    return after - 1 + (ratio.log() - before) / (beyond - before)
