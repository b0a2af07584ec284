"""Distillation: formulas beside slow float64 references, students of every kind of denoiser, whole runs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

import t2ikit
from conftest import TOYS
from t2ikit import Draws, Prediction, Step, UserError
from t2ikit.config.toml import load_toml
from t2ikit.core.super_resolution import SuperResolution, shrink
from t2ikit.data.mixing.config import as_spec
from t2ikit.distillation.configs import MatchingConfig, ScoreLossConfig, StudentConfig
from t2ikit.distillation.denoiser import LEAST_SIGNAL, CleanDenoiser
from t2ikit.distillation.distil import completed_by
from t2ikit.distillation.losses import MatchingLoss, ScoreLoss
from t2ikit.distillation.score import ScoreCritic
from t2ikit.distillation.student import Student
from t2ikit.nn.noise import noise_schedule
from t2ikit.registry.registry import Registry
from t2ikit.testing import check_generator
from t2ikit.testing.toys import ToyCritic, ToyDenoiser, toy_batch
from training_support import SMALL, At, Killed, info_of, kill, no_curves, state_of, train_toy  # noqa: F401

KINDS = ("epsilon", "v_prediction", "sample", "flow_prediction")
SIZE, COUNT = 8, 3


def toy(kind="v_prediction", seed=0):
    """A toy denoiser that is told to predict `kind`, on a schedule that suits it."""
    torch.manual_seed(seed)
    model = ToyDenoiser(16, SIZE)
    schedule = noise_schedule("cosine", zero_snr=kind != "epsilon", prediction=kind)
    model.scheduler_config = {**schedule.config, "prediction_type": kind}
    return model


def step_of(images, parts, batch, condition=None, player="generator"):
    prediction = Prediction([images], torch.ones(len(images)), condition=condition)
    return Step(batch, prediction, parts, player, Draws(batch.keys, "losses"), 0)


class Oracle(ToyDenoiser):
    """Knows the clean images, and gives what a perfect model of its kind would."""

    def __init__(self, kind, clean):
        super().__init__(16, SIZE)
        self.kind, self.clean = kind, clean
        schedule = noise_schedule("cosine", zero_snr=kind != "epsilon", prediction=kind)
        self.scheduler_config = {**schedule.config, "prediction_type": kind}
        self.alphas = schedule.alphas_cumprod.double()

    def denoise(self, x, t, condition, previous=None):
        clean, x = self.clean.double(), x.double()
        if self.kind == "flow_prediction":
            sigma = t.double()[:, None, None, None] / 1000
            return ((x - (1 - sigma) * clean) / sigma - clean).float()
        alpha = self.alphas[t].sqrt()[:, None, None, None]
        sigma = (1 - self.alphas[t]).sqrt()[:, None, None, None]
        noise = (x - alpha * clean) / sigma
        made = {"epsilon": noise, "sample": clean, "v_prediction": alpha * noise - sigma * clean}
        return made[self.kind].float()


@pytest.mark.parametrize("kind", KINDS)
def test_clean_images_of_a_perfect_model(kind):
    batch = toy_batch(COUNT, SIZE)
    denoiser = CleanDenoiser(Oracle(kind, batch.images))
    t = denoiser.timesteps(torch.tensor([0.1, 0.6, 1.0]))
    x = denoiser.add_noise(batch.images, torch.randn(COUNT, 3, SIZE, SIZE), t)
    torch.testing.assert_close(denoiser(x, t, batch.condition), batch.images, atol=1e-4, rtol=0)


def test_an_epsilon_model_is_not_asked_beyond_where_its_signal_ends():
    denoiser = CleanDenoiser(toy("epsilon"))
    alpha, sigma = denoiser.levels(denoiser.timesteps(torch.ones(1)))
    beyond = denoiser.timesteps(torch.ones(1)) + 1
    assert float(alpha / sigma) >= LEAST_SIGNAL > float((lambda a, s: a / s)(*denoiser.levels(beyond)))
    for kind in KINDS[1:]:
        denoiser = CleanDenoiser(toy(kind))
        assert float(denoiser.levels(denoiser.timesteps(torch.ones(1)))[0]) < 1e-3  # pure noise


def slow_gradient(critic, images, batch, draws, config):
    """Equations 7 and 8 of DMD, a sample and an operation at a time."""
    places, noise = draws.rand().double(), draws.named("noise").randn(3, SIZE, SIZE)
    schedule = critic.teacher.alphas_cumprod.double()
    made = []
    for i in range(len(images)):
        t = int((config.low + (config.high - config.low) * float(places[i])) * 1000)
        alpha, sigma = math.sqrt(schedule[t]), math.sqrt(1 - schedule[t])
        x = alpha * images[i].double() + sigma * noise[i].double()
        one = batch.condition[i : i + 1]
        nothing = replace(one, text=one.empty)

        def clean(network, condition, x=x, t=t, alpha=alpha, sigma=sigma):
            v = network.network.denoise(x[None].float(), torch.tensor([t]), condition)[0].double()
            return alpha * x - sigma * v

        with_text, without = (clean(critic.teacher, c) for c in (one, nothing))
        real = (without + config.guidance * (with_text - without)).clamp(-1, 1)
        distance = (images[i].double() - real).abs().mean()
        made.append((clean(critic.score, one) - real) / distance)
    return torch.stack(made)


def test_the_gradient_of_distribution_matching_is_that_of_the_paper():
    batch, config = toy_batch(COUNT, SIZE), MatchingConfig(guidance=3.0)
    critic = ScoreCritic(toy(seed=1), toy(seed=2))
    images = torch.randn(COUNT, 3, SIZE, SIZE).requires_grad_(True)
    step = step_of(images, {"score": critic}, batch)
    loss = MatchingLoss(config)(step)
    (found,) = torch.autograd.grad(loss, images)
    expected = slow_gradient(critic, images.detach(), batch, step.draws.named("matching"), config)
    torch.testing.assert_close(found.double(), expected / images.numel(), atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(loss.double(), 0.5 * expected.square().mean(), atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_networks_loss_is_the_weighted_error_of_its_clean_images(kind):
    batch = toy_batch(COUNT, SIZE)
    critic = ScoreCritic(toy(kind, seed=1), toy(kind, seed=2))
    images = torch.randn(COUNT, 3, SIZE, SIZE)
    step = step_of(images, {"score": critic}, batch, player="critic")
    loss = ScoreLoss(ScoreLossConfig(gamma=4.0))(step)
    loss.backward()
    draws, schedule = step.draws.named("score"), critic.score.alphas_cumprod.double()
    noise, total = draws.named("noise").randn(3, SIZE, SIZE), 0.0
    for i, place in enumerate(draws.rand().double()):
        if kind == "flow_prediction":
            t, alpha = float(place * 1000), 1 - float(place)
            sigma = float(place)
        else:
            t = min(int(place * 1000), int(critic.score.timesteps(torch.ones(1))))
            alpha, sigma = math.sqrt(schedule[t]), math.sqrt(1 - schedule[t])
        x = alpha * images[i].double() + sigma * noise[i].double()
        asked = x[None].float(), torch.tensor([t]), batch.condition[i : i + 1]
        output = critic.score.network.denoise(*asked)[0].detach().double()
        clean = {
            "epsilon": (x - sigma * output) / alpha,
            "sample": output,
            "v_prediction": alpha * x - sigma * output,
            "flow_prediction": x - sigma * output,
        }[kind]
        snr = (alpha / sigma) ** 2
        weight = min(snr if kind == "epsilon" else snr + 1, 4.0)
        total += weight * float((clean - images[i].double()).square().mean())
    assert float(loss.detach()) == pytest.approx(total / COUNT, rel=1e-3)
    assert all(p.grad is not None for p in critic.score.parameters())
    assert all(p.grad is None for p in critic.teacher.parameters())


def test_the_teacher_is_never_trained_and_stays_in_evaluation_mode():
    critic = ScoreCritic(toy(), toy()).train()
    assert not critic.teacher.network.training
    assert critic.score.network.training
    assert not any(p.requires_grad for p in critic.teacher.parameters())


def test_adversarial_losses_do_not_see_the_score_critic():
    batch = toy_batch(COUNT, SIZE)
    score, judge = ScoreCritic(toy(), toy()), ToyCritic(16)
    step = step_of(batch.images, {"score": score, "judge": judge}, batch)
    assert list(step.critics) == ["judge"]
    assert list(step.parts) == ["score", "judge"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("calls", [1, 2, 4])
def test_a_student_repeats_its_calls_as_written_out(kind, calls):
    batch = toy_batch(COUNT, SIZE)
    student = Student(StudentConfig(calls=calls), toy(kind)).eval()
    denoiser, draws = student.denoiser, Draws(batch.keys, "sampling")
    t = denoiser.timesteps(torch.full((COUNT,), student.start))
    clean = denoiser(denoiser.levels(t)[1] * draws.randn(3, SIZE, SIZE), t, batch.condition)
    for call in range(1, calls):
        t = denoiser.timesteps(torch.full((COUNT,), student.start * (1 - call / calls)))
        noise = draws.named(f"call {call}").randn(3, SIZE, SIZE)
        clean = denoiser(denoiser.add_noise(clean, noise, t), t, batch.condition)
    (made,) = student.generate(batch.condition, Draws(batch.keys, "sampling"))
    torch.testing.assert_close(made, clean)


def test_each_sample_trains_one_call_on_what_the_calls_before_it_made():
    batch = toy_batch(16, SIZE)
    student = Student(StudentConfig(calls=2), toy())
    images = student(batch, Draws(batch.keys, "training")).images[-1]
    noise = student._inputs(batch.condition, (SIZE, SIZE), Draws(batch.keys, "training"))[0]
    first = student.denoiser(noise, student.denoiser.timesteps(torch.ones(16)), batch.condition)
    second = student.generate(batch.condition, Draws(batch.keys, "training"))[-1]
    chosen = Draws(batch.keys, "training").named("call").rand() < 0.5
    assert 0 < int(chosen.sum()) < 16
    torch.testing.assert_close(images, torch.where(chosen[:, None, None, None], first, second))


def test_a_student_obeys_the_interface():
    registry = Registry.load([str(TOYS)])
    for calls in (1, 2):
        check_generator("t2ikit/student", registry, 16, network={"use": "toys/denoiser"}, calls=calls)


class Upscaler(ToyDenoiser):
    """Sees the upscaled image, which must have the noisy one's size."""

    def __init__(self):
        super().__init__(16, SIZE)
        self.super_resolution = SuperResolution(2)
        self.mix = nn.Conv2d(3, 3, 1)
        self.seen = []

    def denoise(self, x, t, condition, previous=None):
        self.seen.append(condition.low_res)
        return super().denoise(x, t, condition) + self.mix(condition.low_res)


