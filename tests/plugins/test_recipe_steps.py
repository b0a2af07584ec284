"""A training step of every shipped recipe: nothing in it waits for a device, and it is compiled whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from recorder import OnCPU
from torch._dynamo.testing import CompileCounterWithBackend

from clip_support import clip_folder
from conftest import TOYS
from t2ikit.core.tensors import without_strings
from t2ikit.distillation.distil import completed_by
from t2ikit.nn.cuda_graphs import WARM_UP
from t2ikit.recipes.compose import build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.testing.operations import CountedOperations, NoWaiting
from t2ikit.training.accelerator import make_accelerator, training_batches
from t2ikit.training.launching.choice import Choice
from t2ikit.training.player import freeze_all_but, thaw
from t2ikit.training.start import make_trainer

PLUGINS = Path(__file__).parents[2] / "plugins"
TEACHER = {"generator": {"use": "toys/denoiser"}, "sampler": {"guidance": 2.0}}
"""What a recipe of distillation is given: the U-Net is traced in other recipes."""
RECIPES = sorted(
    f"{folder.parent.name.removeprefix('t2ikit_')}/{path.stem}"
    for folder in PLUGINS.glob("*/recipes")
    for path in folder.glob("*.toml")
    if path.stem not in ("distil", "long", "creatures", "plain")  # whose steps are other recipes'
)
RECIPES += ["t2ikit/distil"]  # of which gigagan/distil is made, with the critic of gigagan/default
BATCH = 2
OPERATIONS = {"imagen/default": 1_500, "gigagan/plain": 3_400, "gigagan/default": 4_200}
"""At most so many are launched in a step."""
CAPTURED = [
    "imagen/default",
    "imagen/imagen-if",
    "gigagan/default",
    "gigagan/ladder-vision-aided",
    "t2ikit/distil",
]


RUNGS = {f"gigagan/ladder-{rung}" for rung in ("clip", "filter-bank", "matching", "multiscale", "text")}
"""Whose parts and losses are compiled in gigagan/gigagan-64 and gigagan/default."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("models") / "clip", size=32, layers=4)


@pytest.fixture(autouse=True)
def as_on_a_device(monkeypatch):
    """Nothing is compiled yet; random numbers are torch's operations, not NumPy's as on a CPU."""
    torch._dynamo.reset()
    monkeypatch.setattr("t2ikit.core.philox.Tensor", type(None))


def same_step(name: str) -> str:
    """What is the same in recipes whose steps are: parts and losses, but not the data and the encoder."""
    table = read_recipe(Registry.load(), name).table()
    parts = [table.get(part) for part in ("generator", "critics", "losses")]
    return json.dumps([*parts, table["data"]["size"]], sort_keys=True)


def trainer_of(name: str, clip: str):
    """A recipe's trainer and batch, with data and models that are here."""
    registry = Registry.load([str(TOYS)])
    complete = None
    if name.endswith("/distil"):
        own = read_recipe(registry, name).table()
        complete = completed_by({**TEACHER, "data": own["data"], "text": own["text"]}, guidance=True)
    table = read_recipe(registry, name).table()
    settings = [f"train.batch={BATCH}", "train.micro_batch=0", "train.precision=no"]
    if "model" in table["text"]:
        settings += ["text.use=t2ikit/builtin"]
    for kind in ("losses", "critics"):
        settings += [
            f"{kind}.{part}.model={clip}" for part, own in table.get(kind, {}).items() if "model" in own
        ]
    recipe = read_recipe(registry, name, data="creatures", settings=settings, complete=complete)
    accelerator = make_accelerator(recipe.train, "cpu", lazy_parameters=True)
    components = build_components(recipe, registry, accelerator.device)
    trainer = make_trainer(recipe, components, accelerator)
    feed = training_batches(components, trainer, 0, 1)
    return trainer, feed.maker.batch(next(iter(feed)))


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_no_step_waits_and_each_is_compiled_whole(name, clip):
    own = same_step(name)
    if twin := next((other for other in RECIPES[: RECIPES.index(name)] if same_step(other) == own), None):
        pytest.skip(f"the same step as {twin}'s")
    trainer, batch = trainer_of(name, clip)
    with NoWaiting():
        trainer.step(batch, 0)
    if name in RUNGS:
        return
    for player in trainer.players:
        names = tuple(loss for loss in player.weighted if player.can_compile([loss]))
        counter = CompileCounterWithBackend("eager")
        torch._dynamo.reset()
        compute = torch.compile(player.compute, fullgraph=True, dynamic=False, backend=counter)
        freeze_all_but(player, trainer.players)
        losses = [compute(without_strings(batch), None, names) for _ in range(2)]
        thaw(trainer.players)
        assert counter.frame_count == 1
        assert all(bool(loss.isfinite()) for loss in losses[1].values())


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTURED)
def test_a_captured_step_is_pythons(name, clip):
    trainer, batch = trainer_of(name, clip)
    said: list[str] = []
    trainer.log = said.append
    trainer.launcher.choose(Choice(OnCPU()))
    for _ in range(WARM_UP + 1):
        trainer.step(batch, 0)
    assert said == []
    assert len(trainer.launcher.graphs) == 1


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_default_step_launches_few_operations(name, clip):
    trainer, batch = trainer_of(name, clip)
    trainer.step(batch, 0)
    with CountedOperations() as counted:
        trainer.step(batch, 1)
    assert counted.total <= OPERATIONS[name]
