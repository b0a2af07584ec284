"""Steps as CUDA graphs, and compiled, beside Python's. Without a GPU: tests/training/test_launching.py."""

from __future__ import annotations

import pytest
import torch

from conftest import Toy, build_toy, make_toy
from t2ikit.nn.cuda_graphs import OnCuda
from t2ikit.training.launching.choice import Choice, Repaid

pytestmark = pytest.mark.gpu
ALIKE = ("losses.contrast.weight=0",)
"""The toys' contrast loss reads captions, which no graph can hold."""


def with_graphs(toy: Toy, repaid: Repaid | None = None) -> Toy:
    """The toy, whose steps are captured, and compiled where `repaid` says so."""
    device = toy.trainer.accelerator.device
    toy.trainer.launcher.choose(Choice(OnCuda(device), repaid))
    return toy


def weights(toy: Toy) -> torch.Tensor:
    parts = [one.detach().double().flatten() for player in toy.trainer.players for one in player.trainable]
    return torch.cat(parts).cpu()


def moved_alike(toy: Toy, other: Toy, steps: int, tolerance: float) -> None:
    """Train both; they must end as near to one another as `tolerance` of the way that they came."""
    start = weights(toy)
    assert torch.equal(start, weights(other))
    for one in (toy, other):
        one.steps(0, steps)
    way = weights(toy) - start
    assert way.abs().max() > 1e-4
    assert (weights(other) - weights(toy)).norm() <= tolerance * way.norm()


def test_a_replayed_gan_is_pythons(cuda):
    """R1, which is differentiated twice, is due at every other step, and has a graph of its own."""
    said: list[str] = []
    plain, graphs = (make_toy("gan", *ALIKE, log=said.append, device=cuda) for _ in range(2))
    moved_alike(plain, with_graphs(graphs), 8, 0.05)
    assert said == []
    assert len(graphs.trainer.launcher.graphs) == 2


@pytest.mark.parametrize("recipe", ["imagen/default", "gigagan/default"])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_shipped_recipe_is_captured(recipe, precision, cuda):
    said: list[str] = []
    settings = (f"train.precision={precision}", "data.count=64")
    toy = build_toy(recipe, *settings, plugin=recipe.partition("/")[0], log=said.append, device=cuda)
    with_graphs(toy).steps(0, 26)  # R1 is due at every eighth step, and captured at its third
    assert said == []  # a replay that gives other numbers than Python's is not used, and said
    assert len(toy.trainer.launcher.graphs) == (2 if recipe.startswith("gigagan") else 1)


@pytest.mark.slow
def test_a_compiled_step_is_pythons(cuda):
    said: list[str] = []
    plain, compiled = (make_toy("denoiser", *ALIKE, log=said.append, device=cuda) for _ in range(2))
    repaid = Repaid(torch.cuda.synchronize, at_once=True, log=lambda line: None)
    moved_alike(plain, with_graphs(compiled, repaid), 6, 0.1)
    assert said == []


def test_a_halved_micro_batch_is_captured_anew(cuda):
    said: list[str] = []
    toy = make_toy("denoiser", *ALIKE, log=said.append, device=cuda)
    with_graphs(toy).steps(0, 5)
    forward = toy.components.model.generator.forward

    def small_memory(batch, draws):
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(batch, draws)

    toy.components.model.generator.forward = small_memory
    toy.trainer.launcher.graphs.clear()  # as a replay does not run Python
    toy.steps(5, 12)
    assert toy.trainer.micro_batch == 2
    assert len(toy.trainer.launcher.graphs) == 1
    assert all("micro-batch" in line for line in said)
