"""Images and masks that a user gives: files, of Pillow or tensors, brought to a model's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from t2ikit.core.shapes import Shape
from t2ikit.data.image_files import UNREADABLE, covering, open_image, to_channels, to_tensor
from t2ikit.errors import UserError, option
from t2ikit.sampling.editing.edit import ImageEdit
from t2ikit.utils.console import log
from t2ikit.utils.images import from_uint8, to_pil
from t2ikit.utils.quoting import one_line, shortened

STRENGTH, STRENGTH_WITH_MASK = 0.8, 1.0
"""What diffusers takes where none is given, without a mask and with one."""
MASK = 0
"""Stands for the channels of a mask, which is gray whatever the model's images are."""
ALIKE = 0.02
"""By how much the sides' ratio of a mask may differ from its image's, for both are whole pixels."""
KINDS = "a file, an image of Pillow, a tensor (C, H, W) in [-1, 1], or a list with one of them a prompt"
MASKS = "a file, an image of Pillow, a tensor (H, W) in [0, 1], or a list with one of them a prompt"


def read_edit(
    image: Any, mask: Any, strength: float | None, *, prompts: int, size: int | Shape, channels: int = 3
) -> ImageEdit | None:
    """The edit that arguments ask for, with an image for each prompt; None where they ask for none.

    Args:
        image: a file, an image of Pillow or a tensor (C, H, W) in [-1, 1] for all prompts, or a list or
            tensor of them with one for each; on white where it is transparent, unless C is 4.
        mask: the same, grey, white where it is repainted; a tensor is (H, W) in [0, 1].
        strength: in [0, 1]; None: 0.8, with a mask 1.
        prompts: P.
        size: side of the model's images, or height and width: others are cut to their centre and resized.
        channels: C of the model's images.

    Raises:
        UserError: a file that cannot be read, a mask of another shape or without an image, a strength that is
            no share, or a number of images that fits no number of prompts.
    """
    if image is None:
        refuse_alone("there is no image to begin at", mask, strength)
        return None
    share = _checked_strength(strength, STRENGTH if mask is None else STRENGTH_WITH_MASK)
    originals = _listed("image", image, prompts, channels)
    edited = _as_tensor([_sized("image", one, name, size) for one, name in originals])
    if mask is None:
        return ImageEdit(edited.expand(prompts, -1, -1, -1).contiguous(), None, share)
    masks = _listed("mask_image", mask, prompts, MASK)
    for place, (one, name) in enumerate(masks):
        _check_shape(one, name, originals[min(place, len(originals) - 1)][0])
    white = _as_tensor([_sized("mask_image", one, name, size) for one, name in masks]) >= 0
    shape = (prompts, -1, -1, -1)
    return ImageEdit(edited.expand(shape).contiguous(), white.expand(shape).contiguous(), share)


def refuse_alone(why: str, mask: Any, strength: float | None) -> None:
    """Refuse a mask or a strength where there is nothing to edit, with the reason.

    Raises:
        UserError: one of them is given.
    """
    for name, value in (("mask_image", mask), ("strength", strength)):
        if value is not None:
            raise UserError(
                f"{option(name)}: {why}",
                expected=f"{option(name)} together with {option('image')}, which sampling begins at",
                got="no image to begin at",
                fix=f"add {option('image')}, or leave {option(name)} out",
            )


def _checked_strength(strength: float | None, usual: float) -> float:
    if strength is None:
        return usual
    number = float(strength) if isinstance(strength, Real) and not isinstance(strength, bool) else math.nan
    if not 0 <= number <= 1:
        raise UserError(
            f"{option('strength')}: this is no share of the steps",
            expected="a number from 0 (the image stays as it is) to 1 (nothing of it is left)",
            got=shortened(repr(strength), 80),
            fix=f"leave it out for {STRENGTH}, or {STRENGTH_WITH_MASK:g} with {option('mask_image')}",
        )
    return number


Named = tuple[Image.Image, str]
"""An image of Pillow, and what messages call it."""


