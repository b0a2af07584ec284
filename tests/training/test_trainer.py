"""The loop over players: who is trained, how often a critic looks, what accumulation and lazy losses do."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from conftest import make_toy
from t2ikit.core.step import WeightedLoss
from t2ikit.core.super_resolution import SuperResolution
from t2ikit.errors import UserError
from t2ikit.nn.muon import is_matrix
from t2ikit.recipes.schema import OptimizerConfig
from t2ikit.training.player import freeze_all_but
from t2ikit.training.schedule import learning_rate
from t2ikit.training.trainer import cut, make_optimizer
from t2ikit.training.validation import Validation


def vector(trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for player in trainer.players for p in player.trainable])


@pytest.mark.parametrize("kind", ["gan", "denoiser"])
def test_micro_batches_change_nothing(kind):
    whole, parts = make_toy(kind), make_toy(kind, "train.micro_batch=2")
    uneven = make_toy(kind, "train.micro_batch=3")
    start = vector(whole.trainer)
    for toy in (whole, parts, uneven):
        toy.steps(0, 6)
    assert (vector(whole.trainer) - start).abs().max() > 1e-3
    torch.testing.assert_close(vector(parts.trainer), vector(whole.trainer), atol=1e-5, rtol=0)
    torch.testing.assert_close(vector(uneven.trainer), vector(whole.trainer), atol=1e-5, rtol=0)


def test_a_critic_does_not_move_the_generators_start():
    alone = make_toy("gan", "train.seed=3")
    other = make_toy("gan", "train.seed=3", "critics.third.use=toys/critic", "losses.contrast.weight=0")
    a, b = alone.components.model.generator.state_dict(), other.components.model.generator.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("active", ["critic", "generator"])
def test_only_the_player_on_move_gets_gradients(active):
    toy = make_toy("gan")
    trainer = toy.trainer
    player_state = next(
        player_state for player_state in trainer.player_states if player_state.player.name == active
    )
    freeze_all_but(player_state.player, trainer.players)
    trainer._micro_batches(player_state, toy.batch(), 0, player_state.player.due(0), trainer.micro_batch)
    for player in trainer.players:
        has = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in player.trainable]
        assert all(has) if player.name == active else not any(has), player.name


def test_everything_can_be_trained_again_after_a_step():
    toy = make_toy("gan")
    toy.steps(0, 1)
    assert all(p.requires_grad for player in toy.trainer.players for p in player.trainable)


def test_a_critics_trunk_runs_once_for_each_set_of_images():
    toy = make_toy("gan")
    seen = []
    for name, critic in toy.components.critics.items():
        features = critic.features

        def counted(levels, draws, name=name, features=features):
            seen.append((name, [len(level) for level in levels]))
            return features(levels, draws)

        critic.features = counted
    toy.trainer.step(toy.batch(0), 0)  # adversarial, matching and R1 for the critic, adversarial after it
    levels = 3
    by_critic = {name: [sizes for n, sizes in seen if n == name] for name in toy.components.critics}
    for sizes in by_critic.values():
        assert sizes == [[8] * levels] * 3  # real and fake as the critic, fake as the generator


def test_a_loss_with_parameters_trains():
    toy = make_toy("denoiser")
    player = toy.player("generator")
    loss = player.losses["learned-variance"]
    before = loss.log_variance.item()
    assert any(p is loss.log_variance for p in player.trainable)
    toy.steps(0, 4)
    assert loss.log_variance.item() != before


def test_a_loss_without_gradient_is_told_once():
    toy, told = make_toy("denoiser"), []
    toy.trainer.log = told.append
    weighted = toy.player("generator").weighted
    constant = replace(weighted["contrast"], loss=lambda step: step.prediction.output.detach().mean())
    weighted["constant"] = constant
    toy.steps(0, 3)
    assert told == ["the loss constant came without a gradient: it trains nothing here"]


def test_a_step_on_which_no_loss_with_a_gradient_is_due_is_no_mistake():
    toy = make_toy("denoiser", "losses.learned-variance.every=2", "losses.contrast.every=2")
    weighted = toy.player("generator").weighted
    constant = replace(
        weighted["contrast"], loss=lambda step: step.prediction.output.detach().mean(), every=1
    )
    weighted["constant"] = constant
    toy.steps(0, 4)
    sums = toy.trainer.running_means.sums
    assert (sums["loss/constant"][1], sums["loss/contrast"][1]) == (4, 2)


def test_where_no_loss_has_a_gradient_nothing_is_trained():
    toy = make_toy("denoiser")
    player = toy.player("generator")
    for name, weighted in player.weighted.items():
        player.weighted[name] = replace(weighted, loss=lambda step: step.prediction.output.detach().mean())
    with pytest.raises(UserError, match="no loss has a gradient"):
        toy.steps(0, 1)


def test_a_lazy_loss_is_as_strong_as_an_eager_one():
    eager, lazy = make_toy("gan"), make_toy("gan", "losses.r1.every=4")
    term = lazy.player("critic").weighted["r1"]
    assert [term.due(step) for step in range(5)] == [True, False, False, False, True]
    assert term.strength == pytest.approx(4 * 0.1)
    assert eager.player("critic").weighted["r1"].strength == pytest.approx(2 * 0.1)
    lazy.steps(0, 4)
    assert lazy.trainer.running_means.sums["loss/r1"][1] == 1
    assert lazy.trainer.running_means.sums["loss/matching"][1] == 4


def test_clipping_sees_the_parameters():
    toy = make_toy("denoiser", "optimizer.generator.max_grad_norm=0.01")
    player_state = toy.trainer.player_states[0]
    seen = {}

    def look(*_):
        gradients = [p.grad.double().flatten() for p in player_state.player.trainable]
        seen["norm"] = torch.cat(gradients).norm().item()

    player_state.optimizer.optimizer.register_step_pre_hook(look)
    toy.steps(0, 1)
    before, _ = toy.trainer.running_means.sums["grad_norm/generator"]
    assert before > 0.05  # what the log shows is the norm before clipping
    assert seen["norm"] == pytest.approx(0.01, rel=1e-3)


def test_no_clipping_leaves_gradients_alone():
    free, clipped = (
        make_toy("denoiser", "optimizer.generator.max_grad_norm=0"),
        make_toy("denoiser", "optimizer.generator.max_grad_norm=1e6"),
    )
    for toy in (free, clipped):
        toy.steps(0, 2)
    assert torch.equal(vector(free.trainer), vector(clipped.trainer))


def test_the_average_follows_its_formula_buffers_included():
    toy = make_toy("denoiser", "train.ema_decay=0.6")
    module = toy.components.model.generator
    module.register_buffer("seen", torch.zeros(()))
    from t2ikit.nn.ema import EMA

    average = EMA(module, 0.6)
    toy.trainer.ema = average
    expected = {name: p.detach().double().clone() for name, p in module.named_parameters()}
    for step in range(6):
        module.seen += 1
        toy.steps(step, step + 1)
        decay = 0.0 if step == 0 else min(0.6, (1 + step) / (10 + step))
        for name, parameter in module.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach().double()
    state = average.tensors()
    for name, value in expected.items():
        torch.testing.assert_close(state[name].double(), value, atol=1e-6, rtol=0)
    assert state["seen"] == 6
    own = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with average.average_parameters():
        assert all(torch.equal(module.state_dict()[name], state[name]) for name in own)
    assert all(torch.equal(module.state_dict()[name], own[name]) for name in own)


@pytest.mark.parametrize(("decay", "middle"), [("none", 1.0), ("linear", 0.5), ("cosine", 0.5)])
def test_learning_rate(decay, middle):
    config = OptimizerConfig(lr=0.01, warmup_steps=10, decay=decay)
    rates = [learning_rate(config, step, 110) for step in range(110)]
    assert rates[0] == pytest.approx(0.01 / 11)
    assert rates[10] == pytest.approx(0.01)
    assert rates[60] == pytest.approx(0.01 * middle)
    reference = {"none": 1.0, "linear": 1 - 99 / 100, "cosine": (1 + math.cos(math.pi * 0.99)) / 2}
    assert rates[109] == pytest.approx(0.01 * reference[decay])
    assert rates[:11] == sorted(rates[:11])


def test_validation_is_the_same_every_time_and_leaves_no_trace():
    toy = make_toy("denoiser")
    batches = [toy.batch(100)]
    first = toy.trainer.validate(batches)
    assert toy.trainer.validate(batches) == first
    assert set(first) == {"learned-variance", "contrast"}
    assert all(p.grad is None for p in toy.player("generator").trainable)
    assert toy.components.model.generator.training


def test_bf16_reaches_the_network_and_losses_stay_fp32():
    toy = make_toy("denoiser", "train.precision=bf16")
    seen = []
    layer = next(m for m in toy.components.model.generator.modules() if isinstance(m, torch.nn.Conv2d))
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    player_state = toy.trainer.player_states[0]
    losses = player_state.wrapped(toy.batch(), 0, player_state.player.due(0))
    assert seen == [torch.bfloat16]
    assert {value.dtype for value in losses.values()} == {torch.float32}


def test_out_of_memory_halves_the_micro_batch_and_changes_nothing():
    said: list[str] = []
    toy, plain = make_toy("gan", log=said.append), make_toy("gan")
    generator = toy.components.model.generator
    forward = generator.forward

    def small_memory(batch, draws):
        if len(batch) > 2:
            raise torch.OutOfMemoryError("out of memory. Tried to allocate")
        return forward(batch, draws)

    generator.forward = small_memory
    toy.steps(0, 3)
    plain.steps(0, 3)
    assert toy.trainer.micro_batch == 2
    assert "--set train.micro_batch=4" in said[0]
    assert "--set train.micro_batch=2" in said[1]
    torch.testing.assert_close(vector(toy.trainer), vector(plain.trainer), atol=1e-5, rtol=0)


def test_out_of_memory_at_one_image_names_what_to_change():
    from t2ikit.errors import UserError

    toy = make_toy("gan", "train.micro_batch=1")

    def no_memory(batch, draws):
        raise MemoryError

    toy.components.model.generator.forward = no_memory
    with pytest.raises(UserError, match="micro-batch 1") as error:
        toy.steps(0, 1)
    assert "data.size" in str(error.value)


def test_other_errors_are_not_taken_for_out_of_memory():
    toy = make_toy("gan")

    def broken(batch, draws):
        raise RuntimeError("shapes do not match")

    toy.components.model.generator.forward = broken
    with pytest.raises(RuntimeError, match="shapes do not match"):
        toy.steps(0, 1)


def test_cutting_a_batch():
    toy = make_toy("gan")
    batch = toy.batch()
    parts = list(cut(batch, 3))
    assert [len(part) for part, _ in parts] == [3, 3, 2]
    assert [last for _, last in parts] == [False, False, True]
    assert torch.equal(torch.cat([part.images for part, _ in parts]), batch.images)
    assert all(part.all_captions == batch.all_captions for part, _ in parts)
    assert torch.equal(torch.cat([part.caption_index for part, _ in parts]), torch.arange(8))


def test_validation_leaves_modes_and_buffers_alone():
    """A frozen teacher built in evaluation mode stays in it, and a critic's statistics do not move."""
    toy = make_toy("gan")
    generator, critic = toy.components.model.generator, toy.components.critics["main"]
    generator.teacher = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Dropout()).eval()
    critic.norm = torch.nn.BatchNorm2d(3)
    features = critic.features

    def normed(levels, draws):
        return features([critic.norm(level) for level in levels], draws)

    critic.features = normed
    before = {name: module.training for name, module in toy.trainer.players[0].named_modules()}
    toy.trainer.validate([toy.batch(50)])
    assert critic.norm.num_batches_tracked == 0
    assert not any(module.training for module in generator.teacher.modules())
    assert generator.training
    assert {name: module.training for name, module in toy.trainer.players[0].named_modules()} == before


