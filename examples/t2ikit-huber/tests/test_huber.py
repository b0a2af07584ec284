"""The loss against torch's, and t2ikit's conformance checks."""

import torch
from t2ikit_huber.loss import huber

from t2ikit.testing import check_loss, check_plugin


def test_it_is_the_huber_loss():
    output, target = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    expected = torch.nn.functional.huber_loss(output, target, delta=0.3)
    torch.testing.assert_close(huber(output, target, 0.3), expected)


def test_it_obeys_t2ikit():
    check_plugin("huber")
    check_loss("huber/huber", delta=0.1)
