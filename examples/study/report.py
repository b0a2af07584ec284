"""What a study found: numbers.json, tables.md, and its images."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from plans import Plan, Rung

from t2ikit import open_run
from t2ikit.evaluation.data import evaluation_data
from t2ikit.registry.registry import Registry
from t2ikit.runs.log import read_log
from t2ikit.runs.run import Run
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model
from t2ikit.utils.files import write_json, write_text
from t2ikit.utils.grids import labelled_grid
from t2ikit.utils.images import to_pil

ATTRIBUTES = ("colour", "species", "action", "eyes")
SHOWN = 5
"""Prompts sampled with every configuration."""
RECALL = {
    "score": "among the first five",
    "first": "first guess",
    "chance": "beside other captions, first five",
    "nearest": "nearest training picture is the named one",
}
"""What `benchmarks/openmoji_accuracy.py` counts, by its name here."""
Found = dict[str, Any]


def write_report(plan: Plan, out: Path) -> None:
    """Gather what was measured and write it down."""
    found = {rung.name: [gather(plan, out, rung, seed) for seed in plan.seeds] for rung in plan.rungs}
    write_json(out / "numbers.json", {"plan": f"{plan.data}-{plan.size}", "runs": found})
    tables = ladder_table(plan, found) if plan.readable else recall_table(plan, found)
    parts = [tables, cost_table(plan, found), sweep_table(plan, found)]
    if plan.readable:
        parts.insert(1, convergence_table(plan, found))
    plot(plan, found, out / "curves.png")
    side_by_side(plan, out).save(out / "side-by-side.png")
    write_text(out / "tables.md", "\n\n".join("\n".join(lines) for lines in parts) + "\n")


def gather(plan: Plan, out: Path, rung: Rung, seed: int) -> Found:
    """All numbers of one run."""
    run, numbers = out / f"{rung.name}-seed{seed}", out / "numbers"
    table = read(numbers / f"{run.name}.json", out)
    speeds = [
        line["images_per_second"] for line in read_log(run / "log.jsonl") if "images_per_second" in line
    ]
    costs = table["costs"]
    found = {
        "seed": seed,
        "measures": {name: rounded(m) for name, m in table["measures"].items()},
        "machine": costs.get("processor", ""),
        "not_measured": table["not_measured"],
        "pictures_per_second": round(statistics.median(speeds), 1),
        "milliseconds_to_draw": round(1000 * costs["seconds"] / costs["pictures"], 2),
        "calls_to_draw": costs["calls"],
        "curve": curve_of(plan, numbers, run.name),
    }
    sweep = numbers / f"{run.name}-sweep.json"
    if sweep.is_file():
        points = read(sweep, out)["points"]
        found["sweep"] = [
            {"at": point["at"], "measures": {name: rounded(m) for name, m in point["measures"].items()}}
            for point in points
        ]
    return found


def read(path: Path, out: Path) -> Found:
    """A JSON file; folders in it count from the study's."""
    found: Found = json.loads(
        path.read_text(encoding="utf-8").replace(str(out.resolve()), out.name).replace(str(out), out.name)
    )
    return found


def rounded(measure: Found) -> Found:
    """A measure with its interval, provenance and number of images."""
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in measure.items()}


def curve_of(plan: Plan, numbers: Path, name: str) -> list[Found]:
    """Rows of a step and its `score`: mean accuracy, or the share recognised in five guesses."""
    if plan.readable:
        rows = json.loads((numbers / f"{name}-curve.json").read_text(encoding="utf-8"))
        return [{"step": row["step"], "score": round(accuracy(row), 2)} for row in rows]
    found = sorted(numbers.glob(f"{name}-recall-*.json"), key=lambda path: int(path.stem.split("-")[-1]))
    tables = [(int(path.stem.split("-")[-1]), json.loads(path.read_text(encoding="utf-8"))) for path in found]
    return [
        {
            "step": step,
            **{key: table[name]["percent"] for key, name in RECALL.items()},
            "intervals": {key: [table[name]["low"], table[name]["high"]] for key, name in RECALL.items()},
        }
        for step, table in tables
    ]


def accuracy(row: Found) -> float:
    """Mean of the four attributes' accuracies, per cent, of values by name."""
    return statistics.mean(float(row[f"prompt-accuracy/{name}"]) for name in ATTRIBUTES)


def values_of(run: Found) -> Found:
    """The values of a run's measures, by name."""
    return {name: measure["value"] for name, measure in run["measures"].items()}


def over_seeds(runs: Sequence[Found], value: Callable[[Found], float], digits: int = 1) -> str:
    """The mean over seeds, with the least and the greatest where there are several."""
    values = [value(run) for run in runs]
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def measured(runs: Sequence[Found], name: str, digits: int = 1) -> str:
    """A measure over seeds; with the interval of the images where there is one run alone."""
    found = [run["measures"].get(name, {"value": float("nan")}) for run in runs]
    text = over_seeds(found, lambda measure: float(measure["value"]), digits)
    if len(found) > 1:
        return text
    return with_interval(text, found[0], digits)


def with_interval(text: str, measure: Found, digits: int = 1) -> str:
    """The text with the measure's interval, where it has one."""
    if measure.get("low") is None or measure.get("high") is None:
        return text
    return f"{text} [{measure['low']:.{digits}f}, {measure['high']:.{digits}f}]"


