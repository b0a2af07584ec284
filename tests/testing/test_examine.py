"""Mistakes that were planted in plugins are found by name, and parts without any pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2ikit import UserError
from t2ikit.cli import main
from t2ikit.testing import examine_plugin
from t2ikit.testing.sources import plugin_sources

ROOT = Path(__file__).parents[2]
HEAD = """
import torch
from t2ikit import *
from t2ikit import hookimpl
from t2ikit.testing.toys import ToyCritic, ToyDenoiser, toy_text
"""
LOSS = """
def loss(step):
    return {value}

@hookimpl
def t2ikit_losses():
    return [LossSpec("part", lambda config, context: loss, needs=frozenset({{"target"}}))]
"""
ERROR = "(step.prediction.output - step.prediction.target)"
SAMPLER = """
class Part(DenoiserSampler[SamplerConfig]):
    def denoise_loop(self, denoiser, x, steps, draws):
        for step in range(steps):
            sigma, after = 1 - step / steps, 1 - (step + 1) / steps
            clean = denoiser.at_flow(x, sigma)
            x = (1 - after) * clean + after * ({noise})
            yield x

@hookimpl
def t2ikit_samplers():
    return [SamplerSpec("part", lambda config, context: Part(config), SamplerConfig)]
"""
GENERATOR = """
class Part(ToyDenoiser):
    def denoise(self, x, t, condition, previous=None):
        {body}

@hookimpl
def t2ikit_generators():
    return [GeneratorSpec("part", lambda config, context: Part(context.text_width, context.image_size))]
"""
CRITIC = """
class Part(ToyCritic):
    shift = 0.0

    def heads(self, features, text):
        {body}

@hookimpl
def t2ikit_critics():
    return [CriticSpec("part", lambda config, context: Part(context.text_width))]
"""
METRIC = """
def metric(image_set):
    each = image_set.images.mean((1, 2, 3))
    return {{"mean": Measure(float({value}), len(each))}}

@hookimpl
def t2ikit_metrics():
    return [MetricSpec("part", lambda config, context: metric)]
"""
DATASET = """
class Part(Dataset):
    fingerprint = "part"
    reads = 0

    def __init__(self, config):
        self.size_of_images = config.size

    def size(self, split):
        return 6

    def record(self, split, index):
        self.reads += 1
        image = torch.full((3, self.size_of_images, self.size_of_images), {level}, dtype=torch.uint8)
        return Record(image, self.captions(split, index), f"{{split}}/{{index}}")

    def captions(self, split, index):
        return (f"grey {{index}}",)

    def prompts(self, n, seed):
        return [f"grey {{seed + i}}" for i in range(n)]

@hookimpl
def t2ikit_datasets():
    return [DatasetSpec("part", lambda config, context: Part(config), DatasetConfig)]
"""
CONFIG = """
class Options(Config):
    gamma: float = 0.5
{help}

@hookimpl
def t2ikit_losses():
    build = lambda config, context: lambda step: {error}.square().mean()
    return [LossSpec("part", build, Options, needs=frozenset({{"target"}}))]
"""
ENCODER = """
class Part(TextEncoder):
    width, length, fingerprint = 16, 8, "part"

    def __init__(self):
        self.shift = {shift}

    def encode(self, captions):
        text = toy_text(captions, 16, 8)
        return TextEmbedding(text.tokens + self.shift, text.mask, text.pooled)

@hookimpl
def t2ikit_text_encoders():
    return [TextEncoderSpec("part", lambda config, context: Part())]
