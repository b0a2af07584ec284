"""`t2ikit.ablate`: does a loss, a part or a setting help?"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2ikit.ablation.devices import gpus, run_all
from t2ikit.ablation.folder import REPORT, find_folder, lock_folder
from t2ikit.ablation.plan import Plan, Trial, read_plan
from t2ikit.ablation.planning import check_unchanged, make_plan
from t2ikit.ablation.report import render
from t2ikit.ablation.results import Ablation, compare_records
from t2ikit.ablation.trials import check_data, read_records, run_trial
from t2ikit.ablation.verdict import verdict
from t2ikit.config.arguments import checked
from t2ikit.config.toml import apply_settings
from t2ikit.errors import UserError, option
from t2ikit.recipes.settings import Plugins, Settings, as_settings
from t2ikit.training.train import as_path
from t2ikit.utils.files import write_json, write_report

STEPS, SEEDS, PROMPTS = 200, 3, 256


@checked
def ablate(
    target: str | Path | None = None,
    *,
    plugin: Plugins = (),
    recipe: str | Path | Sequence[str | Path] = (),
    set: Mapping[str, Any] | Sequence[str] | None = None,
    base: Settings = None,
    data: str | Path | Sequence[str | Path] = (),
    seeds: int | Sequence[int] | None = None,
    steps: int | None = None,
    n: int | None = None,
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
        base: settings of all runs, with and without, as `train` takes them; train.steps in place of `steps`.
        data, device, progress: as in `train`.
        seeds: how many, from 0; or which. None: 3.
        steps, n: of training, None: 200; prompts of each evaluation, None: 256.
        metrics: as in `evaluate`.
        out: folder; None takes runs/ablate-001 and so on.
        resume: the folder of an ablation to go on with, in place of all else.

    Raises:
        UserError: what cannot work, before anything is trained.
    """
    runs: dict[str, Any] = {"data": data, "seeds": seeds, "steps": steps, "n": n, "metrics": metrics}
    asked: dict[str, Any] = {"target": target, "plugin": plugin, "recipe": recipe, "set": set, "base": base}
    if resume is not None:
        check_alone(**asked, **runs, out=out)
        folder = Path(resume).expanduser()
        check_unchanged(plan := read_plan(folder))
    else:
        plan = _planned(**asked, **runs)
        folder = find_folder(plan, as_path(out))
    return carry_out(folder, plan, device, progress)


def _planned(
    target: str | Path | None,
    plugin: Plugins,
    recipe: str | Path | Sequence[str | Path],
    set: Mapping[str, Any] | Sequence[str] | None,
    base: Settings,
    data: str | Path | Sequence[str | Path],
    seeds: int | Sequence[int] | None,
    steps: int | None,
    n: int | None,
    metrics: str | Sequence[str],
) -> Plan:
    """The plan of what was asked for."""
    chosen = _texts(metrics)
    return make_plan(
        None if target is None else str(target),
        _texts(plugin),
        _texts(recipe),
        set,
        _settings(base, steps),
        _texts(data),
        _seeds(SEEDS if seeds is None else seeds),
        _positive("n", n, PROMPTS),
        ",".join(chosen).split(",") if chosen else (),
    )


def _settings(base: Settings, steps: int | None) -> list[str]:
    """Settings of all runs, with how long they train.

    Raises:
        UserError: `base` and `steps` both say so.
    """
    settings = as_settings(base)
    train = apply_settings({}, settings).get("train")
    own = [key for key in ("steps", "minutes") if isinstance(train, dict) and train.get(key)]
    if not own:
        return [*settings, f"train.steps={_positive('steps', steps, STEPS)}"]
    if steps is None:
        return settings
    raise UserError(
        f"{option('steps')} does not go with {option('base')} train.{own[0]}",
        expected="one of them, to say how long each run trains",
        got="both",
        fix="leave one of them out",
    )


def _texts(given: str | Path | Sequence[str | Path]) -> list[str]:
    return [str(one) for one in ([given] if isinstance(given, (str, Path)) else given)]


def read_seeds(text: str) -> int | list[int]:
    """How many seeds, from `3`; or which, from `3,4,5`.

    Raises:
        UserError: these are no numbers.
    """
    try:
        found = [int(one) for one in text.split(",")]
    except ValueError as error:
        raise _no_seeds("these are no seeds", text) from error
    return found if "," in text else found[0]


def _seeds(given: int | Sequence[int]) -> list[int]:
    if isinstance(given, int):
        return list(range(_positive("seeds", given, SEEDS)))
    if not given or len({*given}) < len(given):
        raise _no_seeds("each seed is trained once", list(given))
    if not all(0 <= seed < 2**31 for seed in given):
        raise _no_seeds("seeds are from 0 to 2147483647", list(given))
    return list(given)


def _no_seeds(why: str, got: object) -> UserError:
    return UserError(
        f"{option('seeds')}: {why}",
        expected="how many seeds, or different ones",
        got=got,
        fix="for example 3, which is 0, 1 and 2; or 3,4,5",
    )


def _positive(name: str, value: int | None, default: int) -> int:
    """A number that is asked for; None is the default."""
    if value is None:
        return default
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
    given = [
        option(name) for name, value in others.items() if value is not None and value not in ((), [], {})
    ]
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
        UserError: another process does them, a run cannot be trained or evaluated, or a file not be written.
    """
    devices = gpus(device)
    work = functools.partial(_trial, folder, plan, device, progress and not devices, not devices)
    with lock_folder(folder):
        if not run_all(work, plan.trials(), devices):
            return Ablation(folder, plan, finished=False)
        return _compared(folder, plan)


def _trial(folder: Path, plan: Plan, device: str, progress: bool, alone: bool, trial: Trial) -> bool:
    return run_trial(folder, plan, trial, device, progress, alone)


def _compared(folder: Path, plan: Plan) -> Ablation:
    """What the runs of a finished ablation say, with its report written.

    Raises:
        UserError: their data differ, or the report cannot be written.
    """
    check_data(records := read_records(folder, plan))
    results = compare_records(plan, records)
    said = verdict(results, plan.left_out)
    html = render(folder, plan, results, records, said)
    ablation = Ablation(folder, plan, said, results, html)
    write_report(html, folder / REPORT)
    write_json(folder / "ablation.json", ablation.table())
    return ablation
