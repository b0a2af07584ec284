"""Our reference U-Net, `imagen-64`, beside those of `minimagen` and `imagen-pytorch`: time and memory.

    pip install --no-deps minimagen imagen-pytorch einops einops-exts resize-right beartype ema-pytorch
    python benchmarks/unet_vs_peers.py [--peer minimagen] [--repeats 7] [--device cuda] [--json FILE]

64 px, batch 2, 256 text tokens of width 512 (what MinImagen pads every caption to), L2 loss, Adam. Ours and
the peer's take turns within one process, so that a busy machine slows both; the figures are medians. The
memory that a step adds to weights and optimiser (gradients and activations) is measured in a process of its
own for each model: the peak of resident memory on a CPU (Linux), of allocated memory on a GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from measuring import Step, alternate, peak_added, processor
from peers import TEXT_WIDTH, Missing, build
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from t2ikit import Condition, TextEmbedding, guided
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit_imagen import ImagenDenoiser

SIZE, BATCH, TOKENS, REAL, GUIDANCE = 64, 2, 256, 20, 3.0


def ours(size: int = SIZE, width: int = 128) -> nn.Module:
    """The denoiser of the recipe `imagen-64`, for T5-small's tokens."""
    channels = f"generator.channels=[{width},{2 * width},{4 * width}]"
    recipe = read_recipe(Registry.load(["imagen"]), "imagen-64", settings=[channels])
    return ImagenDenoiser(recipe.parts["generator"].config, size, TEXT_WIDTH, TOKENS)


class Case:
    """One model with its inputs: the same images, timesteps and tokens for every model.

    Args:
        name: "ours" or a peer.
        device: cpu or cuda.
        batch: images.
        size: their height and width, pixels.
        width: channels at the finest level.
    """

    def __init__(
        self, name: str, device: str, batch: int = BATCH, size: int = SIZE, width: int = 128
    ) -> None:
        torch.manual_seed(0)
        self.name, self.said = name, ""
        if name == "ours":
            model = ours(size, width)
        else:
            model, self.said = build(name, width)
        self.model = model.to(device)
        self.x = torch.randn(batch, 3, size, size, device=device)
        self.target = torch.randn(batch, 3, size, size, device=device)
        self.t = torch.randint(0, 1000, (batch,), device=device)
        tokens = torch.randn(batch + 1, TOKENS, TEXT_WIDTH, device=device)
        mask = (torch.arange(TOKENS, device=device) < REAL).expand(batch + 1, -1)
        text = TextEmbedding(tokens, mask, tokens[:, :REAL].mean(1))
        self.condition = Condition(("a",) * batch, text[:batch], text[batch:])
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)

    def predict(self) -> Tensor:
        """One forward pass of the training batch."""
        text = self.condition.text
        if isinstance(self.model, ImagenDenoiser):
            return self.model.denoise(self.x, self.t, self.condition)
        if self.name == "diffusers":
            return self.model(self.x, self.t, text.tokens, encoder_attention_mask=text.mask).sample
        return self.model(self.x, self.t, text_embeds=text.tokens, text_mask=text.mask)

    def train(self) -> None:
        """One training step."""
        self.optimizer.zero_grad(set_to_none=True)
        (self.predict().float() - self.target).square().mean().backward()
        self.optimizer.step()

    @torch.no_grad()
    def sample(self) -> Tensor:
        """One guided prediction, each as its own sampler makes it; our text tower ran before the first."""
        text = self.condition.text
        if isinstance(self.model, ImagenDenoiser):
            if not self.condition.prepared:
                self.condition = self.model.prepare(self.condition)
            return guided(self.model, self.x, self.t, self.condition, GUIDANCE)
        return self.model.forward_with_cond_scale(
            self.x, self.t, text_embeds=text.tokens, text_mask=text.mask, cond_scale=GUIDANCE
        )

    def size(self) -> dict[str, float]:
        """Parameters and the FLOPs of a forward pass at this batch, attention counted."""
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            self.predict()
        return {
            "parameters_m": sum(p.numel() for p in self.model.parameters()) / 1e6,
            "forward_gflops": counter.get_total_flops() / 1e9,
        }


def added_memory(name: str, device: str) -> float:
    """MiB that a training step adds to weights and optimiser; called in a process of its own."""
    case = Case(name, device)
    case.train()  # the optimiser makes its state
    case.optimizer.zero_grad(set_to_none=True)
    return peak_added(case.train, device)


def measure_memory(name: str, device: str) -> float:
    """`added_memory` in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", name, "--device", device]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(answer.stdout.strip().splitlines()[-1])


def has_bf16(device: str) -> bool:
    """Whether the device computes in bf16, rather than emulating it."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    info = Path("/proc/cpuinfo")
    return info.exists() and any(flag in info.read_text() for flag in ("avx512_bf16", "amx_bf16"))


def with_bf16(step: Step, device: str) -> Step:
    """The step under bf16 autocast."""

    def run() -> None:
        with torch.autocast(device, torch.bfloat16):
            step()

    return run


def compare(peer: str, repeats: int, device: str) -> dict[str, Any]:
    """Ours beside one peer: sizes, seconds, memory and their ratios."""
    cases = {name: Case(name, device) for name in ("ours", peer)}
    result: dict[str, Any] = {"peer": peer, "import": cases[peer].said}
    result["size"] = {name: case.size() for name, case in cases.items()}
    result["train_s"] = alternate({n: c.train for n, c in cases.items()}, repeats, device)
    result["sample_s"] = alternate({n: c.sample for n, c in cases.items()}, repeats, device)
    result["added_mib"] = {name: measure_memory(name, device) for name in cases}
    flat = {
        "parameters": [result["size"][n]["parameters_m"] for n in cases],
        "forward FLOPs": [result["size"][n]["forward_gflops"] for n in cases],
        "training step": [result["train_s"][n] for n in cases],
        "guided sampling step": [result["sample_s"][n] for n in cases],
        "added memory": [result["added_mib"][n] for n in cases],
    }
    result["ratios"] = {name: mine / theirs for name, (mine, theirs) in flat.items()}
    return result


def bf16(repeats: int, device: str) -> dict[str, float]:
    """Our training step in bf16 autocast beside fp32, seconds."""
    case = Case("ours", device)
    return alternate({"fp32": case.train, "bf16": with_bf16(case.train, device)}, repeats, device)


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", choices=["minimagen", "imagen-pytorch"], action="append")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--bf16", action="store_true", help="time bf16 even where it is emulated")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(added_memory(options.memory_of, options.device))
        return
    report: dict[str, Any] = {"machine": processor(options.device), "torch": torch.__version__, "peers": []}
    for peer in options.peer or ["minimagen", "imagen-pytorch"]:
        try:
            result = compare(peer, options.repeats, options.device)
        except Missing as missing:
            sys.exit(str(missing))
        report["peers"].append(result)
        print(f"\nours / {peer} ({result['import']})")
        for name, ratio in result["ratios"].items():
            print(f"  {name:<22} {ratio:.2f}x")
        print(
            f"  seconds: train {result['train_s']}, sample {result['sample_s']}; MiB: {result['added_mib']}"
        )
    if options.bf16 or has_bf16(options.device):
        report["bf16_s"] = bf16(options.repeats, options.device)
        print(f"\nbf16 / fp32, ours: {report['bf16_s']['bf16'] / report['bf16_s']['fp32']:.2f}x")
    else:
        print("\nbf16: not timed, this CPU has no bf16 instructions (--bf16 times the emulation)")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