"""
TABLE = "self.__dict__.setdefault('table', torch.randn(1))"
MISTAKES = {
    "a loss without gradient": (LOSS.format(value=f"{ERROR}.detach().square().mean()"), "gradient"),
    "a sampler that forgets draws": (SAMPLER.format(noise="torch.randn_like(x)"), "draws"),
    "a sampler of one seed": (
        SAMPLER.format(noise="torch.ones_like(x).sin()").replace(
            "clean = ", "x = x * 0\n            clean = "
        ),
        "draws",
    ),
    "a misspelled hook": (LOSS.format(value=f"{ERROR}.square().mean()").replace("losses", "loses"), "hooks"),
    "a config without help": (CONFIG.format(help="", error=ERROR), "help texts"),
    "NaN of a loss in bf16": (
        LOSS.format(value=f"(1 - 0.999 * torch.ones_like({ERROR})).log().mean() + {ERROR}.square().mean()"),
        "bf16",
    ),
    "NaN of a generator in bf16": (
        GENERATOR.format(
            body="""y = super().denoise(x, t, condition)
        return y * (1 - 0.999 * y.new_ones(())).log()"""
        ),
        "bf16",
    ),
    "state of a generator that is not saved": (
        GENERATOR.format(body=f"return super().denoise(x, t, condition) + {TABLE}"),
        "saved state",
    ),
    "state of a critic that is not saved": (
        CRITIC.format(
            body="""self.shift += 0.1 * self.training
        return [one + self.shift for one in super().heads(features, text)]"""
        ),
        "saved state",
    ),
    "a generator that ignores its caption": (
        GENERATOR.format(
            body="""from dataclasses import replace
        return super().denoise(x, t, replace(condition, text=condition.empty.expand(len(x))))"""
        ),
        "caption",
    ),
    "a generator of one shape that says it takes any": (
        GENERATOR.format(body="return super().denoise(x, t, condition)[..., : self.image_size]"),
        "sampling",
    ),
    "a metric that averages over batches": (
        METRIC.format(value="sum(part.mean() for part in each.split(4)) / len(each.split(4))"),
        "batch size",
    ),
    "a metric that is a sum": (METRIC.format(value="each.sum()"), "batch size"),
    "a metric of what its batch looks like": (
        METRIC.format(value="(each / each.std()).mean()"),
        "batch size",
    ),
    "records that change": (DATASET.format(level="index + self.reads % 2"), "records repeat"),
    "a text encoder of torch's own seed": (ENCODER.format(shift="torch.randn(16)"), "repeats"),
}
GOOD = {
    "loss": LOSS.format(value=f"{ERROR}.square().mean()"),
    "sampler": SAMPLER.format(noise="draws.named('part').randn(*x.shape[1:])"),
    "generator": GENERATOR.format(body="return super().denoise(x, t, condition)"),
    "critic": CRITIC.format(body="return super().heads(features, text)"),
    "metric": METRIC.format(value="each.mean()"),
    "dataset": DATASET.format(level="index"),
    "encoder": ENCODER.format(shift="0.0"),
    "config": CONFIG.format(help='    """what it does"""', error=ERROR),
}


def failed(target: Path, **options) -> dict[str, object]:
    """The checks that a plugin fails, by name."""
    return {one.check: one for one in examine_plugin(target, **options) if one.status == "failed"}


def write(folder: Path, source: str) -> Path:
    path = folder / "planted.py"
    path.write_text(HEAD + source)
    return path


@pytest.mark.parametrize(("source", "check"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_found_by_name(tmp_path, source, check):
    found = failed(write(tmp_path, source))
    assert check in found
    assert all((found[check].expected, found[check].found, found[check].fix))


def test_one_mistake_is_said_once(tmp_path):
    """A loss that counts its calls neither repeats nor is the mean over micro-batches; the first is said."""
    source = """
COUNT = []

def drifting(step):
    COUNT.append(1)
    image, weight = step.prediction.images[-1], step.prediction.image_weight
    return (weight * image.square().mean((1, 2, 3))).mean() * len(COUNT)

@hookimpl
def t2ikit_losses():
    return [LossSpec("part", lambda config, context: drifting)]
