"""The metric `prompt-accuracy` against counts made by hand and against published intervals."""

import subprocess
import sys
from random import Random
from statistics import NormalDist

import pytest
import torch

from t2ikit import ImageSet, NotMeasured
from t2ikit.core.metric import Metric
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.data.creatures.drawing import draw
from t2ikit.data.creatures.grammar import Attributes, is_held_out_caption, is_unseen_pair, parse
from t2ikit.metrics.prompt_accuracy import PromptAccuracy, PromptAccuracyConfig, measure, wilson

DATASET = Creatures(CreaturesConfig(count=10))


def images(captions: list[str], size: int = 32) -> torch.Tensor:
    drawn = [draw(parse(text), size, Random(i)) for i, text in enumerate(captions)]
    return torch.stack([torch.from_numpy(d.copy()).permute(2, 0, 1) for d in drawn]) / 127.5 - 1


def test_counts_by_hand():
    wanted = [
        Attributes(("green",), "cat", "jumping", "red"),
        Attributes(("brown", "black"), "bird", "running", "blue"),
        Attributes(("purple",), "cat", None, "red"),  # an unseen pair
        Attributes(None, "fish", "sitting", None),
    ]
    read = [
        Attributes(("green",), "cat", "jumping", "red"),
        Attributes(("black", "brown"), "bird", "running", None),  # order wrong, eyes unreadable
        Attributes(("purple",), "rabbit", "running", "red"),
        Attributes(("red",), "fish", "sitting", "blue"),
    ]
    found = measure(wanted, read)
    expected = {
        "colour": (2, 3),
        "species": (3, 4),
        "action": (3, 3),
        "eyes": (2, 3),
        "joint": (2, 4),
        "unseen-pairs/colour": (1, 1),
        "unseen-pairs/species": (0, 1),
        "unseen-pairs/eyes": (1, 1),
        "unseen-pairs/joint": (0, 1),
        "one-colour/colour": (2, 2),
        "one-colour/species": (1, 2),
        "one-colour/action": (1, 1),
        "one-colour/eyes": (2, 2),
        "one-colour/joint": (1, 2),
        "two-colour/colour": (0, 1),
        "two-colour/species": (1, 1),
        "two-colour/action": (1, 1),
        "two-colour/eyes": (0, 1),
        "two-colour/joint": (0, 1),
    }
    for name, (right, n) in expected.items():
        assert found[name].value == pytest.approx(100 * right / n), name
        assert (found[name].n, found[name].unit) == (n, "%"), name
    assert "unseen-pairs/action" not in found


def test_groups_count_the_prompts_they_are_named_after():
    prompts = DATASET.prompts(64, seed=0)
    wanted = [parse(prompt) for prompt in prompts]
    found = measure(wanted, wanted)
    assert found["unseen-pairs/joint"].n == sum(map(is_unseen_pair, wanted))
    assert found["held-out-captions/joint"].n == sum(map(is_held_out_caption, wanted))
    assert found["unseen-pairs/joint"].n + found["held-out-captions/joint"].n == 64
    assert found["joint"].value == found["held-out-captions/eyes"].value == 100


def test_shuffled_gives_no_image_its_own_prompt():
    wanted = list(map(parse, DATASET.prompts(300, seed=0)))
    found = measure(wanted, wanted)
    assert found["shuffled/joint"].value == 0  # 300 different captions: only its own would be right
    assert found["shuffled/joint"].n == 300
    assert 12 < found["shuffled/action"].value < 40
    assert 12 < found["shuffled/eyes"].value < 40
    assert found["shuffled/species"].value < 25
    assert "shuffled/joint" not in measure(wanted[:1], wanted[:1])


# Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score without continuity correction)
@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_as_published(right, n, low, high):
    assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (3, 7), (999, 1000), (2048, 2048)])
def test_wilson_limits_are_where_the_score_test_turns(right, n):
    """Each limit p solves (right/n - p)^2 = z^2 p (1 - p) / n."""
    z = NormalDist().inv_cdf(0.975)
    for p in wilson(right, n):
        assert (right / n - p) ** 2 == pytest.approx(z * z * p * (1 - p) / n, abs=1e-12)


def test_images_of_their_prompts_are_right_and_other_images_are_not():
    prompts = DATASET.prompts(200, seed=5)
    metric = PromptAccuracy(PromptAccuracyConfig(batch=64))
    assert isinstance(metric, Metric)
    good = metric(ImageSet(images(prompts), prompts, DATASET))
    assert good["joint"].value >= 95
    assert good["shuffled/joint"].value <= 2
    noise = metric(ImageSet(torch.randn(200, 3, 32, 32), prompts, DATASET))
    assert noise["joint"].value == 0
    assert noise["species"].high <= 3


def test_the_batch_changes_nothing():
    prompts = DATASET.prompts(20, seed=2)
    shown = images(prompts, 48)
    one = PromptAccuracy(PromptAccuracyConfig(batch=3))(ImageSet(shown, prompts, DATASET))
    assert one == PromptAccuracy()(ImageSet(shown, prompts, DATASET))


def test_attributes_the_prompt_leaves_out_do_not_count():
    shown = images(["a sitting red cat with blue eyes"])
    found = PromptAccuracy()(ImageSet(shown, ["a red cat"], DATASET))
    names = {"colour", "species", "joint"}
    assert set(found) == names | {f"one-colour/{name}" for name in names}
    fish = Attributes(None, "fish", None, None)
    assert set(measure([fish], [fish])) == {"species", "joint"}
    assert found["joint"].value == 100


def test_a_prompt_of_something_else_cannot_be_read():
    with pytest.raises(NotMeasured, match="captions of creatures only, and 'a photo of a mountain'"):
        PromptAccuracy()(ImageSet(torch.zeros(1, 3, 32, 32), ["a photo of a mountain"], DATASET))


def test_one_prompt_a_image():
    for count, prompts in ((2, ["a red cat"]), (0, [])):
        with pytest.raises(ValueError, match="one prompt for each image"):
            ImageSet(torch.zeros(count, 3, 32, 32), prompts, DATASET)


def test_the_module_imports_no_torch():
    code = "import sys, t2ikit.metrics.prompt_accuracy; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
