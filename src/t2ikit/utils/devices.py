"""Which device to compute on."""

from __future__ import annotations

import torch

from t2ikit.errors import UserError
from t2ikit.utils.console import detail


def find_device(name: str) -> torch.device:
    """The device called auto, cpu, cuda or mps.

    Raises:
        UserError: it is not to be had here.
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, available in here.items() if available)
    if not here.get(name, False):
        raise UserError(
            f"--device {name}: there is no such device here",
            expected="auto or one of " + ", ".join(kind for kind, available in here.items() if available),
            got=name,
            fix="leave --device out to use the best there is",
        )
    detail(f"device: {name}, CPU threads {torch.get_num_threads()}, PyTorch {torch.__version__}")
    return torch.device(name)
