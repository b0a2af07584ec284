"""A whole training step of our GAN beside gigagan-pytorch's, at 64 px and batch 2: time and memory.

    python benchmarks/gan_step.py [--repeats 5] [--device cuda --batch 16 --dtype bf16] [--json FILE]

Generator and critic, text, multi-scale and matching losses, two kernels a bank, attention at 16 and 32 px,
AdamW, EMA, with and without the gradient penalty. No CLIP on either side. The two take turns in one process;
figures are ratios ours / theirs of medians. Memory is the peak that one step adds to weights and optimiser,
each in a process of its own on a CPU. `benchmarks/gigagan_peer.py` says what to install.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gigagan_peer
import torch
from measuring import Step, alternate, peak_added, processor

from t2ikit.data.loader import BatchLoader
from t2ikit.recipes.compose import build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.training.accelerator import make_accelerator
from t2ikit.training.start import make_trainer

SIZE = 64


@dataclass(frozen=True)
class Setting:
    """How both train: images a step, device, fp32 or bf16 (autocast); narrow: at toy size."""

    batch: int = 2
    device: str = "cpu"
    dtype: str = "fp32"
    narrow: bool = False


CHANNELS = {"generator": "[352,320,160,64,32]", "critics.multiscale": "[416,384,256,96,32]"}
"""As many parameters as the peer's: its widths are 256 to 16, and it has layers that ours does without."""
SHARED = ("attention=[false,false,true,true,false]", "tower_width=64", "tower_layers=2")
ADAMW = ("kind=adamw", "lr=2e-4")
SETTINGS = (
    f"data.size={SIZE}",
    f"text.width={gigagan_peer.TEXT_WIDTH}",
    f"text.length={gigagan_peer.TOKENS}",
    "critics.multiscale.multiscale=true",
    "critics.multiscale.embedding_width=0",
    "losses.contrastive.weight=0",
    "generator.filters=[2,2,2,2,2]",
    "generator.style_width=64",
    *(f"{part}.channels={channels}" for part, channels in CHANNELS.items()),
    *(f"{part}.{value}" for part in CHANNELS for value in SHARED),
    *(f"optimizer.{player}.{value}" for player in ("generator", "critic") for value in ADAMW),
)
NARROW = (
    "data.count=64",
    *(f"{part}.channels=[32,32,32,32,32]" for part in CHANNELS),
)


class Ours:
    """Our trainer on the recipe `gigagan/default`, widened."""

    def __init__(self, setting: Setting) -> None:
        registry = Registry.load(["gigagan"])
        precision = "no" if setting.dtype == "fp32" else setting.dtype
        own = (f"train.batch={setting.batch}", f"train.precision={precision}", *NARROW * setting.narrow)
        self.recipe = read_recipe(registry, "gigagan/default", settings=(*SETTINGS, *own))
        accelerator = make_accelerator(self.recipe.train, setting.device, lazy_parameters=True)
        self.components = build_components(self.recipe, registry, accelerator.device)
        self.trainer = make_trainer(self.recipe, self.components, accelerator)
        shares = BatchLoader(self.components.dataset, 0, setting.batch)
        self.batch = shares[0].batch(self.components.model.encoder, accelerator.device)

    def step(self, *, penalty: bool) -> None:
        """A step on which R1 is due, or is not."""
        self.trainer.step(self.batch, 0 if penalty else 1)

    def trained(self) -> list[torch.nn.Parameter]:
        """Of generator and critic."""
        parts = (self.components.model.generator, *self.components.critics.values())
        return [parameter for part in parts for parameter in part.parameters()]


class Theirs:
    """The peer's trainer."""

    def __init__(self, setting: Setting) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self.gan = gigagan_peer.trainer(
                SIZE, setting.device, setting.dtype, width=32 if setting.narrow else 256
            )
        self.pairs = gigagan_peer.Pairs(setting.batch, SIZE)

    def step(self, *, penalty: bool) -> None:
        """A step with or without its gradient penalty."""
        self.gan.train_discriminator_step(self.pairs, apply_gradient_penalty=penalty)
        self.gan.train_generator_step(batch_size=self.pairs.batch, dl_iter=self.pairs)

    def trained(self) -> list[torch.nn.Parameter]:
        """Of generator and discriminator."""
        return [parameter for part in (self.gan.G, self.gan.D) for parameter in part.parameters()]


CASES = {"ours": Ours, "theirs": Theirs}


def stepping(case: Ours | Theirs, *, penalty: bool) -> Step:
    """A call without arguments."""
    return lambda: case.step(penalty=penalty)


def memory(name: str, setting: Setting, penalty: bool) -> float:
    """MiB that a step adds, in a fresh process on a CPU."""
    if setting.device == "cuda":
        return added(name, setting, penalty)
    options = ["--batch", str(setting.batch), "--dtype", setting.dtype, *(["--penalty"] if penalty else [])]
    command = [sys.executable, __file__, "--memory-of", name, *options]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(answer.stdout.strip().splitlines()[-1])


def added(name: str, setting: Setting, penalty: bool) -> float:
    """MiB that a step adds to weights and optimiser."""
    case = CASES[name](setting)
    case.step(penalty=False)  # the optimiser makes its state
    for parameter in case.trained():
        parameter.grad = None
    return peak_added(stepping(case, penalty=penalty), setting.device)


def compare(repeats: int, setting: Setting) -> dict[str, Any]:
    """Sizes, seconds, memory and ratios, with and without the penalty."""
    cases = {name: make(setting) for name, make in CASES.items()}
    report: dict[str, Any] = {
        "parameters_m": {name: sum(p.numel() for p in case.trained()) / 1e6 for name, case in cases.items()}
    }
    for penalty in (False, True):
        steps = {name: stepping(case, penalty=penalty) for name, case in cases.items()}
        seconds = alternate(steps, repeats, setting.device)
        row: dict[str, Any] = {"seconds": seconds, "time": seconds["ours"] / seconds["theirs"]}
        if not setting.narrow:
            row["mib"] = {name: memory(name, setting, penalty) for name in cases}
            row["memory"] = row["mib"]["ours"] / row["mib"]["theirs"]
        report["with penalty" if penalty else "without"] = row
    return report


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--narrow", action="store_true", help="toy size, without memory")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--memory-of", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--penalty", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse_options()
    setting = Setting(options.batch, options.device, options.dtype, options.narrow)
    if options.memory_of:
        print(added(options.memory_of, setting, options.penalty))
        return
    machine = {"machine": processor(options.device), "torch": torch.__version__}
    report = {
        **machine,
        **vars(setting),
        **compare(options.repeats, setting),
    }
    print(json.dumps(report, indent=2))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
