"""`t2ikit.ablate`: does a loss, a part or a setting help?"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2ikit.ablation.devices import gpus, run_all
from t2ikit.ablation.folder import REPORT, find_folder
from t2ikit.ablation.plan import Plan, Trial, check_sources, read_plan
from t2ikit.ablation.planning import make_plan
from t2ikit.ablation.report import render
from t2ikit.ablation.results import Ablation, compare_records
from t2ikit.ablation.trials import read_record, run_trial
from t2ikit.ablation.verdict import verdict
from t2ikit.config.arguments import checked
from t2ikit.errors import UserError, option
from t2ikit.recipes.settings import Plugins, Settings, as_settings
from t2ikit.training.train import as_path
from t2ikit.utils.files import write_json, write_report

STEPS, SEEDS = 200, 3


@checked
def ablate(
    target: str | Path | None = None,
    *,
    plugin: Plugins = (),
    recipe: str | Path | Sequence[str | Path] = (),
    set: Mapping[str, Any] | Sequence[str] | None = None,
    base: Settings = None,
    data: str | Path | Sequence[str | Path] = (),
    seeds: int | Sequence[int] = SEEDS,
    steps: int = STEPS,
    n: int = 256,
    metrics: str | Sequence[str] = (),
    out: str | Path | None = None,
    resume: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Ablation:
    """Train pairs of runs that differ in one thing, and say whether it helps.

        found = t2ikit.ablate("my_loss.py", plugin="imagen", set={"losses.mine.weight": [0.1, 0.3]}, seeds=5)

    The runs of a pair share initial weights, order of data, noise, and prompts of the evaluation. Finished
    runs are kept: the same call goes on where it was stopped. GPUs are used side by side.

    Args:
        target: a plugin whose losses are tested: its file or name.
        plugin: whose default recipes are trained, or which those need; empty takes all that are installed.
        recipe: names or TOML files of recipes, in place of the defaults.
        set: what is tested: keys with a value or a list of values; or "KEY=A,B" strings.
        base: settings of all runs, with and without, as `train` takes them.
        data, device, progress: as in `train`.
        seeds: how many, from 0; or which.
        steps, n: of training; prompts of each evaluation.
        metrics: as in `evaluate`.
        out: folder; None takes runs/ablate-001 and so on.
        resume: the folder of an ablation to go on with, in place of all else.

    Raises:
        UserError: what cannot work, before anything is trained.
    """
    if resume is not None:
        check_alone(target=target, plugin=plugin, recipe=recipe, set=set, base=base, data=data, out=out)
        check_sources(plan := read_plan(Path(resume).expanduser()))
        return carry_out(Path(resume).expanduser(), plan, device, progress)
    settings = [*as_settings(base), f"train.steps={_positive('steps', steps)}"]
    recipes, specs, chosen = _texts(recipe), _texts(data), _texts(metrics)
    tested = None if target is None else str(target)
    runs = (settings, specs, _seeds(seeds), _positive("n", n), ",".join(chosen).split(",") if chosen else ())
    plan = make_plan(tested, _texts(plugin), recipes, set, *runs)
    return carry_out(find_folder(plan, as_path(out)), plan, device, progress)


def _texts(given: str | Path | Sequence[str | Path]) -> list[str]:
    return [str(one) for one in ([given] if isinstance(given, (str, Path)) else given)]


def _seeds(given: int | Sequence[int]) -> list[int]:
    if isinstance(given, int):
        return list(range(_positive("seeds", given)))
    if not given or len({*given}) < len(given):
        raise UserError(
            f"{option('seeds')}: each seed is trained once",
            expected="a number of seeds, or different ones",
            got=list(given),
            fix="for example 3, or [0, 1, 2] from Python",
        )
    return list(given)


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise UserError(
            f"{option(name)}: there is nothing to do",
            expected="a whole number of at least 1",
            got=value,
            fix="leave it out for the default",
        )
    return value


def check_alone(**others: object) -> None:
    """Refuse what an ablation that goes on cannot be given.

    Raises:
        UserError: one of `others` is given.
    """
    given = [option(name) for name, value in others.items() if value]
    if given:
        raise UserError(
            f"{option('resume')} does not go with {', '.join(given)}",
            expected=f"{option('resume')} FOLDER alone, or with {option('device')}",
            got=" ".join([option("resume"), *given]),
            fix="leave them out: an ablation goes on as it began",
        )


def carry_out(folder: Path, plan: Plan, device: str = "auto", progress: bool = True) -> Ablation:
    """Do the runs that are missing, then compare them all and write report.html and ablation.json.

    Raises:
        UserError: a run cannot be trained or evaluated, or a file not be written.
    """
    trials, devices = plan.trials(), gpus(device)
    work = functools.partial(_trial, folder, plan, device, progress and not devices)
    if not run_all(work, trials, devices):
        return Ablation(folder, plan, finished=False)
    records = {trial.name: record for trial in trials if (record := read_record(folder, trial)) is not None}
    results = compare_records(plan, records)
    said = verdict(results, plan.left_out)
    html = render(folder, plan, results, records, said)
    ablation = Ablation(folder, plan, said, results, html)
    write_report(html, folder / REPORT)
    write_json(folder / "ablation.json", ablation.table())
    return ablation


def _trial(folder: Path, plan: Plan, device: str, progress: bool, trial: Trial) -> bool:
    return run_trial(folder, plan, trial, device, progress)
