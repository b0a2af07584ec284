"""Random numbers made on a GPU are those made on the CPU."""

from __future__ import annotations

import pytest
import torch

from t2ikit.core.rng import Draws


@pytest.mark.gpu
def test_numbers_are_those_of_the_cpu(cuda):
    """Bits are the same; normal numbers up to the rounding of the logarithm and the cosine."""
    keys = torch.tensor([0, 1, 2**62 + 12345, 7])
    here, there = Draws(keys, "a salt", "cpu"), Draws(keys.to(cuda), "a salt", cuda)
    for _ in range(2):  # the second draw is of another place in the stream
        assert torch.equal(there.named("x").rand(3, 5).cpu(), here.named("x").rand(3, 5))
        assert torch.equal(there.randint(1000, 17).cpu(), here.randint(1000, 17))
        normal = there.randn(3, 65, 65)
        assert normal.device.type == "cuda"
        torch.testing.assert_close(normal.cpu(), here.randn(3, 65, 65), rtol=1e-5, atol=1e-5)
