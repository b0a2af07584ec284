"""Recolouring drawn creatures: what of them changes at which strength, for one or more runs on `creatures`.

    python benchmarks/editing.py RUN... [-n 48] [--strengths 0.2 0.4 0.6 0.8 1] [--json FILE]

Begins at real drawings of one-colour creatures, asks for the same creature in another colour, and lets the
reader of creatures say what it sees. Prints, in per cent of N images, mean and worst of the runs: how many
have the new colour, how many still have the species, the action and the eyes, and how many all four.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

import t2ikit
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.data.creatures.grammar import Attributes, caption, parse
from t2ikit.metrics.creature_reader import CreatureReader
from t2ikit.metrics.prompt_accuracy import NAMES
from t2ikit.utils.images import from_uint8


def tasks(count: int, seed: int) -> tuple[list[Attributes], list[Attributes]]:
    """Creatures to begin at, and the same in other colours."""
    starts: list[Attributes] = []
    data = Creatures(CreaturesConfig(spec="creatures"))
    for prompt in data.prompts(20 * count, seed):
        found = parse(prompt)
        if found and found.full and len(found.colours or ()) == 1:
            starts.append(found)
    colours = sorted({one.colours for one in starts if one.colours})
    starts = starts[:count]
    others = [
        replace(one, colours=[c for c in colours if c != one.colours][place % (len(colours) - 1)])
        for place, one in enumerate(starts)
    ]
    return starts, others


def shares(run: str, options: argparse.Namespace, strength: float) -> dict[str, float]:
    """What the reader sees in the recoloured creatures, per cent."""
    starts, others = tasks(options.n, options.seed)
    data = Creatures(CreaturesConfig(spec="creatures", size=t2ikit.open_run(run).image_size))
    drawings = from_uint8(torch.stack(data.images([caption(one) for one in starts], options.seed)))
    prompts = [caption(one) for one in others]
    samples = t2ikit.sample(run, prompts, n=1, image=drawings, strength=strength, seed=options.seed)
    read = CreatureReader()(samples.images[:, 0, 0])
    right = {
        name: [getattr(seen, field) == getattr(asked, field) for seen, asked in zip(read, others)]
        for name, field in NAMES.items()
    }
    right["joint"] = [all(each) for each in zip(*right.values())]
    return {name: 100 * sum(found) / len(found) for name, found in right.items()}


def main() -> None:
    """Measure every run at every strength, print a table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("-n", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.2, 0.4, 0.6, 0.8, 1.0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = {}
    for strength in options.strengths:
        found = [shares(run, options, strength) for run in options.runs]
        table[f"{strength:g}"] = found
        columns = {name: [one[name] for one in found] for name in found[0]}
        cells = [f"{name} {sum(v) / len(v):.1f} (worst {min(v):.1f})" for name, v in columns.items()]
        print(f"strength {strength:g}: " + ", ".join(cells), flush=True)
    if options.json:
        facts = {"n": options.n, "seed": options.seed, "runs": len(options.runs), "strengths": table}
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
