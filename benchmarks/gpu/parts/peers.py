"""Training steps beside those of other packages, which take turns with ours in one process."""

from __future__ import annotations

import importlib.util
from itertools import product

from gpu.bench import Bench
from gpu.cases import COMPILED, CORE
from gpu.parts.core import build_models, has_setting, measure_case
from gpu.scripts import answer

VARIANTS = [*product((16, 64), ("fp32", "bf16"), (False,)), (64, "bf16", True)]
"""(images, precision, through torch.compile)"""
TOY = ("--size", 16, "--width", 32, "--repeats", 1, "--models", "ours", "diffusers")
WHOLE_BATCH = 64
"""Images a step of `imagen-64` in the core part."""


def measure(bench: Bench) -> None:
    """U-Nets, our whole command beside the best of them, and GANs."""
    toy = bench.options.toy
    best: dict[str, float] = {}
    for _ in range(bench.options.repeat):
        for batch, dtype, compiled in [(2, "bf16", False)] if toy else VARIANTS:
            unets(bench, batch, dtype, compiled, best)
        for dtype in ("fp32",) if toy else ("fp32", "bf16"):
            gans(bench, 2 if toy else 16, dtype)
    if best:
        whole_command(bench, best)


def unets(bench: Bench, batch: int, dtype: str, compiled: bool, best: dict[str, float]) -> None:
    """Every model's step; `best` keeps the highest rate of a peer at the whole command's batch."""
    variant = f"batch {batch}, {dtype}{', compiled' if compiled else ''}"
    words = ["--batch", batch, "--dtype", dtype, *(["--compile"] if compiled else [])]
    words += TOY if bench.options.toy else []
    found = answer(bench, f"U-Nets, {variant}", "training_steps.py", *words, seconds=150 if compiled else 30)
    if found is None:
        return
    for name, why in found["left_out"].items():
        bench.leave_out(f"{name}, {variant}", why)
    for name, figures in found["models"].items():
        bench.add(f"{name}, {variant}", figures)
        if name != "ours" and batch == WHOLE_BATCH:
            kind = "with bf16 or compile" if compiled or dtype == "bf16" else "as it ships"
            best[kind] = max(best.get(kind, 0.0), figures["images_per_second"])


def whole_command(bench: Bench, best: dict[str, float]) -> None:
    """Our whole command's images/s over those of the best peer's bare step, at the same batch."""
    cases = [case for case in (*CORE, *COMPILED) if case.recipe == "imagen/imagen-64"]
    compiles = has_setting(bench, bench.checkouts[0], "train", "compile")
    for case in cases if compiles else cases[:1]:
        figures = bench.results.row("core", case.name)
        if figures is None:
            measure_case(bench, case, bench.checkouts[0], build_models(bench, [case]), 120.0)
            figures = bench.results.row("peers", case.name)
        if figures is not None:
            rate = max(figures["images_per_second"])
            ratios: dict[str, float | None] = {
                f"over the best peer {kind}": rate / one for kind, one in best.items()
            }
            bench.add(f"whole command: {case.name}", ratios)


def gans(bench: Bench, batch: int, dtype: str) -> None:
    """A whole step of our GAN beside gigagan-pytorch's, with and without its penalty."""
    words = [
        "--batch",
        batch,
        "--dtype",
        dtype,
        *(["--repeats", 1, "--narrow"] if bench.options.toy else []),
    ]
    if not installed(bench, "gigagan_pytorch"):
        return
    found = answer(bench, f"GAN, batch {batch}, {dtype}", "gan_step.py", *words, seconds=60)
    for kind in ("without", "with penalty") if found else ():
        penalty = "with R1" if kind == "with penalty" else "without R1"
        for whose, spent in found[kind]["seconds"].items():
            name = "ours" if whose == "ours" else "gigagan-pytorch"
            figures = {"images_per_second": batch / spent, "step_ms": 1000 * spent}
            bench.add(
                f"GAN, {name}, batch {batch}, {dtype}, {penalty}",
                {**figures, "added_mib": found[kind].get("mib", {}).get(whose)},
            )


def installed(bench: Bench, package: str) -> bool:
    """Whether a package can be found by the benchmarks; where not, that is said."""
    packages = bench.checkouts[0].packages
    if importlib.util.find_spec(package) or (packages and (packages / package).is_dir()):
        return True
    bench.leave_out(package, "not installed")
    return False
