"""`t2ikit sample` in code: a run and prompts to images."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from t2ikit.config.arguments import checked
from t2ikit.core.shapes import Shape, checked_aspect, shown
from t2ikit.errors import UserError, option
from t2ikit.recipes.compose import Model
from t2ikit.recipes.settings import Plugins, Settings, as_settings
from t2ikit.runs.open import as_run, open_run
from t2ikit.runs.run import Run
from t2ikit.sampling.cascade import open_stages, upscale_images
from t2ikit.sampling.costs import measure_costs
from t2ikit.sampling.editing.checks import check_edit
from t2ikit.sampling.editing.edit import ImageEdit
from t2ikit.sampling.editing.inputs import read_edit
from t2ikit.sampling.images import Progress, check_low_res, chunk_progress, sample_images
from t2ikit.sampling.open import check_call, open_model, shape_for
from t2ikit.sampling.samples import Samples
from t2ikit.text.vocabulary import warn_of_prompts
from t2ikit.utils.console import warn
from t2ikit.utils.files import decoded
from t2ikit.utils.progress import progress_bar


def read_prompts(typed: Sequence[str], path: Path | None) -> list[str]:
    """Prompts from the command line and from a file, one a line, each once.

    An empty one on the command line is the unconditional sample; blank lines of a file are left out.

    Raises:
        UserError: the file cannot be read, or there is no prompt at all.
    """
    prompts = [prompt if prompt.strip() else "" for prompt in typed]
    if path is not None:
        try:
            prompts += filter(None, map(str.strip, decoded(path.read_bytes()).splitlines()))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"--prompts {path}: the file cannot be read",
                expected="a UTF-8 text file (or UTF-16 or UTF-32 with a byte-order mark), one caption a line",
                got=error,
                fix="check the path, and that the file was saved as UTF-8",
            ) from error
    prompts = list(dict.fromkeys(prompts))
    if not prompts:
        raise UserError(
            "there is no prompt to sample",
            expected="captions after the run, or --prompts FILE",
            got="nothing" if path is None else f"nothing in {path}",
            fix='t2ikit sample RUN "a green cat with red eyes"',
        )
    if len(typed) > 2 and not any(" " in prompt.strip() for prompt in typed):
        warn(f"{len(typed)} prompts of one word each; one prompt is {shlex.quote(' '.join(typed))}")
    return prompts


@checked
def sample(
    run: Run | str | Path,
    prompts: str | Sequence[str],
    *,
    n: int = 4,
    steps: int | None = None,
    guidance: float | Sequence[float] | None = None,
    sampler: str | None = None,
    set: Settings = None,
    image: Any = None,
    mask_image: Any = None,
    strength: float | None = None,
    negative_prompt: str = "",
    aspect: str | float | None = None,
    upscale: Run | str | Path | Sequence[Run | str | Path] = (),
    weights: str = "ema",
    checkpoint: int | None = None,
    ema: float | None = None,
    seed: int = 0,
    device: str = "auto",
    plugins: Plugins = (),
    progress: bool | Callable[[int, int], None] = True,
) -> Samples:
    """Sample images of prompts from a run. Nothing is written: `Samples.save` does.

    Args:
        run: a run or an export, its folder, hf:OWNER/NAME or creatures; `prompts` are P captions, or one.
        n, seed: images of each prompt at each guidance, and the seed of their noise.
        steps, guidance, sampler: None takes the recipe's; guidance may be several weights.
        set: options of the sampler and of `upscale`, `{"sampler.eta": 1, "upscale.steps": 9}`, or strings.
        image, mask_image, strength: what to begin at, what to repaint, and how much to change (`read_edit`).
        negative_prompt, aspect: what guidance leads away from; width to height, such as "3:2" (None: square).
        upscale: super-resolution runs that upscale the images, in order.
        weights, checkpoint, ema: "ema" (averaged) or "raw"; its step; the average's length (`Run.model`).
        device, plugins, progress: "auto", "cpu", "cuda" or "mps"; plugin files; a bar, or call (done, total).

    Raises:
        UserError: what cannot work, before anything is sampled; or images that are not finite.

    Example:
        >>> t2ikit.sample("runs/imagen-001", "a green cat with red eyes", n=8).save("cats")
    """
    wanted, scales, aspect = _as_prompts(prompts), _as_scales(guidance), checked_aspect(aspect)
    common: dict[str, Any] = {"weights": weights, "plugins": plugins, "device": device}
    run, (of_base, of_stages) = as_run(run), _split(as_settings(set))
    model = open_model(run, sampler=sampler, settings=of_base, checkpoint=checkpoint, ema=ema, **common)
    _check(model, wanted, n, negative_prompt)
    stages, scales = _open_stages(model, upscale, of_stages, common), _checked_scales(model, steps, scales)
    own = _of_base(model, len(wanted), (image, mask_image, strength, aspect), negative_prompt, steps, scales)
    return _sampled(run, model, stages, wanted, scales, {"samples": range(n), "seed": seed}, own, progress)


def sample_opened(
    run: Run,
    model: Model,
    prompts: Sequence[str],
    *,
    n: int,
    seed: int,
    steps: int | None = None,
    guidance: float | None = None,
    image: Any = None,
    strength: float | None = None,
    negative_prompt: str = "",
    aspect: str | None = None,
    progress: Progress | None = None,
) -> Samples:
    """The same images as `sample`, of a run's model that is open already, at one guidance.

    Raises:
        UserError: as `sample` does.
    """
    scales = _checked_scales(model, steps, _as_scales(guidance))
    edit = (image, None, strength, aspect)
    own = _of_base(model, len(prompts), edit, negative_prompt, steps, scales)
    which = {"samples": range(n), "seed": seed}
    return _sampled(run, model, (), tuple(prompts), scales, which, own, progress or False)


def _of_base(
    model: Model,
    prompts: int,
    given: tuple[Any, Any, float | None, str | float | None],
    negative: str,
    steps: int | None,
    scales: Sequence[float],
) -> dict[str, Any]:
    """Options of the base model alone, checked; `given` are image, mask, strength and aspect."""
    shape = shape_for(model, given[3])
    size, channels = shape or model.context.image_size, model.context.image_channels
    edit = read_edit(*given[:3], prompts=prompts, size=size, channels=channels)
    check_edit(model, edit, negative, steps=steps, guidance=scales)
    return {"steps": steps, "negative": negative, "edit": edit, "shape": shape}


def _check_shape(run: Run, stages: Sequence[Model], shape: Shape | None) -> None:
    """Refuse images that are not square where a stage of super-resolution follows, which makes squares.

    Warn of a bucket that no training image was in.
    """
    if shape is not None and [*shape, 0] in run.info.get("image_shapes", ()):
        warn(f"{option('aspect')}: no image of {shown(shape)} px was trained on")
    if shape is not None and shape[0] != shape[1] and stages:
        raise UserError(
            f"{option('aspect')}: super-resolution runs upscale squares alone",
            expected=f"{option('aspect')} or {option('upscale')}",
            got="both",
            fix=f"leave {option('upscale')} out",
        )


def _sampled(
    run: Run,
    model: Model,
    stages: Sequence[Model],
    prompts: tuple[str, ...],
    scales: tuple[float, ...],
    which: dict[str, Any],
    own: dict[str, Any],
    progress: bool | Progress,
) -> Samples:
    """Samples of opened models, with what they cost; `which` and `own` as in `_columns`."""
    _check_shape(run, stages, own["shape"])
    edit: ImageEdit | None = own["edit"]
    own = {**own, "edit": None if edit is None else edit.repeated(len(which["samples"]))}
    count = len(prompts) * len(scales) * len(which["samples"])
    with measure_costs(model, count, stages) as spent, _shown(progress) as update:
        images = _columns(model, stages, prompts, scales, update, which, own)
    return Samples(images, prompts, scales, which["seed"], spent().seconds, spent().calls, run)


def _split(settings: Sequence[str]) -> tuple[list[str], list[str]]:
    """Settings of the base model's sampler, and those of stages of super-resolution."""
    of_stages = [setting for setting in settings if setting.startswith("upscale.")]
    return [setting for setting in settings if setting not in of_stages], of_stages


