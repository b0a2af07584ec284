"""The filter bank beside gigagan-pytorch's, by layer size: time and memory."""

from __future__ import annotations

from itertools import product

from gpu.bench import Bench
from gpu.parts.peers import installed
from gpu.scripts import answer

SHAPES = list(product((2, 4, 8), (16,), (128, 256, 512), (16, 32, 64)))
"""(N filters, B batch, C channels, side)"""


def measure(bench: Bench) -> None:
    """Every shape in fp32 and bf16."""
    if not installed(bench, "gigagan_pytorch"):
        return
    toy = bench.options.toy
    for _ in range(bench.options.repeat):
        for dtype in ("fp32",) if toy else ("fp32", "bf16"):
            layers(bench, dtype, [(2, 1, 16, 8)] if toy else SHAPES)


def layers(bench: Bench, dtype: str, shapes: list[tuple[int, ...]]) -> None:
    """One precision, all shapes in one process."""
    words = [word for shape in shapes for word in ("--shape", *shape)]
    found = answer(bench, f"filter bank, {dtype}", "filter_bank.py", "--dtype", dtype, *words, seconds=60)
    for row in found["rows"] if found else ():
        shape = row["shape"]
        bench.add(
            f"N {shape['filters']}, B {shape['batch']}, C {shape['channels']}, {shape['side']} px, {dtype}",
            {
                "ours_ms": 1000 * row["seconds"]["ours"],
                "theirs_ms": 1000 * row["seconds"]["theirs"],
                "time_ratio": row["time"],
                "ours_mib": row["mib"]["ours"],
                "theirs_mib": row["mib"]["theirs"],
                "memory_ratio": row["memory"],
            },
        )
