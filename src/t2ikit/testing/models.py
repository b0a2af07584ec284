"""The checks of generators, critics and samplers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from t2ikit.core.batch import Batch, Prediction
from t2ikit.core.interfaces import Critic, Denoiser, Generator, OneStep, Sampler
from t2ikit.core.rng import Draws
from t2ikit.core.step import resize_level
from t2ikit.registry.registry import Registry
from t2ikit.testing.support import TEXT_WIDTH, close, explained, finite, require, seeded, subject
from t2ikit.testing.toys import ToyDenoiser, ToyGAN, toy_batch, toy_condition, toy_text

COUNT = 4
SOME = slice(1, 3)


def check_generator(
    name: str,
    registry: Registry | None = None,
    image_size: int = 32,
    low_res: int | None = None,
    /,
    **config: Any,
) -> None:
    """Check a generator: what it predicts, its gradients, that it repeats, and that samples do not mix.

    Args:
        name: of the generator, as in a recipe.
        registry: where it is looked up; None takes the installed plugins.
        image_size: pixels.
        low_res: size of the images to upscale, pixels; None unless it does super-resolution.
        **config: its options.

    Raises:
        AssertionError: something of the interface does not hold.
    """
    part = subject("generators", name, registry, config)
    model = part.build(image_size)
    require(
        isinstance(model, (Denoiser, OneStep)), f"{part.title} must be a t2ikit.Denoiser or a t2ikit.OneStep"
    )
    batch = toy_batch(COUNT, image_size)
    if low_res is not None:
        small = resize_level(batch.images, (low_res, low_res))
        batch = replace(batch, condition=replace(batch.condition, low_res=small))
    with explained(f"{part.title} fails"):
        _check_prediction(part.title, model, batch)
        _shake(model)
        _check_independence(part.title, model, batch)
        _check_sampling(part.title, model, batch)


def _draws(batch: Batch, salt: int = 0) -> Draws:
    return Draws(batch.keys, salt)


def _check_prediction(title: str, model: Generator, batch: Batch) -> None:
    prediction = model(batch, _draws(batch))
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
    total = sum(level.float().square().sum() for level in levels)
    if isinstance(model, Denoiser):
        total = total + _check_denoising(title, prediction, batch)
    require(isinstance(total, Tensor) and finite(total), f"{title}: the prediction must be finite")
    _check_all_trained(title, model, torch.as_tensor(total))


def _check_denoising(title: str, prediction: Prediction, batch: Batch) -> Tensor:
    output, target, snr = prediction.denoising()
    count, shape = (len(batch),), tuple(batch.images.shape)
    for label, value, expected in (
        ("output", output, shape),
        ("target", target, shape),
        ("snr", snr, count),
        ("timestep", prediction.timestep, count),
    ):
        found = None if value is None else tuple(value.shape)
        require(found == expected, f"{title}: {label} must be {expected}, got {found}")
    require(not target.requires_grad, f"{title}: target must carry no gradient")
    require(finite(snr) and bool((snr >= 0).all()), f"{title}: snr must be finite and at least 0")
    return (output - target).square().sum()


def _check_all_trained(title: str, model: nn.Module, total: Tensor) -> None:
    require(total.requires_grad, f"{title}: the prediction carries no gradient")
    total.backward()
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    require(not unused, f"{title}: these parameters receive no gradient: {', '.join(unused[:5])}")
    model.zero_grad(set_to_none=True)


@torch.no_grad()
def _shake(model: nn.Module) -> None:
    """Move every parameter a little, as training would: an output that begins at 0 shows nothing else."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator).to(parameter))


@torch.no_grad()
def _check_independence(title: str, model: Generator, batch: Batch) -> None:
    first, second = model(batch, _draws(batch)), model(batch, _draws(batch))
    require(
        close(second.images[-1], first.images[-1], 1e-6),
        f"{title}: the same draws gave different predictions; all randomness must come from `draws`",
    )
    other = model(batch, _draws(batch, salt=1))
    require(not torch.equal(other.images[-1], first.images[-1]), f"{title}: other draws changed nothing")
    some = model(batch[SOME], _draws(batch)[SOME])
    require(
        close(some.images[-1], first.images[-1][SOME], 1e-4),
        f"{title}: a sample's prediction depends on the others in its batch",
    )


