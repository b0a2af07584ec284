"""The metrics beside slow references and beside the libraries they stand on."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm

from clip_support import clip_folder
from t2ikit import Dataset, Drawn, Measure, NotMeasured, UserError
from t2ikit import checkpoint as ckpt
from t2ikit.batch import Record
from t2ikit.data.creatures import Creatures
from t2ikit.data.creatures_config import CreaturesConfig
from t2ikit.evaluating import Evaluator, Question, build_metrics, evaluate
from t2ikit.evaluation_files import write_evaluation
from t2ikit.evaluation_pictures import as_saved, reference
from t2ikit.metrics import features, hub_weights
from t2ikit.metrics.clip_score import ClipScore
from t2ikit.metrics.colours import Colours, border_noise, saturation
from t2ikit.metrics.configs import ClipScoreConfig, FeatureConfig, LpipsConfig
from t2ikit.metrics.distances import FeatureDistance, frechet, mmd
from t2ikit.metrics.intervals import mean_interval, spread_interval
from t2ikit.metrics.neighbours import Neighbours, nearest
from t2ikit.metrics.perceptual import Lpips
from t2ikit.recipe import read_recipe
from t2ikit.registry import Registry
from t2ikit.sweeping import describe_sweep, measure_and_write, parse_axes, run_sweep, write_sweep
from t2ikit.testing import check_metric
from t2ikit.training import start_run
from test_resume import IMAGEN

LIBRARIES = ("torch_fidelity", "lpips", "torchvision")
with_libraries = pytest.mark.skipif(
    os.environ.get("T2IKIT_METRICS") != "required" and not all(map(find_spec, LIBRARIES)),
    reason="pip install -e '.[metrics]'",
)
CREATURES = Creatures(CreaturesConfig(spec="creatures", count=60, size=32))
PROMPTS = CREATURES.prompts(12, seed=3)
ALL = {"frechet": "fd", "kernel": "kd", "precision": "precision", "recall": "recall"}


def pictures(count, seed=0, size=32):
    generator = torch.Generator().manual_seed(seed)
    return as_saved(torch.rand(count, 3, size, size, generator=generator) * 2 - 1)


def drawn(count=12, **more):
    return Drawn(pictures(count), (PROMPTS * 99)[:count], CREATURES, real=pictures(count, 1), **more)


# ---------------------------------------------------------------- distances


@pytest.mark.parametrize(("n", "m", "width"), [(40, 50, 8), (9, 12, 30)])
def test_frechet_distance_beside_the_matrix_root(n, m, width):
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(n, width)), 1.5 * rng.normal(size=(m, width)) + 0.3
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = sqrtm(covariances[0] @ covariances[1])
    slow = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root.real)
    assert frechet(a, b) == pytest.approx(slow, rel=1e-5)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_beside_plain_loops():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    rows, columns = np.array([0, 1, 1, 3, 4]), np.arange(4)

    def kernel(x, y):
        return (float(x @ y) / 3 + 1) ** 3

    def within(x, index):
        found = [kernel(x[i], x[j]) for i, j in itertools.permutations(index, 2) if i != j]
        return sum(found) / len(found)

    across = sum(kernel(a[i], b[j]) for i in rows for j in columns) / 20
    slow = within(a, rows) + within(b, columns) - 2 * across
    kernels = [
        np.array([[kernel(x, y) for y in right] for x in left]) for left, right in ((a, a), (a, b), (b, b))
    ]
    got = mmd(kernels[0][np.ix_(rows, rows)], kernels[1][np.ix_(rows, columns)], kernels[2], rows, columns)
    assert got == pytest.approx(slow, rel=1e-12)


def reader_distance(names=ALL, **config):
    return FeatureDistance(FeatureConfig(**config), features.creature_reader, names)


@with_libraries
@pytest.mark.slow
def test_distances_are_those_of_torch_fidelity_in_another_process(tmp_path):
    """The pictures as written, the same network registered with the library, its own entry point."""
    shown = drawn(40)
    found = reader_distance(batch=7)(shown)
    for name, images in (("a", shown.images), ("b", shown.real)):
        (tmp_path / name).mkdir()
        for i, picture in enumerate(images):
            array = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(array).save(tmp_path / name / f"{i:03d}.png")
    code = """
