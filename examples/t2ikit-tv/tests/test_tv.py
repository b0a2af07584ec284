"""The loss against numpy, and t2ikit's conformance checks."""

import numpy as np
import torch
from t2ikit_tv.loss import total_variation

from t2ikit.testing import check_loss, check_plugin


def test_it_is_the_total_variation():
    images = torch.randn(2, 3, 5, 7)
    for image, found in zip(images, total_variation(images)):
        expected = sum(np.abs(np.diff(image.numpy(), axis=axis)).mean() for axis in (1, 2))
        assert abs(expected - float(found)) < 1e-6


def test_it_obeys_t2ikit():
    check_plugin("tv")
    check_loss("tv/tv")
