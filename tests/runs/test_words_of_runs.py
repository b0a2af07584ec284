"""Runs keep the words they were trained on: stopped, streamed, exported, or begun before that."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
from test_resume import IMAGEN

import t2ikit
from conftest import TOYS
from t2ikit.cli import main
from t2ikit.data.configs import ShardsConfig
from t2ikit.data.formats.shard_stream import ShardStream
from t2ikit.errors import T2ikitWarning
from t2ikit.exporters.export import export
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs.open import open_run
from t2ikit.sampling.sample import read_prompts
from t2ikit.text.vocabulary import most_frequent
from t2ikit.training.start import resume_run, start_run

TOY = [
    "losses.contrast.weight=0",
    "text.length=8",
    "train.keep_last=9",
    "train.steps=6",
    "train.save_every=2",
]


def toy_run(out: Path, *settings: str, data: str | None = None) -> Path:
    registry = Registry.load([str(TOYS)])
    recipe = read_recipe(registry, "toys/denoiser", data=data, settings=[*TOY, *settings])
    start_run(registry, recipe, out, device="cpu")
    return out


def words(checkpoint: Path) -> dict[str, int]:
    return json.loads((checkpoint / "state.json").read_text())["words"]


def told(function, *given, **options) -> list[str]:
    """What is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*given, **options)
    return [str(one.message) for one in caught if issubclass(one.category, T2ikitWarning)]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return toy_run(tmp_path_factory.mktemp("words") / "run")


def sample(path: Path, *prompts: str) -> list[str]:
    return told(t2ikit.sample, path, prompts, n=1, plugins=[str(TOYS)], device="cpu", progress=False)


def test_a_checkpoint_keeps_the_words_of_its_steps(run: Path) -> None:
    saved = ckpt.checkpoints(run)
    assert len(saved) == 3
    for checkpoint in saved:
        count = ckpt.step_of(checkpoint) * 8  # captions, each "a COLOUR square"
        found = words(checkpoint)
        assert found["a"] == found["square"] == count
        colours = {word: n for word, n in found.items() if word not in ("a", "square")}
        assert set(colours) == {"red", "green", "blue", "grey"}
        assert sum(colours.values()) == count
        assert list(found) == sorted(found)


