"""Wide and tall images, trained whole in buckets, padded, or cropped: what do samples show of them?

    python benchmarks/aspect_buckets.py OUT [--minutes 10] [--seeds 3] [--fits crop pad buckets] [-n 96]
        [--count 6000] [--size 32] [--steps N] [--json FILE] [--grid FILE.png]

Draws a set of three shapes: two creatures side by side (2:1), one (1:1), one above another (1:2), each with a
caption such as "a red cat beside a blue bird". Trains imagen/default on it once for each fit and seed, for as
many minutes each, samples captions at their own aspect (a padded model within its square), cuts the samples
into creatures, and lets the reader of creatures say what it sees. Prints how many creatures have the right
colour, species and both, in per cent, by shape: mean and worst of the seeds, and the same of real images that
went through the same fit. OUT keeps the set and the runs; a run that is finished is not trained again.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from trainings import trained

import t2ikit
from t2ikit.data.creatures.drawing import draw
from t2ikit.data.creatures.grammar import ACTIONS, COLOURS, EYES, SPECIES, Attributes
from t2ikit.metrics.creature_reader import CreatureReader
from t2ikit.utils.files import write_json
from t2ikit.utils.grids import contact_sheet
from t2ikit.utils.images import from_uint8, to_pil

SIDE = 96
"""Of a creature in the drawings, pixels."""
KINDS = {"wide": ("beside", "2:1"), "square": ("", "1:1"), "tall": ("above", "1:2")}
"""The word between two creatures, and the aspect, by the shape of a drawing."""
SEEN = ("colour", "species", "both")
Scene = tuple[str, tuple[Attributes, ...]]
"""The kind of a drawing and its creatures, from the left or the top."""


def scenes(count: int, seed: int) -> list[Scene]:
    """As many of each kind, at random."""
    rng, found = random.Random(seed), []
    for place in range(count):
        kind = list(KINDS)[place % len(KINDS)]
        creatures = [
            Attributes((rng.choice(COLOURS),), rng.choice(SPECIES), rng.choice(ACTIONS), rng.choice(EYES))
            for _ in range(1 if kind == "square" else 2)
        ]
        found.append((kind, tuple(creatures)))
    return found


def caption(scene: Scene) -> str:
    """What a scene is called."""
    kind, creatures = scene
    names = [f"a {(one.colours or ('',))[0]} {one.species}" for one in creatures]
    return f" {KINDS[kind][0]} ".join(names)


def picture(scene: Scene, seed: int) -> Image.Image:
    """A scene as a drawing of its shape."""
    kind, creatures = scene
    rng = random.Random(seed)
    sheet = Image.new("RGB", (SIDE * (1 + (kind == "wide")), SIDE * (1 + (kind == "tall"))))
    for place, one in enumerate(creatures):
        at = (SIDE * place, 0) if kind == "wide" else (0, SIDE * place)
        sheet.paste(Image.fromarray(draw(one, SIDE, rng)), at)
    return sheet


def write_set(folder: Path, count: int) -> None:
    """A folder of drawings with their captions, unless it is there."""
    if (folder / "metadata.jsonl").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for place, scene in enumerate(scenes(count, 0)):
        picture(scene, place).save(folder / f"{place:05d}.png")
        rows.append(json.dumps({"file_name": f"{place:05d}.png", "text": caption(scene)}))
    (folder / "metadata.jsonl").write_text("\n".join(rows) + "\n")


def run_of(options: argparse.Namespace, fit: str, seed: int) -> t2ikit.Run:
    """The run of a fit and a seed, trained unless it is there."""
    out = options.out / f"{fit}-{seed}"
    length: dict[str, Any] = {"train.steps": options.steps} if options.steps else {}
    settings = {"data.fit": fit, "data.size": options.size, "data.validation": 0.02, **length}
    minutes = {} if options.steps else {"minutes": options.minutes}
    return trained(
        out,
        lambda: t2ikit.train(
            ["imagen"],
            recipe="imagen/default",
            data=options.out / "set",
            set=settings,
            seed=seed,
            out=out,
            **minutes,
        ),
    )


def creatures_of(images: Tensor, kind: str, fit: str) -> Tensor:
    """Images (N, 3, H, W) cut into their creatures, (N * 1 or 2, 3, h, w), those of an image together."""
    if kind == "square":
        return images
    if fit == "pad":  # within the square there are margins of a quarter
        quarter = images.shape[-1] // 4
        images = images[:, :, quarter:-quarter] if kind == "wide" else images[:, :, :, quarter:-quarter]
    halves = images.chunk(2, -1 if kind == "wide" else -2)
    return torch.stack(halves, 1).flatten(0, 1)


def shares(images: Tensor, kind: str, fit: str, asked: list[Scene]) -> dict[str, float]:
    """What the reader sees, per cent of the creatures."""
    wanted = [one for _, creatures in asked for one in creatures]
    read = CreatureReader()(creatures_of(images, kind, fit))
    colour = [seen.colours == one.colours for seen, one in zip(read, wanted, strict=True)]
    species = [seen.species == one.species for seen, one in zip(read, wanted, strict=True)]
    both = [a and b for a, b in zip(colour, species)]
    return {name: 100 * sum(right) / len(right) for name, right in zip(SEEN, (colour, species, both))}


def sampled(run: t2ikit.Run, kind: str, fit: str, asked: list[Scene], seed: int) -> Tensor:
    """A sample of each scene, in its own aspect unless it was trained within squares."""
    aspect = None if fit == "pad" else KINDS[kind][1]
    prompts = [caption(scene) for scene in asked]
    return t2ikit.sample(run, prompts, n=1, aspect=aspect, seed=seed).images[:, 0, 0]


def real(options: argparse.Namespace, fit: str, asked: list[Scene]) -> Tensor:
    """Drawings of scenes as training with a fit would show them."""
    from t2ikit.core.shapes import bucket_shapes
    from t2ikit.data.image_files import fitted, to_tensor

    shapes = bucket_shapes(options.size, 8)
    drawings = [picture(scene, 10**6 + place) for place, scene in enumerate(asked)]
    return from_uint8(
        torch.stack([to_tensor(fitted(one, options.size, "white", fit, shapes)) for one in drawings])
    )


def measure(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """By fit and shape: shares of real images, and of samples with their mean and worst."""
    test, table = scenes(3 * options.n, 99), {}
    for fit in options.fits:
        runs = [run_of(options, fit, seed) for seed in range(options.seeds)]
        for kind in KINDS:
            asked = [scene for scene in test if scene[0] == kind]
            images = [sampled(run, kind, fit, asked, seed) for seed, run in enumerate(runs)]
            found = [shares(one, kind, fit, asked) for one in images]
            table[f"{fit} {kind}"] = {
                "real": shares(real(options, fit, asked), kind, fit, asked),
                "seeds": found,
                "mean": {name: statistics.mean(one[name] for one in found) for name in SEEN},
                "worst": {name: min(one[name] for one in found) for name in SEEN},
            }
    return table


def grid(options: argparse.Namespace) -> Image.Image:
    """Samples of the first seed: a row for each fit, two columns for each shape."""
    test, images, labels = scenes(6, 99), [], []
    for fit in options.fits:
        run = run_of(options, fit, 0)
        for kind in KINDS:
            asked = [scene for scene in test if scene[0] == kind]
            images += to_pil(sampled(run, kind, fit, asked, 0))
            labels += [f"{fit}: {caption(scene)}" for scene in asked]
    return contact_sheet(images, labels, columns=len(test))


def main() -> None:
    """Draw the set, train what is missing, measure, print a table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, help="in place of minutes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fits", nargs="+", default=["crop", "pad", "buckets"])
    parser.add_argument("-n", type=int, default=96, help="samples of each shape and seed")
    parser.add_argument("--count", type=int, default=6_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--grid", type=Path)
    options = parser.parse_args()
    write_set(options.out / "set", options.count)
    table = measure(options)
    print(
        f"per cent of creatures; {options.seeds} seeds, {options.n} images each: mean (worst) / real images"
    )
    for name, row in table.items():
        cells = [
            f"{seen} {row['mean'][seen]:.1f} ({row['worst'][seen]:.1f}) / {row['real'][seen]:.1f}"
            for seen in SEEN
        ]
        print(f"{name:15} {'   '.join(cells)}")
    if options.json:
        write_json(options.json, {"n": options.n, "minutes": options.minutes, "table": table})
    if options.grid:
        grid(options).save(options.grid)


if __name__ == "__main__":
    main()