"""
    results = examine_plugin(write(tmp_path, source))
    assert {one.check for one in results if one.status == "failed"} == {"randomness"}
    (note, *_) = (one for one in results if one.check == "mean over the batch")
    assert note.status == "note"
    assert note.found == 'it fails too, as it may where "randomness" fails'
    assert note.fix == 'mend "randomness", then check again'


@pytest.mark.parametrize("source", GOOD.values(), ids=GOOD)
def test_what_has_no_mistake_passes(tmp_path, source):
    results = examine_plugin(write(tmp_path, source))
    assert {one.check for one in results if one.status not in ("passed", "note")} == set()
    assert len(results) >= 10
    assert [one.check for one in results if one.status == "note"] == ["no torch at import"]


def package(folder: Path, source: str) -> Path:
    """A package with a plugin `planted` in the module `planted_kit`."""
    (folder / "src" / "planted_kit").mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project.entry-points.t2ikit]\nplanted = "planted_kit.plugin"\n')
    (folder / "src" / "planted_kit" / "__init__.py").touch()
    (folder / "src" / "planted_kit" / "plugin.py").write_text(source)
    return folder


def test_torch_at_import_is_found_in_a_package(tmp_path):
    source = "from t2ikit import hookimpl\n\n@hookimpl\ndef t2ikit_losses():\n    return []\n"
    assert failed(package(tmp_path / "good", source)) == {}
    found = failed(package(tmp_path / "bad", "import torch\n" + source))
    assert list(found) == ["no torch at import"]


def test_a_broken_package_is_explained_when_it_is_installed_too(tmp_path, monkeypatch):
    folder = package(tmp_path / "torn", "import nothing_like_this\n")
    info = folder / "src" / "planted-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[t2ikit]\nplanted = planted_kit.plugin\n")
    monkeypatch.syspath_prepend(str(folder / "src"))
    for target in (folder, "planted"):
        found = failed(target)
        assert list(found) == ["import"]
        assert "nothing_like_this" in found["import"].found
    other = package(tmp_path / "other", "from t2ikit import hookimpl\n")
    (folder / "src" / "planted_kit" / "plugin.py").write_text(
        "from t2ikit import hookimpl\n\n@hookimpl\ndef t2ikit_losses():\n    return []\n"
    )
    with pytest.raises(UserError, match="taken by an installed plugin"):
        examine_plugin(other)


EXAMPLES = {
    "dit": {"generator": {"width": 16, "heads": 2, "layers": 1}},
    "huber": {},
    "tv": {},
    "heun": {},
    "spectrum": {"metrics.spectrum.resamples": 20},
    "clocks": {"data": {"count": 40, "size": 16}},
}


def test_all_examples_are_here():
    assert {path.name for path in (ROOT / "examples").glob("t2ikit-*")} == {
        f"t2ikit-{name}" for name in EXAMPLES
    }


@pytest.mark.parametrize(("name", "options"), EXAMPLES.items(), ids=EXAMPLES)
def test_the_examples_pass(name, options):
    results = examine_plugin(ROOT / "examples" / f"t2ikit-{name}", set=options)
    assert {one.status for one in results} == {"passed"}
    assert len(results) >= 10


def test_options_are_given_as_in_a_recipe(tmp_path):
    path = write(
        tmp_path, CONFIG.format(help='    """what it does"""', error=f"(config.gamma / 0 * {ERROR})")
    )
    assert "value" in failed(path)
    path.write_text(path.read_text().replace("config.gamma / 0", "config.gamma / (config.gamma - 0.5)"))
    assert failed(path, set={"losses.part.gamma": 2.0}) == {}
    with pytest.raises(UserError, match="no part that is checked takes it"):
        examine_plugin(path, set={"losses.other.gamma": 2.0})


def test_a_part_that_lacks_something_is_skipped_with_the_reason(tmp_path):
    source = CONFIG.format(help="    '''what it does'''", error=ERROR).replace(" = 0.5", "")
    skipped = [one for one in examine_plugin(write(tmp_path, source)) if one.status == "skipped"]
    assert [(one.check, "gamma is missing" in one.found) for one in skipped] == [("options", True)]


def test_the_command_prints_a_line_for_each_check_and_says_whether_all_passed(tmp_path, capsys):
    path = write(tmp_path, GOOD["loss"])
    assert main(["plugin", "check", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t") == ["part", "check", "result", "expected", "found", "fix"]
    assert any(line.startswith("loss planted/part on a denoiser\tgradient\tpassed\t") for line in lines)
    write(tmp_path, MISTAKES["a loss without gradient"][0])
    assert main(["plugin", "check", str(path), "--quiet"]) == 1
    assert capsys.readouterr().out.splitlines()[1].split("\t")[1:3] == ["gradient", "failed"]
    assert main(["plugin", "check", str(tmp_path / "nothing")]) == 2
    assert "there is no plugin" in capsys.readouterr().err


def test_an_installed_plugin_comes_before_a_folder_called_alike(tmp_path, monkeypatch):
    (tmp_path / "t2ikit").mkdir()
    monkeypatch.chdir(tmp_path)
    with plugin_sources("t2ikit") as (source,):
        assert source.installed
    with pytest.raises(UserError), plugin_sources("./t2ikit"):
        pass