import json, sys, torch, torch_fidelity
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from t2ikit.metrics.creature_reader import CreatureReader

class Reader(FeatureExtractorBase):
    def __init__(self, name, features_list, **kwargs):
        super().__init__(name, features_list)
        self.net = CreatureReader().net
    @staticmethod
    def get_provided_features_list():
        return ("pool",)
    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "pool"
    @staticmethod
    def can_be_compiled():
        return False
    def forward(self, images):
        maps = self.net.trunk(images.float() / 127.5 - 1)
        return (torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1),)

torch_fidelity.register_feature_extractor("reader", Reader)
found = torch_fidelity.calculate_metrics(
    input1=sys.argv[1], input2=sys.argv[2], cuda=False, fid=True, kid=True, prc=True, verbose=False,
    feature_extractor="reader", kid_subset_size=40, kid_subsets=1, save_cpu_ram=True, cache=False)
print(json.dumps(found))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "a"), str(tmp_path / "b")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = json.loads(result.stdout.splitlines()[-1])
    assert found["fd"].value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    assert found["kd"].value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)
    assert found["precision"].value == pytest.approx(100 * theirs["precision"], abs=1e-3)
    assert found["recall"].value == pytest.approx(100 * theirs["recall"], abs=1e-3)


@with_libraries
def test_distances_have_intervals_around_them_and_say_what_they_stand_on():
    found = reader_distance()(drawn(40))
    assert all(one.low <= one.value <= one.high and one.n == 40 for one in found.values())
    assert all("creature reader v1" in one.provenance for one in found.values())
    assert "too large" in found["fd"].warning
    assert not found["kd"].warning


@with_libraries
def test_equal_sets_are_near_and_other_sets_are_far():
    real = torch.stack(CREATURES.pictures(CREATURES.prompts(60, 0), 1)).float() / 127.5 - 1
    near = torch.stack(CREATURES.pictures(CREATURES.prompts(60, 0), 2)).float() / 127.5 - 1
    distance = reader_distance({"frechet": "fd", "kernel": "kd"})
    prompts = CREATURES.prompts(60, 0)
    same = distance(Drawn(near, prompts, CREATURES, real=real))
    noise = distance(Drawn(pictures(60), prompts, CREATURES, real=real))
    assert same["kd"].high < noise["kd"].low
    assert same["fd"].high < noise["fd"].low


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (Drawn(pictures(12), PROMPTS, CREATURES), "needs a real picture of each prompt"),
        (Drawn(pictures(2), PROMPTS[:2], CREATURES, real=pictures(2)), "at least 5 pictures"),
    ],
)
def test_distances_that_cannot_be_had(shown, reason):
    with pytest.raises(NotMeasured, match=reason):
        reader_distance()(shown)


def test_the_reader_does_not_judge_other_pictures():
    metric = build_metrics(Registry.load(), ["reader-distance"], {})["reader-distance"]
    with pytest.raises(NotMeasured, match="creatures"):
        metric(Drawn(pictures(6), ["a sofa"] * 6, CREATURES, real=pictures(6)))


# ---------------------------------------------------------------- weights that may be missing


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "torch" / "hub" / "checkpoints"


@with_libraries
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fid", "weights-inception-2015-12-05-6726825d.pth"),
        ("precision-recall", "vgg16-397923af.pth"),
        ("lpips", "alexnet-owt-7be5be79.pth"),
    ],
)
def test_missing_weights_are_named_with_their_place(no_network, name, file):
    metric = build_metrics(Registry.load(), [name], {})[name]
    with pytest.raises(NotMeasured) as caught:
        metric(drawn())
    assert file in str(caught.value)
    assert str(no_network) in str(caught.value)
    assert "http" in str(caught.value)