def _check_shapes(title: str, model: Denoiser, batch: Batch, last: int) -> None:
    """Whether a model that says it takes images of any shape does."""
    multiple, size = model.shape_multiple, model.image_size
    if multiple:
        require(size % multiple == 0, f"{title}: image_size must be a multiple of shape_multiple {multiple}")
        wide = batch.images.new_zeros(*batch.images.shape[:-1], size + multiple)
        made = model.denoise(wide, torch.full((len(batch),), last), batch.condition)
        told = f"{title}: by its shape_multiple, denoise must take images {tuple(wide.shape)}"
        require(made.shape == wide.shape and finite(made), told)


@torch.no_grad()
def _check_sampling(title: str, model: Generator, batch: Batch) -> None:
    """What samplers call."""
    shape = tuple(batch.images.shape)
    if isinstance(model, Denoiser):
        missing = {"num_train_timesteps", "prediction_type"} - set(model.scheduler_config)
        require(not missing, f"{title}: scheduler_config lacks {', '.join(sorted(missing))}")
        require(model.image_size == shape[-1], f"{title}: image_size must be {shape[-1]}")
        last = int(model.scheduler_config["num_train_timesteps"]) - 1
        made = model.denoise(batch.images, torch.full((len(batch),), last), batch.condition)
        require(tuple(made.shape) == shape and finite(made), f"{title}: denoise must give {shape}, finite")
        _check_shapes(title, model, batch, last)
    if isinstance(model, OneStep):
        drawn = model.generate(batch.condition, _draws(batch))
        require(tuple(drawn[-1].shape) == shape, f"{title}: generate must end at {shape}")
        mean = model.generate(batch.condition, _draws(batch), truncation=0.0)
        moved = not torch.equal(mean[-1], drawn[-1])
        require(moved and finite(mean[-1]), f"{title}: truncation must draw the latent towards its mean")


