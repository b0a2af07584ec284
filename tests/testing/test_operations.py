"""Counting operations, and refusing those that wait for a device."""

from __future__ import annotations

import pytest
import torch

from t2ikit.testing.operations import CountedOperations, NoWaiting

X = torch.arange(6.0).reshape(2, 3)


def test_operations_are_counted_and_views_are_not():
    with CountedOperations() as counted:
        y = X.mT.reshape(2, 3)[0] + 1  # the reshape copies
        torch._foreach_mul_([y, y.clone()], 2)
        torch.empty(3)
    assert counted.counts == {"clone": 2, "add": 1, "_foreach_mul_": 1}
    assert counted.total == 4


@pytest.mark.parametrize(
    "wait",
    [
        lambda: X.sum().item(),
        lambda: float(X[0, 0]),
        lambda: bool(X[0, 0] > 1),
        lambda: X.nonzero(),
        lambda: X[X > 1],
        lambda: X.masked_select(X > 1),
        lambda: X.clone().index_put_((X > 1,), torch.tensor(0.0)),
        lambda: torch.equal(X, X),
    ],
)
def test_what_waits_is_refused(wait):
    with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
        wait()


def test_what_does_not_wait_is_done():
    with NoWaiting():
        y = torch.where(X > 1, X, 0)[torch.tensor([1, 0])].masked_fill(X > 3, -1.0).to(torch.float64)
    assert y.tolist() == [[3, 4, 5], [0, -1, -1]]