def _listed(name: str, given: Any, prompts: int, channels: int) -> list[Named]:
    """The given images of Pillow, with so many channels: one, or one for each prompt."""
    several = isinstance(given, (list, tuple)) or (
        isinstance(given, Tensor) and given.ndim == 4 and given.shape[1] in (1, channels)
    )
    ones: Sequence[Any] = list(given) if several else [given]
    if len(ones) not in (1, prompts):
        raise UserError(
            f"{option(name)}: there is not one for each prompt",
            expected=f"1 for all prompts, or {prompts}",
            got=len(ones),
            fix="give one image, or as many as prompts",
        )
    return [_opened(name, one, channels) for one in ones]


def _opened(name: str, given: Any, channels: int) -> Named:
    if isinstance(given, (str, Path)):
        return _read(name, Path(given).expanduser(), channels), str(given)
    try:
        if isinstance(given, Image.Image):
            return _with_channels(given, channels), option(name)
        if isinstance(given, Tensor) and given.ndim in (2 if channels == MASK else 3, 3):
            shown = (
                _grey(given.detach().cpu())
                if channels == MASK
                else _of_tensor(given.detach().cpu(), channels)
            )
            return _with_channels(shown, channels), option(name)
    except UNREADABLE as error:
        raise _unread(name, option(name), one_line(error)) from error
    got = f"a tensor {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
    raise _unread(name, option(name), got)


def _with_channels(image: Image.Image, channels: int) -> Image.Image:
    return to_channels(image, "white", 1 if channels == MASK else channels)


def _as_tensor(images: Sequence[Image.Image]) -> Tensor:
    """Images of one size as (N, C, H, W) in [-1, 1]."""
    return from_uint8(torch.stack([to_tensor(image) for image in images]))


def _read(name: str, path: Path, channels: int) -> Image.Image:
    """A file, upright, on white where it is transparent unless the model knows transparency."""
    if not path.is_file():
        raise _unread(name, f"{option(name)} {path}", "a folder" if path.is_dir() else "no such file")
    try:
        with open_image(path) as image:
            return _with_channels(image, channels)
    except UNREADABLE as error:
        raise _unread(name, f"{option(name)} {path}", one_line(error)) from error


def _unread(name: str, what: str, got: str) -> UserError:
    return UserError(
        f"{what}: this is no image that can be read",
        expected=KINDS if name == "image" else MASKS,
        got=got,
        fix="check the path, and that another program opens the file",
    )


def _of_tensor(image: Tensor, channels: int) -> Image.Image:
    """A tensor (C, H, W) in [-1, 1] of Pillow."""
    if image.shape[0] != channels or not image.is_floating_point() or not bool((image.abs() <= 1.001).all()):
        raise ValueError(f"a tensor {tuple(image.shape)} of {image.dtype}, or with values beyond [-1, 1]")
    return to_pil(image[None])[0]


def _grey(mask: Tensor) -> Image.Image:
    """A tensor (H, W) or (1, H, W) in [0, 1], or of truth values, of Pillow."""
    levels = mask.float().reshape(-1, *mask.shape[-2:])
    if len(levels) != 1 or not bool(((levels >= 0) & (levels <= 1)).all()):
        raise ValueError(f"a tensor {tuple(mask.shape)} of {mask.dtype}, or with values beyond [0, 1]")
    return to_pil(levels.expand(3, -1, -1)[None] * 2 - 1)[0]


def _sized(kind: str, image: Image.Image, name: str, size: int | Shape) -> Image.Image:
    """The image at the model's size; where it has another, a line says what is done to it."""
    height, width = (size, size) if isinstance(size, int) else size
    if image.size == (width, height):
        return image
    whole = image.width * height == image.height * width
    part = "it" if whole else "its centre square" if height == width else "its centre"
    if kind == "image":
        log(f"{name}: {image.width} x {image.height} px; {part} is resized to {width} x {height} px")
    return covering(image, (height, width))


def _check_shape(mask: Image.Image, name: str, image: Image.Image) -> None:
    """Refuse a mask whose sides have another ratio than its image's: they would not lie on each other."""
    if abs(math.log((mask.width * image.height) / (mask.height * image.width))) > ALIKE:
        raise UserError(
            f"{name}: the mask has another shape than the image",
            expected=f"{image.width} x {image.height} px, or the same ratio of the sides",
            got=f"{mask.width} x {mask.height} px",
            fix="paint the mask over a copy of the image: white where it is to be repainted, black elsewhere",
        )