def test_student_teacher_and_score_see_the_same_noise_on_the_images_to_upscale():
    torch.manual_seed(0)
    batch = toy_batch(COUNT, SIZE)
    batch = replace(batch, condition=replace(batch.condition, low_res=shrink(batch.images, 2)))
    student, critic = Student(StudentConfig(), Upscaler()), ScoreCritic(Upscaler(), Upscaler())
    prediction = student(batch, Draws(batch.keys, 0))
    step = step_of(prediction.images[-1], {"score": critic}, batch, prediction.condition)
    MatchingLoss(MatchingConfig(guidance=1.0))(step)
    ScoreLoss(ScoreLossConfig())(step)
    (seen,) = student.denoiser.network.seen
    assert seen.shape == batch.images.shape
    for network in (critic.teacher.network, critic.score.network):
        assert all(torch.equal(other, seen) for other in network.seen)


def test_the_sampler_lays_noise_over_the_images_at_full_size():
    batch = toy_batch(COUNT, SIZE)
    condition = replace(batch.condition, low_res=shrink(batch.images, 2))
    student = Student(StudentConfig(), Upscaler())
    sampler = t2ikit.OneStepSampler(augmentation=0.5)
    assert sampler(student, condition, draws=Draws(batch.keys, 0)).shape == batch.images.shape
    assert student.denoiser.network.seen[-1].shape == batch.images.shape
    assert sampler.function_evaluations == COUNT


