"""The two denoisers that teach a student: the frozen teacher, and one of the student's own images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from typing_extensions import Self

from t2ikit.core.interfaces import Critic, Denoiser
from t2ikit.core.rng import Draws
from t2ikit.core.step import Step
from t2ikit.distillation.denoiser import CleanDenoiser
from t2ikit.errors import UserError


class ScoreCritic(Critic):
    """Teacher and score network, for the losses `matching` and `score`; it judges no images itself.

    Args:
        teacher: the trained denoiser, which stays as it is.
        score: a second one of the same kind, trained.
    """

    gives_logits = False
    saved_whole = True

    def __init__(self, teacher: Denoiser, score: Denoiser) -> None:
        super().__init__()
        self.teacher = CleanDenoiser(teacher.eval().requires_grad_(False))
        self.score = CleanDenoiser(score)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the score network; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def features(self, levels: Sequence[Tensor], draws: Draws) -> Any:
        """Raise TypeError: it has no logits."""
        raise TypeError("a score network judges no images")

    def heads(self, features: Any, text: Any) -> list[Tensor]:
        """Raise TypeError: it has no logits."""
        raise TypeError("a score network judges no images")


def score_of(step: Step) -> ScoreCritic:
    """The score critic of a training step.

    Raises:
        UserError: there is none.
    """
    for part in step.parts.values():
        if isinstance(part, ScoreCritic):
            return part
    raise UserError(
        "distribution matching has no score network to work with",
        expected="a critic t2ikit/score, as `t2ikit distil RUN` makes it",
        got=list(step.parts),
        fix="t2ikit distil RUN, or leave the loss out",
    )
