"""`t2ikit sample` in code: prompts to PNG files and a labelled grid."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from t2ikit.cascade import open_stages
from t2ikit.cascade import upscale as upscale_all
from t2ikit.compose import Model
from t2ikit.errors import UserError
from t2ikit.files import save_picture
from t2ikit.grids import labelled_grid, to_pil
from t2ikit.progress import progress_bar
from t2ikit.run import Run, open_run
from t2ikit.sampling.draw import Progress, check_low_res, chunk_progress, sample
from t2ikit.sampling.open import check_call, open_model


@dataclass(frozen=True)
class Request:
    """What to draw.

    Attributes:
        prompts: captions, the rows of the grid.
        count: pictures of each prompt at each guidance.
        steps: sampler steps; None takes the recipe's.
        guidance: weights; empty takes the recipe's.
        seed: what the noise is drawn from.
    """

    prompts: Sequence[str]
    count: int = 4
    steps: int | None = None
    guidance: Sequence[float] = field(default_factory=list)
    seed: int = 0


def read_prompts(given: Sequence[str], path: Path | None) -> list[str]:
    """Prompts from the command line and from a file, one a line.

    Raises:
        UserError: the file cannot be read, or there is no prompt at all.
    """
    prompts = list(given)
    if path is not None:
        try:
            prompts += [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"--prompts {path}: the file cannot be read",
                expected="a UTF-8 text file with one caption a line",
                got=error,
                fix="check the path, and that the file was saved as UTF-8",
            ) from error
    prompts = list(dict.fromkeys(prompt for prompt in prompts if prompt.strip()))
    if not prompts:
        raise UserError(
            "there is no prompt to draw",
            expected="captions after the run folder, or --prompts FILE",
            got="nothing" if path is None else f"nothing in {path}",
            fix='t2ikit sample RUN "a green cat with red eyes"',
        )
    return prompts


def draw(
    path: Path,
    request: Request,
    *,
    out: Path | None = None,
    sampler: str | None = None,
    settings: Sequence[str] = (),
    weights: str = "ema",
    checkpoint: int | None = None,
    upscale: Sequence[Path] = (),
    plugins: Sequence[str] = (),
    device: str = "auto",
) -> Path:
    """Draw a request from a run and write the pictures and their grid; returns the grid's path.

    Args:
        path: the run folder.
        request: what to draw.
        out: folder for the pictures; None takes the next free one in the run.
        sampler, settings, weights, checkpoint, plugins, device: as in `open_model`; settings of the stages
            that enlarge begin with `upscale.`.
        upscale: run folders of stages that enlarge, in order.

    Raises:
        UserError: what cannot work, before anything is drawn, or pictures that cannot be written.
    """
    run = open_run(path)
    common: dict[str, Any] = {"weights": weights, "plugins": plugins, "device": device}
    of_stages = [setting for setting in settings if setting.startswith("upscale.")]
    of_base = [setting for setting in settings if setting not in of_stages]
    model = open_model(run, sampler=sampler, settings=of_base, checkpoint=checkpoint, **common)
    if model.generator.enlarges is not None:
        check_low_res(model, None, len(request.prompts) * request.count)
    stages = open_stages(
        model, upscale, of_stages, lambda at, own: open_model(open_run(at), settings=own, **common)
    )
    check_call(model, "steps", request.steps)
    for scale in request.guidance:
        check_call(model, "guidance", scale)
    scales = list(request.guidance) or [model.sampler.guidance]
    folder = _out_folder(run, out)
    images = _draw_columns(model, stages, request, scales)
    try:
        return _write(folder, request, scales, images)
    except OSError as error:
        raise UserError(
            f"--out {folder}: the pictures cannot be written",
            expected="a folder in which files can be written, with room for them",
            got=error,
            fix="free some space, or choose another folder with --out",
        ) from error


def _draw_columns(
    model: Model, stages: Sequence[Model], request: Request, scales: Sequence[float]
) -> torch.Tensor:
    """Pictures (P, G, S, 3, H, W) of P prompts at G guidance weights of the base, S of each."""
    columns: list[torch.Tensor] = []
    which: dict[str, Any] = {"samples": range(request.count), "seed": request.seed}
    parts = len(scales) * (1 + len(stages))
    with progress_bar("sampling") as progress:
        for place, scale in enumerate(scales):
            first = place * (1 + len(stages))
            images = sample(
                model,
                request.prompts,
                steps=request.steps,
                guidance=scale,
                progress=chunk_progress(progress, first, parts),
                **which,
            )
            told = functools.partial(_stage_progress, progress, first, parts)
            images = upscale_all(stages, request.prompts, images, progress=told, **which)
            columns.append(images.unflatten(0, (len(request.prompts), request.count)))
    return torch.stack(columns, 1)


def _stage_progress(progress: Progress, first: int, parts: int, stage: int) -> Progress | None:
    return chunk_progress(progress, first + stage, parts)


def _out_folder(run: Run, out: Path | None) -> Path:
    number = 1
    while out is None and (run.path / "outputs" / f"{number:03d}").exists():
        number += 1
    folder = out or run.path / "outputs" / f"{number:03d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--out {folder}: the folder cannot be made",
            expected="a folder in which files can be written",
            got=error,
            fix="choose another folder with --out",
        ) from error
    return folder


def _write(folder: Path, request: Request, scales: Sequence[float], images: torch.Tensor) -> Path:
    """Write images (P, G, S, 3, H, W) and their grid: rows prompts, columns guidance and samples."""
    rows = []
    for place, (prompt, of_prompt) in enumerate(zip(request.prompts, images, strict=True)):
        row = []
        for scale, of_scale in zip(scales, of_prompt, strict=True):
            for number, picture in enumerate(to_pil(of_scale)):
                name = f"{place:03d}-{_slug(prompt)}-g{scale:g}-s{request.seed}-{number}.png"
                save_picture(picture, folder / name)
                row.append(picture)
        rows.append(row)
    many = request.count > 1
    labels = [
        " ".join([f"guidance {scale:g}"] * (len(scales) > 1 or not many) + [f"sample {number}"] * many)
        for scale in scales
        for number in range(request.count)
    ]
    grid = folder / "grid.png"
    save_picture(labelled_grid(rows, list(request.prompts), labels), grid)
    return grid


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60] or "prompt"
