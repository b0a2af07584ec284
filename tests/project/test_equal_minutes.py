"""benchmarks/equal_minutes.py: every row at toy size, what all of them are given, and the table."""

from __future__ import annotations

import json

import pytest
import torch
from equal.contestants import CONTESTANTS
from equal.min_imagen import Respaced
from equal.table import markdown, verdicts, with_table
from equal.task import Task, with_neighbours
from equal_minutes import PAGE, RESULTS, Benchmark, options_of, parse, read
from torch.nn.functional import pad

from t2ikit.text.builtin import default_encoder


@pytest.fixture
def quiet(monkeypatch):
    """Leave out the plot of the losses, which takes longer than a tiny training."""
    monkeypatch.setattr("t2ikit.training.session.plot_curves", lambda log, out: None)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTESTANTS)
def test_every_row_at_toy_size(name, tmp_path, quiet, monkeypatch):
    contestant = CONTESTANTS[name]
    if contestant.missing():
        pytest.skip(contestant.missing())
    options = options_of(parse(["--toy", "--out", str(tmp_path)]))
    report = Benchmark(options).run([name])
    (row,) = report["rows"]
    assert row["steps"] == options.toy
    assert row["seconds_an_image"] > 0
    assert 0 <= row["joint"]["low"] <= row["joint"]["value"] <= row["joint"]["high"] <= 100
    weights = list(tmp_path.rglob("*.safetensors"))
    assert len(weights) >= len(contestant.rates[:2])
    monkeypatch.setattr(type(contestant), "train", None)  # the second time nothing is trained
    assert Benchmark(options).run([name])["rows"] == report["rows"]


def test_what_is_not_installed_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(CONTESTANTS["minimagen"].rival, "packages", ("no_such_package",))
    report = Benchmark(options_of(parse(["--toy", "--out", str(tmp_path)]))).run(["minimagen"])
    assert report["rows"] == []
    assert "MinImagen is left out: not installed: no_such_package" in capsys.readouterr().out
    assert "- MinImagen was left out: not installed: no_such_package." in markdown(report)


def test_batches_are_those_of_the_own_training():
    task = Task(0, 64)
    batches = task.batches()
    first, second = next(batches), next(batches)
    batches.close()
    assert first.keys.tolist() == list(range(16))
    assert first.condition.captions != second.condition.captions
    assert torch.equal(
        task.encode(first.condition.captions).tokens, with_neighbours(first.condition.text).tokens
    )


def test_tokens_tell_the_words_beside_them():
    encoder = default_encoder()
    text = encoder.encode(["a red cat", "cat red"])
    found = with_neighbours(text)
    width = encoder.width
    red, before, after = text.tokens[0, 2], text.tokens[0, 1], text.tokens[0, 3]
    assert torch.equal(found.tokens[0, 2], torch.cat([before, red, after]))
    assert torch.equal(found.tokens[0, 3, 2 * width :], torch.zeros(width))
    assert not found.tokens[~text.mask].any()
    assert not torch.equal(
        found.tokens[0, 2], found.tokens[1, 2]
    )  # which the words alone are not told apart by


class Schedule:
    """Stands for MinImagen's `GaussianDiffusion`."""

    def __init__(self, timesteps: int) -> None:
        self.num_timesteps = timesteps
        self.alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64), 0)


class Network:
    """Stands for its U-Net: says which timesteps it was asked at."""

    def forward_with_cond_scale(self, x, times, **given):
        return times


def test_fewer_steps_of_ddpm_are_the_same_process():
    """The mean and variance of q(x_before | x_after, x_0), by conditioning the joint Gaussian."""
    whole, network = Schedule(1000), Network()
    short = Respaced(whole, network, 25)
    kept = short.kept
    assert (len(kept), kept[-1].item(), short.scheduler.num_timesteps) == (25, 999, 25)
    after = whole.alphas_cumprod[kept]
    before = pad(after[:-1], (1, 0), value=1.0)
    # x_after = r x_before + noise, so the covariance of both given x_0 is r (1 - before)
    r = (after / before).sqrt()
    gain = r * (1 - before) / (1 - after)
    variance = (1 - before) - gain * r * (1 - before)
    of_clean = before.sqrt() - gain * after.sqrt()
    scheduler = short.scheduler
    torch.testing.assert_close(scheduler.posterior_mean_coef1.double(), of_clean, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(scheduler.posterior_mean_coef2.double(), gain, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(scheduler.posterior_variance.double(), variance, rtol=1e-5, atol=1e-7)
    x, noise = torch.randn(25, dtype=torch.float64), torch.randn(25, dtype=torch.float64)
    noised = after.sqrt() * x + (1 - after).sqrt() * noise
    clean = scheduler.sqrt_recip_alphas_cumprod * noised - scheduler.sqrt_recipm1_alphas_cumprod * noise
    torch.testing.assert_close(clean, x, rtol=1e-4, atol=1e-4)
    with short:
        assert torch.equal(network.forward_with_cond_scale(x, torch.arange(25)), kept)
    assert network.forward_with_cond_scale(x, 3) == 3


def row(name: str, ours: bool, minutes: float, joint: float) -> dict:
    figure = {"value": joint, "low": joint - 1, "high": joint + 1}
    shares = dict.fromkeys(("joint", "colour", "species", "action", "eyes", "kd-reader"), figure)
    facts = {"rate": 1e-3, "steps": 1000, "seconds_an_image": 0.5, "documented": f"of {name}" * (not ours)}
    return {"name": name, "ours": ours, "minutes": minutes, **shares, **facts}


def test_the_table_says_who_reaches_whom():
    rows = [
        row("a", False, 10, 30.0),
        row("b", False, 10, 40.0),
        row("mine", True, 2.5, 41.0),
        row("a", False, 60, 19.0),
        row("mine", True, 15, 80.0),
    ]
    found = verdicts(rows)
    assert "b, follows 40.0 %; mine 41.0 % after 2.5, which reaches it." in found[0]
    assert "a, follows 19.0 %, less than 20 %, so that nothing is to be reached; mine 80.0 %" in found[1]
    assert "which does not reach it" in verdicts([row("a", False, 10, 30.0), row("mine", True, 2.5, 29.0)])[0]
    facts = {"n": 8, "machine": "m", "commit": "c", "seed": 0, "chosen_on": 4, "most_steps": 2}
    text = markdown({**facts, "left_out": {}, "rows": rows})
    assert "| 10 | b | 0.001 | 1,000 | 40.0 [39.0, 41.0] |" in text
    assert "| 2.5 | mine |  | 1,000 | 41.0 [40.0, 42.0] |" in text
    assert text.count("- a: of a.") == 1


def test_the_page_has_the_table_of_the_results():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page, markdown(read(RESULTS)))
    changed = with_table(page, "| 1 |")
    assert "| 1 |" in changed
    assert with_table(changed, markdown(read(RESULTS))) == page


def test_rows_that_are_not_there_are_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["--only", "minimagem"])
    assert "there are: minimagen, imagen-pytorch" in capsys.readouterr().err
    assert json.dumps(options_of(parse(["--minutes", "2.5", "-n", "16"])).minutes) == "[2.5]"
