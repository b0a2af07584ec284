"""A plugin file for the tests, with losses that fail at the third step."""

from t2ikit import LossSpec, hookimpl


class Loss:
    def __init__(self, fail):
        self.calls, self.fail = 0, fail

    def __call__(self, step):
        self.calls += 1
        loss = step.prediction.images[-1].mean()
        return self.fail(loss) if self.calls == 3 else loss


def boom(loss):
    raise RuntimeError("boom")


@hookimpl
def t2ikit_losses():
    infinite = LossSpec("infinite", lambda config, context: Loss(lambda loss: loss * float("inf")))
    return [infinite, LossSpec("boom", lambda config, context: Loss(boom))]
