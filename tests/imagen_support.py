"""A small denoiser, prompts and a batch, for the tests of the imagen plugin."""

from __future__ import annotations

import torch

from t2ikit import Batch, Condition
from t2ikit.text.builtin import BuiltinTextEncoder
from t2ikit.text.configs import BuiltinTextConfig
from t2ikit_imagen import ImagenDenoiser, UNetConfig

SMALL = UNetConfig(channels=(16, 32), attention=(False, True), text_width=16, text_layers=1)
ENCODER = BuiltinTextEncoder(BuiltinTextConfig(width=32, length=8))
CAPTIONS = ("a red cat", "a blue bird with red eyes", "a fish")
PREDICTIONS = ("v_prediction", "epsilon", "sample", "flow_prediction")


def options(**changes) -> UNetConfig:
    """SMALL with other options, checked; epsilon gets the schedule it can use."""
    if changes.get("prediction") == "epsilon":
        changes.setdefault("zero_snr", False)
    return UNetConfig(**{**SMALL.model_dump(), **changes})


def make_model(config: UNetConfig = SMALL, *, speaks: bool = False) -> ImagenDenoiser:
    """A 16-px denoiser; one that `speaks` does not begin with an output near 0."""
    torch.manual_seed(0)
    model = ImagenDenoiser(config, 16, 32, 8)
    if speaks:
        torch.nn.init.normal_(model.unet.conv_out.weight, std=0.1)
    return model


def make_condition(captions=CAPTIONS) -> Condition:
    text = ENCODER.encode([*captions, ""])
    return Condition(tuple(captions), text[: len(captions)], text[len(captions) :])


def make_batch(count: int = 3) -> Batch:
    captions = tuple(CAPTIONS[i % 3] for i in range(count))
    condition = make_condition(captions)
    images = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    keys = torch.arange(count)
    return Batch(images, condition, condition.text, torch.zeros(count), captions, condition.text, keys, keys)


def exact_output(prediction: str, x, goal, alpha, sigma):
    """What a model that knows the clean images would say of x."""
    noise = (x - alpha * goal) / sigma
    return {
        "v_prediction": alpha * noise - sigma * goal,
        "epsilon": noise,
        "sample": goal,
        "flow_prediction": noise - goal,
    }[prediction]
