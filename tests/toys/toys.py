"""A plugin file for the tests: a toy GAN with two critics and a toy denoiser, with every kind of loss."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit import (
    Config,
    CriticSpec,
    Dataset,
    DatasetConfig,
    DatasetSpec,
    GeneratorSpec,
    LossSpec,
    RecipeSpec,
    Record,
    SamplerSpec,
    hookimpl,
)
from t2ikit.core.interfaces import Sampler
from t2ikit.testing.toys import ToyCritic, ToyDenoiser, ToyGAN

COLOURS = ("red", "green", "blue", "grey")
RGB = torch.tensor([[220, 30, 30], [30, 200, 60], [40, 60, 220], [128, 128, 128]], dtype=torch.uint8)


class Squares(Dataset):
    """A coloured square an image; the caption names the colour."""

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config

    def size(self, split):
        return 8 if split == "validation" else 52

    def record(self, split, index):
        number = index + (1000 if split == "validation" else 0)
        generator = torch.Generator().manual_seed(number)
        size = self.config.size
        noise = torch.randint(0, 20, (3, size, size), generator=generator, dtype=torch.uint8)
        image = RGB[index % 4][:, None, None] + noise.clamp(max=255 - 220)
        return Record(image, self.captions(split, index), f"{split}/{index}")

    def captions(self, split, index):
        return (f"a {COLOURS[index % 4]} square",)

    def prompts(self, n, seed):
        return [f"a {COLOURS[i % 4]} square" for i in range(n)]

    @property
    def fingerprint(self):
        return f"squares-{self.config.size}"


def softplus_sum(logits: list[Tensor], weight: Tensor | float = 1.0, sign: float = 1.0) -> Tensor:
    return torch.stack([(F.softplus(sign * logit) * weight).mean() for logit in logits]).sum()


def adversarial(step):
    weight = step.prediction.image_weight
    return sum(softplus_sum(step.logits("fake", "own", name), weight, -1) for name in step.critics)


def adversarial_critic(step):
    weight = step.prediction.image_weight
    return sum(
        softplus_sum(step.logits("real", "own", name), 1, -1)
        + softplus_sum(step.logits("fake", "own", name), weight)
        for name in step.critics
    )


def matching(step):
    ok = step.batch.mismatch_mask
    return sum(
        softplus_sum(step.logits("real", "wrong", name), ok)
        + softplus_sum(step.logits("fake", "wrong", name), ok * step.prediction.image_weight)
        for name in step.critics
    )


def r1(step):
    logits = [logit.sum() for name in step.critics for logit in step.logits("real", "own", name)]
    gradients = torch.autograd.grad(sum(logits), step.real, create_graph=True)
    return 0.5 * sum(gradient.float().square().sum((1, 2, 3)).mean() for gradient in gradients)


def contrast(step):
    """Images against the captions of the whole batch, by a fixed word code."""
    code = torch.stack([word_code(caption) for caption in step.batch.all_captions])
    seen = F.adaptive_avg_pool2d(step.fake[-1], 1).flatten(1)
    logits = F.normalize(seen + 1e-3, dim=1) @ F.normalize(code, dim=1).T
    each = F.cross_entropy(5 * logits, step.batch.caption_index, reduction="none")
    return (each * step.prediction.image_weight).mean()


def word_code(caption: str) -> Tensor:
    return RGB[COLOURS.index(caption.split()[1])].float() / 127.5 - 1 + 1e-3


class LearnedVariance(nn.Module):
    """A denoising loss with a parameter of its own: the log-variance of the error."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(()))

    def forward(self, step):
        output, target, snr = step.prediction.denoising()
        error = (output - target).square().flatten(1).mean(1) * snr.clamp(max=5) / (snr + 1)
        return (error / self.log_variance.exp() + self.log_variance).mean()


class ToyCriticConfig(Config):
    width: int = 16
    """channels"""


class OneStepSampler(Sampler):
    def __call__(self, model, condition, *, steps=None, guidance=None, draws, progress=None):
        with torch.no_grad():
            return model.generate(condition, draws)[-1]


class Ancestral(Sampler):
    """A few deterministic steps from noise: enough to see that sampling repeats."""

    steps = 3

    def __call__(self, model, condition, *, steps=None, guidance=None, draws, progress=None):
        x = draws.randn(3, *model.shape_of(condition))
        with torch.no_grad():
            for level in torch.linspace(900, 100, steps or self.steps):
                x = x - 0.3 * model.denoise(x, level.long().expand(len(x)), condition)
        return x.clamp(-1, 1)


HERE = Path(__file__).parent


@hookimpl
def t2ikit_generators():
    return [
        GeneratorSpec("gan", lambda config, c: ToyGAN(c.text_width, c.image_size)),
        GeneratorSpec("denoiser", lambda config, c: ToyDenoiser(c.text_width, c.image_size)),
    ]


@hookimpl
def t2ikit_critics():
    return [CriticSpec("critic", lambda config, c: ToyCritic(c.text_width), ToyCriticConfig)]


@hookimpl
def t2ikit_losses():
    critic = frozenset({"critic"})

    def spec(name, function, **kwargs):
        return LossSpec(name, lambda config, context: function, **kwargs)

    return [
        spec("adversarial", adversarial, needs=critic),
        spec("adversarial-critic", adversarial_critic, player="critic", needs=critic),
        spec("matching", matching, player="critic", needs=critic),
        spec("r1", r1, player="critic", needs=frozenset({"critic", "real_grad"})),
        spec("contrast", contrast),
        LossSpec(
            "learned-variance",
            lambda config, context: LearnedVariance(),
            needs=frozenset({"target", "snr"}),
        ),
    ]


@hookimpl
def t2ikit_samplers():
    return [
        SamplerSpec("onestep", lambda config, context: OneStepSampler(), requires="OneStep"),
        SamplerSpec("ancestral", lambda config, context: Ancestral()),
    ]


@hookimpl
def t2ikit_datasets():
    return [DatasetSpec("squares", lambda config, context: Squares(config))]


@hookimpl
def t2ikit_recipes():
    return [RecipeSpec("gan", HERE / "gan.toml"), RecipeSpec("denoiser", HERE / "denoiser.toml")]