def _check(model: Model, prompts: Sequence[str], n: int, negative: str) -> None:
    """Refuse a base model that needs images to upscale; warn of words that it never saw."""
    if model.generator.super_resolution is not None:
        check_low_res(model, None, len(prompts) * n)
    warn_of_prompts(model.encoder, model.words, [*prompts, negative])


def _checked_scales(model: Model, steps: int | None, scales: tuple[float, ...]) -> tuple[float, ...]:
    """The guidance weights, or else the sampler's own; refused where the model cannot use them."""
    check_call(model, "steps", steps)
    for scale in scales:
        check_call(model, "guidance", scale)
    return scales or (model.sampler.guidance,)


def _as_prompts(prompts: str | Sequence[str]) -> tuple[str, ...]:
    found = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    if not found or not all(isinstance(prompt, str) for prompt in found):
        raise UserError(
            "prompts: there is nothing to sample",
            expected="a caption, or a list of them",
            got=found,
            fix='t2ikit.sample(run, "a green cat with red eyes")',
        )
    return found


def _as_scales(guidance: float | Sequence[float] | None) -> tuple[float, ...]:
    if guidance is None:
        return ()
    try:
        several = isinstance(guidance, Iterable) and not isinstance(guidance, str)
        return tuple(float(scale) for scale in (guidance if several else [guidance]))  # type: ignore[union-attr,arg-type]
    except (TypeError, ValueError) as error:
        raise UserError(
            "guidance: this is no weight",
            expected="a number, or several",
            got=repr(guidance),
            fix="t2ikit.sample(run, prompts, guidance=[1, 3])",
        ) from error