@with_libraries
def test_damaged_weights_are_not_opened(no_network):
    no_network.mkdir(parents=True)
    (no_network / "alexnet-owt-7be5be79.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(NotMeasured, match="is damaged"):
        Lpips(LpipsConfig())(drawn())


def test_a_failed_download_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(NotMeasured, match=r"needs net-00000000\.pth .* the download failed"):
        hub_weights.need_weights("http://localhost:9/net-00000000.pth")


@with_libraries
def test_a_clip_that_cannot_be_had(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("clip-score", "clip-distance"):
        metric = build_metrics(Registry.load(), [name], {name: {"model": "./no-such-folder"}})[name]
        with pytest.raises(NotMeasured, match="no-such-folder"):
            metric(drawn())


@with_libraries
@pytest.mark.slow
def test_fid_is_that_of_the_librarys_command(tmp_path, monkeypatch):
    """With random weights under the file's name: the library's command reads the same file."""
    inception = features.library("torch_fidelity.feature_extractor_inceptionv3")
    place = tmp_path / "hub" / "checkpoints"
    place.mkdir(parents=True)
    file = place / inception.URL_INCEPTION_V3.rsplit("/", 1)[1]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *a, **k: None)
        random = inception.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    torch.save(random.state_dict(), file)
    monkeypatch.setattr(features, "need_weights", lambda url: file)
    shown = drawn(8)
    found = build_metrics(Registry.load(), ["fid"], {"fid": {"resamples": 10}})["fid"](shown)
    for name, images in (("a", shown.images), ("b", shown.real)):
        (tmp_path / name).mkdir()
        for i, picture in enumerate(images):
            array = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(array).save(tmp_path / name / f"{i:03d}.png")
    command = [sys.executable, "-m", "torch_fidelity.fidelity", "--fid", "--kid", "--kid-subset-size", "8"]
    command += ["--input1", str(tmp_path / "a"), "--input2", str(tmp_path / "b"), "--json", "--silent"]
    command += ["--save-cpu-ram", "--no-cache", "--kid-subsets", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = json.loads(result.stdout[result.stdout.index("{") :])
    assert found["fid"].value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    assert found["kid"].value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)


# ---------------------------------------------------------------- LPIPS and CLIP


@pytest.fixture
def random_lpips():
    import lpips

    torch.manual_seed(0)
    return lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)


@with_libraries
def test_lpips_is_that_of_the_package(random_lpips, monkeypatch):
    monkeypatch.setattr(Lpips, "open", lambda self: random_lpips)
    again = pictures(6, 5, 64).unflatten(0, (2, 3))
    shown = Drawn(pictures(5, 0, 64), PROMPTS[:5], CREATURES, real=pictures(5, 1, 64), again=again)
    found = Lpips(LpipsConfig(batch=2))(shown)
    with torch.no_grad():
        paired = [float(random_lpips(a[None], b[None])) for a, b in zip(shown.images, shown.real)]
        between = [
            float(random_lpips(a[None], b[None]))
            for group in again
            for a, b in itertools.combinations(group, 2)
        ]
    assert found["paired"].value == pytest.approx(np.mean(paired), abs=1e-5)
    assert found["diversity"].value == pytest.approx(np.mean(between), abs=1e-5)
    assert found["diversity"].n == 2


@with_libraries
def test_equal_pictures_of_a_prompt_have_no_diversity(random_lpips, monkeypatch):
    monkeypatch.setattr(Lpips, "open", lambda self: random_lpips)
    again = pictures(1, 2, 64).expand(1, 3, 3, 64, 64)
    shown = Drawn(pictures(1, 0, 64), PROMPTS[:1], CREATURES, again=again)
    assert Lpips(LpipsConfig())(shown)["diversity"].value == 0


