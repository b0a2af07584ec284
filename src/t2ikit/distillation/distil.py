"""`t2ikit.distil`: what `t2ikit distil` does, in Python. Starts without torch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2ikit.config.arguments import checked
from t2ikit.data.mixing.config import as_spec
from t2ikit.errors import UserError
from t2ikit.recipes.read import read_recipe
from t2ikit.recipes.settings import Plugins, Settings
from t2ikit.registry.callbacks import observing
from t2ikit.training.train import as_path, training_settings

if TYPE_CHECKING:
    from t2ikit.recipes.compose import Components, Model
    from t2ikit.recipes.recipe import Recipe
    from t2ikit.registry.registry import Registry
    from t2ikit.runs.run import Run

RECIPE = "t2ikit/distil"


@checked
def distil(
    run: Run | str | Path,
    *,
    out: str | Path | None = None,
    steps: int | None = None,
    calls: int | None = None,
    recipe: str | Path | None = None,
    data: str | Path | Sequence[str | Path] | None = None,
    set: Settings = None,
    seed: int | None = None,
    device: str = "auto",
    minutes: float | None = None,
    plugins: Plugins = (),
    checkpoint: int | None = None,
    callbacks: Sequence[object] = (),
    progress: bool = True,
) -> Run:
    """Train a one-step student of a denoiser: a run like any other, that makes one network call an image.

        student = t2ikit.distil("runs/imagen-001", out="runs/student")
        t2ikit.sample(student, ["a green cat"])

    Distribution matching (arXiv 2311.18828). `t2ikit.train(resume=student)` goes on with a student.

    Args:
        run: a run of a denoiser or an export, its folder, hf:OWNER/NAME or creatures.
        out: the new run folder; None takes runs/distil-001, 002, and so on.
        steps: the setting train.steps.
        calls: network calls for an image, the setting generator.calls, 1 to 8.
        recipe, data: None takes t2ikit/distil, and the run's dataset; several are mixed. Text encoder and
            network are the run's.
        set: settings laid over the recipe, as `train` takes them.
        seed, device, minutes, callbacks, progress: as for `train`.
        plugins: that the run or the recipe needs, and that are not installed.
        checkpoint: step of the teacher's checkpoint; None takes the newest.

    Raises:
        UserError: the run is of no denoiser, or what `train` raises.
    """
    options = {"train.steps": steps, "generator.calls": calls}
    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    settings = [*training_settings(set, seed, minutes), *given]
    name, spec = RECIPE if recipe is None else str(recipe), None if data is None else as_spec(data)
    registry, chosen, begin = _prepared(run, plugins, checkpoint, name, spec, settings)
    from t2ikit.runs.create import next_run_folder
    from t2ikit.training.start import start_run

    folder = as_path(out) or next_run_folder("distil")
    with observing(registry, callbacks):
        return start_run(registry, chosen, folder, device=device, progress=progress, begin=begin)


def _prepared(
    run: Run | str | Path,
    plugins: Plugins,
    checkpoint: int | None,
    name: str,
    data: str | None,
    settings: list[str],
) -> tuple[Registry, Recipe, Callable[..., dict[str, Any]]]:
    """Where parts are looked up, the student's recipe, and what loads the teacher's weights."""
    from t2ikit.runs.open import as_run, plugins_of

    teacher = as_run(run)
    registry = plugins_of(teacher, plugins)
    model = teacher.model(registry, checkpoint=checkpoint)
    _check_denoiser(teacher, model)
    complete = completed_by(
        teacher.table,
        guidance=model.generator.caption_dropout > 0,
        upscales=model.generator.super_resolution is not None,
    )
    recipe = read_recipe(registry, name, data=data, settings=settings, complete=complete)
    return registry, recipe, _beginning(teacher, model)


def _check_denoiser(run: Run, model: Model) -> None:
    from t2ikit.core.interfaces import Denoiser

    if not isinstance(model.generator, Denoiser):
        raise UserError(
            f"{run.path}: only a denoiser can be distilled",
            expected="a diffusion run, such as t2ikit train --plugin imagen makes",
            got=f"{run.table['generator']['use']}, which samples in one step already",
            fix="give another run",
        )


def completed_by(
    table: Mapping[str, Any], *, guidance: bool, upscales: bool = False
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What puts into a recipe the data, the text encoder and the network of a denoiser's resolved recipe.

    Args:
        table: the denoiser's recipe.
        guidance: whether it can be guided; then its sampler's guidance becomes the teacher's.
        upscales: whether it upscales images; then their noise in sampling stays its sampler's.
    """
    network = dict(table["generator"])
    weight = table["sampler"].get("guidance", 1.0) if guidance else 1.0

    def complete(raw: dict[str, Any]) -> dict[str, Any]:
        full = copy.deepcopy(raw)
        full |= {key: table[key] for key in ("data", "text")}
        parts = [full.get("generator", {}), *full.get("critics", {}).values()]
        for part in parts:
            if part.get("use") in ("t2ikit/student", "t2ikit/score"):
                part.setdefault("network", network)
        for loss in full.get("losses", {}).values():
            if loss.get("use") == "t2ikit/distribution-matching":
                loss.setdefault("guidance", weight)
        if upscales and "augmentation" in table["sampler"]:
            full.setdefault("sampler", {}).setdefault("augmentation", table["sampler"]["augmentation"])
        return full

    return complete


def _beginning(run: Run, model: Model) -> Callable[..., dict[str, Any]]:
    """What loads the teacher's weights into student, teacher and score network."""

    def begin(components: Components, log: Callable[[str], None]) -> dict[str, Any]:
        from t2ikit.distillation.score import ScoreCritic
        from t2ikit.distillation.student import Student
        from t2ikit.nn.weights import load_state

        weights = model.generator.state_dict()
        generator = components.model.generator
        networks = [generator.denoiser.network] if isinstance(generator, Student) else []
        for critic in components.critics.values():
            if isinstance(critic, ScoreCritic):
                networks += [critic.teacher.network, critic.score.network]
        for network in networks:
            load_state(network, weights, run.path)
        return {
            "kind": "distilled",
            "run": run.name,
            "step": model.step,
            "generator": run.table["generator"]["use"],
            "data": run.info["data_fingerprint"],
        }

    return begin
