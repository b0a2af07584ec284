"""Exports whose weights are stored in half precision."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import t2ikit
from t2ikit.errors import UserError
from t2ikit.exporters.storage import store_as
from t2ikit_imagen.pipeline import ImagenPipeline

SMALL = ["generator.channels=[8,8]", "generator.attention=[false,true]", "generator.head_width=8"]
SHORT = ["data.size=16", "train.steps=1", "train.samples=1", "train.validation_images=2", "train.batch=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = [*SMALL, *SHORT, "generator.text_width=8", "generator.time_width=8", "data.count=40"]
    return t2ikit.train("imagen", set=settings, out=tmp_path_factory.mktemp("r") / "run", device="cpu")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_halves_the_weights_and_keeps_the_images(run, tmp_path, dtype):
    whole = t2ikit.export(run, "diffusers", out=tmp_path / "whole")
    half = t2ikit.export(run, "diffusers", out=tmp_path / "half", dtype=dtype)
    (one,), (other,) = ([*(out / "generator").glob("*.safetensors")] for out in (whole, half))
    assert {t.dtype for t in load_file(other).values()} == {getattr(torch, dtype)}
    assert other.stat().st_size < 0.6 * one.stat().st_size
    with safe_open(one, "pt") as before, safe_open(other, "pt") as after:
        assert before.metadata() == after.metadata()
    images = [t2ikit.sample(out, ["a red cat"], n=1, steps=4, device="cpu").images for out in (whole, half)]
    assert not torch.equal(*images)  # it is not the same file
    torch.testing.assert_close(*images, atol=0.06, rtol=0)
    assert ImagenPipeline.from_pretrained(half).generator.dtype == torch.float32


def test_weights_too_large_for_half_precision_are_refused(tmp_path):
    (tmp_path / "generator").mkdir()
    save_file({"w": torch.full((3,), 1e6)}, tmp_path / "generator" / "w.safetensors")
    with pytest.raises(UserError, match="not finite") as error:
        store_as(tmp_path, "float16")
    assert "bfloat16" in error.value.fix
    store_as(tmp_path, "bfloat16")


def test_a_text_encoder_keeps_its_precision(tmp_path):
    for name in ("generator", "text_encoder"):
        (tmp_path / name).mkdir()
        save_file({"w": torch.ones(3), "i": torch.arange(3)}, tmp_path / name / "w.safetensors")
    store_as(tmp_path, "float16")
    assert load_file(tmp_path / "text_encoder" / "w.safetensors")["w"].dtype == torch.float32
    stored = load_file(tmp_path / "generator" / "w.safetensors")
    assert (stored["w"].dtype, stored["i"].dtype) == (torch.float16, torch.int64)


def test_an_unknown_precision_is_a_user_error(run, tmp_path):
    with pytest.raises(UserError, match="dtype"):
        t2ikit.export(run, "diffusers", out=tmp_path / "x", dtype="int8")
    assert not (tmp_path / "x").exists()
