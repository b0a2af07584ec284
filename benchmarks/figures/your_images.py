"""Parts about images of one's own: shapes, transparency, fine-tuning, large folders."""

from __future__ import annotations

from figures.part import EMOJI, RESULTS, Part

YOUR_IMAGES = (
    Part(
        "aspect-buckets",
        "wide and tall images in buckets beside cropped ones",
        ("docs/data.md",),
        (
            "python benchmarks/aspect_buckets.py aspect-buckets --minutes 7 --fits crop buckets "
            "--json numbers/aspect-buckets.json --grid numbers/aspect-buckets.png",
        ),
        {
            f"{RESULTS}/aspect-buckets.json": "numbers/aspect-buckets.json",
            "docs/aspect-buckets.png": "numbers/aspect-buckets.png",
        },
    ),
    Part(
        "transparency",
        "the alpha of emoji that are trained with transparency",
        ("docs/openmoji.md",),
        (
            "python benchmarks/transparency.py transparency --json numbers/transparency.json "
            "--grid numbers/openmoji-rgba.png",
        ),
        {
            f"{RESULTS}/transparency.json": "numbers/transparency.json",
            "docs/openmoji-rgba.png": "numbers/openmoji-rgba.png",
        },
        packages=EMOJI,
    ),
    Part(
        "fluent-emoji",
        "how well emoji in 3D are learned",
        ("docs/openmoji.md",),
        (
            "t2ikit train --plugin imagen --recipe fluent-emoji-32 --out runs/fluent-emoji-32",
            "python benchmarks/openmoji_accuracy.py runs/fluent-emoji-32 --json numbers/fluent-emoji-32.json "
            "--grid numbers/fluent-recall.png --classifier fluent-classifier.safetensors",
            "python benchmarks/openmoji_accuracy.py runs/fluent-emoji-32 --guidance 4 "
            "--classifier fluent-classifier.safetensors",
            "python benchmarks/openmoji_accuracy.py runs/fluent-emoji-32 --guidance 1.5 "
            "--classifier fluent-classifier.safetensors",
        ),
        {
            f"{RESULTS}/fluent-emoji-32.json": "numbers/fluent-emoji-32.json",
            "docs/fluent-recall.png": "numbers/fluent-recall.png",
        },
        packages=("emoji",),
        programs=("npm",),
    ),
    Part(
        "fine-tuning",
        "emoji from the packaged model of creatures beside emoji from scratch",
        ("docs/fine-tuning.md",),
        (
            "python benchmarks/fine_tuning.py fine-tuning --arms scratch full-rate "
            "--json numbers/fine-tuning.json",
            "python benchmarks/fine_tuning.py fine-tuning-rates --minutes 2.5 --seeds 1 --first 9 "
            "--arms scratch fine-tuned full-rate",
        ),
        {f"{RESULTS}/fine-tuning.json": "numbers/fine-tuning.json"},
        packages=EMOJI,
    ),
    Part(
        "new-species",
        "forty pictures of a species that the packaged model never saw",
        ("docs/fine-tuning.md",),
        (
            "python benchmarks/new_species.py new-species --json numbers/new-species.json "
            "--grid numbers/new-species.png",
        ),
        {
            f"{RESULTS}/new-species.json": "numbers/new-species.json",
            "docs/new-species.png": "numbers/new-species.png",
        },
        packages=("peft",),
    ),
    Part(
        "million-files",
        "the start of training on a folder of a million files",
        ("docs/data.md",),
        ("python benchmarks/million_files.py --json numbers/million-files.json",),
        {f"{RESULTS}/million-files.json": "numbers/million-files.json"},
    ),
)