def test_validation_takes_fewer_images_at_once_when_memory_runs_out():
    """Whole images are larger than the pieces that an upsampler is trained on."""
    from t2ikit.errors import UserError

    toy = make_toy("gan")
    batch = toy.batch(50)
    whole = toy.trainer.validate([batch])
    generator = toy.components.model.generator
    forward, limit = generator.forward, 3

    def small_memory(batch, draws):
        if len(batch) > limit:
            raise torch.OutOfMemoryError("out of memory. Tried to allocate")
        return forward(batch, draws)

    generator.forward = small_memory
    assert toy.trainer.validate([batch]) == pytest.approx(whole, abs=1e-5)
    assert toy.trainer.micro_batch == 8  # training's own
    limit = 0
    with pytest.raises(UserError, match="validating a single held-out image") as error:
        toy.trainer.validate([batch])
    assert "micro_batch" not in error.value.fix  # which cannot help


def test_validation_leaves_out_losses_by_what_they_need():
    toy = make_toy("gan")
    every, few = (toy.trainer.validate([toy.batch(50)], left_out) for left_out in (set(), {"critic"}))
    needs = {name: term.needs for name, term in toy.player("generator").weighted.items()}
    assert set(every) - set(few) == {name for name in every if "critic" in needs[name]} != set()