def test_clip_score_is_that_of_transformers(tmp_path):
    from transformers import CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

    folder = clip_folder(tmp_path / "clip")
    shown = drawn(4)
    found = ClipScore(ClipScoreConfig(model=str(folder), batch=3))(shown)
    model = CLIPModel.from_pretrained(folder).eval()
    sizes = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    processor = CLIPImageProcessor.from_pretrained(folder, **sizes)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    scores = []
    for picture, prompt in zip(shown.images, shown.prompts):
        array = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        pixels = processor(Image.fromarray(array), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            out = model(
                **tokenizer(prompt, return_tensors="pt", truncation=True, max_length=8), pixel_values=pixels
            )
        image, text = out.image_embeds[0], out.text_embeds[0]
        scores.append(100 * float(image @ text / image.norm() / text.norm()))
    assert found["score"].value == pytest.approx(np.mean(scores), abs=1e-3)
    assert set(found) == {"score", "shuffled", "real"}


@with_libraries
def test_clip_distance_sees_the_towers_features(tmp_path):
    folder = clip_folder(tmp_path / "clip")
    name = "clip-distance"
    metric = build_metrics(Registry.load(), [name], {name: {"model": str(folder), "resamples": 10}})[name]
    found = metric(drawn(8))
    assert set(found) == {"fd-clip", "kd-clip", "precision", "recall"}
    assert str(folder) in found["fd-clip"].provenance


# ---------------------------------------------------------------- pixels


def test_saturation_and_extremes_of_known_colours():
    red, grey = torch.tensor([1.0, -1, -1]), torch.full((3,), 2 * 128 / 255 - 1)
    images = torch.stack([red, grey])[:, :, None, None].expand(2, 3, 8, 8)
    found = Colours()(Drawn(images, ["a", "b"], CREATURES))
    assert found["saturation"].value == pytest.approx(50)
    assert found["extremes"].value == pytest.approx(50)
    assert found["border-noise"].value == 0
    black = torch.full((1, 3, 8, 8), 0.0)
    assert float(saturation(black)) == 0


def test_border_noise_of_a_known_ring():
    levels = torch.full((1, 3, 6, 6), 255.0).double()
    levels[0, 1, 0, 0] = 235
    levels[0, :, 2:4, 2:4] = 0  # the middle does not count
    assert float(border_noise(levels)) == pytest.approx((20**2 / 60) ** 0.5)


def test_nearest_is_that_of_plain_loops():
    images, train = pictures(5, 0, 8), pictures(7, 1, 8)
    distances, places = nearest(images, train)
    for row, image in enumerate(images):
        slow = [float((((image - other).double() * 127.5) ** 2).mean().sqrt()) for other in train]
        assert float(distances[row]) == pytest.approx(min(slow), rel=1e-6)
        assert int(places[row]) == int(np.argmin(slow))


def test_a_model_that_remembers_is_found_out():
    train = pictures(50, 0)
    copies = as_saved((train[:20] + 0.02 * torch.randn(20, 3, 32, 32)).clamp(-1, 1))
    prompts = (PROMPTS * 2)[:20]
    real = pictures(20, 9)
    remembered = Neighbours()(Drawn(copies, prompts, CREATURES, real=real, train=train))
    new = Neighbours()(Drawn(pictures(20, 8), prompts, CREATURES, real=real, train=train))
    assert remembered["nearer"].value == 100
    assert new["nearer"].value < 40
    with pytest.raises(NotMeasured, match="stream"):
        Neighbours()(Drawn(copies, prompts, CREATURES))


def test_intervals_cover_what_they_should():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        _, low, high = mean_interval(rng.normal(3, 2, size=60), resamples=200)
        hits += low <= 3 <= high
    assert 0.88 <= hits / 200 <= 0.99
    low, high = spread_interval(5.0, lambda rng: rng.normal(7, 2), 4000)
    assert (low, high) == (pytest.approx(5 - 3.92, abs=0.2), pytest.approx(5 + 3.92, abs=0.2))


@pytest.mark.parametrize(
    "name", ["colours", "neighbours", pytest.param("reader-distance", marks=with_libraries)]
)
def test_metrics_that_need_nothing_keep_the_contract(name):
    check_metric(name)


# ---------------------------------------------------------------- real pictures of prompts


def test_a_creature_is_drawn_as_its_caption_says():
    from t2ikit.metrics.prompt_accuracy import PromptAccuracy

    prompts = [*CREATURES.prompts(60, 0), "a cat"]
    images = torch.stack(CREATURES.pictures(prompts, 0)).float() / 127.5 - 1
    assert PromptAccuracy()(Drawn(images, prompts, CREATURES))["joint"].value >= 90
    assert CREATURES.pictures(["a sofa"], 0) is None
    first, second = (CREATURES.pictures(["a cat"], seed)[0] for seed in (0, 1))
    assert not torch.equal(first, second)


class Two(Dataset):
    """Pictures of one grey each; caption 0 is in both splits."""

    def size(self, split):
        return 2

    def record(self, split, index):
        return Record(
            torch.full((3, 8, 8), 10 * index + 100 * (split == "train"), dtype=torch.uint8), ("x",), "k"
        )

    def captions(self, split, index):
        return (f"{index}" if index == 0 else f"{split} {index}",)

    def prompts(self, n, seed):
        return ["0"] * n

    fingerprint = "two"


def test_real_pictures_are_found_by_their_caption_held_out_ones_first():
    found = Two().pictures(["0", "train 1", "validation 1"], 0)
    assert [int(picture.max()) for picture in found] == [0, 110, 10]
    assert Two().pictures(["0", "none"], 0) is None
    stream = Two()
    stream.indexed_training = False
    assert stream.pictures(["train 1"], 0) is None


# ---------------------------------------------------------------- a whole evaluation


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """Two steps of the imagen plugin on creatures, drawn in two steps."""
    out = tmp_path_factory.mktemp("tiny") / "run"
    settings = [*IMAGEN, "train.steps=2"]
    registry = Registry.load()
    start_run(registry, read_recipe(registry, "imagen/default", settings=settings), out, device="cpu")
    return out


def test_a_file_plugin_adds_a_metric_and_its_options(tmp_path, tiny_run):
    (tmp_path / "mine.py").write_text(
        "from t2ikit import Config, Measure, MetricSpec, hookimpl\n"
        "class C(Config):\n    scale: float = 1.0\n"
        "@hookimpl\n"
        "def t2ikit_metrics():\n"
        "    def build(config, context):\n"
        "        return lambda d: {'mean': Measure(config.scale * float(d.images.mean()), len(d.images))}\n"
        "    return [MetricSpec('mean', build, C)]\n"
    )
    plugins = [str(tmp_path / "mine.py")]
    values = [
        evaluate(tiny_run, Question(n=4, metrics=["mean"], settings=settings), plugins=plugins).measures
        for settings in ([], ["metrics.mean.scale=2"])
    ]
    one, two = (found["mean/mean"] for found in values)
    assert isinstance(one, Measure)
    assert two.value == pytest.approx(2 * one.value)


def test_what_is_written_is_what_was_measured(tiny_run):
    question = Question(n=6, metrics=["colours", "neighbours", "lpips"], again=2, copies=2)
    evaluation = evaluate(tiny_run, question)
    folder = write_evaluation(evaluation, tiny_run)
    again = evaluate(tiny_run, question)
    assert again.measures == evaluation.measures  # to the bit
    assert torch.equal(again.drawn.images, evaluation.drawn.images)
    files = sorted((folder / "drawn").glob("*.png"))
    assert len(files) == 6
    shown = torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) for file in files])
    assert torch.equal(shown.float() / 127.5 - 1, evaluation.drawn.images)
    assert len(list((folder / "again").iterdir())) == 4
    assert len(list((folder / "real").iterdir())) == 6
    assert len((folder / "prompts.jsonl").read_text().splitlines()) == 6
    table = json.loads((folder / "evaluation.json").read_text())
    assert table["measures"]["colours/saturation"]["value"] == evaluation.measures["colours/saturation"].value
    assert table["costs"]["pictures"] == 10
    assert table["costs"]["calls"] == 2 * 2  # two steps, with guidance
    assert (folder / "neighbours.png").is_file()
    other = evaluate(tiny_run, Question(n=6, metrics=["colours"], seed=1, again=2, copies=2))
    assert other.name != evaluation.name


