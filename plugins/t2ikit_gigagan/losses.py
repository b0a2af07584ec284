"""The losses as a recipe names them: `adversarial.py` on what a training step holds, over all its critics."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from t2ikit import Step, UserError
from t2ikit_gigagan import adversarial
from t2ikit_gigagan.contrastive import clip_contrastive, find_duplicates


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


def contrastive_loss(step: Step, *, scale: float = 10.0) -> Tensor:
    """How badly each critic's joint embedding finds a real image's own caption in the effective batch.

    Many wrong captions at once teach the trunk to read images sooner than one wrong caption does. Summed
    over the critics that have an embedding. Source: XMC-GAN (arXiv 2101.04702, section 4.2).
    """
    batch, each = step.batch, []
    duplicates = find_duplicates(batch.caption_ids, batch.caption_index)
    for name, critic in step.critics.items():
        embed = getattr(critic, "embeddings", None)
        if embed is not None:
            image, text = embed(step.features("real", name), step.text("pool", name))
            each.append(clip_contrastive(image, text, batch.caption_index, duplicates, scale).mean())
    if not each:
        raise UserError(
            "the contrastive loss has no critic to train",
            expected="a critic with a joint embedding, such as gigagan/multiscale",
            got=list(step.critics),
            fix="add one, or leave the loss out",
        )
    return torch.stack(each).sum()


def r1_loss(step: Step) -> Tensor:
    """R1 of every critic at every level it looks at, summed."""
    return torch.stack(
        [adversarial.r1_penalty(step.logits("real", "own", name), step.real) for name in step.critics]
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
