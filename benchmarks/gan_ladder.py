"""What each trick of the gigagan plugin buys on `creatures`: the ablation ladder, at equal steps.

    python benchmarks/gan_ladder.py --out runs/ladder [--steps 1000] [--table docs/gan-ladder.md]

Trains the rungs that are not there yet, one after the other (stop it and start it again as you like): an
unconditional GAN, one with text (at three learning rates; the best is every rung's), then matching, CLIP,
multi-scale and filter bank, each on top of the one before, and the vision-aided critic. A second ladder goes
on from matching to a GAN that reads word by word. Two small CLIPs are trained first on the same data: one
teaches, the other judges. Every tenth of a run is evaluated on the same captions that training never showed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from t2ikit import ImageSet
from t2ikit.core.rng import Draws
from t2ikit.core.step import Step
from t2ikit.data.creatures.drawing import draw
from t2ikit.data.creatures.grammar import parse
from t2ikit.data.loader import BatchLoader
from t2ikit.evaluation.data import evaluation_data
from t2ikit.metrics.prompt_accuracy import PromptAccuracy
from t2ikit.nn.weights import load_state
from t2ikit.recipes.compose import build_components
from t2ikit.registry.registry import Registry
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs.open import open_run
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model
from t2ikit_gigagan import load_clip

NAMES = ("colour", "species", "action", "eyes")
SHOWN = ("colour", "two-colour/colour", "species", "action", "eyes", "joint")
"""The columns of the table."""
RATES = (2e-3, 4e-3, 8e-3)
POINTS = 10
T2IKIT = (sys.executable, "-m", "t2ikit")


@dataclass(frozen=True)
class Rung:
    """A row of the table.

    Attributes:
        recipe: `gigagan/ladder-RECIPE`; where there are changes, only the name of the row.
        title: what the table calls it.
        clip: whether it takes a CLIP.
        changes: of the recipe `gigagan/plain`, as after `--set`.
    """

    recipe: str
    title: str
    clip: bool = False
    changes: tuple[str, ...] = ()


CONTRASTIVE = ("losses.contrastive.wrong=false",)
HARD = ("data.hard_negatives=0.5", "losses.contrastive.wrong=true")
WORDS = (*HARD, "critics.multiscale.word_width=64")
ATTENTION = (*WORDS, "generator.text_attention=[false,true,true,true]", "generator.head_width=16")
TAUGHT = (*ATTENTION, "losses.words.use=gigagan/contrastive", "losses.words.wrong=true")
RELATIVISTIC = (
    *TAUGHT,
    *(f"losses.{name}.kind=relativistic" for name in ("adversarial", "adversarial-critic", "matching")),
)
R2 = (*RELATIVISTIC, "losses.r2.use=gigagan/r2", "losses.r2.weight=5", "losses.r2.every=8")


RUNGS = (
    Rung("unconditional", "unconditional"),
    Rung("text", "text"),
    Rung("matching", "+ matching"),
    Rung("clip", "+ CLIP", clip=True),
    Rung("multiscale", "+ multi-scale", clip=True),
    Rung("filter-bank", "+ filter bank", clip=True),
    Rung("vision-aided", "text + matching + vision-aided critic", clip=True),
    Rung("contrastive", "text + matching + contrastive critic", changes=CONTRASTIVE),
    Rung("hard-negatives", "+ hard negatives", changes=HARD),
    Rung("words", "+ word by word", changes=WORDS),
    Rung("text-attention", "+ text attention of the generator", changes=ATTENTION),
    Rung("taught", "+ contrastive loss of the generator", changes=TAUGHT),
    Rung("relativistic", "+ relativistic losses", changes=RELATIVISTIC),
    Rung("r2", "+ R2", changes=R2),
)


class Ladder:
    """Runs of one ladder in a folder.

    Args:
        options: the parsed command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.out, self.steps, self.n = options.out, options.steps, options.n
        self.seeds, self.matching_seeds = options.seeds, options.matching_seeds
        self.clip_steps = options.clip_steps

    def clip(self, name: str, seed: int) -> Path:
        """A small CLIP of this dataset, trained if it is not there."""
        folder = self.out / name
        if not (folder / "preprocessor_config.json").is_file():
            script = Path(__file__).parents[1] / "examples" / "train_clip.py"
            call([sys.executable, script, "--out", folder, "--steps", self.clip_steps, "--seed", seed])
        return folder

    def train(self, rung: Rung, seed: int, rate: float) -> dict[str, Any]:
        """One run and its measurements; what is there already is not done again."""
        run = self.out / f"{rung.recipe}-lr{rate:g}-seed{seed}"
        result = self.out / f"{run.name}.json"  # a rate has a dot in it
        if result.is_file():
            return dict(json.loads(result.read_text()))
        if run.is_dir():
            call([*T2IKIT, "train", "--resume", run])
        else:
            recipe = "plain" if rung.changes else f"ladder-{rung.recipe}"
            call([*T2IKIT, "train", "--plugin", "gigagan", "--recipe", f"gigagan/{recipe}",
                  "--out", run, "--seed", seed, *self.settings(rung, rate)])  # fmt: skip
        found = measure(run, self.n, self.clip("judge", 1))
        found.update(rung=rung.recipe, seed=seed, rate=rate)
        if rung.clip and rung.recipe != "vision-aided":
            found["clip_gradient"] = gradient_ratio(run)
        result.write_text(json.dumps(found, indent=2) + "\n")
        return found

    def settings(self, rung: Rung, rate: float) -> list[str]:
        """What differs from the rung's recipe."""
        every = max(1, self.steps // POINTS)
        values = {
            "train.steps": self.steps,
            "train.save_every": every,
            "train.keep_last": POINTS + 1,
            "train.sample_every": self.steps,
            "optimizer.generator.lr": rate,
            "optimizer.critic.lr": rate,
        }
        if rung.clip:
            part = "critics.vision" if rung.recipe == "vision-aided" else "losses.clip"
            values[f"{part}.model"] = str(self.clip("teacher", 0).resolve())
        changes = [*rung.changes, *(f"{key}={value}" for key, value in values.items())]
        return [word for change in changes for word in ("--set", change)]

    def climb(self) -> list[dict[str, Any]]:
        """All runs."""
        text = RUNGS[1]
        rates = [self.train(text, self.seeds[0], rate) for rate in RATES]
        best = max(rates, key=lambda found: found["curve"][-1]["mean"])["rate"]
        seeds = {"matching": self.matching_seeds, "text": self.matching_seeds}
        return rates + [
            self.train(rung, seed, best)
            for rung in RUNGS
            for seed in seeds.get(rung.recipe, self.seeds)
            if not (rung is text and seed == self.seeds[0])
        ]


def call(words: Sequence[Any]) -> None:
    """Run a command and stop with it."""
    subprocess.run([str(word) for word in words], check=True)


def measure(run: Path, n: int, judge: Path) -> dict[str, Any]:
    """Accuracy at every checkpoint, and what the judge thinks of the last one's images."""
    dataset = evaluation_data(open_run(run), Registry.load(), None)
    prompts, accuracy = dataset.prompts(n, 0), PromptAccuracy()
    curve = []
    for checkpoint in ckpt.checkpoints(run):
        step = ckpt.step_of(checkpoint)
        images = sample_images(open_model(open_run(run), checkpoint=step), prompts)
        found = accuracy(ImageSet(images, prompts, dataset))
        row = {name: found[name].value for name in SHOWN}
        mean = statistics.mean(row[name] for name in NAMES)
        curve.append({"step": step, **row, "mean": mean})
    clip = load_clip(str(judge))
    with torch.no_grad():
        cosine = (clip.image_embeddings(images) * clip.text_embeddings(prompts)).sum(1)
    return {"curve": curve, "judge": float(cosine.mean()), "diversity": diversity(run, prompts[:16])}


def diversity(run: Path, prompts: Sequence[str], each: int = 8) -> float:
    """Mean distance of two images of the same prompt, root mean square of pixels in [-1, 1]."""
    images = sample_images(open_model(open_run(run)), list(prompts), samples=range(each))
    return spread(images.view(len(prompts), each, -1))


def spread(images: torch.Tensor) -> float:
    """Mean root-mean-square distance of two of the images (prompts, each, pixels) of a prompt."""
    each, pixels = images.shape[1:]
    distances = torch.cdist(images, images) / pixels**0.5
    return float(distances.sum((1, 2)).mean() / (each * (each - 1)))


def gradient_ratio(run: Path) -> float:
    """Norm of the weighted CLIP loss's gradient at the images, over that of the adversarial loss."""
    opened, registry = open_run(run), Registry.load()
    recipe = opened.recipe(registry, sampling=False)
    components = build_components(recipe, registry, torch.device("cpu"))
    snapshot, _ = ckpt.load_latest(run)
    load_state(components.model.generator, snapshot.tensors["generator"], run)
    load_state(components.critics["multiscale"], critic_weights(snapshot.tensors), run)
    batch = BatchLoader(components.dataset, 1, 16)[0].batch(components.model.encoder, "cpu")
    prediction = components.model.generator(batch, Draws(batch.keys, "ratio"))
    step = Step(batch, prediction, components.critics, "generator", Draws(batch.keys, "critic"), 0)
    norms = {}
    for name in ("adversarial", "clip"):
        loss = components.losses[name].weight * components.losses[name].loss(step)
        (gradient,) = torch.autograd.grad(loss, prediction.images[-1], retain_graph=True)
        norms[name] = float(gradient.norm())
    return norms["clip"] / norms["adversarial"]


def critic_weights(tensors: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Those of the multi-scale critic."""
    name = "multiscale."
    return {key.removeprefix(name): x for key, x in tensors["critic"].items() if key.startswith(name)}


def real_diversity(prompts: Sequence[str], size: int, each: int = 8) -> float:
    """`diversity` of the dataset's own drawings of the same prompts."""
    drawn = [
        torch.from_numpy(draw(parse(prompt), size, Random(f"{prompt}/{number}")).copy())
        for prompt in prompts
        for number in range(each)
    ]
    return spread((torch.stack(drawn).float() / 127.5 - 1).view(len(prompts), each, -1))


def mean(found: Sequence[dict[str, Any]], *path: Any) -> float:
    """Mean of one number over runs."""
    values = []
    for value in found:
        for key in path:
            value = value[key]
        values.append(float(value))
    return statistics.mean(values)


def first_reaching(found: dict[str, Any], goal: float) -> float:
    """The step at which a run's accuracy first reaches `goal`; infinity if it never does."""
    return next((row["step"] for row in found["curve"] if row["mean"] >= goal), float("inf"))


def table(results: Sequence[dict[str, Any]], real: float) -> list[str]:
    """The ladder as Markdown."""
    lines = [
        "| configuration | learning rate | seeds | colour | of two colours | species | action | eyes | "
        "all four | judge's cosine | diversity, relative to drawings | share of CLIP in the gradient |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for rung in RUNGS:
        own = [found for found in results if found["rung"] == rung.recipe]
        for rate in sorted({found["rate"] for found in own}):
            same = [found for found in own if found["rate"] == rate]
            accuracy = " | ".join(f"{mean(same, 'curve', -1, name):.1f}" for name in SHOWN)
            shares = [f"{found['clip_gradient']:.0%}" for found in same if "clip_gradient" in found]
            lines.append(
                f"| {rung.title} | {rate:g} | {len(same)} | {accuracy} | {mean(same, 'judge'):.3f} | "
                f"{mean(same, 'diversity') / real:.0%} | {', '.join(shares) or '-'} |"
            )
    return lines


def verdicts(results: Sequence[dict[str, Any]]) -> list[str]:
    """What the ladder was climbed for, in words."""
    by_rung = {rung.recipe: [f for f in results if f["rung"] == rung.recipe] for rung in RUNGS}
    best = by_rung["matching"][0]["rate"]
    text = [found for found in by_rung["text"] if found["rate"] == best]
    goal, steps = mean(text, "curve", -1, "mean"), text[0]["curve"][-1]["step"]
    reached = [first_reaching(found, goal) for found in by_rung["matching"]]
    share = statistics.median(reached) / steps
    said = f"in {share:.2f}x the steps (median of {len(reached)} seeds)" if share <= 1 else "never"
    judged = {name: mean(by_rung[name], "judge") for name in ("matching", "clip")}
    return [
        f"- Text alone ends at {goal:.1f} % (mean of the four attributes). With the matching loss, "
        f"the GAN reaches that {said}.",
        f"- A separately trained CLIP scores the images {judged['clip']:.3f} with the CLIP loss, "
        f"{judged['matching']:.3f} without.",
    ]


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--steps", type=int, default=1000, help="of every rung (default 1000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--matching-seeds", type=int, nargs="+", default=[0, 1, 2], help="of text, matching")
    parser.add_argument("--clip-steps", type=int, default=600, help="of the two CLIPs (default 600)")
    parser.add_argument("-n", type=int, default=256, help="captions a checkpoint is evaluated on")
    parser.add_argument("--table", type=Path, help="write the table to this Markdown file")
    return parser.parse_args()


def main() -> None:
    """Climb and tell."""
    options = parse_options()
    options.out.mkdir(parents=True, exist_ok=True)
    results = Ladder(options).climb()
    some = open_run(options.out / f"matching-lr{results[-1]['rate']:g}-seed{options.matching_seeds[0]}")
    prompts = evaluation_data(some, Registry.load(), None).prompts(16, 0)
    lines = [*table(results, real_diversity(prompts, some.image_size)), "", *verdicts(results)]
    words = f"`python benchmarks/gan_ladder.py --steps {options.steps}`"
    text = "\n".join(["# GAN ablation", "", f"Made by {words}; N = {options.n} captions.", "", *lines, ""])
    print(text)
    if options.table:
        options.table.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
