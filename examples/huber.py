"""Huber loss: t2ikit train --plugin imagen --plugin ./huber.py --set losses.huber.weight=1"""

from t2ikit import LossSpec, hookimpl


def huber(step, delta=0.5):
    error = (step.prediction.output - step.prediction.target).abs()
    capped = error.clamp(max=delta)
    return (capped * (error - capped / 2)).mean()


@hookimpl
def t2ikit_losses():
    return [LossSpec("huber", lambda config, context: huber, needs=frozenset({"target"}))]
