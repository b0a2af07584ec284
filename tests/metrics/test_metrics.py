"""The metrics beside slow references and beside the libraries they stand on."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from scipy.linalg import sqrtm

from clip_support import clip_folder
from t2ikit import Dataset, ImageSet, NotMeasured
from t2ikit.core.batch import Record
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.metrics import clip_files, hub_weights
from t2ikit.metrics.clip_score import ClipScore, prepare
from t2ikit.metrics.colours import Colours, border_noise, saturation
from t2ikit.metrics.configs import ClipScoreConfig, FeatureConfig, LpipsConfig
from t2ikit.metrics.coverage import covered, share_interval
from t2ikit.metrics.distances import FeatureDistance, frechet, kernel_distance, mmd
from t2ikit.metrics.diversity import between
from t2ikit.metrics.features import ReaderNetwork
from t2ikit.metrics.intervals import below_interval, mean_interval, spread_interval
from t2ikit.metrics.neighbours import Neighbours, nearest
from t2ikit.metrics.packages import library
from t2ikit.metrics.perceptual import LEAST, Lpips
from t2ikit.metrics.selection import select_metrics
from t2ikit.nn.clip import ClipPixels
from t2ikit.registry.registry import Registry
from t2ikit.testing import check_metric
from t2ikit.utils import hub
from t2ikit.utils.images import as_saved, to_pil

LIBRARIES = ("torch_fidelity", "lpips", "torchvision")
with_libraries = pytest.mark.skipif(
    os.environ.get("T2IKIT_METRICS") != "required" and not all(map(find_spec, LIBRARIES)),
    reason="pip install -e '.[metrics]'",
)
CREATURES = Creatures(CreaturesConfig(spec="creatures", count=60, size=32))
PROMPTS = CREATURES.prompts(12, seed=3)
ALL = {"frechet": "fd", "kernel": "kd", "precision": "precision", "recall": "recall"}


def random_images(count, seed=0, size=32):
    generator = torch.Generator().manual_seed(seed)
    return as_saved(torch.rand(count, 3, size, size, generator=generator) * 2 - 1)


def drawn(count=12, **more):
    return ImageSet(
        random_images(count), (PROMPTS * 99)[:count], CREATURES, real=random_images(count, 1), **more
    )


def built(name, **options):
    return select_metrics(Registry.load(), [name], {name: options})[name].metric


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
    return FeatureDistance(FeatureConfig(**config), ReaderNetwork(), names)


@with_libraries
@pytest.mark.parametrize(("size", "subsets"), [(20, 7), (30, 1)])
def test_kernel_distances_are_means_over_the_subsets_of_torch_fidelity(size, subsets):
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(30, 6)), 1.2 * rng.normal(size=(40, 6)) + 0.1
    options = {"kid_subset_size": size, "kid_subsets": subsets, "verbose": False}
    theirs = library("torch_fidelity.metric_kid").kid_features_to_metric(
        *map(torch.tensor, (a, b)), **options
    )
    expected = theirs["kernel_inception_distance_mean"]
    assert kernel_distance(a, b, size, subsets) == pytest.approx(expected, rel=1e-9)


def test_a_kernel_distance_of_whole_sets_is_that_of_plain_loops():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(6, 3)), rng.normal(size=(6, 3)) + 0.5

    def mean(x, y, skip):
        pairs = [(i, j) for i in range(6) for j in range(6) if not (skip and i == j)]
        return sum((float(x[i] @ y[j]) / 3 + 1) ** 3 for i, j in pairs) / len(pairs)

    slow = mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)
    assert kernel_distance(a, b, 6, 1) == pytest.approx(slow, rel=1e-12)


@with_libraries
@pytest.mark.slow
def test_distances_are_those_of_torch_fidelity_in_another_process(tmp_path):
    """The images as written, the same network registered with the library, its own entry point."""
    shown = drawn(40)
    found = reader_distance(batch=7)(shown)
    for name, images in (("a", shown.images), ("b", shown.real)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            array = ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
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
        return (torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1).double(),)  # as we compute

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


def test_distances_have_intervals_around_them_and_say_what_they_stand_on():
    found = reader_distance()(drawn(40))
    assert all(one.low <= one.value <= one.high and one.n == 40 for one in found.values())
    assert all("creature reader v1" in one.provenance for one in found.values())
    assert "1 subset of 40" in found["kd"].provenance
    assert "100 bootstrap samples" in found["fd"].provenance
    assert "too large" in found["fd"].warning
    assert not found["kd"].warning


def test_large_frechet_distances_are_resampled_less_unless_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "t2ikit.metrics.distances.spread_interval",
        lambda value, again, resamples: asked.append(resamples) or (value, value),
    )
    monkeypatch.setattr("t2ikit.metrics.distances.QUICK", 20)
    found = reader_distance({"frechet": "fd"})(drawn(40))["fd"]
    reader_distance({"frechet": "fd"}, resamples=100)(drawn(40))
    assert asked == [25, 100]
    assert "25 bootstrap samples" in found.provenance


def test_real_images_that_repeat_are_told():
    real = random_images(6, 1).repeat(2, 1, 1, 1)
    found = reader_distance()(ImageSet(random_images(12), PROMPTS, CREATURES, real=real))
    assert all("only 6 of 12 real images are different" in one.warning for one in found.values())


def test_equal_sets_are_near_and_other_sets_are_far():
    real = torch.stack(CREATURES.images(CREATURES.prompts(60, 0), 1)).float() / 127.5 - 1
    near = torch.stack(CREATURES.images(CREATURES.prompts(60, 0), 2)).float() / 127.5 - 1
    distance = reader_distance({"frechet": "fd", "kernel": "kd"})
    prompts = CREATURES.prompts(60, 0)
    same = distance(ImageSet(near, prompts, CREATURES, real=real))
    noise = distance(ImageSet(random_images(60), prompts, CREATURES, real=real))
    assert same["kd"].high < noise["kd"].low
    assert same["fd"].high < noise["fd"].low


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (ImageSet(random_images(12), PROMPTS, CREATURES), "needs a real image of each prompt"),
        (ImageSet(random_images(2), PROMPTS[:2], CREATURES, real=random_images(2)), "at least 5 images"),
    ],
)
def test_distances_that_cannot_be_had(shown, reason):
    with pytest.raises(NotMeasured, match=reason):
        reader_distance()(shown)


def test_the_reader_does_not_judge_other_images():
    metric = built("reader-distance")
    with pytest.raises(NotMeasured, match="creatures"):
        metric(ImageSet(random_images(6), ["a sofa"] * 6, CREATURES, real=random_images(6)))


# ---------------------------------------------------------------- weights that may be missing


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
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
    metric = built(name)
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


@pytest.fixture
def server():
    """The address of a server that has nothing."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as one:
        BaseHTTPRequestHandler.log_message = lambda *words: None
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{one.server_port}"
        one.shutdown()