def test_a_loss_that_may_do_without_critics_is_shown_none_where_they_do_not_fit():
    toy = make_toy("gan")
    seen = []

    def loss(step):
        seen.append(sorted(step.critics))
        return step.fake[-1].mean()

    toy.player("generator").weighted["mine"] = WeightedLoss(loss, "generator")
    for left_out in (set(), {"critic"}):
        toy.trainer.validate([toy.batch(50)], left_out)
    assert seen == [sorted(toy.components.critics), []]


@pytest.mark.parametrize(("crop", "left_out"), [(0, set()), (16, {"critic"}), (32, set())])
def test_critics_are_left_out_of_validation_where_they_are_built_for_pieces(crop, left_out):
    judged = {
        name: term for name, term in make_toy("gan").components.losses.items() if "critic" in term.needs
    }
    generator = SimpleNamespace(super_resolution=SuperResolution(2, crop))
    model = SimpleNamespace(generator=generator, context=SimpleNamespace(image_size=32))
    alone = WeightedLoss(lambda step: step.fake[-1].mean(), "generator")
    for terms, expected in ((judged, set()), ({**judged, "alone": alone}, left_out)):
        validation = SimpleNamespace(components=SimpleNamespace(model=model, losses=terms))
        assert Validation._left_out(validation) == expected


