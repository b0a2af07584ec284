"""Checkpoints that are damaged, or whose weights are not finite: what every command makes of them."""

from __future__ import annotations

import contextlib
import io
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_resume import IMAGEN

import t2ikit
from t2ikit.cli import main
from t2ikit.errors import T2ikitWarning, UserError
from t2ikit.evaluation.evaluator import Evaluator
from t2ikit.evaluation.results import EvaluationOptions
from t2ikit.evaluation.sweeps import read_axes, run_sweep
from t2ikit.pipeline import GeneratorModel
from t2ikit.runs import checkpoint as ckpt
from t2ikit_imagen.pipeline import ImagenPipeline

FILES = [
    "ema.safetensors",
    "generator.safetensors",
    "optimizer.generator.safetensors",
    "state.json",
    "manifest.json",
]
SETTINGS = ["train.steps=4", "train.save_every=2", "train.sample_every=2", "train.ema_decay=0.5"]
NOTE = "checkpoints/step-00000004/ema.safetensors is missing or damaged: step 2 is used instead"
"""What is said of a newest checkpoint without `ema.safetensors`."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A diffusion run with checkpoints of steps 2 and 4."""
    folder = tmp_path_factory.mktemp("trained")
    words = [word for setting in (*IMAGEN, *SETTINGS) for word in ("--set", setting)]
    with contextlib.redirect_stdout(io.StringIO()):
        run = folder / "run"
        assert main(["train", "--plugin", "imagen", *words, "--device", "cpu", "--out", str(run)]) == 0
    assert [ckpt.step_of(path) for path in ckpt.checkpoints(run)] == [2, 4]
    assert sorted(path.name for path in ckpt.checkpoints(run)[-1].iterdir()) == sorted(FILES)
    return run


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """A copy of it, in the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def damage(file, how):
    data = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "short":
        file.write_bytes(data[: len(data) // 2])
    else:
        middle = len(data) // 2
        file.write_bytes(data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :])


def newest(run, name="ema.safetensors"):
    return run / "checkpoints" / "step-00000004" / name


def change(run, name, step=4, **values):
    """Write values into tensors of a checkpoint, and renew the digests."""
    path = run / "checkpoints" / f"step-{step:08d}"
    tensors = load_file(path / name)
    for place, value in enumerate(values.values()):
        tensors[sorted(tensors)[place]].view(-1)[:2] = value
    save_file(tensors, path / name)
    renew(path)
    return sorted(tensors)


def renew(checkpoint):
    (checkpoint / "manifest.json").unlink()
    (checkpoint / "manifest.json").write_text(json.dumps({"files": ckpt._digests(checkpoint)}))


def said(capsys, *words):
    """The lines on standard error of a command that ends well."""
    capsys.readouterr()
    assert main([*map(str, words)]) == 0
    return capsys.readouterr().err.splitlines()


def images(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


# ---------------------------------------------------------------- damaged


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["missing", "short", "flipped"])
def test_a_checkpoint_is_whole_or_not_used(run, name, how):
    older = load_file(run / "checkpoints" / "step-00000002" / "ema.safetensors")
    damage(newest(run, name), how)
    note = f"checkpoints/step-00000004/{name} is missing or damaged: step 2 is used instead"
    with pytest.warns(T2ikitWarning, match=note) as told:
        model = t2ikit.open_run(run).model()
    assert len(told) == 1
    assert (model.step, model.notes) == (2, (note,))
    assert all(torch.equal(tensor, older[key]) for key, tensor in model.generator.state_dict().items())


def test_the_one_before_is_sampled_and_said_to_be(run, capsys):
    assert not said(capsys, "sample", "run", "a cat", "-n", 1, "--out", "newest")
    said(capsys, "sample", "run", "a cat", "-n", 1, "--checkpoint", 2, "--out", "older")
    damage(newest(run), "flipped")
    assert said(capsys, "sample", "run", "a cat", "-n", 1, "--out", "found") == [f"warning: run: {NOTE}"]
    found, older, whole = (images(run.parent / name) for name in ("found", "older", "newest"))
    assert found == older != whole


def test_an_evaluation_says_which_step_it_measured(run, capsys):
    damage(newest(run), "flipped")
    told = said(capsys, "evaluate", "run", "-n", 2, "--metrics", "colours", "--json", "numbers.json")
    assert told.count(f"warning: run: {NOTE}") == 1
    (written,) = (run / "evaluations").glob("*/evaluation.json")
    for path in (run.parent / "numbers.json", written):
        numbers = json.loads(path.read_text())
        assert numbers["settings"]["step"] == 2
        assert numbers["checkpoint_notes"] == [NOTE]


def test_a_sweep_says_so_of_evaluations_that_were_there_before(run):
    options = EvaluationOptions(n=2, metrics=["colours"], repeated_prompts=0)
    whole = Evaluator(run, options, device="cpu")
    assert run_sweep(whole, read_axes(["steps=1"])).evaluations[0].checkpoint_notes == ()
    older = Evaluator(
        run, EvaluationOptions(n=2, metrics=["colours"], repeated_prompts=0, checkpoint=2), device="cpu"
    )
    run_sweep(older, read_axes(["steps=1"]))
    damage(newest(run), "missing")
    with pytest.warns(T2ikitWarning):
        sweep = run_sweep(Evaluator(run, options, device="cpu"), read_axes(["steps=1"]))
    assert sweep.kept == 1
    assert sweep.table()["points"][0]["checkpoint_notes"] == [NOTE]


def test_an_export_says_which_step_it_holds(run, capsys):
    damage(newest(run), "missing")
    told = said(capsys, "export", "run", "--format", "diffusers", "--out", "exported")
    assert told.count(f"warning: run: {NOTE}") == 1
    info = json.loads((run.parent / "exported" / "run.json").read_text())
    assert info["step"] == 2
    assert info["checkpoint_notes"] == [NOTE]
    card = (run.parent / "exported" / "README.md").read_text()
    assert "step 2 of 4" in card
    assert NOTE in card
    assert "at step 2](grid.png)" in card


def test_an_export_of_a_whole_run_says_nothing_of_damage(run, capsys):
    assert not said(capsys, "export", "run", "--format", "diffusers", "--out", "exported")
    assert json.loads((run.parent / "exported" / "run.json").read_text())["checkpoint_notes"] == []
    card = (run.parent / "exported" / "README.md").read_text()
    assert "step 4 of 4" in card
    assert "damaged" not in card


def test_a_comparison_says_so_on_its_page(run, capsys):
    shutil.copytree(run, run.parent / "whole")
    damage(newest(run), "short")
    (run.parent / "prompts.txt").write_text("a cat")
    words = ("compare", "run", "whole", "-n", 2, "--metrics", "colours", "--prompts", "prompts.txt")
    told = said(capsys, *words, "--out", "page.html")
    assert told.count(f"warning: run: {NOTE}") == 1
    page = (run.parent / "page.html").read_text()
    assert f"run: {NOTE}" in page
    assert f"whole: {NOTE}" not in page


def test_a_pipeline_of_a_run_says_so(run):
    damage(newest(run), "missing")
    with pytest.warns(T2ikitWarning, match="step 2 is used instead"):
        model = ImagenPipeline.from_run(run).model()
    assert (model.step, model.notes) == (2, (NOTE,))


def test_a_checkpoint_that_was_asked_for_is_not_exchanged(run, capsys):
    damage(newest(run, "optimizer.generator.safetensors"), "short")
    assert main(["sample", "run", "a cat", "--checkpoint", "4"]) == 2
    assert "optimizer.generator.safetensors is missing or damaged" in capsys.readouterr().err


def test_every_flipped_bit_of_a_manifest_is_noticed_or_harmless(tmp_path):
    path = ckpt.save(tmp_path, ckpt.Snapshot(1, {"ema": {"a": torch.ones(2)}}, {}))
    whole = (path / "manifest.json").read_bytes()
    noticed = 0
    for place in range(0, 8 * len(whole), 3):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        (path / "manifest.json").write_bytes(changed)
        try:
            assert torch.equal(ckpt.load(path).tensors["ema"]["a"], torch.ones(2))
        except ckpt.Damaged:
            noticed += 1
    assert noticed > 7 * len(whole) // 3


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".safetensors")])
def test_a_damaged_file_with_a_new_digest_is_the_one_that_is_named(run, name):
    file = newest(run, name)
    file.write_bytes(b"\xff" * 8 + file.read_bytes()[8:])
    renew(file.parent)
    with pytest.raises(ckpt.Damaged, match=rf"{name} is missing or damaged") as error:
        ckpt.load(file.parent)
    assert error.value.file == file
    assert "state.json" not in str(error.value)


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"step": "last"}', "{"])
def test_a_damaged_state_with_a_new_digest_is_named(run, text):
    newest(run, "state.json").write_text(text)
    renew(newest(run).parent)
    with pytest.raises(ckpt.Damaged, match=r"state\.json is missing or damaged"):
        ckpt.load(newest(run).parent)


def test_a_file_that_the_manifest_does_not_name_is_noticed(run):
    manifest = newest(run, "manifest.json")
    files = json.loads(manifest.read_text())["files"]
    del files["ema.safetensors"]
    manifest.write_text(json.dumps({"files": files}))
    with pytest.raises(ckpt.Damaged, match=r"manifest\.json") as error:
        ckpt.load(manifest.parent)
    assert "none for ema.safetensors" in error.value.got


@pytest.mark.parametrize("name", ["/etc/hostname", "../other.safetensors", "..\\\\other.safetensors"])
def test_a_manifest_that_leads_out_of_its_folder_is_damage(run, name):
    manifest = newest(run, "manifest.json")
    files = json.loads(manifest.read_text())["files"]
    manifest.write_text(json.dumps({"files": {**files, name: {"bytes": 1, "sha256": "0"}}}))
    with pytest.raises(ckpt.Damaged, match=r"manifest\.json") as error:
        ckpt.load(manifest.parent)
    assert "outside the checkpoint's folder" in str(error.value.got)


def test_a_file_that_cannot_be_read_is_damage(run, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ckpt, "_digest", refuse)
    with pytest.raises(ckpt.Damaged, match="missing or damaged"):
        ckpt.load(newest(run).parent)


# ---------------------------------------------------------------- not finite

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "words",
    [
        ("sample", "run", "a cat"),
        ("evaluate", "run", "-n", "2", "--metrics", "colours"),
        ("export", "run", "--format", "diffusers", "--out", "exported"),
        ("compare", "run", "whole", "-n", "2", "--metrics", "colours", "--out", "page.html"),
    ],
)
def test_weights_that_are_not_finite_are_refused(run, capsys, words):
    shutil.copytree(run, run.parent / "whole")
    first, second, *_ = change(run, "ema.safetensors", one=NAN, other=-INFINITE)
    capsys.readouterr()
    assert main(list(words)) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert "run: the model of step 4 has values that are not finite" in error
    assert f"{first} (2 of " in error
    assert f"{second} (2 of " in error
    assert "got:      4 NaN or infinite values in 2 of" in error
    assert "another checkpoint with --checkpoint 2;" in error
    assert not (run / "outputs").exists()
    assert not (run.parent / "exported").exists()
    assert not (run.parent / "page.html").exists()


def test_raw_weights_may_be_finite_where_averaged_ones_are_not(run):
    change(run, "ema.safetensors", one=NAN)
    t2ikit.open_run(run).model(weights="raw")
    change(run, "generator.safetensors", one=INFINITE)
    with pytest.raises(UserError, match="not finite"):
        t2ikit.open_run(run).model(weights="raw")


def test_of_many_tensors_some_are_named(run):
    names = change(run, "ema.safetensors", **{f"t{number}": NAN for number in range(5)})
    shutil.rmtree(run / "checkpoints" / "step-00000002")
    with pytest.raises(UserError, match=r"and 2 more tensors") as error:
        t2ikit.open_run(run).model()
    assert names[2] in error.value.what
    assert names[3] not in error.value.what
    assert "there is no other checkpoint" in error.value.fix


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".safetensors")])
def test_nothing_goes_on_from_numbers_that_are_not_finite(run, capsys, name):
    change(run, name, one=NAN)
    before = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert main(["train", "--resume", "run", "--set", "train.steps=6", "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert f"the checkpoint of step 4: {name} has values that are not finite" in error
    assert "(2 of " in error
    assert "from the checkpoint before" in error
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == before


def test_a_value_that_is_infinite_in_a_new_model_is_none_of_training_s(monkeypatch):
    from t2ikit.nn.weights import check_finite

    mask = torch.tensor([0.0, -INFINITE])
    check_finite({"mask": mask}, {"mask": mask.clone()}, "a model", "")
    with pytest.raises(UserError, match=r"mask \(1 of 2 values\)"):
        check_finite({"mask": torch.tensor([NAN, -INFINITE])}, {"mask": mask}, "a model", "")


def test_an_export_whose_weights_are_not_finite_is_refused(run):
    ImagenPipeline.from_run(run).save_pretrained(run.parent / "saved")
    file = run.parent / "saved" / "generator" / "diffusion_pytorch_model.safetensors"
    whole = load_file(file)
    name = sorted(whole)[0]
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        tensors = {key: tensor.to(dtype) for key, tensor in whole.items()}
        tensors[name].view(-1)[0] = NAN
        save_file(tensors, file)
        for options in ({}, {"torch_dtype": torch.bfloat16}):
            with pytest.raises(UserError, match="not finite") as error:
                ImagenPipeline.from_pretrained(run.parent / "saved", **options)
            assert f"{name} (1 of " in error.value.what


def test_memory_that_a_new_model_leaves_unset_excuses_no_weight(run):
    """diffusers builds a model without setting its weights, which then are whatever the memory held."""
    ImagenPipeline.from_run(run).save_pretrained(run.parent / "saved")
    file = run.parent / "saved" / "generator" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors[next(name for name in sorted(tensors) if name.endswith(".weight"))].view(-1)[0] = NAN
    save_file(tensors, file)
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills what is unset with NaN
    try:
        with pytest.raises(UserError, match="not finite"):
            GeneratorModel.from_pretrained(file.parent)
    finally:
        torch.use_deterministic_algorithms(False)


def test_weights_too_large_for_half_precision_are_refused(run):
    ImagenPipeline.from_run(run).save_pretrained(run.parent / "saved")
    file = run.parent / "saved" / "generator" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if name.endswith("unet.conv_in.weight"))
    tensors[name].view(-1)[0] = 1e6
    save_file(tensors, file)
    ImagenPipeline.from_pretrained(run.parent / "saved")
    with pytest.raises(UserError, match=r"torch\.float16"):
        GeneratorModel.from_pretrained(run.parent / "saved" / "generator", torch_dtype=torch.float16)


def test_an_export_that_sample_opens_is_checked_too(run, capsys):
    said(capsys, "export", "run", "--format", "diffusers", "--out", "exported")
    file = run.parent / "exported" / "generator" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors[sorted(tensors)[0]].view(-1)[0] = NAN
    save_file(tensors, file)
    assert main(["sample", "exported", "a cat"]) == 2
    error = capsys.readouterr().err
    assert "exported: the model of step 4 has values that are not finite" in error
    assert "export the run again" in error
    file.write_bytes(file.read_bytes()[:-10])
    assert main(["sample", "exported", "a cat"]) == 2
    assert f"{file.relative_to(run.parent)} is damaged" in capsys.readouterr().err
