"""A loss for `t2ikit ablate` to judge: of tiny random gradients, or harmful (verdicts.py)."""

from typing import Literal

from t2ikit import Config, LossSpec, hookimpl


class PlantedConfig(Config):
    """Settings."""

    kind: Literal["chance", "mirror"] = "chance"
    """chance: random gradients, of about a hundredth of the denoising loss's; mirror: the target's mirror
    image beside the target"""


def chance(step):
    """A random direction for each number of the output."""
    output = step.prediction.output
    return 0.002 * (output * step.draws.named("chance").randn(*output.shape[1:])).mean()


def mirror(step):
    """Mean squared error to the target's mirror image: the output is drawn to a blend of both."""
    return (step.prediction.output - step.prediction.target.flip(-1)).square().mean()


@hookimpl
def t2ikit_losses():
    """The loss."""
    kinds = {"chance": chance, "mirror": mirror}
    needs = frozenset({"target"})
    return [
        LossSpec("planted", lambda config, context: kinds[config.kind], config=PlantedConfig, needs=needs)
    ]
