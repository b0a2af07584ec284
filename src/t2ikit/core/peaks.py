"""How many operations a second a device can do at most, by its name: what MFU is a share of.

Dense matrix products with fp32 accumulation, as PyTorch asks for them; vendors often print twice as much, for
sparse matrices or, on GeForce cards, for fp16 accumulation. Sources, all NVIDIA's: the data sheets of H100,
H200, GH200, A100, A30, A10, A10G, A40, L4, L40, L40S, T4, V100 and DGX B200; the whitepapers "NVIDIA Ampere
GA102 GPU Architecture", "NVIDIA Ada GPU Architecture" and "NVIDIA RTX Blackwell GPU Architecture"; for
GeForce cards that these leave out, cores x boost clock x 2 in fp32 and TF32, and twice that in fp16 and bf16.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Peak(NamedTuple):
    """TFLOP/s of a device; None where it has no units for it."""

    fp16: float
    tf32: float | None
    fp32: float
    bf16: bool = True
    """Whether bf16 is as fast as fp16; otherwise it is emulated."""


PEAKS = {
    "b200": Peak(2250, 1125, 75),
    "gh200": Peak(989.4, 494.7, 67),
    "h200": Peak(989.4, 494.7, 67),
    "h200 nvl": Peak(835.5, 417.5, 60),
    "h100": Peak(989.4, 494.7, 67),
    "h100 sxm5": Peak(989.4, 494.7, 67),
    "h100 nvl": Peak(835.5, 417.5, 60),
    "h100 pcie": Peak(756, 378, 51),
    "a100 sxm4": Peak(312, 156, 19.5),
    "a100 pcie": Peak(312, 156, 19.5),
    "a30": Peak(165, 82, 10.3),
    "a10": Peak(125, 62.5, 31.2),
    "a10g": Peak(70, 35, 35),
    "a40": Peak(149.7, 74.8, 37.4),
    "l4": Peak(121, 60, 30.3),
    "l40": Peak(181.05, 90.5, 90.5),
    "l40s": Peak(362.05, 183, 91.6),
    "t4": Peak(65, None, 8.1, bf16=False),
    "v100 sxm2": Peak(125, None, 15.7, bf16=False),
    "v100 pcie": Peak(112, None, 14, bf16=False),
    "v100s pcie": Peak(130, None, 16.4, bf16=False),
    "rtx a4000": Peak(76.7, 38.3, 19.2),
    "rtx a5000": Peak(111.1, 55.6, 27.8),
    "rtx a6000": Peak(154.8, 77.4, 38.7),
    "rtx 5000 ada": Peak(261.1, 130.6, 65.3),
    "rtx 6000 ada": Peak(364.2, 182.1, 91.1),
    "rtx 3060": Peak(25.5, 12.7, 12.7),
    "rtx 3060 ti": Peak(32.4, 16.2, 16.2),
    "rtx 3070": Peak(40.6, 20.3, 20.3),
    "rtx 3070 ti": Peak(43.5, 21.7, 21.7),
    "rtx 3080": Peak(59.5, 29.8, 29.8),
    "rtx 3080 ti": Peak(68.2, 34.1, 34.1),
    "rtx 3090": Peak(71, 35.6, 35.6),
    "rtx 3090 ti": Peak(80, 40, 40),
    "rtx 4060": Peak(30.2, 15.1, 15.1),
    "rtx 4060 ti": Peak(44.1, 22.1, 22.1),
    "rtx 4070": Peak(58.3, 29.1, 29.1),
    "rtx 4070 ti": Peak(80.2, 40.1, 40.1),
    "rtx 4080": Peak(97.5, 48.7, 48.7),
    "rtx 4090": Peak(165.2, 82.6, 82.6),
    "rtx 5070": Peak(61.7, 30.9, 30.9),
    "rtx 5070 ti": Peak(87.9, 43.9, 43.9),
    "rtx 5080": Peak(112.6, 56.3, 56.3),
    "rtx 5090": Peak(209.5, 104.8, 104.8),
}
"""By name without maker, brand and size of memory: "NVIDIA H100 80GB HBM3" is "h100", the SXM module."""
_LEFT_OUT = re.compile(r"\b(nvidia|tesla|quadro|geforce|generation|hbm\w*|\d+gb)\b")


def peak_flops(name: str, precision: str, *, tf32: bool = True) -> float | None:
    """The peak of a device in FLOP/s; None where it is not known.

    Args:
        name: as `torch.cuda.get_device_name` gives it. A laptop's GPU or a part of a GPU (MIG) has another
            peak than the whole one, and is not known.
        precision: of the matrix products: no (fp32), bf16 or fp16.
        tf32: whether fp32 products may be rounded to TF32.
    """
    short = " ".join(_LEFT_OUT.sub(" ", name.lower().replace("-", " ")).split())
    peak = PEAKS.get(short)
    if peak is None or (precision == "bf16" and not peak.bf16):
        return None
    full = peak.tf32 if tf32 and peak.tf32 is not None else peak.fp32
    return 1e12 * (full if precision == "no" else peak.fp16)
