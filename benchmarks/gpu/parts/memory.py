"""What `t2ikit memory` predicts beside what a training takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpu.bench import Bench
from gpu.cases import QUIET, TOY_UNET, Case
from gpu.checkouts import Checkout
from gpu.commands import Failed, TooLong, run, words_of
from gpu.parts.core import build_models

STEPS = ("train.steps=20", *QUIET, "train.samples=1", "train.validation_images=1")
"""Every loss is due at step 0; validation and the last grid are of one image and take less than a step."""
RECIPES = (
    Case("imagen/default", "imagen/default", toy=TOY_UNET),
    Case("gigagan/default", "gigagan/default"),
    Case("imagen-64", "imagen/imagen-64", ("sampler.steps=4",)),
    Case("gigagan-64", "gigagan/gigagan-64", model="clip"),
    Case("sr-64-256", "imagen/sr-64-256"),
    Case("imagen-64-v", "imagen/imagen-64-v"),
    Case("imagen-64-t5", "imagen/imagen-64-t5", model="t5"),
    Case("imagen/sr-32-64", "imagen/sr-32-64"),
    Case("gigagan/sr-32-64", "gigagan/sr-32-64"),
    Case("imagen/imagen-if", "imagen/imagen-if", model="t5"),
)


def measure(bench: Bench) -> None:
    """Each recipe in both precisions, as far as the budget goes."""
    toy = bench.options.toy
    cases = [case for case in RECIPES if not toy or case.toy is not None]
    models = build_models(bench, cases)
    for precision in ("no",) if toy else ("bf16", "no"):
        for case in cases:
            name = f"{case.name}, {'fp32' if precision == 'no' else precision}"
            chosen = replace(case, name=name, settings=(*case.settings, f"train.precision={precision}"))
            for checkout in bench.checkouts:
                if bench.fits(f"{name} ({checkout.name})", 40.0):
                    _measure(bench, chosen, checkout, models)


def _measure(bench: Bench, case: Case, checkout: Checkout, models: Path) -> None:
    try:
        predicted = forecast(bench, case, checkout, models)
        peak = take(bench, case, checkout, models)
    except (Failed, TooLong) as error:
        bench.failed(f"{case.name} ({checkout.name})", str(error))
        return
    taken = peak.get("allocated_mib")
    figures = {"predicted_mib": predicted, **peak, "ratio": predicted / taken if taken else None}
    bench.add(case.name, figures, checkout.name, case.note)


def forecast(bench: Bench, case: Case, checkout: Checkout, models: Path) -> float:
    """MiB that `t2ikit memory` predicts, without CUDA's context."""
    folder = bench.new_path("forecast")
    words = case.words(bench.options.device, models)
    place = words.index("--device")
    del words[place : place + 2]
    command = words_of("memory", *words, "--json", "forecast.json")
    run(checkout, command, folder, limit=bench.left())
    found = json.loads((folder / "forecast.json").read_text())
    return (found["total"] - found.get("beside", {}).get("CUDA context", 0)) / 2**20


def take(bench: Bench, case: Case, checkout: Checkout, models: Path) -> dict[str, Any]:
    """The peaks of a short training, MiB."""
    folder = bench.new_path("taken")
    command = words_of(
        "train", *case.words(bench.options.device, models, STEPS), "--out", "run", launched=True
    )
    run(checkout, command, folder, limit=bench.left(), extra={"T2IKIT_PEAK": str(folder / "peak.json")})
    return json.loads((folder / "peak.json").read_text())