def test_a_run_that_goes_on_keeps_the_same_words_to_the_byte(run: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(run, part)
    for checkpoint in ckpt.checkpoints(part)[1:]:
        shutil.rmtree(checkpoint)
    resume_run(Registry.load([str(TOYS)]), part, device="cpu")
    for whole, resumed in zip(ckpt.checkpoints(run), ckpt.checkpoints(part), strict=True):
        assert (whole / "state.json").read_bytes() == (resumed / "state.json").read_bytes()


def test_sample_names_words_the_run_never_saw_and_cut_prompts_once(run: Path) -> None:
    long = "a red square and then many more words"
    found = sample(run, "a gren square", "a gren dragon", long, "a red square")
    assert found == [
        "never seen in training: 'gren' (did you mean 'green'?), 'dragon', 'and', 'then', 'many', 'more'",
        "a prompt is cut, after 7 words ('a red square and then many more'): "
        "what follows is not read (text.length=8)",
    ]
    assert sample(run, "a red square", "A GREEN square!", "") == []


def test_training_says_which_prompts_are_cut_and_at_its_end_which_words_it_never_saw(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    toy_run(
        tmp_path / "run", 'train.prompts=["a gren square", "", "a red square, a red square"]', "text.length=6"
    )
    said = capfd.readouterr().err
    cut = "train.prompts: a prompt is cut, after 4 words ('a red square, a')"
    unknown = "prompts: never seen in training: 'gren' (did you mean 'green'?)"
    assert said.count(cut) == said.count(unknown) == 1
    assert said.index(cut) < said.index("step 6/6") < said.index(unknown)


def test_the_command_says_it_once_on_standard_error(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--plugin", str(TOYS), "-n", "1", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["sample", str(run), "a gren \x1b[1msquare", "a gren circle", "", *options]) == 0
    said = capsys.readouterr()
    assert said.err.count("'gren'") == 1
    assert "warning: never seen in training: 'gren' (did you mean 'green'?)" in said.err
    assert "\x1b" not in said.err
    assert "gren" not in said.out
    assert (tmp_path / "out" / "002-unconditional-g1-s0-0.png").is_file()


def test_a_run_from_before_words_were_counted_stays_silent(run: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    for checkpoint in ckpt.checkpoints(old):
        snapshot = ckpt.load(checkpoint)
        del snapshot.state["words"]
        ckpt.save(old, snapshot)
    assert sample(old, "a purple dragon") == []
    shutil.rmtree(ckpt.checkpoints(old)[-1])
    resume_run(Registry.load([str(TOYS)]), old, device="cpu")
    assert ckpt.step_of(ckpt.checkpoints(old)[-1]) == 6
    assert "words" not in ckpt.load_latest(old)[0].state
    assert sample(old, "a purple dragon") == []


def test_a_streams_words_are_counted(tmp_path: Path) -> None:
    from test_few_images import shards

    spec = shards(tmp_path, [4, 3])
    run = toy_run(tmp_path / "run", "data.stream=true", "train.batch=4", data=spec)
    first = ShardStream(ShardsConfig(spec=spec, size=16)).first
    held_out = {first.captions("validation", i)[0].split()[1] for i in range(first.size("validation"))}
    found = words(ckpt.checkpoints(run)[-1])
    assert found["image"] == 6 * 4
    assert set(found) == {"image", *map(str, range(7))} - held_out


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Path, Path]:
    """A tiny Imagen run and its export."""
    root = tmp_path_factory.mktemp("exported")
    registry = Registry.load(["imagen"])
    settings = [*IMAGEN, "train.steps=1", "train.sample_every=9", "train.batch=16"]
    start_run(registry, read_recipe(registry, None, settings=settings), root / "run", device="cpu")
    export(root / "run", format="diffusers", out=root / "export")
    return root / "run", root / "export"


def test_an_export_carries_the_words(exported: tuple[Path, Path], tmp_path: Path) -> None:
    from t2ikit_imagen.pipeline import ImagenPipeline

    run, folder = exported
    known = ckpt.load_latest(run)[0].state["words"]
    assert json.loads((folder / "words.json").read_text()) == most_frequent(known) == known
    assert open_run(folder).model().words == known
    asked = ["a drawing of a gren wombat"]
    wanted = told(t2ikit.sample, run, asked, n=1, device="cpu", progress=False)
    assert wanted
    assert "'gren'" in wanted[0]
    assert told(t2ikit.sample, folder, asked, n=1, device="cpu", progress=False) == wanted
    pipeline = ImagenPipeline.from_pretrained(folder)
    assert told(pipeline, asked, num_inference_steps=1) == wanted
    pipeline.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "words.json").read_bytes() == (folder / "words.json").read_bytes()
    (tmp_path / "again" / "words.json").unlink()
    assert told(ImagenPipeline.from_pretrained(tmp_path / "again"), asked, num_inference_steps=1) == []
    assert told(ImagenPipeline.from_run(run), asked, num_inference_steps=1) == wanted


# No prompt


def test_an_empty_prompt_is_the_unconditional_sample(exported: tuple[Path, Path], tmp_path: Path) -> None:
    from t2ikit_imagen.pipeline import ImagenPipeline

    run, folder = exported
    options = {"n": 2, "steps": 2, "device": "cpu", "progress": False}
    samples = t2ikit.sample(run, ["", "a green cat"], **options)
    guided = t2ikit.sample(run, "", guidance=7.0, **options)
    assert (
        guided.images[0, 0].sub(samples.images[0, 0]).abs().max() < 1e-4
    )  # there is nothing to guide towards
    assert not samples.images[0].equal(samples.images[1])
    grid = samples.save(tmp_path / "out")
    assert grid.is_file()
    names = sorted(path.name for path in (tmp_path / "out").glob("000-*.png"))
    assert names == [name for name in names if name.startswith("000-unconditional-g")]
    assert len(names) == 2
    pipeline = ImagenPipeline.from_pretrained(folder)
    drawn = pipeline("", num_inference_steps=2, num_images_per_prompt=2, output_type="pt").images
    assert drawn.sub(samples.images[0, 0]).abs().max() < 1e-4


def test_an_empty_prompt_is_labelled() -> None:
    from t2ikit.utils.grids import prompt_labels

    assert prompt_labels(["", "  ", "a cat"]) == ["(no prompt)", "(no prompt)", "a cat"]


def test_empty_prompts_of_the_command_line_stay_and_blank_lines_of_a_file_go(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes("a cat\r\n\r\n  a dog \r\n\n".encode("utf-16"))
    assert read_prompts([""], None) == [""]
    assert read_prompts(["", "a cat", "  "], file) == ["", "a cat", "a dog"]
    file.write_text("\n \n")
    with pytest.raises(t2ikit.UserError, match="no prompt"):
        read_prompts([], file)
    file.write_bytes("café".encode("latin-1"))
    with pytest.raises(t2ikit.UserError, match="cannot be read"):
        read_prompts([], file)
