"""Sample the packaged model and its one-call student from the same prompts, side by side.

    python benchmarks/side_by_side.py --out side-by-side.png

The prompts are captions that training never showed: pairs of colour and species that it never drew, and
captions that were held out, by turns.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.runs.open import open_run
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model
from t2ikit.utils.grids import labelled_grid
from t2ikit.utils.images import to_pil

MODELS = ("creatures", "creatures-one-step")


def main() -> None:
    """Sample, and write the grid: a row for each prompt, the columns of each model together."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("-n", type=int, default=3, help="images of each model for each prompt")
    parser.add_argument("--prompts", type=int, default=4, help="how many prompts")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    prompts = Creatures(CreaturesConfig()).prompts(options.prompts, options.seed)
    rows, labels = [[] for _ in prompts], []
    for name in MODELS:
        model = open_model(open_run(name), device="cpu")
        images = to_pil(sample_images(model, prompts, samples=range(options.n), seed=options.seed))
        for place, row in enumerate(rows):
            row += images[place * options.n : (place + 1) * options.n]
        calls = round(model.sampler.function_evaluations / len(images))
        labels += [f"{calls} call{'s' * (calls > 1)}"] * options.n
    labelled_grid(rows, prompts, labels).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