def test_a_few_calls_are_counted_and_no_other_number_is_taken():
    batch = toy_batch(COUNT, SIZE)
    sampler, student = t2ikit.OneStepSampler(), Student(StudentConfig(calls=4), toy())
    sampler(student, batch.condition, draws=Draws(batch.keys, 0), steps=4)
    assert sampler.function_evaluations == 4 * COUNT
    with pytest.raises(UserError, match="4 steps"):
        sampler(student, batch.condition, draws=Draws(batch.keys, 0), steps=1)


TEACHER = {"train.steps": 2, "data.size": 16}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return train_toy(tmp_path_factory.mktemp("distil") / "teacher", TEACHER)


def distil(teacher, out, callbacks=(), data=None, **settings):
    usual = {**SMALL, "train.save_every": 2, "train.log_every": 1}
    options = {"plugins": TOYS, "device": "cpu", "progress": False, "callbacks": callbacks}
    return t2ikit.distil(teacher, out=out, data=data, set={**usual, **settings}, **options)


def test_a_student_begins_as_its_teacher_and_samples_alone(teacher, tmp_path):
    student = distil(teacher, tmp_path / "student", **{"train.steps": 1, "optimizer.generator.lr": 1e-9})
    network = student.model().generator.denoiser.network
    for name, own in teacher.model().generator.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], own, atol=1e-6, rtol=0)
    origin = info_of(student.path)["origin"]
    assert (origin["run"], origin["step"], origin["generator"]) == ("teacher", 2, "toys/denoiser")
    images = t2ikit.sample(str(student.path), ["a red square"], plugins=TOYS).images
    assert images.shape[-1] == 16


