"""Our filter-bank convolution beside gigagan-pytorch's `AdaptiveConv2DMod`: time and memory.

    python benchmarks/filter_bank.py [--repeats 5] [--json FILE]

Forward and backward pass of one 3 x 3 layer with the same weights, the two taking turns in one process;
figures are ratios ours / theirs of medians. Memory is the peak that one pass adds, each in a process of its
own. `benchmarks/gigagan_peer.py` says what to install.
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

    def __init__(self, shape: Shape) -> None:
        torch.manual_seed(0)
        filters, batch, channels, side = shape
        self.layer = gigagan_peer.load().AdaptiveConv2DMod(channels, channels, 3, num_conv_kernels=filters)
        self.x = torch.randn(batch, channels, side, side, requires_grad=True)
        self.modulation = torch.randn(batch, channels, requires_grad=True)
        self.logits = torch.randn(batch, filters, requires_grad=True)
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
            getattr(self, name)().square().mean().backward()

        return run

    def difference(self) -> dict[str, float]:
        """Root mean square of the difference, of that of the peer's: of the output and of the gradients."""
        found = []
        for name in ("ours", "theirs"):
            y = getattr(self, name)()
            found.append([y.detach(), *torch.autograd.grad(y.square().mean(), self.inputs)])
        each = [float((a - b).norm() / b.norm()) for a, b in zip(*found, strict=True)]
        return {"output": each[0], "gradients": max(each[1:])}


def memory(shape: Shape, name: str) -> float:
    """MiB that one pass adds, in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", name, "--shape", *map(str, shape)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(answer.stdout.strip().splitlines()[-1])


def measured(shape: Shape, repeats: int) -> dict[str, Any]:
    """One row."""
    case = Case(shape)
    difference = case.difference()
    seconds = alternate({name: case.step(name) for name in ("ours", "theirs")}, repeats, "cpu")
    mib = {name: memory(shape, name) for name in ("ours", "theirs")}
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
    parser.add_argument("--shape", type=int, nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure every shape and print a row for each."""
    options = parse_options()
    if options.memory_of:
        print(peak_added(Case(tuple(options.shape)).step(options.memory_of), "cpu"))
        return
    rows = []
    for shape in SHAPES:
        row = measured(shape, options.repeats)
        rows.append(row)
        print(described(row), flush=True)
    few = statistics.geometric_mean(row["time"] for row in rows if row["shape"]["filters"] < 8)
    print(f"geometric mean of time, N = 2 and 4: {few:.2f}x")
    if options.json:
        report = {
            "machine": processor("cpu"),
            "torch": torch.__version__,
            "rows": rows,
            "geometric_mean": few,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
