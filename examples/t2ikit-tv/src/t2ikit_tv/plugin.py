"""What t2ikit is told of the loss. Imports no torch."""

from t2ikit import Config, Context, LossSpec, hookimpl


def build(config: Config, context: Context):
    from t2ikit_tv.loss import total_variation

    def loss(step):
        each = total_variation(step.prediction.images[-1])
        return (step.prediction.image_weight * each).mean()

    return loss


@hookimpl
def t2ikit_losses():
    return [LossSpec("tv", build, summary="mean difference between neighbouring pixels")]
