"""Bare training steps of our U-Net and those of its peers, all taking turns in one process.

    python benchmarks/training_steps.py --device cuda --batch 64 --dtype bf16 [--compile] [--json FILE]

The models, inputs and loss are those of benchmarks/unet_vs_peers.py, and diffusers' stock U-Net with
cross-attention beside them. What is not installed, or does not run so, is left out and said. Without
`--compile`, Python launches every kernel, of ours as of theirs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from measuring import Step, alternate, peak_added, processor
from peers import MODULES, Missing
from unet_vs_peers import SIZE, Case, with_bf16

NAMES = ("ours", *MODULES, "diffusers")


def prepared(case: Case, dtype: str, compiled: bool, device: str) -> Step:
    """A model's training step, after its first."""
    if compiled:
        (case.model.unet if case.name == "ours" else case.model).compile()
    step = with_bf16(case.train, device) if dtype == "bf16" else case.train
    step()
    return step


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """Seconds, images/s and added MiB by model; why others are left out."""
    steps: dict[str, Step] = {}
    cases: dict[str, Case] = {}
    left_out: dict[str, str] = {}
    for name in options.models or NAMES:
        try:
            cases[name] = Case(name, options.device, options.batch, options.size, options.width)
            steps[name] = prepared(cases[name], options.dtype, options.compile, options.device)
        except Missing as missing:
            left_out[name] = str(missing)
        except Exception as error:  # noqa: BLE001 - a peer's code may raise anything, and the others go on
            left_out[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    seconds = alternate(steps, options.repeats, options.device)
    found = {}
    for name, spent in seconds.items():
        cases[name].optimizer.zero_grad(set_to_none=True)
        found[name] = {"images_per_second": options.batch / spent, "step_ms": 1000 * spent}
        if options.device == "cuda":
            found[name]["added_mib"] = peak_added(steps[name], "cuda")
    return found, left_out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=NAMES, help="default: all")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true", help="each model through torch.compile")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=SIZE, help="height and width, pixels")
    parser.add_argument("--width", type=int, default=128, help="channels at the finest level")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    models, left_out = measure(options)
    machine = {"machine": processor(options.device), "torch": torch.__version__}
    report = {**machine, "models": models, "left_out": left_out}
    print(json.dumps(report, indent=1))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