def check_critic(name: str, registry: Registry | None = None, image_size: int = 32, /, **config: Any) -> None:
    """Check a critic: a pyramid and one level, logits (B,), that it reacts, and that samples do not mix.

    Args:
        name: of the critic, as in a recipe.
        registry: where it is looked up; None takes the installed plugins.
        image_size: pixels.
        **config: its options.

    Raises:
        AssertionError: something of the interface does not hold.
    """
    part = subject("critics", name, registry, config)
    model = part.build(image_size)
    require(isinstance(model, Critic), f"{part.title} must be a t2ikit.Critic")
    batch = toy_batch(COUNT, image_size)
    for sizes in ((image_size // 4, image_size // 2, image_size), (image_size,)):
        title = f"{part.title} on {len(sizes)} {'levels' if len(sizes) > 1 else 'level'}"
        levels = [resize_level(batch.images, (size, size)) for size in sizes]
        with explained(f"{title} fails"):
            _check_logits(title, model, levels, batch)
            _check_reaction(title, model, levels, batch)
            _check_penalty(title, model, levels, batch)


def _logits(model: Critic, levels: Sequence[Tensor], batch: Batch, cut: slice = slice(None)) -> list[Tensor]:
    features = model.features([level[cut] for level in levels], _draws(batch)[cut])
    return model.heads(features, batch.condition.text[cut])


@torch.no_grad()
def _check_logits(title: str, model: Critic, levels: Sequence[Tensor], batch: Batch) -> None:
    logits = _logits(model, levels, batch)
    shapes = [tuple(logit.shape) for logit in logits]
    right = bool(shapes) and all(shape == (len(batch),) for shape in shapes)
    require(right, f"{title}: heads must give a list of (B,), got {shapes}")
    require(finite(*logits), f"{title}: logits must be finite")
    again, some = _logits(model, levels, batch), _logits(model, levels, batch, SOME)
    for one, repeat, alone in zip(logits, again, some):
        require(close(repeat, one, 1e-6), f"{title}: the same draws gave different logits")
        require(close(alone, one[SOME], 1e-4), f"{title}: a logit depends on the other samples of the batch")


@torch.no_grad()
def _check_reaction(title: str, model: Critic, levels: Sequence[Tensor], batch: Batch) -> None:
    base = torch.cat(_logits(model, levels, batch))
    negated = torch.cat(_logits(model, [-level for level in levels], batch))
    require(not close(negated, base, 1e-7), f"{title}: the logits do not react to the images")
    features = model.features(levels, _draws(batch))
    other = torch.cat(model.heads(features, toy_text(["nothing alike"] * len(batch))))
    require(not close(other, base, 1e-7), f"{title}: the logits do not react to the text")


def _check_penalty(title: str, model: Critic, levels: Sequence[Tensor], batch: Batch) -> None:
    """A gradient penalty differentiates twice."""
    leaves = [level.clone().requires_grad_(True) for level in levels]
    total = torch.cat(_logits(model, leaves, batch)).sum()
    gradients = torch.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
    require(gradients[-1] is not None, f"{title}: the full image is not looked at")
    squares = [gradient.square().sum() for gradient in gradients if gradient is not None]
    torch.stack(squares).sum().backward()
    model.zero_grad(set_to_none=True)


def check_sampler(
    name: str, registry: Registry | None = None, image_size: int = 16, /, **config: Any
) -> None:
    """Check a sampler on a toy model: range, that it repeats, progress, and that samples do not mix.

    Args:
        name: of the sampler, as in a recipe.
        registry: where it is looked up; None takes the installed plugins.
        image_size: pixels.
        **config: its options.

    Raises:
        AssertionError: something of the interface does not hold.
    """
    part = subject("samplers", name, registry, config)
    sampler = part.build(image_size)
    require(isinstance(sampler, Sampler), f"{part.title} must be a t2ikit.Sampler")
    require(
        isinstance(sampler.steps, int) and sampler.steps >= 1 and isinstance(sampler.guidance, (int, float)),
        f"{part.title}: steps must be a whole number of at least 1, and guidance a number",
    )
    with seeded(1):
        toy = ToyDenoiser if part.entry.spec.requires == "Denoiser" else ToyGAN
        model = toy(TEXT_WIDTH, image_size).eval()
    with explained(f"{part.title} fails"):
        _check_images(part.title, sampler, model)
        _check_progress(part.title, sampler, model)


def _sampled(sampler: Sampler, model: Generator, cut: slice = slice(0, COUNT), **options: Any) -> Tensor:
    key = options.pop("key", 0)
    if isinstance(model, Denoiser):
        options = {"steps": 3, **options}
    condition = toy_condition(["a red square", "a blue square", "green", ""])
    draws = Draws(torch.arange(COUNT) + key, "sample")
    return sampler(model, condition[cut], draws=draws[cut], **options)


def _check_images(title: str, sampler: Sampler, model: ToyDenoiser | ToyGAN) -> None:
    shape = (COUNT, 3, model.image_size, model.image_size)
    for guidance in (None, 1.0, 3.0) if isinstance(model, Denoiser) else (None,):
        images = _sampled(sampler, model, guidance=guidance)
        require(tuple(images.shape) == shape, f"{title} must give {shape}, gave {tuple(images.shape)}")
        inside = finite(images) and float(images.abs().max()) <= 1
        require(inside, f"{title}: images must lie in [-1, 1] (guidance {guidance})")
        require(not images.requires_grad, f"{title}: images must carry no gradient")
    images = _sampled(sampler, model)
    with seeded(2):
        require(
            torch.equal(_sampled(sampler, model), images),
            f"{title}: the same draws gave other images; all randomness must come from `draws`",
        )
    require(
        not torch.equal(_sampled(sampler, model, key=100), images), f"{title}: other draws changed nothing"
    )
    some = _sampled(sampler, model, SOME)
    require(close(some, images[SOME], 1e-4), f"{title}: an image depends on the others sampled with it")


def _check_progress(title: str, sampler: Sampler, model: Generator) -> None:
    seen: list[tuple[int, int]] = []
    _sampled(sampler, model, progress=lambda done, total: seen.append((done, total)))
    done = [step for step, _ in seen]
    right = done == sorted(set(done)) and bool(seen) and seen[-1][0] == seen[-1][1]
    require(
        right, f"{title}: progress must be called with rising (done, total) up to (total, total), was {seen}"
    )
