"""Training with channels last, as on CUDA, beside the usual layout."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from conftest import TOYS, Toy
from t2ikit.recipes.compose import build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.training import accelerator as devices
from t2ikit.training import snapshots
from t2ikit.training.start import make_trainer

IMAGEN = ("data.count=16", "data.size=16", "generator.channels=[16, 32]", "generator.attention=[false, true]")
GIGAGAN = (
    "data.count=16",
    "data.size=16",
    "generator.channels=[32, 32, 16]",
    "generator.filters=[1, 2, 2]",
    "generator.attention=[true, false, false]",
    "generator.text_attention=[]",
    "critics.multiscale.channels=[32, 32, 16]",
    "critics.multiscale.attention=[true, false, false]",
)
CASES = {"toys/denoiser": (), "toys/gan": (), "imagen/default": IMAGEN, "gigagan/default": GIGAGAN}


def make(name, *, last):
    """A small trainer, in the layout of a GPU or of a CPU."""
    registry = Registry.load([str(TOYS)])
    recipe = read_recipe(registry, name, settings=[*CASES[name], "train.batch=4"])
    accelerator = devices.make_accelerator(recipe.train, "cpu", lazy_parameters=False)
    components = build_components(recipe, registry, accelerator.device)
    seen = SimpleNamespace(device=torch.device("cuda" if last else "cpu"), mixed_precision="no")
    with pytest.MonkeyPatch.context() as patch:
        lay_out = devices.lay_out
        patch.setattr("t2ikit.training.start.lay_out", lambda players, _: lay_out(players, seen))
        return Toy(recipe, components, make_trainer(recipe, components, accelerator))


def weights(toy):
    return [p for player in toy.trainer.players for p in player.trainable]


def distance(some, others):
    return sum(float((a - b).detach().norm()) for a, b in zip(some, others, strict=True))


def convolutions_last(toy):
    return sum(
        p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in weights(toy)
    )


@pytest.mark.parametrize("name", CASES)
def test_it_trains_alike(name):
    usual, last = make(name, last=False), make(name, last=True)
    assert convolutions_last(last) > 0 == convolutions_last(usual)
    before = [p.detach().clone() for p in weights(usual)]
    for toy in (usual, last):
        toy.steps(0, 2)
    assert distance(weights(usual), weights(last)) < 0.01 * distance(weights(usual), before)


def test_it_goes_on_from_a_checkpoint_which_has_the_usual_layout():
    first, second = (make("toys/denoiser", last=True) for _ in range(2))
    first.steps(0, 2)
    taken = snapshots.take(first.trainer, 2, None)
    tensors = {
        part: {name: tensor.clone().contiguous() for name, tensor in own.items()}
        for part, own in taken.tensors.items()
    }
    snapshots.restore(second.trainer, snapshots.Snapshot(2, tensors, taken.state))
    for toy in (first, second):
        toy.steps(2, 3)
    for a, b in zip(weights(first), weights(second), strict=True):
        assert torch.equal(a, b)