def test_killed_and_resumed_it_ends_as_if_it_had_never_stopped(teacher, tmp_path):
    settings = {"train.steps": 4, "generator.calls": 2}
    whole = distil(teacher, tmp_path / "whole", **settings)
    with pytest.raises(Killed):
        distil(teacher, tmp_path / "killed", [At(3, kill)], **settings)
    t2ikit.train(TOYS, resume=tmp_path / "killed", device="cpu", progress=False)
    assert state_of(tmp_path / "killed") == state_of(whole.path)


def test_a_student_may_learn_from_several_datasets(teacher, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for place in range(3):
            Image.new("RGB", (16, 16), "red").save(tmp_path / name / f"{place}.png")
            (tmp_path / name / f"{place}.txt").write_text("a red square")
    data, settings = [tmp_path / "a", tmp_path / "b"], {"data.weights": [3, 1], "data.size": 16}
    student = distil(teacher, tmp_path / "student", data=data, **settings, **{"train.steps": 1})
    assert student.table["data"]["spec"] == as_spec(data)
    assert student.table["data"]["weights"] == [3, 1]


def test_steps_are_those_of_the_student_or_refused(teacher, tmp_path):
    student = distil(teacher, tmp_path / "student", **{"train.steps": 1, "generator.calls": 2})
    options = {"plugins": TOYS, "device": "cpu"}
    images = [t2ikit.sample(student, ["a red square"], steps=n, **options).images for n in (None, 2)]
    assert torch.equal(*images)
    with pytest.raises(UserError, match="samples in 2 steps"):
        t2ikit.sample(student, ["a red square"], steps=1, **options)


def test_a_critic_on_real_images_trains_beside(tmp_path):
    big = train_toy(tmp_path / "teacher", {"train.steps": 1, "data.size": 32})
    options = {"plugins": TOYS, "device": "cpu", "progress": False}
    settings = {**SMALL, "train.steps": 1, "train.log_every": 1}
    student = t2ikit.distil(big, out=tmp_path / "s", recipe="gigagan/distil", set=settings, **options)
    wanted = {"adversarial", "adversarial-critic", "real-matching", "r1", "matching", "score"}
    assert {f"loss/{name}" for name in wanted} <= set(student.log()[-1])


def test_only_a_denoiser_is_distilled(tmp_path):
    gan = train_toy(tmp_path / "gan", {"train.steps": 1, "data.size": 16}, recipe="toys/gan")
    with pytest.raises(UserError, match="only a denoiser can be distilled"):
        distil(gan, tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_what_a_students_recipe_takes_from_its_teachers():
    sampler = {"use": "toys/sampler", "guidance": 4.0, "augmentation": 0.3}
    table = {"generator": {"use": "toys/denoiser"}, "sampler": sampler, "data": {"spec": "x"}, "text": {}}
    registry = Registry.load()
    raw = load_toml(registry.find("recipes", "t2ikit/distil").spec.path)
    full = completed_by(table, guidance=True, upscales=True)(raw)
    assert full["generator"]["network"] == full["critics"]["score"]["network"] == table["generator"]
    assert full["losses"]["matching"]["guidance"] == 4.0
    assert full["sampler"] == {"use": "t2ikit/one-step", "augmentation": 0.3}
    assert full["data"] == {"spec": "x"}
    plain = completed_by(table, guidance=False)(raw)
    assert plain["losses"]["matching"]["guidance"] == 1.0
    assert "augmentation" not in plain["sampler"]


def test_the_recipe_alone_says_what_it_lacks(tmp_path):
    with pytest.raises(UserError, match="t2ikit distil RUN"):
        t2ikit.train(recipe="t2ikit/distil", data="creatures", out=tmp_path / "run", progress=False)