def test_an_earlier_checkpoint_is_measured_alone(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    newest = ckpt.load_latest(run)[0]
    for tensor in newest.tensors["ema"].values():
        tensor.mul_(0.5)
    ckpt.save(run, replace(newest, step=1))
    question = Question(n=4, metrics=["colours"], again=0)
    found = {step: evaluate(run, replace(question, checkpoint=step)) for step in (None, 1, 2)}
    assert found[1].settings["step"] == 1
    assert torch.equal(found[2].drawn.images, found[None].drawn.images)
    assert not torch.equal(found[1].drawn.images, found[None].drawn.images)


# ---------------------------------------------------------------- sweeps


def test_a_sweep_measures_every_combination_as_one_evaluation_would(tiny_run):
    axes = parse_axes(["guidance=0.5,3", "sampler.thresholding=none,dynamic"])
    question = Question(n=4, metrics=["colours"], again=0)
    sweep = run_sweep(Evaluator(tiny_run, question), axes)
    assert sweep.points[1] == {"guidance": "0.5", "thresholding": "dynamic"}
    assert len(sweep.evaluations) == 4
    settings = ["sampler.guidance=3", "sampler.thresholding=none"]
    alone = evaluate(tiny_run, Question(n=4, metrics=["colours"], again=0, settings=settings))
    assert alone.measures == sweep.evaluations[2].measures
    assert torch.equal(alone.drawn.images, sweep.evaluations[2].drawn.images)
    assert sweep.evaluations[0].settings["guidance"] == 0.5
    lines = [line.split() for line in describe_sweep(sweep).splitlines()]
    assert lines[0] == ["guidance", "0.5", "0.5", "3", "3"]
    assert lines[1] == ["thresholding", "none", "dynamic", "none", "dynamic"]
    assert lines[2][0] == "colours/saturation"
    path = write_sweep(sweep, tiny_run)
    assert Image.open(path).size[0] > 4 * 32
    table = json.loads(path.with_suffix(".json").read_text())
    assert [point["at"] for point in table["points"]] == sweep.points


@pytest.mark.parametrize("given", ["guidance", "guidance=", "=1,2", "guidance=1,1", "steps=" + "1,2,3," * 99])
def test_a_sweep_that_is_no_list(given):
    with pytest.raises(UserError):
        parse_axes([given])


def test_a_sweep_is_refused_before_anything_is_drawn(tiny_run, monkeypatch):
    monkeypatch.setattr("t2ikit.evaluating.draw_all", lambda *a: pytest.fail("it was drawn"))
    evaluator = Evaluator(tiny_run, Question(n=4, metrics=["colours"]))
    for given in ("guidance=1,-1", "colour=red", "thresholding=none,some", "steps=5,x"):
        with pytest.raises(UserError):
            run_sweep(evaluator, parse_axes([given]))


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_drawn(tiny_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("evaluations"))
    (run / "evaluations").write_text("a file in the way")
    monkeypatch.setattr("t2ikit.evaluating.draw_all", lambda *a: pytest.fail("it was drawn"))
    evaluator = Evaluator(run, Question(n=4, metrics=["colours"]))
    for axes in ({}, {"steps": ["1", "2"]}):
        with pytest.raises(UserError, match="cannot be written"):
            measure_and_write(evaluator, axes, run)


def test_large_training_pictures_are_fewer(monkeypatch):
    monkeypatch.setattr("t2ikit.evaluation_pictures.MOST_VALUES", 10 * 3 * 32 * 32)
    assert len(reference(CREATURES, PROMPTS, 0).train) == 10
