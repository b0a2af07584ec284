"""What a study trains: for each dataset and size, the rungs of the GAN's ladder and the diffusion model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

Settings = dict[str, str]


@dataclass(frozen=True)
class Rung:
    """A recipe to train.

    Attributes:
        name: of its run folders.
        title: in tables.
        recipe: of t2ikit.
        clip: the recipe's CLIP loss needs a model.
    """

    name: str
    title: str
    recipe: str
    clip: bool = False

    @property
    def diffusion(self) -> bool:
        """Not a GAN."""
        return self.recipe.startswith("imagen/")


@dataclass(frozen=True)
class Plan:
    """A study.

    Attributes:
        data: as for `t2ikit train --data`.
        size: of the images, pixels.
        rungs: in the order of the ladder, the diffusion model last.
        steps: of every run: all see the same number of images.
        seeds: each rung is trained once with each.
        points: checkpoints that are measured.
        n: captions a checkpoint is measured on.
        settings: of every run; gan, diffusion: of runs of that kind.
        clip_steps: of the two CLIPs, the one that teaches and the one that judges.
        readable: `prompt-accuracy` can read the images back.
    """

    data: str
    size: int
    rungs: tuple[Rung, ...]
    steps: int
    seeds: tuple[int, ...]
    points: int = 8
    n: int = 512
    settings: Settings = field(default_factory=dict)
    gan: Settings = field(default_factory=dict)
    diffusion: Settings = field(default_factory=dict)
    clip_steps: int = 600
    readable: bool = True


LADDER = (
    Rung("unconditional", "unconditional", "gigagan/ladder-unconditional"),
    Rung("text", "+ text", "gigagan/ladder-text"),
    Rung("matching", "+ matching", "gigagan/ladder-matching"),
    Rung("clip", "+ CLIP", "gigagan/ladder-clip", clip=True),
    Rung("multiscale", "+ multi-scale", "gigagan/ladder-multiscale", clip=True),
    Rung("filter-bank", "+ filter bank", "gigagan/ladder-filter-bank", clip=True),
    Rung("gan", "the plain GAN: matching, contrastive", "gigagan/plain"),
)
DENOISER = Rung("diffusion", "diffusion", "imagen/default")

CREATURES = Plan(data="creatures", size=32, rungs=(*LADDER, DENOISER), steps=2000, seeds=(0, 1))

OPENMOJI = Plan(
    data="openmoji",
    size=32,
    rungs=(*LADDER[1:4], replace(DENOISER, recipe="imagen/openmoji-32")),
    steps=3200,
    seeds=(0,),
    points=4,
    n=256,
    settings={"data.validation": "0.03", "text.width": "128"},
    gan={
        "train.ema_decay": "0.998",
        "critics.multiscale.augment.translation": "0.125",
        "critics.multiscale.augment.scale": "0.1",
    },
    readable=False,
)

LARGER_GAN = {
    "train.batch": "32",
    "train.precision": "bf16",
    "train.ema_decay": "0.999",
    "generator.channels": "[128, 128, 128, 64, 32]",
    "generator.filters": "[1, 1, 1, 1, 1]",
    "generator.attention": "[false, true, true, false, false]",
    "critics.multiscale.channels": "[128, 128, 128, 64, 32]",
    "critics.multiscale.attention": "[false, true, true, false, false]",
}
LARGER_BANK = {"generator.filters": "[4, 4, 4, 2, 1]"}
LARGER_DENOISER = {
    "train.batch": "32",
    "train.precision": "bf16",
    "train.ema_decay": "0.999",
    "generator.channels": "[64, 96, 128, 160]",
    "generator.attention": "[false, false, true, true]",
}


def at_64(plan: Plan) -> Plan:
    """The same study at 64 px, for a GPU: wider models, twice the batch, five times the steps."""
    return replace(
        plan,
        size=64,
        steps=5 * plan.steps,
        gan={**plan.gan, **LARGER_GAN},
        diffusion={**plan.diffusion, **LARGER_DENOISER},
    )


PLANS = {
    ("creatures", 32): CREATURES,
    ("openmoji", 32): OPENMOJI,
    ("creatures", 64): at_64(CREATURES),
    ("openmoji", 64): at_64(OPENMOJI),
}


def settings_of(plan: Plan, rung: Rung, teacher: str) -> Settings:
    """What `--set` gives to a rung's training.

    Args:
        plan: the study.
        rung: one of its rungs.
        teacher: folder of the CLIP that the CLIP loss uses.
    """
    every = plan.steps // plan.points
    own = plan.diffusion if rung.diffusion else plan.gan
    bank = LARGER_BANK if rung.name == "filter-bank" and plan.size == 64 else {}
    clip = {"losses.clip.model": teacher} if rung.clip else {}
    return {
        "data.size": str(plan.size),
        "train.steps": str(plan.steps),
        "train.save_every": str(every),
        "train.sample_every": str(every),
        "train.validate_every": str(every),
        "train.keep_last": str(plan.points + 1),
        **plan.settings,
        **own,
        **bank,
        **clip,
    }
