"""All that `t2ikit data` says about a dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from t2ikit.core.interfaces import Dataset, TextEncoder
from t2ikit.data.captioned import Captioned
from t2ikit.data.doctor.advice import Advice, advise
from t2ikit.data.doctor.files import FileFacts, facts_of
from t2ikit.data.doctor.findings import Finding, find
from t2ikit.data.doctor.histograms import Histogram, histograms
from t2ikit.data.doctor.specimens import Specimens, gather
from t2ikit.data.doctor.survey import Survey, survey

READ = 2_000
"""Files that are opened again for what their headers say."""


@dataclass(frozen=True)
class Diagnosis:
    """What is in a dataset, what was found, and what suits it.

    Attributes:
        spec: what the dataset is called.
        survey: counts, and what cannot be used.
        specimens: what was looked at.
        findings: what is serious first.
        histograms: of the sizes of its files.
        advice: settings to begin with.
    """

    spec: str
    survey: Survey
    specimens: Specimens
    findings: list[Finding]
    histograms: list[Histogram]
    advice: Advice


def diagnose(
    dataset: Dataset,
    spec: str,
    encoder: TextEncoder,
    recipe: str | None = None,
    settings: Sequence[str] = (),
) -> Diagnosis:
    """Look at a dataset.

    Args:
        dataset: to look at.
        spec: what it is called.
        encoder: a text encoder that tells which captions it would cut.
        recipe: one that is made for this dataset; None: there is none.
        settings: `KEY=VALUE` strings that dataset and encoder were opened with.
    """
    specimens = gather(dataset)
    facts = read_facts(specimens)
    sizes = _sizes(dataset, facts)
    return Diagnosis(
        spec,
        survey(dataset, encoder, specimens, len(facts)),
        specimens,
        find(specimens, facts, encoder),
        histograms(sizes),
        advise(dataset, spec, specimens, facts, sizes, recipe, settings),
    )


def read_facts(specimens: Specimens) -> dict[int, FileFacts]:
    """The facts of the files of at most `READ` images, by place; of those without a file none."""
    places = [place for place, item in enumerate(specimens.items) if item.content is not None]
    if len(places) > READ:
        places = np.sort(np.random.default_rng(0).choice(places, READ, replace=False)).tolist()

    def read(place: int) -> FileFacts | None:
        content = specimens.items[place].content
        try:
            return None if content is None else facts_of(content())
        except OSError:
            return None

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        found = zip(places, pool.map(read, places), strict=True)
        return {place: fact for place, fact in found if fact is not None}


def _sizes(dataset: Dataset, facts: Mapping[int, FileFacts]) -> list[tuple[int, int]]:
    """Width and height of all files where they are known, or else of those that were opened."""
    if isinstance(dataset, Captioned):
        decoded = dataset.decoded
        return [size for place, size in enumerate(decoded.sizes) if place not in decoded.bad]
    return [(fact.width, fact.height) for fact in facts.values()]
