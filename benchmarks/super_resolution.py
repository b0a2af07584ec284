"""How near to the truth does a super-resolution run come, beside bicubic interpolation?

    python examples/train_clip.py --size 64 --out runs/clip-64
    python benchmarks/super_resolution.py RUN --clip runs/clip-64 [--json FILE] [--grid FILE.png]

Shrinks held-out images, upscales them again without augmentation, and prints for bicubic interpolation, for
one sample and for the mean of eight: PSNR in dB over all pixels of [-1, 1], and the perceptual distance, by
LPIPS where it can be had and by patches of a CLIP trained apart on the same data where a folder is given.
Before that, the seconds and the memory that drawing took, and what the model is given to upscale in training
(pieces) and in sampling (whole images).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from measuring import processor, resident
from torch import Tensor

from t2ikit import NotMeasured, open_run
from t2ikit.core.super_resolution import SuperResolution, shrink, upscale
from t2ikit.data.loader import BatchLoader
from t2ikit.errors import UserError
from t2ikit.evaluation.data import evaluation_data
from t2ikit.metrics.configs import LpipsConfig
from t2ikit.metrics.intervals import mean_interval
from t2ikit.metrics.perceptual import Lpips
from t2ikit.registry.registry import Registry
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model
from t2ikit.utils.files import write_json
from t2ikit.utils.grids import labelled_grid
from t2ikit.utils.images import as_saved, to_pil
from t2ikit_gigagan.paired import PerceptualLoss

SAMPLES = 8
SHOWN = 6


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (N,), dB, of images (N, 3, H, W) in [-1, 1]."""
    error = (images - truth).double().square().mean((1, 2, 3)).clamp_min(1e-12)
    return 10 * torch.log10(4 / error)


def perceptual(clip: Path | None) -> dict[str, Any]:
    """Functions of two sets of images, by name."""
    found: dict[str, Any] = {}
    try:
        net = Lpips(LpipsConfig(net="alex"))
        net._net = net.open()
        found["LPIPS (alex)"] = net.distances
    except NotMeasured as error:
        print(f"LPIPS is not measured: {error}")
    if clip is not None:
        loss = PerceptualLoss(str(clip))
        found["distance of a CLIP's patches"] = torch.no_grad()(loss.distance)
    return found


def held_out(run: Any, n: int) -> tuple[list[str], Tensor]:
    """Captions and images (N, 3, H, W) that training never saw."""
    dataset = evaluation_data(run, Registry.load(), None)
    records = [dataset.record("validation", i) for i in range(min(n, dataset.size("validation")))]
    return [record.captions[0] for record in records], torch.stack([r.image for r in records]) / 127.5 - 1


def conditioning(run: Any, super_resolution: SuperResolution, n: int = 2048) -> dict[str, dict[str, float]]:
    """Mean and deviation of the upscaled small images that a model sees: of pieces, of whole images."""
    dataset, found = evaluation_data(run, Registry.load(), None), {}
    count = min(n, dataset.size("train"))
    for name, whole in (("pieces, as in training", False), ("whole, as in sampling", True)):
        share = BatchLoader(dataset, 0, count, super_resolution=super_resolution, whole=whole)[0]
        images = share.images.float() / 127.5 - 1
        seen = upscale(shrink(images, super_resolution.ratio), (images.shape[-2], images.shape[-1]))
        found[name] = {"mean": round(float(seen.mean()), 3), "deviation": round(float(seen.std()), 3)}
    return found


def describe(values: Tensor) -> dict[str, float]:
    """Mean with its interval."""
    mean, low, high = mean_interval(values.double().numpy())
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}


def peak(device: str) -> float:
    """MiB at the peak: of the device's memory, or of the whole process on a CPU (Linux)."""
    return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else resident("VmHWM")


def main(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A super-resolution run.")],
    json: Annotated[Path | None, typer.Option(help="Write the numbers here.")] = None,
    grid: Annotated[Path | None, typer.Option(help="Write given, bicubic, ours, truth here.")] = None,
    clip: Annotated[Path | None, typer.Option(help="A CLIP that judges.")] = None,
    n: Annotated[int, typer.Option("-n", help="Held-out images.")] = 64,
    steps: Annotated[int | None, typer.Option(help="As in t2ikit sample.")] = None,
) -> None:
    """Upscale held-out images and compare."""
    run = open_run(path)
    settings = ["sampler.augmentation=0"]
    model = open_model(run, settings=settings)
    super_resolution = model.generator.super_resolution
    if super_resolution is None:
        raise UserError(f"{path}: it upscales nothing", expected="a super-resolution run", fix="another run")
    captions, truth = held_out(run, n)
    low = shrink(truth, super_resolution.ratio)
    began = time.perf_counter()
    given = low.repeat_interleave(SAMPLES, 0)
    drawn = sample_images(model, captions, samples=range(SAMPLES), low_res=given, steps=steps)
    seconds = (time.perf_counter() - began) / len(drawn)
    each = drawn.unflatten(0, (len(captions), SAMPLES))
    methods = {
        "bicubic": as_saved(upscale(low, (truth.shape[-2], truth.shape[-1])).clamp(-1, 1)),
        "one sample": as_saved(each[:, 0]),
        f"mean of {SAMPLES}": each.mean(1),
    }
    table: dict[str, Any] = {
        "run": path.name,
        "machine": processor("cpu"),
        "images": len(captions),
        "seconds to upscale one": round(seconds, 4),
        "peak memory, MiB": round(peak(model.context.device.type)),
        "given": conditioning(run, super_resolution),
    }
    for name, value in table.items():
        print(f"{name}: {value}")
    distances = perceptual(clip)
    for name, images in methods.items():
        table[name] = {"PSNR, dB": describe(psnr(images, truth))}
        table[name] |= {metric: describe(of(images, truth)) for metric, of in distances.items()}
        print(name, table[name])
    deviation = each.std(1).mean().item() * 127.5
    table["deviation between samples, levels"] = round(deviation, 2)
    if json is not None:
        write_json(json, table)
    if grid is not None:
        parts = [low, *methods.values(), truth]
        rows = [list(row) for row in zip(*(to_pil(part[:SHOWN]) for part in parts))]
        labelled_grid(rows, captions[:SHOWN], ["given", *methods, "truth"]).save(grid)


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
