"""Our filter-bank convolution beside gigagan-pytorch's `AdaptiveConv2DMod`: time and memory.

    python benchmarks/filter_bank.py [--repeats 5] [--device cuda] [--dtype bf16] [--json FILE]

Forward and backward pass of one 3 x 3 layer with the same weights, the two taking turns in one process;
figures are ratios ours / theirs of medians. Memory is the peak that one pass adds, on a CPU each in a process
of its own. `--shape 4 16 128 32` measures that one alone. `benchmarks/gigagan_peer.py` says what to install.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import gigagan_peer
import torch
from measuring import Step, alternate, peak_added, processor
from torch import Tensor

from t2ikit_gigagan import filter_bank_conv2d

Shape = tuple[int, int, int, int]
SHAPES: list[Shape] = list(product((2, 4, 8), (2, 16), (128, 256), (32, 64)))
"""(N filters, B batch, C channels, side)"""


class Case:
    """One shape with its weights and inputs, for both."""

    def __init__(self, shape: Shape, device: str = "cpu", dtype: str = "fp32") -> None:
        torch.manual_seed(0)
        filters, batch, channels, side = shape
        self.autocast = torch.autocast(device, torch.bfloat16, enabled=dtype == "bf16")
        layer = gigagan_peer.load().AdaptiveConv2DMod(channels, channels, 3, num_conv_kernels=filters)
        self.layer = layer.to(device)
        self.x = torch.randn(batch, channels, side, side, device=device, requires_grad=True)
        self.modulation = torch.randn(batch, channels, device=device, requires_grad=True)
        self.logits = torch.randn(batch, filters, device=device, requires_grad=True)
        self.inputs = [self.x, self.modulation, self.logits, self.layer.weights]

    def ours(self) -> Tensor:
        """Our layer's output."""
        return filter_bank_conv2d(self.x, self.layer.weights, self.modulation + 1, self.logits.softmax(1))

    def theirs(self) -> Tensor:
        """The peer's output."""
        return self.layer(self.x, mod=self.modulation, kernel_mod=self.logits)

    def step(self, name: str) -> Step:
        """Forward and backward pass of one of the two."""

        def run() -> None:
            for tensor in self.inputs:
                tensor.grad = None
            with self.autocast:
                y = getattr(self, name)()
            y.float().square().mean().backward()

        return run

    def difference(self) -> dict[str, float]:
        """Root mean square of the difference, of that of the peer's: of the output and of the gradients."""
        found = []
        for name in ("ours", "theirs"):
            y = getattr(self, name)()
            found.append([y.detach(), *torch.autograd.grad(y.square().mean(), self.inputs)])
        each = [float((a - b).norm() / b.norm()) for a, b in zip(*found, strict=True)]
        return {"output": each[0], "gradients": max(each[1:])}


def memory(shape: Shape, name: str, device: str, dtype: str) -> float:
    """MiB that one pass adds, in a fresh process on a CPU."""
    if device == "cuda":
        return peak_added(Case(shape, device, dtype).step(name), device)
    command = [sys.executable, __file__, "--memory-of", name, "--dtype", dtype, "--shape", *map(str, shape)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(answer.stdout.strip().splitlines()[-1])


def measured(shape: Shape, repeats: int, device: str = "cpu", dtype: str = "fp32") -> dict[str, Any]:
    """One row."""
    case = Case(shape, device, dtype)
    difference = case.difference()
    seconds = alternate({name: case.step(name) for name in ("ours", "theirs")}, repeats, device)
    del case
    mib = {name: memory(shape, name, device, dtype) for name in ("ours", "theirs")}
    return {
        "shape": dict(zip(("filters", "batch", "channels", "side"), shape, strict=True)),
        "difference": difference,
        "seconds": seconds,
        "mib": mib,
        "time": seconds["ours"] / seconds["theirs"],
        "memory": mib["ours"] / mib["theirs"],
    }


def described(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    shape, off = row["shape"], row["difference"]
    return (
        f"N {shape['filters']}  B {shape['batch']:2}  C {shape['channels']}  {shape['side']}^2:  "
        f"time {row['time']:.2f}x  memory {row['memory']:.2f}x  "
        f"difference {off['output']:.0e}, of gradients {off['gradients']:.0e}"
    )


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--memory-of", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument(
        "--shape", type=int, nargs=4, action="append", help="N, B, C and side; may be repeated"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    return parser.parse_args()


def main() -> None:
    """Measure every shape and print a row for each."""
    options = parse_options()
    device, dtype = options.device, options.dtype
    if options.memory_of:
        print(peak_added(Case(tuple(options.shape[0]), device, dtype).step(options.memory_of), device))
        return
    rows = []
    for shape in map(tuple, options.shape or SHAPES):
        row = measured(shape, options.repeats, device, dtype)
        rows.append(row)
        print(described(row), flush=True)
    report = {"machine": processor(device), "torch": torch.__version__, "dtype": dtype, "rows": rows}
    times = [row["time"] for row in rows if row["shape"]["filters"] < 8]
    if times:
        report["geometric_mean"] = statistics.geometric_mean(times)
        print(f"geometric mean of time, N = 2 and 4: {report['geometric_mean']:.2f}x")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
