"""The losses as a recipe names them: `adversarial.py` on what a training step holds, over all its critics."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from t2ikit import Step, UserError
from t2ikit_gigagan import adversarial
from t2ikit_gigagan.contrastive import beside_wrong, find_duplicates, own_caption


def generator_loss(step: Step, *, kind: str = "logistic") -> Tensor:
    """The generator's adversarial loss, mean over critics; `image_weight` says how far each image counts.

    `kind`: "logistic", or "relativistic" (RpGAN).
    """
    weight = step.prediction.image_weight
    each = []
    for name in step.critics:
        fake = step.logits("fake", "own", name)
        if kind == "relativistic":
            each.append(adversarial.relativistic(fake, step.logits("real", "own", name), weight))
        else:
            each.append(adversarial.logistic_generator(fake, weight))
    return torch.stack(each).mean()


def critic_loss(step: Step, *, kind: str = "logistic") -> Tensor:
    """The critics' adversarial loss, summed: they share no parameter. `kind` as for the generator."""
    weight = step.prediction.image_weight
    each = []
    for name in step.critics:
        real, fake = step.logits("real", "own", name), step.logits("fake", "own", name)
        if kind == "relativistic":
            each.append(adversarial.relativistic(real, fake, weight))
        else:
            each.append(adversarial.logistic_critic(real, fake, weight))
    return torch.stack(each).sum()


def matching_loss(step: Step, *, kind: str = "logistic") -> Tensor:
    """Matching-aware loss of the critics, summed. `kind` as for the adversarial losses.

    Relativistic: a real image beside its own text should score higher than it, and than the fake one,
    beside a wrong text.
    """
    right, weight = step.batch.mismatch_mask, step.prediction.image_weight
    each = []
    for name in step.critics:
        real, fake = step.logits("real", "wrong", name), step.logits("fake", "wrong", name)
        if kind == "relativistic":
            own = step.logits("real", "own", name)
            each.append(adversarial.relativistic(own, real, right))
            each.append(adversarial.relativistic(own, fake, right * weight))
        else:
            each.append(adversarial.matching_aware(real, fake, right, weight))
    return torch.stack(each).sum()


def contrastive_loss(
    step: Step, *, scale: float = 10.0, which: Literal["real", "fake"] = "real", wrong: bool = False
) -> Tensor:
    """How badly each critic finds the own caption of an image in the effective batch.

    Many wrong captions at once teach the trunk to read images sooner than one wrong caption does. A critic's
    joint embedding of images and texts is one way to find it, its reading word by word another; each is a
    loss. Summed over the critics that have either. Source: XMC-GAN (arXiv 2101.04702, section 4.2).

    Args:
        scale: inverse temperature of the joint embedding's cosines.
        which: "real" images train the critic, "fake" ones the generator.
        wrong: also tell the caption from the sample's wrong one.
    """
    batch, each = step.batch, []
    duplicates = find_duplicates(batch.caption_ids, batch.caption_index)
    for name, critic in step.critics.items():
        score = getattr(critic, "caption_logits", None)
        if score is None:
            continue
        features = step.features(which, name)
        ways = score(features, step.text("pool", name), scale)
        beside = [None] * len(ways)
        if wrong:
            beside = score(features, step.text("wrong", name), scale, paired=True)
        for logits, other in zip(ways, beside, strict=True):
            mask = duplicates
            if other is not None:
                logits, mask = beside_wrong(logits, mask, other, batch.mismatch_mask)
            losses = own_caption(logits, batch.caption_index, mask)
            each.append((losses * step.prediction.image_weight if which == "fake" else losses).mean())
    if not each:
        raise UserError(
            "the contrastive loss has no critic to train",
            expected="a critic with a joint embedding, such as gigagan/multiscale",
            got=list(step.critics),
            fix="add one, or leave the loss out",
        )
    return torch.stack(each).sum()


def r1_loss(step: Step) -> Tensor:
    """R1 of every critic at every level of the real images it looks at, summed."""
    return _penalty(step, "real")


def r2_loss(step: Step) -> Tensor:
    """R2, the same penalty at the generated images, without their weights.

    Together with R1 it makes the relativistic loss converge. Source: arXiv 2501.05441 (section 2.2).
    """
    return _penalty(step, "fake")


def _penalty(step: Step, which: Literal["real", "fake"]) -> Tensor:
    levels = step.real if which == "real" else step.fake
    return torch.stack(
        [adversarial.r1_penalty(step.logits(which, "own", name), levels) for name in step.critics]
    ).sum()


def multiscale_mse(step: Step) -> Tensor:
    """Squared error of a denoiser's clean image at every halving down to 4 px, mean over levels.

    A low level is the image's layout, which much noise leaves to be seen. Source: the multi-scale loss of
    simple diffusion (arXiv 2301.11093, section 3.3), here on the clean image and weighted by its trust.
    """
    real, fake = step.real[-1], step.fake[-1]
    each = []
    while min(real.shape[-2:]) >= 4:
        each.append((fake - real).float().square().mean((1, 2, 3)))
        if min(real.shape[-2:]) == 4 or real.shape[-1] % 2:
            break
        real, fake = F.avg_pool2d(real, 2), F.avg_pool2d(fake, 2)
    return (torch.stack(each).mean(0) * step.prediction.image_weight).mean()
