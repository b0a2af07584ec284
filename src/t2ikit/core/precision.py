"""What `train.precision = "auto"` comes to on a device."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

from t2ikit.utils.devices import cpu_has_bf16

WORTH = 1.3
"""How much faster bf16 must be on a CPU to be chosen."""
_LAYERS, _CHANNELS, _SIDE, _IMAGES = 2, 64, 32, 8
_TURNS = 5


def choose_precision(
    asked: str, device: torch.device, gain: Callable[[], float] | None = None, *, alone: bool = True
) -> str:
    """The precision to train in: "no", "bf16" or "fp16".

    On GPUs of compute capability 8 or more, bf16, which they compute fastest (older ones emulate it). On a
    CPU that has bf16, bf16 where it is 1.3 times as fast as fp32. Otherwise fp32.

    Args:
        asked: `train.precision`; what is not "auto" stays.
        device: to train on.
        gain: how many times as fast bf16 is on this CPU; None measures it.
        alone: whether this process trains by itself: several might measure differently.
    """
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "no"
    if device.type == "cpu" and alone and cpu_has_bf16():
        return "bf16" if (gain or measure_gain)() >= WORTH else "no"
    return "no"


def measure_gain(clock: Callable[[], float] = time.perf_counter) -> float:
    """How many times as fast bf16 is on this CPU, channels last, at convolutions forward and backward.

    Both are timed in turns; the fastest of each counts. Takes a fraction of a second.
    """
    net = nn.Sequential(*(nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1) for _ in range(_LAYERS)))
    images = torch.randn(_IMAGES, _CHANNELS, _SIDE, _SIDE)

    def seconds(half: bool) -> float:
        layout = torch.channels_last if half else torch.contiguous_format
        given = images.to(memory_format=layout)  # the weights follow
        began = clock()
        with torch.autocast("cpu", torch.bfloat16, enabled=half), torch.enable_grad():
            loss = net(given).float().square().mean()
        loss.backward()
        return clock() - began

    for half in (False, True):
        seconds(half)  # warms up
    turns = [(seconds(False), seconds(True)) for _ in range(_TURNS)]
    return min(fp32 for fp32, _ in turns) / min(bf16 for _, bf16 in turns)


def use_tf32(allowed: bool) -> None:
    """Let GPUs round the inputs of fp32 products and convolutions to TF32 (10 bits of mantissa), or not."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
