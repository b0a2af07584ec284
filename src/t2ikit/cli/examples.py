"""Working examples for each command, shown at the end of its `--help`."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "t2ikit train --plugin imagen",
        't2ikit sample runs/imagen-001 "a green cat with red eyes"',
    ),
    "train": (
        "t2ikit train --plugin imagen --data path/to/images --set train.steps=4000",
        "t2ikit train --plugin imagen --minutes 10",
        "t2ikit train --init runs/imagen-001 --data path/to/images",
        "t2ikit train --resume runs/imagen-001 --set train.steps=2000",
    ),
    "distil": (
        "t2ikit distil runs/imagen-001 --out runs/student",
        "t2ikit distil runs/imagen-001 --calls 2 --set losses.matching.guidance=4",
    ),
    "runs": (
        "t2ikit runs",
        "t2ikit runs path/to/runs --json",
    ),
    "watch": (
        "t2ikit watch runs/imagen-001 runs/imagen-002",
        "t2ikit watch runs --port 8500",
    ),
    "sample": (
        't2ikit sample runs/imagen-001 "a green cat with red eyes" "a blue fish"',
        "t2ikit sample runs/imagen-001 --prompts prompts.txt -n 2 --guidance 1 --guidance 3",
        't2ikit sample runs/imagen-001 "a red cat" --image cat.png --strength 0.6',
    ),
    "demo": (
        "t2ikit demo",
        "t2ikit demo runs/imagen-001 runs/gigagan-001 --port 8000",
    ),
    "evaluate": (
        "t2ikit evaluate runs/imagen-001 --metrics prompt-accuracy -n 1024",
        "t2ikit evaluate runs/imagen-001 --sweep guidance=1,3,5 --json sweep.json",
        "t2ikit evaluate runs/imagen-001 --ema 0.05,0.1,0.2",
        "t2ikit evaluate --images path/to/images --data creatures",
    ),
    "compare": (
        "t2ikit compare runs/imagen-001 runs/gigagan-001 --out report.html",
        "t2ikit compare runs/* --prompts prompts.txt -n 64 --out report.html",
    ),
    "ablate": (
        "t2ikit ablate ./examples/huber.py --plugin imagen --steps 200",
        "t2ikit ablate --plugin imagen --set train.ema_decay=0.98,0.99 --seeds 5",
        "t2ikit ablate --plugin imagen --set train.ema_decay=0.98 --seeds 5,6,7,8,9",
    ),
    "export": (
        "t2ikit export runs/imagen-001 --format diffusers --out my-model",
        "t2ikit export runs/imagen-001 --format diffusers --out to-share --push-to me/my-model",
    ),
    "data": (
        "t2ikit data creatures",
        "t2ikit data path/to/images --out sheet.png -n 100",
        "t2ikit data path/to/images --out report.html",
    ),
    "memory": (
        "t2ikit memory --plugin imagen",
        "t2ikit memory --plugin gigagan --batch 8 --json memory.json",
    ),
    "plugin": (
        "t2ikit plugin new my-loss --kind loss",
        "t2ikit plugin check ./my_loss.py",
    ),
    "plugin new": (
        "t2ikit plugin new my-loss --kind loss",
        "t2ikit plugin new my-sampler --kind sampler --out path/to/packages",
    ),
    "plugin check": (
        "t2ikit plugin check ./my_loss.py --set losses.soft.gamma=2",
        "t2ikit plugin check path/to/my-sampler",
    ),
    "plugins": (
        "t2ikit plugins",
        "t2ikit plugins --plugin ./my_loss.py",
    ),
    "recipes": (
        "t2ikit recipes",
        "t2ikit recipes imagen/default > my.toml",
    ),
    "options": (
        "t2ikit options losses.denoise",
        "t2ikit options generator --plugin gigagan",
    ),
}
"""By command; the empty name stands for `t2ikit` itself."""