def _open_stages(
    base: Model,
    upscale: Run | str | Path | Sequence[Run | str | Path],
    settings: Sequence[str],
    common: dict[str, Any],
) -> list[Model]:
    """The opened stages of super-resolution."""
    runs = [upscale] if isinstance(upscale, (Run, str, Path)) else list(upscale)
    known = {one.path: one for one in runs if isinstance(one, Run)}

    def opened(path: Path, own: Sequence[str]) -> Model:
        return open_model(known.get(path) or open_run(path), settings=own, **common)

    paths = [one.path if isinstance(one, Run) else Path(one) for one in runs]
    return open_stages(base, paths, settings, opened)


@contextmanager
def _shown(progress: bool | Progress) -> Iterator[Progress | None]:
    """What to call with (done, in all)."""
    if progress is True:
        with progress_bar("sampling") as update:
            yield update
    else:
        yield progress or None


def _columns(
    model: Model,
    stages: Sequence[Model],
    prompts: Sequence[str],
    scales: Sequence[float],
    progress: Progress | None,
    which: dict[str, Any],
    own: dict[str, Any],
) -> torch.Tensor:
    """Images (P, G, S, 3, H, W) of P prompts at G guidance weights of the base, S of each.

    `which` are samples and seed, `own` the options of the base alone.
    """
    columns: list[torch.Tensor] = []
    parts = len(scales) * (1 + len(stages))
    for place, scale in enumerate(scales):
        first = place * (1 + len(stages))
        of_base = chunk_progress(progress, first, parts)
        images = sample_images(model, prompts, guidance=scale, progress=of_base, **which, **own)
        then = functools.partial(_stage_progress, progress, first, parts)
        images = upscale_images(stages, prompts, images, progress=then, **which)
        columns.append(images.unflatten(0, (len(prompts), -1)))
    return torch.stack(columns, 1)


def _stage_progress(progress: Progress | None, first: int, parts: int, stage: int) -> Progress | None:
    return chunk_progress(progress, first + stage, parts)
