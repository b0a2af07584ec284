"""Sample the packaged model and its one-call student from the same prompts, side by side.

    python benchmarks/side_by_side.py --out side-by-side.png

The prompts are captions that training never showed: pairs of colour and species that it never drew, and
captions that were held out, by turns.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import t2ikit
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.utils.grids import labelled_grid
from t2ikit.utils.images import to_pil

MODELS = {"creatures": "40 calls", "creatures-one-step": "1 call"}


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
    rows = [[] for _ in prompts]
    for model in MODELS:
        images = t2ikit.sample(model, prompts, n=options.n, seed=options.seed, device="cpu").images
        for row, of_prompt in zip(rows, images):
            row += to_pil(of_prompt.flatten(0, -4))
    labels = [label for label in MODELS.values() for _ in range(options.n)]
    labelled_grid(rows, prompts, labels).quantize(128, dither=0).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
