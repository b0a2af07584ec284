"""Steps that are compiled, or captured and replayed, give Python's numbers, or go on without."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from recorder import OnCPU
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounterWithBackend

from conftest import make_toy
from t2ikit.core.step import WeightedLoss
from t2ikit.training.launching.choice import LONG, SKIPPED, TIMED, Choice, Repaid, choose, not_captured

STRINGLESS = ("losses.contrast.weight=0",)
"""The toys' contrast loss reads captions, as a third party's may."""


@pytest.fixture(autouse=True)
def as_on_a_device(monkeypatch):
    """Nothing is compiled yet; random numbers are torch's operations, not NumPy's as on a CPU."""
    torch._dynamo.reset()
    monkeypatch.setattr("t2ikit.core.philox.Tensor", type(None))


def at_once(log=lambda line: None):
    return Repaid(lambda: None, at_once=True, log=log)


def toy_with(kind, choice=None, *settings, log=lambda line: None):
    toy = make_toy(kind, *STRINGLESS, *settings, log=log)
    on_the_device(toy.trainer)
    if choice is not None:
        toy.trainer.launcher.choose(choice)
    return toy


def on_the_device(trainer):
    """What changes from step to step is a tensor, as it is on a GPU."""
    for player_state in trainer.player_states:
        for group in player_state.optimizer.param_groups:
            group["lr"] = torch.as_tensor(group["lr"])
    if trainer.ema is not None:
        trainer.ema._rates = {torch.device("cpu"): torch.zeros(())}


def everything(trainer):
    return torch.cat([one.detach().double().flatten() for one in trainer.state()])


def add_loss(toy, function):
    player = toy.player("generator")
    player.weighted["mine"] = WeightedLoss(function, "generator")


@pytest.mark.parametrize(
    ("kind", "more"), [("gan", ()), ("denoiser", ()), ("denoiser", ("train.micro_batch=4",))]
)
def test_replayed_steps_are_pythons_to_the_bit(kind, more):
    settings = ("optimizer.generator.warmup_steps=3", "optimizer.generator.decay=linear", *more)
    plain, graphs = toy_with(kind, None, *settings), toy_with(kind, Choice(OnCPU()), *settings)
    for toy in (plain, graphs):
        toy.steps(0, 9)
    assert torch.equal(everything(plain.trainer), everything(graphs.trainer))
    assert plain.trainer.running_means.read() == graphs.trainer.running_means.read()
    assert len(graphs.trainer.launcher.graphs) == 1 + any(
        loss.every > 1 for player in graphs.trainer.players for loss in player.weighted.values()
    )


def test_validation_between_replays_changes_nothing():
    plain, graphs = toy_with("gan"), toy_with("gan", Choice(OnCPU()))
    for toy in (plain, graphs):
        toy.steps(0, 6)
        held_out = toy.batch(100)
        losses = toy.trainer.validate([held_out])
        assert losses == toy.trainer.validate([held_out])
        toy.steps(6, 9)
    assert torch.equal(everything(plain.trainer), everything(graphs.trainer))


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (lambda step: step.fake[-1].mean() * len(step.batch.condition.captions[0]), "captions"),
        (lambda step: step.fake[-1].mean() * step.number, "step.number"),
        (lambda step: step.fake[-1].mean() * step.fake[-1].std().item(), "cannot be captured"),
    ],
)
def test_a_step_that_cannot_be_captured_goes_on_without(loss, why):
    said = []
    plain, graphs = toy_with("gan"), toy_with("gan", Choice(OnCPU()), log=said.append)
    for toy in (plain, graphs):
        add_loss(toy, loss)
        toy.steps(0, 6)
    assert len(said) == 1
    assert why in said[0]
    assert "train.compile=off" in said[0]
    assert graphs.trainer.launcher.graphs is None
    assert torch.equal(everything(plain.trainer), everything(graphs.trainer))


class Forgetful(OnCPU):
    """Replays everything but the last operations, as a broken capture might."""

    def capture(self, code):
        replay = super().capture(code)
        recording = replay.__self__
        del recording.calls[len(recording.calls) // 2 :]
        return replay


def test_a_replay_with_other_numbers_is_not_used():
    said = []
    plain, graphs = toy_with("denoiser"), toy_with("denoiser", Choice(Forgetful()), log=said.append)
    for toy in (plain, graphs):
        toy.steps(0, 5)
    assert len(said) == 1
    assert "other numbers" in said[0]
    assert torch.equal(everything(plain.trainer), everything(graphs.trainer))


def test_a_halved_micro_batch_is_captured_anew():
    said = []
    plain, graphs = toy_with("denoiser"), toy_with("denoiser", Choice(OnCPU()), log=said.append)
    for toy in (plain, graphs):
        toy.steps(0, 5)
    forward = graphs.components.model.generator.forward

    def small_memory(batch, draws):
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(batch, draws)

    graphs.components.model.generator.forward = small_memory
    graphs.trainer.launcher.graphs.clear()  # as a replay does not run Python
    for toy in (plain, graphs):
        toy.steps(5, 12)
    assert graphs.trainer.micro_batch == 2
    assert len(graphs.trainer.launcher.graphs) == 1
    assert [line for line in said if "micro-batch" in line] == said
    torch.testing.assert_close(everything(plain.trainer), everything(graphs.trainer), atol=1e-5, rtol=0)


def test_a_resumed_run_with_graphs_ends_as_one_never_stopped(tmp_path):
    from t2ikit.training import snapshots

    whole, first, second = (toy_with("gan", Choice(OnCPU())) for _ in range(3))
    whole.steps(0, 9)
    first.steps(0, 5)
    snapshots.restore(second.trainer, snapshots.take(first.trainer, 5, None))
    on_the_device(second.trainer)
    second.steps(5, 9)
    assert torch.equal(everything(whole.trainer), everything(second.trainer))


@pytest.mark.parametrize("kind", ["gan", "denoiser"])
def test_compiled_steps_are_pythons_but_for_rounding(kind):
    counter = CompileCounterWithBackend("aot_eager")
    plain, compiled = toy_with(kind), toy_with(kind, Choice(None, at_once(), counter))
    for toy in (plain, compiled):
        toy.steps(0, 6)
    players = compiled.trainer.players
    assert all(player.compiled is not None for player in players)
    assert counter.frame_count == len(players)  # nothing is compiled again after the first step
    torch.testing.assert_close(everything(plain.trainer), everything(compiled.trainer), atol=1e-4, rtol=0)


def broken(graph, inputs):
    raise RuntimeError("no C compiler")


def broken_backward(graph, inputs):
    return aot_autograd(fw_compiler=lambda graph, inputs: graph, bw_compiler=broken)(graph, inputs)


def wrong(graph, inputs):
    return lambda *args: [one * 1.5 if one.is_floating_point() else one for one in graph(*args)]


@pytest.mark.parametrize(
    ("backend", "loss", "why"),
    [
        (broken, None, "no C compiler"),
        (broken_backward, None, "no C compiler"),
        (wrong, None, "other numbers"),
        ("eager", lambda step: step.fake[-1].mean() * step.number, "step.number"),
        ("eager", lambda step: step.fake[-1].mean() * len(step.batch.all_captions[0]), "captions"),
    ],
)
def test_what_cannot_be_compiled_goes_on_without(backend, loss, why):
    said = []
    plain = toy_with("denoiser")
    compiled = toy_with("denoiser", Choice(None, at_once(), backend), log=said.append)
    for toy in (plain, compiled):
        if loss is not None:
            add_loss(toy, loss)
        toy.steps(0, 4)
    assert len(said) == 1
    assert why in said[0]
    assert "train.compile=off" in said[0]
    assert all(player.compiled is None for player in compiled.trainer.players)
    assert torch.equal(everything(plain.trainer), everything(compiled.trainer))


@pytest.mark.parametrize(("seconds_a_step", "left", "compiles"), [(1.0, LONG, True), (1.0, LONG / 2, False)])
def test_compiling_waits_until_it_is_known_to_be_repaid(seconds_a_step, left, compiles):
    time, said = SimpleNamespace(now=0.0), []
    repaid = Repaid(lambda: None, at_once=False, log=said.append, clock=lambda: time.now)
    asked = []
    for _ in range(3 * (SKIPPED + TIMED)):
        asked.append(repaid.compile_now(int(left)))
        time.now += seconds_a_step
    assert [number for number, one in enumerate(asked, 1) if one] == [SKIPPED + TIMED] * compiles
    assert len(said) == compiles


@pytest.mark.parametrize(
    ("setting", "device", "captured", "compiled"),
    [
        ("auto", "cpu", False, False),
        ("off", "cpu", False, False),
        ("on", "cpu", False, True),
        ("graphs", "cpu", False, False),
        ("auto", "cuda", True, True),
        ("graphs", "cuda", True, False),
        ("off", "cuda", False, False),
    ],
)
def test_how_steps_are_launched(setting, device, captured, compiled, monkeypatch):
    monkeypatch.setattr("t2ikit.training.launching.choice.OnCuda", lambda device: OnCPU())
    choice = choose(setting, torch.device(device), processes=1, precision="no", log=print)
    assert (choice.recorder is not None, choice.repaid is not None) == (captured, compiled)


@pytest.mark.parametrize(
    ("options", "captured"),
    [
        ({"cuda": True, "processes": 1, "precision": "bf16"}, True),
        ({"cuda": True, "processes": 1, "precision": "fp16"}, False),
        ({"cuda": True, "processes": 2, "precision": "no"}, False),
        ({"cuda": False, "processes": 1, "precision": "no"}, False),
    ],
)
def test_what_is_never_captured_has_a_reason(options, captured):
    assert (not_captured(**options) == "") is captured
