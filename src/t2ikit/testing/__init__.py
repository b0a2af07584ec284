"""Conformance checks for plugins: call them from your tests.

Each raises AssertionError with a sentence that says what does not hold. They look parts up in the installed
plugins; give a registry to look elsewhere, such as `Registry.load(["./my_loss.py"])`. What follows is the
part's config:

    def test_my_loss():
        check_loss("mine/huber", delta=0.1)

`examine_plugin` runs all of them on a plugin and gives a result of each, as `t2ikit plugin check` does.
"""

from t2ikit.testing.checks.critics import check_critic
from t2ikit.testing.checks.datasets import check_dataset
from t2ikit.testing.checks.generators import check_generator
from t2ikit.testing.checks.losses import check_loss
from t2ikit.testing.checks.metrics import check_metric
from t2ikit.testing.checks.plugins import check_exporter, check_plugin, check_recipe
from t2ikit.testing.checks.samplers import check_sampler
from t2ikit.testing.checks.text_encoders import check_text_encoder
from t2ikit.testing.examine import examine_plugin
from t2ikit.testing.report import CheckResult
from t2ikit.testing.toys import toy_run

__all__ = [
    "CheckResult",
    "check_critic",
    "check_dataset",
    "check_exporter",
    "check_generator",
    "check_loss",
    "check_metric",
    "check_plugin",
    "check_recipe",
    "check_sampler",
    "check_text_encoder",
    "examine_plugin",
    "toy_run",
]
