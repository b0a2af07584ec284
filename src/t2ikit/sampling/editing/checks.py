"""Which models and samplers can begin at an image, and be led away from a prompt."""

from __future__ import annotations

from collections.abc import Sequence

from t2ikit.core.interfaces import Denoiser
from t2ikit.errors import UserError, option
from t2ikit.recipes.compose import Model
from t2ikit.sampling.editing.edit import ImageEdit, takes_edits
from t2ikit.utils.console import warn


def check_edit(
    model: Model,
    edit: ImageEdit | None,
    negative: str | Sequence[str],
    *,
    steps: int | None = None,
    guidance: Sequence[float] = (),
) -> None:
    """Refuse an edit or a negative prompt that a model cannot use; warn of one that changes nothing.

    Args:
        model: what samples, with its sampler.
        edit: what it begins at; None: at noise.
        negative: what guidance leads away from; "": from the empty caption, as always; or one
            for each prompt.
        steps: of the sampler; None takes its own.
        guidance: the weights that are sampled with; none: the sampler's own.

    Raises:
        UserError: the model is no denoiser, or upscales images; its sampler begins at noise alone; or the
            strength leaves no step.
    """
    negated = any([negative] if isinstance(negative, str) else negative)
    asked = [option("image")] * (edit is not None) + [option("negative_prompt")] * negated
    if asked and not isinstance(model.generator, Denoiser):
        raise UserError(
            f"{', '.join(asked)}: this model makes an image from noise and a caption in one go",
            expected="a diffusion run, which goes there step by step",
            got=type(model.generator).__name__,
            fix=f"leave {' and '.join(asked)} out, or sample the run of a denoiser",
        )
    if edit is not None:
        _check_edit(model, edit, model.sampler.steps if steps is None else steps)
    if negated and set(guidance or [model.sampler.guidance]) == {1}:
        warn(f"{option('negative_prompt')} changes nothing at guidance 1, which leads away from nothing")


def _check_edit(model: Model, edit: ImageEdit, steps: int) -> None:
    sampler = type(model.sampler).__name__
    if model.generator.super_resolution is not None:
        raise UserError(
            "this model upscales images, and cannot begin at one of its own size",
            expected="strength and mask for a model that samples from text alone",
            got=f"a super-resolution model of {model.context.image_size} px",
            fix="edit the small images with their own model, and upscale what comes of it",
        )
    if not takes_edits(model.sampler):
        raise UserError(
            f"{option('image')}: the sampler {sampler} begins at noise alone",
            expected="a sampler made from DenoiserSampler, or one whose call takes `edit`",
            got=sampler,
            fix=f"choose another with {option('sampler')}, or leave {option('image')} out",
        )
    if edit.strength > 0 and edit.skipped(steps) == steps:
        raise UserError(
            f"{option('strength')} {edit.strength:g} of {steps} steps is not one step",
            expected=f"at least {1 / steps:.3g}, or more steps",
            got=f"{edit.strength:g} x {steps} = {edit.strength * steps:.3g}",
            fix=f"give more {option('steps')}, or {option('strength')} 0 to get the image back",
        )
