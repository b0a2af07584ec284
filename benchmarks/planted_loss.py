"""A loss for `t2ikit ablate` to judge: of tiny random gradients, or harmful (verdicts.py)."""

from typing import Literal

from t2ikit import Config, LossSpec, hookimpl


class PlantedConfig(Config):
    """Settings."""

    kind: Literal["chance", "negative"] = "chance"
    """chance: random gradients, of about a hundredth of the denoising loss's; negative: the target with
    its colours inverted beside the target"""


def chance(step):
    """A random direction for each number of the output."""
    output = step.prediction.output
    return 0.002 * (output * step.draws.named("chance").randn(*output.shape[1:])).mean()


def negative(step):
    """Twice the squared error to the target with its colours inverted, which outweighs the denoising loss
    at high noise levels and takes contrast away at low ones."""
    return 2 * (step.prediction.output + step.prediction.target).square().mean()


@hookimpl
def t2ikit_losses():
    """The loss."""
    kinds = {"chance": chance, "negative": negative}
    needs = frozenset({"target"})
    return [
        LossSpec("planted", lambda config, context: kinds[config.kind], config=PlantedConfig, needs=needs)
    ]
