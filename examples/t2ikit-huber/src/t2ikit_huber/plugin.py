"""What t2ikit is told of the loss. Imports no torch."""

from pydantic import Field

from t2ikit import Config, Context, LossSpec, hookimpl


class HuberConfig(Config):
    """Options of the Huber loss."""

    delta: float = Field(0.5, gt=0)
    """where the loss turns from quadratic to linear, in units of the prediction (images span -1 to 1)"""


def build(config: HuberConfig, context: Context):
    from t2ikit_huber.loss import huber

    return lambda step: huber(*step.prediction.denoising()[:2], config.delta)


@hookimpl
def t2ikit_losses():
    return [LossSpec("huber", build, HuberConfig, "quadratic, then linear", needs=frozenset({"target"}))]