def test_moments_of_other_parameters_are_refused():
    """As where a later version trains another parameter by Muon."""
    from t2ikit.errors import UserError
    from t2ikit.training import snapshots

    muon = "optimizer.generator.kind=muon"
    toy = make_toy("gan", muon)
    toy.steps(0, 1)
    whole = snapshots.take(toy.trainer, 1, None)
    snapshots.restore(make_toy("gan", muon).trainer, whole)
    moments = whole.tensors["optimizer.generator"]
    count = 1 + max(int(key.split(".")[0]) for key in moments)
    first = sum(not is_matrix(p) for p in toy.trainer.player_states[1].player.trainable)
    for swapped in ({first - 1: first, first: first - 1}, {0: count - 1, count - 1: 0}):
        moved = {}
        for key, tensor in moments.items():
            place, name = key.split(".", 1)
            moved[f"{swapped.get(int(place), int(place))}.{name}"] = tensor
        other = replace(whole, tensors={**whole.tensors, "optimizer.generator": moved})
        with pytest.raises(UserError, match="does not fit the recipe") as error:
            snapshots.restore(make_toy("gan", muon).trainer, other)
        assert "moments" in error.value.got


@pytest.mark.parametrize(
    ("began", "goes_on", "words"),
    [("adamw", "muon", "in the place of momentum"), ("muon", "adamw", "in the place of exp_avg")],
)
def test_moments_of_another_optimiser_are_refused(began, goes_on, words):
    from t2ikit.errors import UserError
    from t2ikit.training import snapshots

    def toy(kind):
        made = make_toy("gan", f"optimizer.generator.kind={kind}")
        matrices = [p for p in made.trainer.player_states[1].player.trainable if is_matrix(p)]
        player_state = made.trainer.player_states[1]
        player_state.optimizer = make_optimizer(matrices, player_state.config)
        return made

    one = toy(began)
    one.steps(0, 1)
    whole = snapshots.take(one.trainer, 1, None)
    snapshots.restore(toy(began).trainer, whole)
    with pytest.raises(UserError, match="does not fit the recipe") as error:
        snapshots.restore(toy(goes_on).trainer, whole)
    assert words in error.value.got