def row(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [row(heads), row(["---"] * len(heads)), *(row(cells) for cells in rows)]


def ladder_table(plan: Plan, found: dict[str, list[Found]]) -> list[str]:
    """Accuracies at the end."""
    heads = [
        "configuration",
        *ATTRIBUTES,
        "mean of the four",
        "all four",
        "judge's cosine x 100",
        "kernel distance, reader",
    ]
    last = [("prompt-accuracy/joint", 1), ("clip-score/score", 1), ("reader-distance/kd-reader", 2)]
    rows = [
        [
            rung.title,
            *(measured(found[rung.name], f"prompt-accuracy/{name}") for name in ATTRIBUTES),
            over_seeds(found[rung.name], lambda run: accuracy(values_of(run))),
            *(measured(found[rung.name], name, digits) for name, digits in last),
        ]
        for rung in plan.rungs
    ]
    return markdown(heads, rows)


def recall_table(plan: Plan, found: dict[str, list[Found]]) -> list[str]:
    """Shares recognised at the end."""
    heads = [
        "configuration",
        "correct among 5 guesses, %",
        "first guess",
        "chance",
        "nearest training image is the correct one",
        "judge's cosine x 100, held-out names",
        "shuffled",
    ]
    rows = [
        [
            rung.title,
            *(recalled(found[rung.name], key) for key in RECALL),
            measured(found[rung.name], "clip-score/score"),
            measured(found[rung.name], "clip-score/shuffled"),
        ]
        for rung in plan.rungs
        if found[rung.name][0]["curve"]
    ]
    return markdown(heads, rows)


def recalled(runs: Sequence[Found], key: str) -> str:
    """A share at the end, with its interval where there is one run."""
    text = over_seeds(runs, lambda run: float(run["curve"][-1][key]))
    low, high = runs[0]["curve"][-1]["intervals"][key]
    return text if len(runs) > 1 else with_interval(text, {"low": low, "high": high})


def convergence_table(plan: Plan, found: dict[str, list[Found]]) -> list[str]:
    """Mean accuracy at each checkpoint."""
    steps = [point["step"] for point in found[plan.rungs[0].name][0]["curve"]]
    rows = [
        [
            rung.title,
            *(
                f"{statistics.mean(run['curve'][place]['score'] for run in found[rung.name]):.1f}"
                for place in range(len(steps))
            ),
        ]
        for rung in plan.rungs
    ]
    return markdown(["mean of the four at step", *map(str, steps)], rows)


def cost_table(plan: Plan, found: dict[str, list[Found]]) -> list[str]:
    """Speed of training and drawing."""
    heads = [
        "configuration",
        "images per second in training",
        "milliseconds per sample",
        "network calls per sample",
    ]
    rows = [
        [
            rung.title,
            over_seeds(found[rung.name], lambda run: run["pictures_per_second"]),
            over_seeds(found[rung.name], lambda run: run["milliseconds_to_draw"], 2),
            f"{found[rung.name][0]['calls_to_draw']:g}",
        ]
        for rung in plan.rungs
    ]
    return markdown(heads, rows)


def sweep_table(plan: Plan, found: dict[str, list[Found]]) -> list[str]:
    """The diffusion model's guidance and thresholding: means over seeds."""
    runs = next(found[rung.name] for rung in plan.rungs if rung.diffusion)
    names = [f"prompt-accuracy/{name}" for name in ATTRIBUTES] if plan.readable else ["clip-score/score"]
    names += ["colours/saturation", "colours/extremes", "colours/border-noise"]
    rows = [
        [
            *point["at"].values(),
            *(measured([run["sweep"][place] for run in runs], name) for name in names),
        ]
        for place, point in enumerate(runs[0]["sweep"])
    ]
    return markdown([*runs[0]["sweep"][0]["at"], *(name.split("/")[-1] for name in names)], rows)


def plot(plan: Plan, found: dict[str, list[Found]], path: Path) -> None:
    """Scores over images seen, a thin line a seed and a thick one for their mean."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for place, rung in enumerate(plan.rungs):
        curves = [run["curve"] for run in found[rung.name] if run["curve"]]
        if not curves:
            continue
        steps = [point["step"] for point in curves[0]]
        scores = [[point["score"] for point in curve] for curve in curves]
        style = {"color": f"C{place}", "linestyle": "--" if rung.diffusion else "-"}
        axes.plot(steps, [statistics.mean(at) for at in zip(*scores)], label=rung.title, **style)
        for one in scores if len(scores) > 1 else []:
            axes.plot(steps, one, linewidth=0.5, **style)
    axes.set(
        xlabel="step", ylim=(0, 100), ylabel="mean prompt accuracy, %" if plan.readable else "recognised, %"
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def side_by_side(plan: Plan, out: Path) -> Any:
    """The same prompts and noise by every rung of the first seed."""
    runs = [open_run(out / f"{rung.name}-seed{plan.seeds[0]}") for rung in plan.rungs]
    prompts = shown_prompts(plan, runs[0])
    columns = [to_pil(sample_images(open_model(run), prompts)) for run in runs]
    return labelled_grid([list(row) for row in zip(*columns)], prompts, [rung.title for rung in plan.rungs])


def shown_prompts(plan: Plan, run: Run) -> list[str]:
    """Prompts that training never showed where they can be drawn, else training captions."""
    dataset = evaluation_data(run, Registry.load(), None)
    if plan.readable:
        return dataset.prompts(SHOWN, 0)
    size = dataset.size("train")
    return [dataset.captions("train", place * size // SHOWN)[0] for place in range(SHOWN)]
