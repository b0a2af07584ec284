"""The checks of generators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from t2ikit.core.batch import Batch, Prediction
from t2ikit.core.interfaces import Denoiser, Generator, OneStep
from t2ikit.registry.registry import Registry
from t2ikit.testing.checks.generator_trial import OTHER, SOME, GeneratorTrial
from t2ikit.testing.report import Check, require_all
from t2ikit.testing.support import close, finite, reload, require, shake, subject
from t2ikit.testing.toys import toy_text


def check_generator(
    name: str,
    registry: Registry | None = None,
    image_size: int = 32,
    low_res: int | None = None,
    /,
    **config: Any,
) -> None:
    """Check a generator: what it predicts, its gradients, that it repeats, and that samples do not mix.

    It must also depend on its captions, work under bf16 autocast, and keep all it learns in its state dict.

    Args:
        name: of the generator, as in a recipe.
        registry: where it is looked up; None takes the installed plugins.
        image_size: pixels.
        low_res: size of the images to upscale, pixels; None: as its `super_resolution` says.
        **config: its options.

    Raises:
        AssertionError: something of the interface does not hold.
    """
    part = subject("generators", name, registry, config)
    require_all(GENERATOR_CHECKS, GeneratorTrial(part, image_size, low_res))


def _check_kind(trial: GeneratorTrial) -> None:
    right = isinstance(trial.model, (Denoiser, OneStep))
    require(right, f"{trial.title} must be a t2ikit.Denoiser or a t2ikit.OneStep")


def _check_prediction(trial: GeneratorTrial) -> None:
    title, model, batch = trial.title, trial.model, trial.batch
    prediction = model(batch, trial.draws())
    require(isinstance(prediction, Prediction), f"{title}: forward must give a t2ikit.Prediction")
    levels, weight, size = prediction.images, prediction.image_weight, batch.images.shape[-1]
    sides = [level.shape[-1] for level in levels]
    require(
        all(level.shape[:2] == (len(batch), model.image_channels) for level in levels),
        f"{title}: every level must be (B, 3, h, w)",
    )
    require(
        sides == sorted(set(sides)) and sides[-1:] == [size],
        f"{title}: levels must go from coarse to fine and end at {size} px, got {sides}",
    )
    in_range = weight.shape == (len(batch),) and bool(((weight >= 0) & (weight <= 1)).all())
    require(in_range, f"{title}: image_weight must be (B,) in [0, 1]")
    if isinstance(model, Denoiser):
        _check_denoising(title, prediction, batch)
    require(finite(_total(model, prediction)), f"{title}: the prediction must be finite")


def _check_denoising(title: str, prediction: Prediction, batch: Batch) -> None:
    _, target, snr = prediction.denoising()
    count, shape = (len(batch),), tuple(batch.images.shape)
    for label, value, expected in (
        ("output", prediction.output, shape),
        ("target", target, shape),
        ("snr", snr, count),
        ("timestep", prediction.timestep, count),
    ):
        found = None if value is None else tuple(value.shape)
        require(found == expected, f"{title}: {label} must be {expected}, got {found}")
    require(not target.requires_grad, f"{title}: target must carry no gradient")
    require(finite(snr) and bool((snr >= 0).all()), f"{title}: snr must be finite and at least 0")


def _total(model: nn.Module, prediction: Prediction) -> Tensor:
    """A scalar of everything that is predicted."""
    total = torch.stack([level.float().square().sum() for level in prediction.images]).sum()
    if isinstance(model, Denoiser):
        output, target, _ = prediction.denoising()
        total = total + (output - target).float().square().sum()
    return total


def _check_gradient(trial: GeneratorTrial) -> None:
    model, title = trial.model, trial.title
    model.zero_grad(set_to_none=True)
    total = _total(model, model(trial.batch, trial.draws()))
    require(total.requires_grad, f"{title}: the prediction carries no gradient")
    total.backward()
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    require(not unused, f"{title}: these parameters receive no gradient: {', '.join(unused[:5])}")
    model.zero_grad(set_to_none=True)


@torch.no_grad()
def _check_randomness(trial: GeneratorTrial) -> None:
    model, batch, title = trial.moved, trial.batch, trial.title
    first, second = model(batch, trial.draws()), model(batch, trial.draws())
    require(
        close(second.images[-1], first.images[-1], 1e-6),
        f"{title}: the same draws gave different predictions; all randomness must come from `draws`",
    )
    other = model(batch, trial.draws(salt=1))
    require(not torch.equal(other.images[-1], first.images[-1]), f"{title}: other draws changed nothing")


@torch.no_grad()
def _check_independence(trial: GeneratorTrial) -> None:
    model, batch = trial.moved, trial.batch
    whole = model(batch, trial.draws())
    some = model(batch[SOME], trial.draws()[SOME])
    require(
        close(some.images[-1], whole.images[-1][SOME], 1e-4),
        f"{trial.title}: a sample's prediction depends on the others in its batch",
    )


@torch.no_grad()
def _check_caption(trial: GeneratorTrial) -> None:
    """Both what is trained and what is sampled must change with the words, unless it says otherwise."""
    model, batch = trial.moved, trial.batch
    if model.unconditional:
        return
    other = replace(batch, condition=replace(batch.condition, captions=tuple(OTHER), text=toy_text(OTHER)))
    seen = [model(one, trial.draws()).images[-1] for one in (batch, other)]
    require(not close(seen[1], seen[0], 1e-6), f"{trial.title}: other captions did not change the prediction")
    made = [trial.sampled(one) for one in (batch, other)]
    require(
        not close(made[1], made[0], 1e-6), f"{trial.title}: other captions did not change what is sampled"
    )


def _check_bf16(trial: GeneratorTrial) -> None:
    model = trial.moved
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16):
        prediction = model(trial.batch[SOME], trial.draws()[SOME])
        total = _total(model, prediction)
    require(finite(total), f"{trial.title}: the prediction is not finite under bf16 autocast")
    total.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    bad = [name for name, gradient in gradients.items() if not finite(gradient)]
    require(not bad, f"{trial.title}: the gradients of {', '.join(bad[:3])} are not finite in bf16")
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        made = trial.sampled(trial.batch)
    require(finite(made), f"{trial.title}: what is sampled is not finite under bf16 autocast")


@torch.no_grad()
def _check_state(trial: GeneratorTrial) -> None:
    trained: Generator = trial.part.build(trial.size)
    shake(trained)
    for salt in (1, 2):
        trained(trial.others(salt), trial.draws(salt))
    resumed = reload(trial.part, trial.size, trained)
    for mode in (False, True):
        seen = [model.train(mode)(trial.batch, trial.draws()).images[-1] for model in (trained, resumed)]
        require(
            close(seen[1], seen[0], 1e-5),
            f"{trial.title} predicts otherwise after its state was saved and loaded",
        )


@torch.no_grad()
def _check_sampling(trial: GeneratorTrial) -> None:
    """What samplers call."""
    title, model, batch = trial.title, trial.moved, trial.batch
    shape = tuple(batch.images.shape)
    if isinstance(model, Denoiser):
        missing = {"num_train_timesteps", "prediction_type"} - set(model.scheduler_config)
        require(not missing, f"{title}: scheduler_config lacks {', '.join(sorted(missing))}")
        require(model.image_size == shape[-1], f"{title}: image_size must be {shape[-1]}")
        made = trial.sampled(batch)
        require(tuple(made.shape) == shape and finite(made), f"{title}: denoise must give {shape}, finite")
        _check_shapes(title, model, batch)
    if isinstance(model, OneStep):
        drawn = model.generate(batch.condition, trial.draws())
        require(tuple(drawn[-1].shape) == shape, f"{title}: generate must end at {shape}")
        mean = model.generate(batch.condition, trial.draws(), truncation=0.0)
        moved = not torch.equal(mean[-1], drawn[-1])
        require(moved and finite(mean[-1]), f"{title}: truncation must draw the latent towards its mean")


def _check_shapes(title: str, model: Denoiser, batch: Batch) -> None:
    """Whether a model that says it takes images of any shape does."""
    multiple, size = model.shape_multiple, model.image_size
    if multiple:
        require(size % multiple == 0, f"{title}: image_size must be a multiple of shape_multiple {multiple}")
        wide = batch.images.new_zeros(*batch.images.shape[:-1], size + multiple)
        last = model.scheduler_config["num_train_timesteps"] - 1
        made = model.denoise(wide, torch.full((len(batch),), last), batch.condition)
        told = f"{title}: by its shape_multiple, denoise must take images {tuple(wide.shape)}"
        require(made.shape == wide.shape and finite(made), told)


GENERATOR_CHECKS = (
    Check(
        "interface",
        "a t2ikit.Denoiser or a t2ikit.OneStep",
        "derive it from one of them; `build` returns an instance",
        _check_kind,
        vital=True,
    ),
    Check(
        "prediction",
        "a finite t2ikit.Prediction of the batch's shapes",
        "a denoiser's forward can return t2ikit.noised_prediction(self, batch, draws, self.alphas_cumprod)",
        _check_prediction,
        vital=True,
    ),
    Check(
        "gradient",
        "every parameter that is trained gets a gradient",
        "use them all in forward, or freeze them: requires_grad_(False)",
        _check_gradient,
    ),
    Check(
        "randomness",
        "the same draws give the same prediction, others another",
        "draw random numbers from `draws` alone: draws.randn(...), not torch.randn(...)",
        _check_randomness,
    ),
    Check(
        "samples do not mix",
        "a sample's prediction does not depend on the rest of its batch",
        "no batch norm, and no mean over the batch",
        _check_independence,
        after="randomness",
    ),
    Check(
        "sampling",
        "what samplers call gives finite images",
        "see Denoiser.denoise and OneStep.generate",
        _check_sampling,
        vital=True,
    ),
    Check(
        "caption",
        "other captions give other images",
        "use condition.text (tokens and mask, or pooled), in training and in sampling",
        _check_caption,
    ),
    Check(
        "bf16",
        "prediction, gradients and samples are finite in bf16",
        "compute norms, softmaxes, exponentials and differences of close numbers in fp32: x.float()",
        _check_bf16,
    ),
    Check(
        "saved state",
        "the same prediction after its state is saved and loaded",
        "keep tensors in nn.Parameter or register_buffer, not in plain attributes or buffers with "
        "persistent=False that training changes",
        _check_state,
    ),
)
"""In the order they are run."""
