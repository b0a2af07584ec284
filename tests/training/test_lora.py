"""LoRA: adapters alone are trained, runs are opened merged, and nothing is lost on the way."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.testing import CompileCounterWithBackend

import t2ikit
from conftest import TOYS
from t2ikit import UserError
from t2ikit.core.tensors import without_strings
from t2ikit.nn.weights import merge_lora
from t2ikit.recipes.compose import build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.runs import checkpoint as ckpt
from t2ikit.testing.toys import ToyGAN, toy_batch
from t2ikit.training.accelerator import make_accelerator
from t2ikit.training.finetuning.lora import add_lora
from t2ikit.training.player import freeze_all_but
from t2ikit.training.start import make_trainer
from training_support import SMALL, At, Killed, kill, no_curves, state_of  # noqa: F401

PLUGINS = [TOYS, TOYS.parent / "attending.py"]
RANK = 2
LORA = {"train.lora": RANK, "train.steps": 4, "train.log_every": 1, "train.save_every": 2}


def train(out, settings, **options):
    usual = {"device": "cpu", "progress": False, "out": out, "set": settings}
    return t2ikit.train(PLUGINS, **{**usual, **options})


def adapted(origin, out, **options):
    return train(out, LORA, init=origin, **options)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    settings = {**SMALL, "train.steps": 2, "data.size": 8, "generator.use": "attending/denoiser"}
    return train(tmp_path_factory.mktemp("lora") / "origin", settings, recipe="toys/denoiser")


@pytest.fixture(scope="module")
def run(origin):
    return adapted(origin, origin.path.parent / "lora")


def stored(run, part):
    return load_file(ckpt.checkpoints(run.path)[-1] / f"{part}.safetensors")


def test_only_the_adapters_of_the_attention_are_trained(origin, run):
    before, after = stored(origin, "ema"), stored(run, "generator")
    adapters = {name for name in after if ".lora_" in name}
    layers = {f"attention.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")}
    assert {name.split(".lora_")[0] for name in adapters} == layers
    assert all(after[name].any() for name in adapters)  # B, too, has left 0
    assert {name.replace(".base_layer", "") for name in set(after) - adapters} == set(before)
    for name in set(after) - adapters:
        assert torch.equal(after[name], before[name.replace(".base_layer", "")])
    settings = run.table["optimizer"]["generator"]
    assert (settings["kind"], settings["lr"]) == ("adamw", 1e-3)


def test_weights_are_merged_as_the_paper_says(run):
    tensors = stored(run, "ema")
    merged, layer = merge_lora(tensors), "attention.to_q"
    base = tensors[f"{layer}.base_layer.weight"].double()
    down, up = (tensors[f"{layer}.lora_{which}.default.weight"].double() for which in "AB")
    slow = base.clone()
    for i in range(slow.shape[0]):
        for j in range(slow.shape[1]):
            slow[i, j] += sum(up[i, r] * down[r, j] for r in range(RANK))
    torch.testing.assert_close(merged[f"{layer}.weight"].double(), slow, atol=1e-7, rtol=1e-6)
    assert not torch.equal(merged[f"{layer}.weight"].double(), base)
    plain = {name: torch.ones(2, 2) for name in ("a.weight", "base_layer.weight")}
    assert merge_lora(plain) == plain


def test_a_run_opens_merged_and_computes_what_it_was_trained_to(origin, run):
    live = origin.model().generator
    add_lora(live, RANK, 0, lambda line: None)
    live.load_state_dict(stored(run, "ema"))
    opened = run.model().generator
    assert set(opened.state_dict()) == set(origin.model().generator.state_dict())
    batch = toy_batch(3, 8)
    t = torch.tensor([10, 500, 900])
    with torch.no_grad():
        expected = live.denoise(batch.images, t, batch.condition)
        torch.testing.assert_close(opened.denoise(batch.images, t, batch.condition), expected)


def test_killed_and_resumed_it_ends_as_if_it_had_never_stopped(origin, run, tmp_path):
    with pytest.raises(Killed):
        adapted(origin, tmp_path / "killed", callbacks=[At(3, kill)])
    t2ikit.train(PLUGINS, resume=tmp_path / "killed", device="cpu", progress=False)
    assert state_of(tmp_path / "killed") == state_of(run.path)
    with pytest.raises(UserError, match=r"train\.lora=4: this cannot change"):
        t2ikit.train(PLUGINS, resume=run, set={"train.lora": 4})


def test_it_is_sampled_and_begun_from_like_any_run(run, tmp_path):
    assert t2ikit.sample(run, ["a red square"], n=1, progress=False).images.isfinite().all()
    new = train(tmp_path / "new", {"train.steps": 1, "optimizer.generator.lr": 1e-9}, init=run)
    assert new.table["train"]["lora"] == 0
    begun, merged = stored(new, "generator"), run.weights(run.snapshot())
    assert set(begun) == set(merged)
    for name, own in merged.items():
        torch.testing.assert_close(begun[name], own, atol=1e-6, rtol=0)


def test_a_step_traces_whole():
    registry = Registry.load([str(path) for path in PLUGINS])
    settings = ["generator.use=attending/denoiser", "losses.contrast.weight=0", f"train.lora={RANK}"]
    recipe = read_recipe(registry, "toys/denoiser", settings=[*settings, "data.size=8", "train.precision=no"])
    accelerator = make_accelerator(recipe.train, "cpu", lazy_parameters=False)
    trainer = make_trainer(recipe, build_components(recipe, registry, accelerator.device), accelerator)
    [player] = trainer.players
    counter = CompileCounterWithBackend("eager")
    torch._dynamo.reset()
    compute = torch.compile(player.compute, fullgraph=True, dynamic=False, backend=counter)
    freeze_all_but(player, trainer.players)
    batch, names = without_strings(toy_batch(4, 8, length=6)), tuple(player.weighted)
    losses = [compute(batch, None, names) for _ in range(2)]
    assert counter.frame_count == 1
    torch.testing.assert_close(losses[1], player.compute(batch, None, names))


def test_what_cannot_be_adapted_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"train\.lora adapts a trained model"):
        train(tmp_path / "new", {"train.lora": 2}, recipe="toys/denoiser")
    with pytest.raises(UserError, match="ToyGAN has no attention layers to adapt"):
        add_lora(ToyGAN(16, 8), RANK, 0, print)
