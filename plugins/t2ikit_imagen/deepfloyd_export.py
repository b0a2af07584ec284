"""`t2ikit export RUN --format if`: a folder that `DiffusionPipeline.from_pretrained` opens alone."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel

from t2ikit import Generator, Model, Run, Student, UserError, name_tokenizers, write_model_card
from t2ikit_imagen.configs import SamplerConfig
from t2ikit_imagen.deepfloyd import IFDenoiser
from t2ikit_imagen.samplers import ScheduledSampler

TOKENS = 77
"""How long IFPipeline makes every caption."""


def export_if(run: Run, out: Path) -> None:
    """Write text encoder, tokenizer, U-Net and scheduler as an IFPipeline, in float32.

    The U-Net's output is widened to 6 channels, of which the last 3, IF's learned variance, are 0 and unused.

    Raises:
        UserError: the run cannot be held by that pipeline; every obstacle is named.
    """
    model = run.model()
    found = obstacles(run, model)
    if found:
        raise UserError(
            f"{run.path}: diffusers' IFPipeline cannot hold this model",
            expected="a run of the recipe imagen/imagen-if, or its student of one call",
            got="; ".join(found),
            fix="train one with --recipe imagen/imagen-if, or use --format diffusers",
        )
    network: Any = network_of(model.generator)
    encoder, tokenizer = model.encoder.components()  # type: ignore[attr-defined]
    pipeline = IFPipeline(
        tokenizer=tokenizer,
        text_encoder=encoder.float(),  # the pipeline's U-Net takes its tokens as they are
        unet=widened(network.unet),
        scheduler=scheduler(model),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out)
    name_tokenizers(out)
    sampler = model.sampler  # of a student: one step, without guidance
    options = f"num_inference_steps={sampler.steps}, guidance_scale={sampler.guidance}"
    write_model_card(run, out, "diffusers:DiffusionPipeline", model, options)


def network_of(generator: Generator) -> Generator:
    """The denoiser within a student; any other generator as it is."""
    return generator.denoiser.network if isinstance(generator, Student) else generator


def obstacles(run: Run, model: Model) -> list[str]:
    """Everything that keeps a model from being an IFPipeline."""
    generator, network = run.table["generator"], network_of(model.generator)
    found = []
    if not isinstance(network, IFDenoiser):
        found.append(
            f"generator {generator.get('network', generator)['use']}: not imagen/if-unet "
            "(it has a text tower, folded pixels or masks)"
        )
    found += _of_the_text(run, model)
    if isinstance(model.generator, Student):
        return found + _of_the_student(model.generator)
    if isinstance(network, IFDenoiser) and network.caption_dropout == 0:
        found.append("generator.caption_dropout 0: that pipeline guides with the empty caption")
    return found + _of_the_sampler(run, model)


def _of_the_text(run: Run, model: Model) -> list[str]:
    """What is wrong with the text encoder."""
    text, found = run.table["text"], []
    if not hasattr(model.encoder, "components"):
        found.append(f"text {text['use']}: it has no model that transformers could open")
    elif text["use"] != "t2ikit/t5":
        found.append(f"text {text['use']}: not a T5 (t2ikit/t5)")
    if text.get("length") != TOKENS or not text.get("padded"):
        found.append(
            f"text.length {text.get('length')}, text.padded {bool(text.get('padded'))}: not {TOKENS} and true"
        )
    return found


def _of_the_student(student: Student) -> list[str]:
    """Why one step of a scheduler is not what a student does."""
    found = []
    if student.calls > 1:
        found.append(
            f"generator.calls {student.calls}: not 1 (that pipeline's steps go on from noisy images)"
        )
    if student.start < 1:
        found.append(
            f"generator.start {student.start:g}: not the schedule's last level, where it would begin"
        )
    return found


def _of_the_sampler(run: Run, model: Model) -> list[str]:
    """What is wrong with the sampler of a denoiser."""
    sampler, used = model.sampler, run.table["sampler"]["use"]
    found: list[str] = []
    if not isinstance(sampler, ScheduledSampler):
        found.append(f"sampler {used}: it is no scheduler of diffusers for the diffusion schedule")
        return found
    config = sampler.config
    if tuple(config.guidance_interval) != (0.0, 1.0):
        found.append(f"sampler.guidance_interval {list(config.guidance_interval)}: not [0, 1]")
    if isinstance(model.generator, IFDenoiser) and not _can_threshold(sampler, model.generator):
        found.append(
            f"sampler {used}: its scheduler has no thresholding like ours; set sampler.thresholding to none"
        )
    return found


def _can_threshold(sampler: ScheduledSampler[SamplerConfig], network: IFDenoiser) -> bool:
    """Whether the scheduler thresholds the clean image before it takes the noise from it."""
    kind = type(sampler.scheduler(network))
    after = "use_clipped_model_output" in inspect.signature(kind.step).parameters  # off in IFPipeline
    takes = "thresholding" in inspect.signature(kind.__init__).parameters
    return sampler.config.thresholding == "none" or (takes and not after)


def scheduler(model: Model) -> Any:
    """The sampler's scheduler, told what the U-Net predicts and how to keep the image in range.

    IFPipeline asks every scheduler for its `variance_type`, to split what the U-Net gives; diffusers keeps it
    in the config of a scheduler that has no use for one.
    """
    network, sampler = network_of(model.generator), model.sampler
    if isinstance(network, IFDenoiser) and isinstance(model.generator, Student):
        trailing = {"timestep_spacing": "trailing", "clip_sample": False, "variance_type": "fixed_small"}
        return DDPMScheduler.from_config({**network.scheduler_config, **trailing})
    if not isinstance(network, IFDenoiser) or not isinstance(sampler, ScheduledSampler):
        raise TypeError("obstacles() was not heeded")
    made, config = sampler.scheduler(network), sampler.config
    changes: dict[str, Any] = {"prediction_type": network.config.prediction}
    if config.thresholding != "none":
        dynamic = config.thresholding == "dynamic"
        changes |= {
            "thresholding": True,
            "dynamic_thresholding_ratio": config.percentile,
            "sample_max_value": config.maximum if dynamic else 1.0,  # 1 is static
        }
    return type(made).from_config({"variance_type": "fixed_small", **made.config}, **changes)


def widened(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same U-Net with 6 output channels, the last 3 always 0."""
    wide = UNet2DConditionModel.from_config({**unet.config, "out_channels": 6})
    weights = dict(unet.state_dict())
    for name in ("conv_out.weight", "conv_out.bias"):
        weights[name] = torch.cat([weights[name], torch.zeros_like(weights[name])])
    wide.load_state_dict(weights)
    return wide.eval()
