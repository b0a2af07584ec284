"""The parts of distillation as the plugin `t2ikit` offers them; imports torch only when one is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t2ikit.distillation.configs import MatchingConfig, ScoreConfig, ScoreLossConfig, StudentConfig
from t2ikit.registry.specs import Context, CriticSpec, GeneratorSpec, LossSpec, RecipeSpec


def _student(config: StudentConfig, context: Context) -> Any:
    from t2ikit.distillation.denoiser import build_denoiser
    from t2ikit.distillation.student import Student

    return Student(config, build_denoiser(config.network, context, "generator.network"))


def _score(config: ScoreConfig, context: Context) -> Any:
    from t2ikit.distillation.denoiser import build_denoiser
    from t2ikit.distillation.score import ScoreCritic

    teacher, score = (build_denoiser(config.network, context, "critics.score.network") for _ in range(2))
    return ScoreCritic(teacher, score)


def _distribution_matching(config: MatchingConfig, context: Context) -> Any:
    from t2ikit.distillation.losses import MatchingLoss

    return MatchingLoss(config)


def _score_loss(config: ScoreLossConfig, context: Context) -> Any:
    from t2ikit.distillation.losses import ScoreLoss

    return ScoreLoss(config)


STUDENT = GeneratorSpec("student", _student, StudentConfig, "a denoiser's network, in one call or a few")
SCORE = CriticSpec("score", _score, ScoreConfig, "a student's teacher, and a denoiser of its images")
LOSSES = [
    LossSpec(
        "distribution-matching",
        _distribution_matching,
        MatchingConfig,
        "a student's images towards its teacher's distribution",
        needs=frozenset({"critic"}),
    ),
    LossSpec("score", _score_loss, ScoreLossConfig, "denoise a student's images", player="critic"),
]
RECIPE = RecipeSpec(
    "distil",
    Path(__file__).parent / "recipes" / "distil.toml",
    "a denoiser to one network call",
    "a student of a denoiser, made by: t2ikit distil RUN",
)
