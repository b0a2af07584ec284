"""The conformance checks of datasets, text encoders and metrics."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from t2ikit import (
    Dataset,
    DatasetConfig,
    DatasetSpec,
    Download,
    Measure,
    MetricSpec,
    Record,
    TextEmbedding,
    TextEncoder,
    TextEncoderSpec,
)
from t2ikit.registry.registry import Registry
from t2ikit.testing import (
    check_dataset,
    check_metric,
    check_text_encoder,
)
from t2ikit.testing.toys import toy_text
from testing_support import fails, registry_with

# ---------------------------------------------------------------- datasets, encoders, metrics


class Grey(Dataset):
    def __init__(self, config):
        self.config, self.number = config, Grey.built
        Grey.built += 1

    built = 0

    def size(self, split):
        return 30 if split == "train" else 5

    def record(self, split, index):
        image = torch.full((3, self.config.size, self.config.size), index, dtype=torch.uint8)
        return Record(image, self.captions(split, index), f"{split}/{index}")

    def captions(self, split, index):
        return (f"grey {index}",)

    def prompts(self, n, seed):
        return [f"grey {seed + i}" for i in range(n)]

    @property
    def fingerprint(self):
        return "grey"


def dataset_registry(**methods) -> Registry:
    made = type("Mine", (Grey,), methods)
    return registry_with(DatasetSpec("x", lambda config, context: made(config), DatasetConfig))


def test_a_good_dataset_passes():
    check_dataset("mine/x", dataset_registry(), size=16)


def record(**changes):
    return lambda self, split, index: replace(
        Grey.record(self, split, index), **{name: change(self, index) for name, change in changes.items()}
    )


BAD_DATASETS = {
    "leak": ({"record": record(key=lambda self, i: f"{i}")}, "is in both splits"),
    "keys": ({"record": record(key=lambda self, i: "one")}, "have the same key"),
    "float": ({"record": record(image=lambda self, i: torch.zeros(3, 16, 16))}, "uint8"),
    "size": ({"record": record(image=lambda self, i: torch.zeros(3, 8, 8).byte())}, r"must be \(3, 16, 16\)"),
    "disagree": ({"record": record(captions=lambda self, i: ("other",))}, "do not agree"),
    "no caption": ({"captions": lambda self, split, i: ()}, "at least one text"),
    "random": (
        {"record": record(image=lambda self, i: torch.full((3, 16, 16), self.number % 250).byte())},
        "not the same the second time",
    ),
    "empty": ({"size": lambda self, split: 0}, "nothing to train on"),
    "prompts": ({"prompts": lambda self, n, seed: ["x"]}, "must be 7 texts"),
    "unsteady": ({"prompts": lambda self, n, seed: [f"{self.number}"] * n}, "prompts are not the same"),
    "fingerprint": ({"fingerprint": property(lambda self: str(self.number))}, "fingerprint"),
}


@pytest.mark.parametrize(("methods", "match"), BAD_DATASETS.values(), ids=BAD_DATASETS)
def test_bad_datasets_are_caught(methods, match):
    fails(check_dataset, dataset_registry(**methods), match=match, size=16)


class Words(TextEncoder):
    width, length, built = 16, 8, 0

    def __init__(self):
        self.number = Words.built
        Words.built += 1

    def encode(self, captions):
        return toy_text(captions, self.width, self.length)

    @property
    def fingerprint(self):
        return "words"


def encoder_registry(**methods) -> Registry:
    made = type("Mine", (Words,), methods)
    return registry_with(TextEncoderSpec("x", lambda config, context: made()))


def encoded(change):
    return lambda self, captions: change(self, Words.encode(self, captions))


BAD_ENCODERS = {
    "width": ({"width": property(lambda self: 17), "encode": lambda s, c: toy_text(c)}, "tokens must be"),
    "mask": (
        {"encode": encoded(lambda s, e: TextEmbedding(e.tokens, e.mask & False, e.pooled))},
        "needs a real token",
    ),
    "float mask": (
        {"encode": encoded(lambda s, e: TextEmbedding(e.tokens, e.mask.float(), e.pooled))},
        "mask must be bool",
    ),
    "mixed": (
        {"encode": encoded(lambda s, e: TextEmbedding(e.tokens - e.tokens.mean(0), e.mask, e.pooled))},
        "when alone",
    ),
    "unsteady": (
        {"encode": encoded(lambda s, e: TextEmbedding(e.tokens + s.number, e.mask, e.pooled))},
        "encodes otherwise",
    ),
    "deaf": (
        {"encode": encoded(lambda s, e: TextEmbedding(e.tokens * 0, e.mask, e.pooled))},
        "encoded alike",
    ),
    "fingerprint": ({"fingerprint": property(lambda self: str(self.number))}, "fingerprint"),
}


def test_good_encoders_pass():
    check_text_encoder("mine/x", encoder_registry())
    check_text_encoder("builtin", width=32, length=10)


@pytest.mark.parametrize(("methods", "match"), BAD_ENCODERS.values(), ids=BAD_ENCODERS)
def test_bad_encoders_are_caught(methods, match):
    fails(check_text_encoder, encoder_registry(**methods), match=match)


def metric_registry(metric) -> Registry:
    return registry_with(MetricSpec("x", lambda config, context: metric))


def test_metrics():
    grey = Grey(DatasetConfig(spec="grey", size=16))

    def good(drawn):
        return {"mean": Measure(float(drawn.images.mean()), len(drawn.images))}

    check_metric("mine/x", metric_registry(good), grey)
    state = iter(range(100))
    for bad, match in (
        (lambda d: {"mean": 0.5}, r"must be a t2ikit\.Measure"),
        (lambda d: {}, "dict of at least one"),
        (lambda d: {"m": Measure(float("nan"), 1)}, "finite"),
        (lambda d: {"m": Measure(0.5, 999)}, "999 images of 131"),
        (lambda d: {"m": Measure(0.5, 1, 0.6, 0.7)}, "outside its interval"),
        (lambda d: {"m": Measure(0.5, 1, 0.4)}, "one end"),
        (lambda d: {"m": Measure(float(next(state)), 1)}, "other numbers the second time"),
        (lambda d: {"m": Measure(float(d.images.zero_().sum()), 1)}, "changed the images"),
    ):
        fails(check_metric, metric_registry(bad), grey, match=match)
    good.downloads = lambda: ["net.safetensors"]
    fails(check_metric, metric_registry(good), grey, match=r"a list of t2ikit\.Download")
    good.downloads = lambda: [Download("net.safetensors", 3)]
    check_metric("mine/x", metric_registry(good), grey)