@pytest.mark.parametrize("changed", ["one is missing", "of more weights"])
def test_moments_of_other_counts_are_refused(changed):
    from t2ikit.errors import UserError
    from t2ikit.training import snapshots

    toy = make_toy("gan")
    toy.steps(0, 1)
    whole = snapshots.take(toy.trainer, 1, None)
    moments = dict(whole.tensors["optimizer.generator"])
    if changed == "one is missing":
        moments = {key: tensor for key, tensor in moments.items() if not key.endswith("exp_avg_sq")}
    else:
        last = max(int(key.split(".")[0]) for key in moments)
        moments |= {f"{last + 1}.{key}": torch.zeros(2) for key in ("step", "exp_avg", "exp_avg_sq")}
    other = replace(whole, tensors={**whole.tensors, "optimizer.generator": moments})
    with pytest.raises(UserError, match="does not fit the recipe") as error:
        snapshots.restore(make_toy("gan").trainer, other)
    assert "moments" in error.value.got


def test_memory_that_runs_out_in_the_optimiser_is_not_tried_again():
    from t2ikit.errors import UserError

    toy = make_toy("gan")
    calls = []

    def no_memory(*args, **kwargs):
        calls.append(1)
        raise torch.OutOfMemoryError("out of memory. Tried to allocate")

    toy.trainer.player_states[0].optimizer.step = no_memory
    with pytest.raises(UserError, match=r"train\.micro_batch=4"):
        toy.steps(0, 1)
    assert len(calls) == 1


def test_drawing_halves_its_batch_when_memory_runs_out():
    from t2ikit.errors import UserError
    from t2ikit.sampling.images import sample_images

    model = make_toy("denoiser").components.model
    whole = sample_images(model, ["a red square", "a blue square"], samples=range(3))
    denoise = model.generator.denoise

    def small(x, t, condition):
        if len(x) > limit:
            raise torch.OutOfMemoryError("out of memory")
        return denoise(x, t, condition)

    limit = 2
    model.generator.denoise = small
    parts = sample_images(model, ["a red square", "a blue square"], samples=range(3))
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)
    limit = 0
    with pytest.raises(UserError, match="a single image"):
        sample_images(model, ["a red square"])


def test_a_resumed_run_takes_the_micro_batch_it_is_told():
    from t2ikit.training import snapshots

    small = make_toy("gan", "train.micro_batch=2")
    small.steps(0, 1)
    snapshot = snapshots.take(small.trainer, 1, None)
    kept, told = make_toy("gan"), make_toy("gan", "train.micro_batch=4")
    snapshots.restore(kept.trainer, snapshot)
    snapshots.restore(told.trainer, snapshot, own_micro_batch=True)
    assert (kept.trainer.micro_batch, told.trainer.micro_batch) == (2, 4)
    assert torch.equal(vector(kept.trainer), vector(small.trainer))


def test_the_environment_does_not_change_the_loss(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    toy, plain = make_toy("gan"), None
    toy.steps(0, 1)
    monkeypatch.delenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS")
    plain = make_toy("gan")
    plain.steps(0, 1)
    assert (
        toy.trainer.running_means.sums["grad_norm/critic"]
        == plain.trainer.running_means.sums["grad_norm/critic"]
    )
