"""Schedules and parametrisations beside their definitions in float64."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from imagen_support import PREDICTIONS, exact_output, options
from t2ikit import UserError, noise_levels, noise_target, signal_to_noise, to_clean
from t2ikit_imagen.losses import snr_weight
from t2ikit_imagen.noise import make_scheduler


def _alpha_bar(schedule: str, steps: int) -> list[float]:
    """Cumulative alphas by the papers' formulas, with betas up to 0.999."""
    if schedule == "linear":
        betas = [1e-4 + (0.02 - 1e-4) * i / (steps - 1) for i in range(steps)]
    else:
        bars = {
            "cosine": lambda s: math.cos((s + 0.008) / 1.008 * math.pi / 2) ** 2,
            "sigmoid": lambda s: (_sigmoid(3) - _sigmoid(6 * s - 3)) / (_sigmoid(3) - _sigmoid(-3)),
        }[schedule]
        betas = [min(0.999, 1 - bars((i + 1) / steps) / bars(i / steps)) for i in range(steps)]
    products, product = [], 1.0
    for beta in betas:
        product *= 1 - beta
        products.append(product)
    return products


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("schedule", ["linear", "cosine", "sigmoid"])
def test_schedules_are_those_of_the_papers(schedule):
    found = make_scheduler(options(schedule=schedule, zero_snr=False)).alphas_cumprod.double()
    expected = torch.tensor(_alpha_bar(schedule, 1000), dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "sigmoid"])
def test_zero_snr_keeps_the_first_step_and_ends_in_pure_noise(schedule):
    plain = make_scheduler(options(schedule=schedule, zero_snr=False)).alphas_cumprod.double()
    found = make_scheduler(options(schedule=schedule)).alphas_cumprod.double()
    root = plain.sqrt()
    expected = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    assert found[-1] == 0
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("steps", [100, 4000])
def test_the_linear_schedule_keeps_its_noise_at_other_lengths(steps):
    last = make_scheduler(options(schedule="linear", zero_snr=False, timesteps=steps)).alphas_cumprod[-1]
    assert float(last.log()) == pytest.approx(math.log(4.0e-5), rel=0.15)


def test_epsilon_with_zero_snr_is_refused():
    with pytest.raises(ValidationError, match=r"epsilon.*cannot be used with zero_snr"):
        options(prediction="epsilon", zero_snr=True)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_target_and_clean_image_undo_each_other(prediction):
    generator = torch.Generator().manual_seed(0)
    clean, fresh = torch.randn(2, 4, 3, 8, 8, generator=generator, dtype=torch.float64)
    alphas = make_scheduler(options(prediction=prediction)).alphas_cumprod.double()
    flow = prediction == "flow_prediction"
    t = torch.tensor([1.5, 300.0, 800.0, 1000.0]) if flow else torch.tensor([0, 300, 800, 998])
    alpha, sigma = noise_levels(prediction, alphas, t)
    alpha, sigma = alpha.double(), sigma.double()
    x = alpha * clean + sigma * fresh
    output = noise_target(prediction, clean, fresh, alpha, sigma)
    torch.testing.assert_close(output, exact_output(prediction, x, clean, alpha, sigma), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(to_clean(prediction, output, x, alpha, sigma), clean, atol=1e-6, rtol=1e-6)
    if flow:
        torch.testing.assert_close(alpha + sigma, torch.ones_like(alpha))
    else:
        torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha), atol=1e-6, rtol=0)


WEIGHTED = [(p, w) for p in PREDICTIONS for w in ("min_snr", "soft_min_snr", "snr_plus_one")]
WEIGHTED.remove(("epsilon", "snr_plus_one"))


@pytest.mark.parametrize(("prediction", "weighting"), WEIGHTED)
def test_snr_weights_weigh_the_error_in_the_clean_image(prediction, weighting):
    """weight x (error in the prediction)² = w(SNR) x (error in the clean image)², by the chain rule."""
    gamma = 5.0
    for level in (0.02, 0.3, 0.7, 0.99):
        alpha, sigma = (
            (1 - level, level) if prediction == "flow_prediction" else (math.cos(level), math.sin(level))
        )
        snr = (alpha / sigma) ** 2
        of_clean = {
            "min_snr": min(snr, gamma),
            "soft_min_snr": snr * gamma / (snr + gamma),
            "snr_plus_one": min(snr + 1, gamma),
        }[weighting]
        # What one unit of error in the prediction makes in the clean image.
        slope = {"v_prediction": sigma, "epsilon": sigma / alpha, "sample": 1.0, "flow_prediction": sigma}[
            prediction
        ]
        found = snr_weight(torch.tensor([snr], dtype=torch.float64), gamma, prediction, weighting=weighting)
        assert float(found) == pytest.approx(of_clean * slope**2, rel=1e-9)


def test_epsilon_is_not_weighed_without_bound():
    with pytest.raises(UserError, match="no bound for epsilon"):
        snr_weight(torch.ones(1), 5.0, "epsilon", weighting="snr_plus_one")


@pytest.mark.parametrize(("prediction", "weighting"), WEIGHTED)
@pytest.mark.parametrize("schedule", ["linear", "cosine", "sigmoid"])
def test_snr_weights_are_finite_at_every_step(prediction, schedule, weighting):
    config = options(prediction=prediction, schedule=schedule)
    alphas = make_scheduler(config).alphas_cumprod
    t = torch.arange(1000)
    snr = signal_to_noise(*noise_levels(prediction, alphas, t))
    weight = snr_weight(snr, 5.0, prediction, weighting=weighting)
    assert snr.isfinite().all()
    assert weight.isfinite().all()
    assert (weight >= 0).all()
    assert weight.max() <= 5.0001
