"""What t2ikit is told of the dataset. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from t2ikit import DatasetConfig, DatasetSpec, hookimpl

if TYPE_CHECKING:
    from t2ikit import Dataset


class ClocksConfig(DatasetConfig):
    """Options of the dataset, beside those of every dataset."""

    spec: str = "clocks"
    """the name of this dataset"""
    count: int = Field(8000, ge=20)
    """images, those held out included"""
    seed: int = Field(0, ge=0)
    """another seed gives other images of the same kind"""


def build(config: ClocksConfig, context: Any) -> Dataset:
    """The dataset; `context` is None."""
    from t2ikit_clocks.dataset import Clocks

    return Clocks(config)


@hookimpl
def t2ikit_datasets() -> list[DatasetSpec]:
    """One dataset."""
    return [DatasetSpec("clocks", build, ClocksConfig, "clock faces whose captions tell the time")]
