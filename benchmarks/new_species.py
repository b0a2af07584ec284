"""Forty pictures of a species that the packaged model never saw: is it drawn, are the others remembered?

    python benchmarks/new_species.py OUT [--minutes 2] [--seeds 3] [-n 256] [--json FILE] [--grid FILE.png]

Draws snails (a shell of rings, horns, no legs to speak of) in the style of `creatures`: forty with their
captions in a folder, as a user would have them. Fine-tunes the packaged model `creatures` for each arm and
seed: on the forty `alone`, `mixed` half and half with new drawings of the old species, or by adapters
(`lora`). Samples N captions of snails that are not among the forty, which a classifier of the nine species
names (trained apart, on other drawings); and N prompts of the old species that training never showed, before
and after, read as in prompt-accuracy. Prints per cent and differences in points with 95 % intervals.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import statistics
from pathlib import Path
from typing import Any

import torch
from accuracy import difference, right
from measuring import processor
from openmoji_accuracy import share
from picture_classifier import ImageClassifier, ranks, train_classifier
from PIL import Image
from torch import Tensor
from trainings import trained

import t2ikit
from t2ikit.data.creatures.drawing import draw
from t2ikit.data.creatures.grammar import ACTIONS, COLOURS, EYES, SPECIES, Attributes, caption
from t2ikit.data.creatures.species import BUILDS, Build, capsule, ellipse, tube
from t2ikit.metrics.creature_reader import CreatureReader
from t2ikit.utils.files import write_json
from t2ikit.utils.grids import contact_sheet
from t2ikit.utils.images import from_uint8, to_pil

NAME, SIDE, SIZE, COUNT = "snail", 128, 32, 40
SNAIL = Build(
    body=0.34 + 0.075j,
    head=0.15 + 0.14j,
    neck=0.33 + 0.2j,
    neck_width=0.075,
    hips=(-0.16 - 0.03j, 0.16 - 0.03j),
    leg=0.05,
    leg_width=0.03,
    sit=12,
    back=((tube((-0.3 - 0.02j, -0.42 - 0.05j, -0.5 - 0.07j), 0.05, 0.015), "body"),),
    side=(
        (ellipse(-0.08 + 0.2j, 0.26 + 0.25j), "trim"),
        (ellipse(-0.08 + 0.19j, 0.18 + 0.17j), "body"),
        (ellipse(-0.08 + 0.18j, 0.1 + 0.095j), "trim"),
        (ellipse(-0.08 + 0.18j, 0.045 + 0.04j), "dark"),
    ),
    crown=(
        (capsule(-0.07 + 0.1j, -0.13 + 0.28j, 0.022), "body"),
        (capsule(0.07 + 0.1j, 0.13 + 0.28j, 0.022), "body"),
        (ellipse(-0.13 + 0.28j, 0.04 + 0.04j), "trim"),
        (ellipse(0.13 + 0.28j, 0.04 + 0.04j), "trim"),
    ),
)
ALL = (*SPECIES, NAME)
ARMS: dict[str, dict[str, Any]] = {
    "alone": {},
    "mixed": {"data.weights": [1, 1]},
    "lora": {"train.lora": 8},
}
"""Settings of each."""


def snails() -> list[Attributes]:
    """All that a caption may say of a snail, in an order of no meaning; the first forty are trained on."""
    colourings = [(colour,) for colour in COLOURS] + list(itertools.permutations(COLOURS, 2))
    every = [Attributes(c, NAME, a, e) for c, a, e in itertools.product(colourings, ACTIONS, EYES)]
    random.Random(0).shuffle(every)
    return every


def write_folder(folder: Path) -> None:
    """The forty pictures and their captions, unless they are there."""
    if (folder / "metadata.jsonl").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for place, one in enumerate(snails()[:COUNT]):
        Image.fromarray(draw(one, SIDE, random.Random(place))).save(folder / f"{place:02}.png")
        rows.append(json.dumps({"file_name": f"{place:02}.png", "text": caption(one)}))
    (folder / "metadata.jsonl").write_text("\n".join(rows) + "\n")


def drawn(species: str, count: int, seed: int) -> Tensor:
    """Drawings (N, 3, 32, 32) in [-1, 1] of a species."""
    rng, found = random.Random(seed), []
    for _ in range(count):
        colours = tuple(rng.sample(COLOURS, rng.choice((1, 2))))
        found.append(draw(Attributes(colours, species, rng.choice(ACTIONS), rng.choice(EYES)), SIZE, rng))
    return torch.stack([from_uint8(torch.tensor(one).permute(2, 0, 1)) for one in found])


def judge() -> tuple[ImageClassifier, dict[str, Any]]:
    """A classifier of the nine species, and how often it is right on new drawings of snails and of others."""
    sets = [drawn(species, 500, place) for place, species in enumerate(ALL)]
    labels = torch.arange(len(ALL)).repeat_interleave(500)
    net = train_classifier(torch.cat(sets), 500, 0, labels=labels)
    new = [drawn(species, 128, 100 + place) for place, species in enumerate(ALL)]
    found = [ranks(net, images, torch.full((128,), place)) < 1 for place, images in enumerate(new)]
    return net, {"snails": share(found[-1]), "others": share(torch.cat(found[:-1]))}


def train(options: argparse.Namespace, arm: str, seed: int, out: Path) -> t2ikit.Run:
    """A new run of an arm and a seed."""
    folder = str(options.out / "snails")
    return t2ikit.train(
        init="creatures",
        data=[folder, "creatures"] if arm == "mixed" else folder,
        set={"data.size": SIZE, **ARMS[arm]},
        minutes=options.minutes,
        seed=seed,
        out=out,
        device="cpu",
    )


def remembered(model: Any, n: int) -> list[bool]:
    """For each prompt of old species that training never showed, whether all that it names is drawn."""
    result = t2ikit.evaluate(model, data="creatures", metrics=("prompt-accuracy",), n=n, write=False, seed=0)
    assert result.image_set is not None
    return right(result.image_set.prompts, result.image_set.images)


class Bench:
    """Measures runs.

    Args:
        options: where, how many.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.net, self.ceiling = judge()
        self.before = remembered("creatures", options.n)
        self.asked = snails()[COUNT : COUNT + options.n]

    def row(self, model: Any, sheet: Path) -> dict[str, Any]:
        """Shares of snails, of snails in the right colours, and of old prompts."""
        prompts = [caption(one) for one in self.asked]
        images = t2ikit.sample(model, prompts, n=1, seed=0).images[:, 0, 0].clamp(-1, 1)
        contact_sheet(to_pil(images[:24]), prompts[:24], columns=6).save(sheet)
        is_snail = ranks(self.net, images, torch.full((len(images),), len(ALL) - 1)) < 1
        read = CreatureReader()(images)
        coloured = torch.tensor([a.colours == b.colours for a, b in zip(read, self.asked, strict=True)])
        after = remembered(model, self.options.n)
        return {
            "snail": share(is_snail),
            "snail in the right colours": share(is_snail & coloured),
            "old prompts": 100 * statistics.mean(after),
            "old prompts beside before": list(difference(after, self.before)),
        }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Before, and every arm and seed."""
    bench = Bench(options)
    table: dict[str, Any] = {"classifier": bench.ceiling}
    table["before"] = [bench.row("creatures", options.out / "before.png")]
    print(f"classifier: {bench.ceiling}\nbefore: {table['before'][0]}", flush=True)
    for arm in options.arms:
        table[arm] = []
        for seed in range(options.seeds):
            out = options.out / f"{arm}-{seed}"
            run = trained(out, lambda arm=arm, seed=seed, out=out: train(options, arm, seed, out))
            table[arm].append({"steps": run.steps_done, **bench.row(run, run.path / "snails.png")})
            print(f"{arm}, seed {seed}: {table[arm][-1]}", flush=True)
    return table


def main() -> None:
    """Train what is missing, measure, print, and write the figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("-n", type=int, default=256, help="prompts")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--grid", type=Path, help="snails of the first seed of an arm")
    parser.add_argument("--shown", default="mixed", choices=list(ARMS), help="which arm")
    options = parser.parse_args()
    BUILDS[NAME] = SNAIL
    write_folder(options.out / "snails")
    table = measure(options)
    if options.json:
        write_json(
            options.json, {"n": options.n, "minutes": options.minutes, "processor": processor("cpu"), **table}
        )
    if options.grid:
        shutil.copy(options.out / f"{options.shown}-0/snails.png", options.grid)


if __name__ == "__main__":
    main()