@pytest.fixture
def online(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_known", {})


def test_a_download_is_announced_and_its_failure_told(online, server, monkeypatch, tmp_path, capsys):
    url = f"{server}/net-00000000.pth"
    monkeypatch.setitem(hub_weights.MEGABYTES, url, 7)
    with pytest.raises(NotMeasured, match=r"needs net-00000000\.pth .* the download failed"):
        hub_weights.need_weights(url)
    told = f"downloading net-00000000.pth (7 MB) to {tmp_path}/hub/checkpoints from {url}"
    assert told in capsys.readouterr().err


def test_a_place_for_weights_that_cannot_be_made_is_told(online, server, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(NotMeasured, match=r"needs net-00000000\.pth .* the download failed"):
        hub_weights.need_weights(f"{server}/net-00000000.pth")


@pytest.mark.parametrize("name", ["clip-score", "clip-distance", "clip-diversity"])
def test_a_clip_that_cannot_be_had_is_named_with_its_files(name, tmp_path, monkeypatch):
    again = random_images(4).unflatten(0, (2, 2))
    files = r"config\.json, model\.safetensors, tokenizer\.json"
    with pytest.raises(NotMeasured, match=rf"needs \./no-such-folder: .*{files}"):
        built(name, model="./no-such-folder")(drawn(images_per_prompt=again))
    folder = clip_folder(tmp_path / "clip")
    (tmp_path / "clip" / "model.safetensors").unlink()
    with pytest.raises(NotMeasured, match=r"no model\.safetensors"):
        built(name, model=folder)(drawn(images_per_prompt=again))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(NotMeasured, match=rf"needs {files} of nobody/no-clip in {tmp_path}/hub: .*offline"):
        built(name, model="nobody/no-clip")(drawn(images_per_prompt=again))


@with_libraries
def test_the_weights_of_the_table_are_those_that_the_libraries_open():
    theirs = library("torch_fidelity.feature_extractor_inceptionv3").URL_INCEPTION_V3
    assert theirs == hub_weights.INCEPTION
    models = library("torchvision.models")
    for kind, url in (("AlexNet", hub_weights.ALEXNET), ("SqueezeNet1_1", hub_weights.SQUEEZENET)):
        assert getattr(models, f"{kind}_Weights").DEFAULT.url == url
    weights = models.VGG16_Weights.DEFAULT
    assert weights.url == hub_weights.VGG16
    assert weights.meta["_file_size"] == pytest.approx(hub_weights.MEGABYTES[hub_weights.VGG16] / 1.048576, 2)


@with_libraries
@pytest.mark.slow
def test_fid_is_that_of_the_librarys_command(tmp_path, monkeypatch):
    """With random weights under the file's name: the library's command reads the same file."""
    inception = library("torch_fidelity.feature_extractor_inceptionv3")
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
    monkeypatch.setattr(hub_weights, "need_weights", lambda url: file)
    shown = drawn(8)
    found = built("fid", resamples=10)(shown)
    for name, images in (("a", shown.images), ("b", shown.real)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            array = ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(array).save(tmp_path / name / f"{i:03d}.png")
    command = [sys.executable, "-m", "torch_fidelity.fidelity", "--fid", "--kid", "--kid-subset-size", "8"]
    command += ["--input1", str(tmp_path / "a"), "--input2", str(tmp_path / "b"), "--json", "--silent"]
    command += ["--save-cpu-ram", "--no-cache", "--kid-subsets", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = json.loads(result.stdout[result.stdout.index("{") :])
    assert found["fid"].value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    assert found["kid"].value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)


# ---------------------------------------------------------------- LPIPS and CLIP


@with_libraries
@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_images_too_small_for_lpips_are_told_before_anything_is_opened(net, monkeypatch):
    import lpips

    least = LEAST[net]
    network = lpips.LPIPS(net=net, pnet_rand=True, pretrained=False, verbose=False)
    monkeypatch.setattr(Lpips, "open", lambda self: network)
    metric = Lpips(LpipsConfig(net=net))
    prompts = PROMPTS[:2]
    found = metric(ImageSet(random_images(2, 0, least), prompts, CREATURES, real=random_images(2, 1, least)))
    assert f"lpips {version('lpips')}, weights v0.1 of {net}" in found["paired"].provenance
    small = random_images(2, 0, least - 1)
    with pytest.raises(RuntimeError):
        network(small, small)
    with pytest.raises(NotMeasured, match=f"{net} needs images of at least {least} px, these have"):
        metric(ImageSet(small, prompts, CREATURES, real=small))


@pytest.fixture
def random_lpips():
    import lpips

    torch.manual_seed(0)
    return lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)


@with_libraries
def test_lpips_is_that_of_the_package(random_lpips, monkeypatch):
    monkeypatch.setattr(Lpips, "open", lambda self: random_lpips)
    again = random_images(6, 5, 64).unflatten(0, (2, 3))
    shown = ImageSet(
        random_images(5, 0, 64), PROMPTS[:5], CREATURES, real=random_images(5, 1, 64), images_per_prompt=again
    )
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
def test_equal_images_of_a_prompt_have_no_diversity(random_lpips, monkeypatch):
    monkeypatch.setattr(Lpips, "open", lambda self: random_lpips)
    again = random_images(1, 2, 64).expand(1, 3, 3, 64, 64)
    shown = ImageSet(random_images(1, 0, 64), PROMPTS[:1], CREATURES, images_per_prompt=again)
    assert Lpips(LpipsConfig())(shown)["diversity"].value == 0


def image_processor():
    """The class of transformers that prepares images with Pillow, whatever else is installed."""
    import transformers

    return getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor


def _sizes(side):
    return {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}


@pytest.mark.parametrize("shape", [(32, 32), (49, 40), (20, 31)])
@pytest.mark.parametrize("resampling", [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR])
def test_images_are_prepared_as_transformers_prepares_them(shape, resampling):
    images = as_saved(torch.rand(3, 3, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    wanted = ClipPixels((24, 24), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    means = {"image_mean": list(wanted.mean), "image_std": list(wanted.std)}
    processor = image_processor()(resample=resampling, **_sizes(24), **means)
    theirs = processor(to_pil(images), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(prepare(images, wanted, resampling), theirs, atol=1e-6, rtol=0)


def test_clip_score_is_that_of_transformers(tmp_path):
    from transformers import CLIPModel, PreTrainedTokenizerFast

    folder = clip_folder(tmp_path / "clip")
    shown = drawn(4)
    found = ClipScore(ClipScoreConfig(model=str(folder), batch=3))(shown)
    model = CLIPModel.from_pretrained(folder).eval()
    processor = image_processor().from_pretrained(folder, **_sizes(16))
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
    assert "bicubic and cut to 16 x 16 px by Pillow " in found["score"].provenance


def test_a_clip_that_does_not_say_how_it_wants_images_gets_them_as_clip_does(tmp_path, monkeypatch):
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    folder = clip_folder(tmp_path / "clip", mean=None)
    without = ClipScore(ClipScoreConfig(model=folder))(drawn(4))
    said = {"image_mean": list(OPENAI_CLIP_MEAN), "image_std": list(OPENAI_CLIP_STD)}
    (tmp_path / "clip" / "preprocessor_config.json").write_text(json.dumps(said))
    assert without == ClipScore(ClipScoreConfig(model=folder))(drawn(4))
    monkeypatch.setenv("HOME", str(tmp_path))
    at_home = ClipScore(ClipScoreConfig(model="~/clip"))(drawn(4))
    assert at_home["score"].value == without["score"].value


def test_a_clips_contents_are_told_apart_whatever_their_times_say(tmp_path):
    folder = clip_folder(tmp_path / "clip")
    weights = tmp_path / "clip" / "model.safetensors"
    state, before = weights.stat(), clip_files.dependencies(folder)
    assert before["transformers"]
    contents = bytearray(weights.read_bytes())
    contents[-1] ^= 1
    weights.write_bytes(contents)
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert clip_files.dependencies(folder)["files"] != before["files"]
    assert clip_files.dependencies("nobody/no-clip")["files"] == "not here"


# ---------------------------------------------------------------- diversity


def test_reader_diversity_beside_plain_loops():
    again = random_images(6, 5).unflatten(0, (2, 3))
    found = built("reader-diversity", batch=4)(drawn(images_per_prompt=again))
    seen = ReaderNetwork().open()(again.flatten(0, 1), 6).double().numpy()
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    pairs = list(itertools.combinations(range(6), 2))
    within = [1 - seen[a] @ seen[b] for a, b in pairs if a // 3 == b // 3]
    across = [1 - seen[a] @ seen[b] for a, b in pairs if a // 3 != b // 3]
    assert found["per-prompt"].value == pytest.approx(np.mean(within), rel=1e-6)
    assert found["across-prompts"].value == pytest.approx(np.mean(across), rel=1e-6)
    assert (found["per-prompt"].n, found["per-prompt"].better) == (2, "higher")
    assert "creature reader v1" in found["per-prompt"].provenance


def test_equal_images_have_no_diversity_and_one_of_a_prompt_tells_nothing(tmp_path):
    same = random_images(1).expand(1, 3, 3, 32, 32)
    assert built("reader-diversity")(drawn(images_per_prompt=same))["per-prompt"].value == 0
    clip = built("clip-diversity", model=clip_folder(tmp_path / "clip"))
    assert clip(drawn(images_per_prompt=same))["per-prompt"].value == pytest.approx(0, abs=1e-9)
    assert float(between(torch.eye(2)[:1], torch.eye(2)[1:])) == 1
    with pytest.raises(NotMeasured, match="two images of a prompt"):
        built("reader-diversity")(drawn())
    with pytest.raises(NotMeasured, match="creatures"):
        built("reader-diversity")(
            ImageSet(random_images(2), ["a sofa", "a bed"], CREATURES, images_per_prompt=same)
        )


def test_clip_distance_sees_the_towers_features(tmp_path):
    folder = clip_folder(tmp_path / "clip")
    found = built("clip-distance", model=str(folder), resamples=10)(drawn(8))
    assert list(found) == ["kd-clip", "fd-clip", "precision", "recall"]
    for measure in found.values():
        assert f"CLIP {folder}, antialiased bicubic to 16 x 16 px, transformers " in measure.provenance


# ---------------------------------------------------------------- pixels


def test_saturation_and_extremes_of_known_colours():
    red, grey = torch.tensor([1.0, -1, -1]), torch.full((3,), 2 * 128 / 255 - 1)
    images = torch.stack([red, grey])[:, :, None, None].expand(2, 3, 8, 8)
    found = Colours()(ImageSet(images, ["a", "b"], CREATURES))
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
    images, train = random_images(5, 0, 8), random_images(7, 1, 8)
    distances, places = nearest(images, train)
    for row, image in enumerate(images):
        slow = [float((((image - other).double() * 127.5) ** 2).mean().sqrt()) for other in train]
        assert float(distances[row]) == pytest.approx(min(slow), rel=1e-6)
        assert int(places[row]) == int(np.argmin(slow))


def test_a_model_that_remembers_is_found_out():
    train = random_images(50, 0)
    copies = as_saved((train[:20] + 0.02 * torch.randn(20, 3, 32, 32)).clamp(-1, 1))
    prompts = (PROMPTS * 2)[:20]
    real = random_images(20, 9)
    remembered = Neighbours()(ImageSet(copies, prompts, CREATURES, real=real, train=train))
    new = Neighbours()(ImageSet(random_images(20, 8), prompts, CREATURES, real=real, train=train))
    assert remembered["nearer"].value == 100
    assert new["nearer"].value < 40
    with pytest.raises(NotMeasured, match="stream"):
        Neighbours()(ImageSet(copies, prompts, CREATURES))


def test_intervals_cover_what_they_should():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        _, low, high = mean_interval(rng.normal(3, 2, size=60), resamples=200)
        hits += low <= 3 <= high
    assert 0.88 <= hits / 200 <= 0.99
    low, high = spread_interval(5.0, lambda rng: rng.normal(7, 2), 4000)
    assert (low, high) == (pytest.approx(5 - 3.92, abs=0.2), pytest.approx(5 + 3.92, abs=0.2))


def test_the_share_that_is_nearer_is_covered_though_its_limit_is_estimated():
    rng = np.random.default_rng(0)
    true, hits = 0.2595, 0  # of a normal distribution moved by -1 below the 5 % quantile of another
    for _ in range(100):
        low, high = below_interval(rng.normal(-1, 1, size=64), rng.normal(size=64), 0.05, resamples=200)
        hits += low <= true <= high
    assert hits >= 89  # with Wilson's interval 70
    low, high = below_interval(np.ones(50), np.zeros(50), 0.05)
    assert low == 0
    assert high > 0.05


def test_shares_among_neighbours_are_covered():
    torch.manual_seed(0)
    found = []
    for _ in range(60):
        ours, real = torch.randn(128, 64), torch.randn(128, 64)
        share = covered(torch.cdist(real, real).numpy(), torch.cdist(real, ours).numpy())
        found.append((share, *share_interval(share, ours, real, 40)))
    shares, low, high = np.array(found).T
    assert ((low <= shares.mean()) & (shares.mean() <= high)).mean() >= 0.9
    low, high = share_interval(0.0, torch.zeros(50, 2) + 9, torch.randn(50, 2), 20)
    assert low == 0
    assert 0.05 < high < 0.1  # Wilson's
    assert share_interval(1.0, torch.randn(5, 2), torch.randn(5, 2), 20)[1] == 1


@with_libraries
def test_the_covered_share_is_that_of_torch_fidelity():
    prc = library("torch_fidelity.metric_prc")
    torch.manual_seed(0)
    ours, real = torch.randn(40, 6), 1.3 * torch.randn(50, 6)
    theirs = prc.prc_features_to_metric(ours, real, verbose=False, save_cpu_ram=True)
    kernels = [torch.cdist(*pair).numpy() for pair in ((real, real), (real, ours), (ours, ours))]
    assert covered(kernels[0], kernels[1]) == pytest.approx(theirs["precision"], abs=1e-6)
    assert covered(kernels[2], kernels[1].T) == pytest.approx(theirs["recall"], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("colours", {}),
        ("neighbours", {}),
        ("reader-diversity", {}),
        ("reader-distance", {"resamples": 10}),
        ("prompt-accuracy", {}),
    ],
)
def test_metrics_that_need_nothing_keep_the_contract(name, options):
    check_metric(name, **options)


# ---------------------------------------------------------------- real images of prompts


def test_a_creature_is_drawn_as_its_caption_says():
    from t2ikit.metrics.prompt_accuracy import PromptAccuracy

    prompts = [*CREATURES.prompts(60, 0), "a cat"]
    images = torch.stack(CREATURES.images(prompts, 0)).float() / 127.5 - 1
    assert PromptAccuracy()(ImageSet(images, prompts, CREATURES))["joint"].value >= 90
    assert CREATURES.images(["a sofa"], 0) is None
    first, second = (CREATURES.images(["a cat"], seed)[0] for seed in (0, 1))
    assert not torch.equal(first, second)


class Two(Dataset):
    """Images of one grey each; caption 0 is in both splits."""

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


def test_real_images_are_found_by_their_caption_held_out_ones_first():
    found = Two().images(["0", "train 1", "validation 1"], 0)
    assert [int(image.max()) for image in found] == [0, 110, 10]
    assert Two().images(["0", "none"], 0) is None
    stream = Two()
    stream.indexed_training = False
    assert stream.images(["train 1"], 0) is None
