"""The adversarial losses, on plain tensors.

Logits are high for real images that fit their text. Sources: non-saturating logistic loss, arXiv
1406.2661; R1, arXiv 1801.04406 (equation 9); matching-aware loss, arXiv 1605.05396 and GigaGAN, arXiv
2303.05511 (section 3.3); sums over heads are divided by the number of heads, so that weights mean the same
for every critic.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from t2ikit_gigagan.precision import at_least_float

Logits = Sequence[Tensor]


def judge(logits: Logits, weight: Tensor | None = None, *, real: bool) -> Tensor:
    """Mean over heads and samples of softplus(-logit) (`real`) or softplus(logit), times weight (B,)."""
    if not logits:
        raise ValueError("no logits: the critic has no heads")
    sign = -1.0 if real else 1.0
    each = torch.stack([F.softplus(sign * at_least_float(logit)) for logit in logits])  # (heads, B)
    return (each if weight is None else each * weight).mean()


def logistic_generator(fake: Logits, weight: Tensor | None = None) -> Tensor:
    """The generator's loss on logits of its images, each (B,); weight (B,), how far each counts."""
    return judge(fake, weight, real=True)


def logistic_critic(real: Logits, fake: Logits, weight: Tensor | None = None) -> Tensor:
    """The critic's loss on logits of real and fake images, each (B,); weight (B,) of the fake ones."""
    return judge(real, real=True) + judge(fake, weight, real=False)


def relativistic(winner: Logits, loser: Logits, weight: Tensor | None = None) -> Tensor:
    """softplus(loser - winner), mean over heads and samples, times weight (B,): RpGAN.

    Each image is judged against the other kind's image of the same text, so that a generator cannot
    please with one image for all texts. The critic's loss has the real images' logits as `winner`, the
    generator's has the fake ones'. Sources: arXiv 1807.00734 (RpGAN), arXiv 2501.05441 (section 2.1).

    Args:
        winner, loser: logits, each (B,), of the images that should score higher and lower.
        weight: (B,), how far each pair counts.
    """
    pairs = zip(loser, winner, strict=True)
    return judge([at_least_float(low) - at_least_float(high) for low, high in pairs], weight, real=False)


def matching_aware(real: Logits, fake: Logits, mismatch_mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """The critic's loss on real and fake images beside wrong texts: both should be told from real.

    Args:
        real, fake: logits beside a wrong text, each (B,).
        mismatch_mask: (B,), 0 where the text is right by accident, else 1.
        weight: (B,), how far each fake image counts.
    """
    fake_weight = mismatch_mask if weight is None else mismatch_mask * weight
    return judge(real, mismatch_mask, real=False) + judge(fake, fake_weight, real=False)


@torch.compiler.disable
def r1_penalty(logits: Logits, images: Sequence[Tensor]) -> Tensor:
    """Half the squared gradient of the mean logit at the real images, summed over levels, mean over B.

    The mean is that over heads, as in the adversarial losses.

    Under torch.compile it runs as it is; so must the critic, whose compiled backward pass cannot be
    differentiated again.

    Args:
        logits: of the real images beside their own text, each (B,), with graph to `images`.
        images: (B, 3, h, w), which require a gradient; levels that no logit depends on count nothing.
    """
    total = torch.stack([at_least_float(logit).sum() for logit in logits]).mean()
    gradients = torch.autograd.grad(total, list(images), create_graph=True, allow_unused=True)
    squares = [at_least_float(g).square().sum((1, 2, 3)).mean() for g in gradients if g is not None]
    if not squares:
        raise ValueError("the logits depend on none of the images: there is no gradient to penalise")
    return 0.5 * torch.stack(squares).sum()
