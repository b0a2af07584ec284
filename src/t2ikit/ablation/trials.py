"""One run of an ablation: trained, or gone on with, then evaluated; its numbers are kept in a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from t2ikit.ablation.plan import Base, Plan, Trial
from t2ikit.ablation.planning import check_unchanged
from t2ikit.core.metric import ImageSet
from t2ikit.data.creatures.grammar import parse
from t2ikit.errors import UserError
from t2ikit.evaluation.comparison import training_seconds
from t2ikit.evaluation.evaluator import Evaluator
from t2ikit.evaluation.results import EvaluationOptions, EvaluationResult
from t2ikit.evaluation.sweeps import measure_and_write
from t2ikit.metrics.prompt_accuracy import NAMES, readable
from t2ikit.runs.files import checkpoints, lock_run
from t2ikit.runs.open import open_run
from t2ikit.runs.run import Run
from t2ikit.training.train import train
from t2ikit.utils.console import log
from t2ikit.utils.files import write_json

ATTRIBUTES = "prompt-accuracy/attributes"
"""The mean of the four attributes, on which the verdict rests."""
COST = "cost/"
"""How the names of costs begin, on which no verdict rests."""
TIME = f"{COST}seconds to train"
SHOWN = 8
"""Prompts whose images are in the report."""


@dataclass(frozen=True)
class Number:
    """A measure of one run.

    Attributes:
        value: in `unit`.
        unit: "%" or "" or a name.
        better: "higher", "lower" or "".
    """

    value: float
    unit: str = ""
    better: str = ""


@dataclass(frozen=True)
class Record:
    """What is kept of one run.

    Attributes:
        numbers: by measure, as "prompt-accuracy/joint".
        scores: share of the named attributes that are right, for each prompt, in per cent; empty where the
            prompts are not of creatures.
        prompts: the first of them.
        images: files of their images, from the ablation's folder.
        not_measured: by metric, why.
        device: that it was trained on.
        data: the settings of its data.
        data_fingerprint: of the images and captions that these came to.
    """

    numbers: dict[str, Number]
    scores: tuple[float, ...] = ()
    prompts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    not_measured: dict[str, str] = field(default_factory=dict)
    device: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    data_fingerprint: str = ""

    @property
    def decides(self) -> bool:
        """Whether a measure says which is better, other than a cost."""
        return any(one.better and not name.startswith(COST) for name, one in self.numbers.items())


def record_file(folder: Path, trial: Trial) -> Path:
    """Where the record of a run is."""
    return folder / "records" / f"{trial.name}.json"


def read_record(folder: Path, trial: Trial) -> Record | None:
    """The record of a run that was measured before; None where there is none."""
    try:
        return TypeAdapter(Record).validate_json(record_file(folder, trial).read_bytes())
    except (OSError, ValueError):
        return None


def read_records(folder: Path, plan: Plan) -> dict[str, Record]:
    """The records that there are, by the names of their runs."""
    found = {trial.name: read_record(folder, trial) for trial in plan.trials()}
    return {name: record for name, record in found.items() if record is not None}


def run_trial(
    folder: Path, plan: Plan, trial: Trial, device: str, progress: bool, alone: bool = True
) -> bool:
    """Train and evaluate one run, as far as that was not done before; False where it was stopped.

    Args:
        folder, plan, trial: of the ablation; the run.
        device, progress: as in `train`.
        alone: whether no other run shares the machine; else its time means nothing.

    Raises:
        UserError: it cannot be trained or evaluated, or not be compared with those before.
    """
    if read_record(folder, trial) is not None:
        return True
    log(f"{trial.name}: {trial.variant.label or 'without'}")
    if torch.cuda.is_available():  # else the peak of memory would be that of an earlier run
        torch.cuda.reset_peak_memory_stats()
    run = trained(folder, plan, trial, device, progress)
    if not run.finished:
        return False
    options = EvaluationOptions(metrics=plan.metrics, n=plan.n, seed=trial.seed)
    result = measure_and_write(Evaluator(run, options, plugins=plan.plugins, device=device))
    record = record_of(folder, run, result, alone)
    before = read_records(folder, plan)
    if not before and not record.decides:
        log("note: nothing of what is measured says which is better, so there will be no verdict")
    check_data(before | {trial.name: record})
    path = record_file(folder, trial)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, TypeAdapter(Record).dump_python(record, mode="json"))
    return True


def check_data(records: Mapping[str, Record]) -> None:
    """Refuse to compare runs whose data has the same settings, but changed between them.

    Raises:
        UserError: it did.
    """
    seen: dict[str, str] = {}
    for name, record in records.items():
        expected = seen.setdefault(json.dumps(record.data, sort_keys=True), record.data_fingerprint)
        if record.data_fingerprint != expected:
            raise UserError(
                f"{name}: the data has changed since the ablation began",
                expected=f"data with fingerprint {expected}",
                got=f"fingerprint {record.data_fingerprint} at {record.data.get('spec')}",
                fix=f"begin a new ablation in another folder, or restore the data and remove runs/{name}",
            )


def trained(folder: Path, plan: Plan, trial: Trial, device: str, progress: bool) -> Run:
    """The run, trained as far as it comes; one that was cut short goes on from its newest checkpoint.

    Raises:
        UserError: it cannot be trained, or another process is training it.
    """
    out = folder / "runs" / trial.name
    if checkpoints(out):
        run = open_run(out)
        return run if run.finished else train(plan.plugins, resume=out, device=device, progress=progress)
    check_unchanged(plan)
    if out.exists():  # killed before its first checkpoint; or another process trains it still
        lock_run(out).release()
        shutil.rmtree(out)
    return train(
        plan.plugins,
        recipe=trial.base.recipe,
        data=list(plan.data) or None,
        set=[*plan.settings, *same_precision(folder, plan, trial.base), *trial.variant.settings],
        out=out,
        seed=trial.seed,
        device=device,
        progress=progress,
    )


def same_precision(folder: Path, plan: Plan, base: Base) -> list[str]:
    """The setting that trains in the precision of a recipe's first run.

    Where it is "auto", a CPU is timed, and two runs of a pair may be told otherwise.
    """
    for trial in plan.trials():
        run = folder / "runs" / trial.name
        varied = any(setting.startswith("train.precision=") for setting in trial.variant.settings)
        if trial.base == base and not varied and checkpoints(run):
            return [f"train.precision={open_run(run).table['train']['precision']}"]
    return []


def record_of(folder: Path, run: Run, result: EvaluationResult, alone: bool = True) -> Record:
    """What is kept of a run and its evaluation; `alone`: whether no other run shared the machine."""
    assert result.image_set is not None
    assert result.folder is not None
    numbers = {name: Number(one.value, one.unit, one.better) for name, one in result.measures.items()}
    sampled = result.image_set
    where = result.folder.relative_to(folder)
    count = min(SHOWN, len(sampled.prompts))
    return Record(
        mean_of_attributes(numbers) | numbers | costs(run, alone),
        prompt_scores(sampled),
        tuple(sampled.prompts[:count]),
        tuple((where / "drawn" / f"{number:05d}.png").as_posix() for number in range(count)),
        result.not_measured | ({} if alone else {TIME: "the runs were side by side"}),
        str(run.info.get("device", "")),
        run.table["data"],
        run.info["data_fingerprint"],
    )


def mean_of_attributes(numbers: dict[str, Number]) -> dict[str, Number]:
    """The mean accuracy of colour, species, action and eyes; nothing where one of them is missing."""
    found = [numbers.get(f"prompt-accuracy/{name}") for name in NAMES]
    values = [one.value for one in found if one is not None]
    return {ATTRIBUTES: Number(sum(values) / len(values), "%", "higher")} if len(values) == len(found) else {}


def prompt_scores(sampled: ImageSet) -> tuple[float, ...]:
    """For each prompt the share of the attributes that it names and the image shows, in per cent."""
    if not readable(sampled.prompts):
        return ()
    from t2ikit.metrics.creature_reader import CreatureReader

    readings = CreatureReader()(sampled.images)
    return tuple(_score(parse(prompt), read) for prompt, read in zip(sampled.prompts, readings))


def _score(wanted: Any, read: Any) -> float:
    asked = [field for field in NAMES.values() if getattr(wanted, field) is not None]
    right = sum(getattr(wanted, field) == getattr(read, field) for field in asked)
    return 100 * right / max(1, len(asked))


def costs(run: Run, alone: bool = True) -> dict[str, Number]:
    """Seconds of training steps, and on a GPU the peak of memory; the CPU's is that of the whole process.

    Args:
        run: whose log is read.
        alone: whether no other run shared the machine; else there are no seconds.
    """
    lines: Sequence[dict[str, Any]] = run.log()
    found = {}
    seconds = training_seconds(lines, int(run.table["train"].get("batch", 0)))
    if alone and seconds is not None:
        found[TIME] = Number(seconds, "s", "lower")
    memory = [line["memory_mb"] for line in lines if line.get("memory_mb")]
    if memory and str(run.info.get("device", "")).startswith("cuda"):
        found[f"{COST}memory"] = Number(max(memory), "MB", "lower")
    return found
