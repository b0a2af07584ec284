"""The eight species as data: shapes in the frame of the body or of the head.

A point is a complex number, x forward and y up, in units of which a picture is about one wide.
Imports no torch.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.complex128]
Part = tuple[Points, str]
"""A polygon and its tint: "body", "shade", "patch" (drawn on two-coloured creatures only), "trim" (the
second colour, or a shade of the first), "beak" or "dark"."""

_CIRCLE: Points = np.exp(2j * np.pi * np.arange(20) / 20)


def ellipse(centre: complex, axes: complex, turn: float = 0.0) -> Points:
    """A polygon of 20 points; `axes` holds the half axes, `turn` is in degrees."""
    shape = _CIRCLE.real * axes.real + 1j * (_CIRCLE.imag * axes.imag)
    return np.asarray(centre + shape * cmath.rect(1, math.radians(turn)))


def polygon(*points: complex) -> Points:
    """A polygon of the given corners."""
    return np.array(points, dtype=np.complex128)


def tube(points: Sequence[complex], start: float, end: float) -> Points:
    """A rounded tube along `points`, its half width going from `start` to `end`."""
    path = np.array(points, dtype=np.complex128)
    along = np.gradient(path)
    normal = 1j * along / np.abs(along)
    width = np.linspace(start, end, len(path))
    cap = np.exp(1j * np.pi * np.array([-0.3, 0.0, 0.3]))
    tip = path[-1] + end * cap * along[-1] / abs(along[-1])
    root = path[0] - start * cap * along[0] / abs(along[0])
    return np.concatenate([path - width * normal, tip, (path + width * normal)[::-1], root])


_CAP: Points = np.exp(1j * np.pi * np.linspace(-0.5, 0.5, 6))


def capsule(root: complex, tip: complex, width: float) -> Points:
    """A straight limb with round ends and half width `width`."""
    along = (tip - root) / abs(tip - root)
    return np.concatenate([tip + width * along * _CAP, root - width * along * _CAP])


def mirrored(points: Points) -> Points:
    """The shape on the other side of the head."""
    return -points.conj()


@dataclass(frozen=True)
class Build:
    """The measures of a species.

    Attributes:
        body, head: half axes of the ellipses; a head of 0 is part of the body.
        neck: from the middle of the body to the middle of the head, in the body's frame.
        neck_width: half width of the neck.
        hips: where pairs of legs leave the body, rear pair first; one pair makes a biped.
        leg, leg_width: length and half width of a leg.
        sit: how far the body leans back when sitting, degrees.
        back, side: parts drawn before and after the body, in its frame.
        crown, face: parts drawn before and after the head, in its frame.
    """

    body: complex
    head: complex
    neck: complex
    neck_width: float
    hips: tuple[complex, ...]
    leg: float
    leg_width: float
    sit: float
    back: tuple[Part, ...] = ()
    side: tuple[Part, ...] = ()
    crown: tuple[Part, ...] = ()
    face: tuple[Part, ...] = ()


_CAT_EAR = polygon(-0.175 + 0.05j, -0.175 + 0.29j, 0.0 + 0.14j)
_CAT_EAR_INSIDE = polygon(-0.15 + 0.1j, -0.15 + 0.23j, -0.06 + 0.14j)
_NOSE = (ellipse(0.01 - 0.075j, 0.026 + 0.018j), "dark")
_MUZZLE = (ellipse(0.01 - 0.1j, 0.1 + 0.055j), "patch")

_CAT = Build(
    body=0.26 + 0.15j,
    head=0.2 + 0.17j,
    neck=0.22 + 0.21j,
    neck_width=0.1,
    hips=(-0.17 - 0.06j, 0.17 - 0.06j),
    leg=0.19,
    leg_width=0.04,
    sit=52,
    back=((tube((-0.2, -0.36 + 0.06j, -0.41 + 0.2j, -0.35 + 0.34j), 0.035, 0.03), "body"),),
    side=((ellipse(-0.04 - 0.01j, 0.17 + 0.105j), "patch"),),
    crown=(
        (_CAT_EAR, "body"),
        (mirrored(_CAT_EAR), "body"),
        (_CAT_EAR_INSIDE, "patch"),
        (mirrored(_CAT_EAR_INSIDE), "patch"),
    ),
    face=(_MUZZLE, _NOSE),
)

_RABBIT = Build(
    body=0.22 + 0.17j,
    head=0.18 + 0.16j,
    neck=0.17 + 0.22j,
    neck_width=0.1,
    hips=(-0.12 - 0.08j, 0.13 - 0.08j),
    leg=0.14,
    leg_width=0.045,
    sit=45,
    back=((ellipse(-0.23 + 0.03j, 0.085 + 0.085j), "trim"),),
    side=((ellipse(-0.03 - 0.02j, 0.14 + 0.12j), "patch"),),
    crown=(
        (ellipse(-0.1 + 0.28j, 0.06 + 0.19j, 8), "body"),
        (ellipse(0.07 + 0.28j, 0.06 + 0.19j, -8), "body"),
        (ellipse(-0.1 + 0.28j, 0.03 + 0.14j, 8), "patch"),
        (ellipse(0.07 + 0.28j, 0.03 + 0.14j, -8), "patch"),
    ),
    face=(_MUZZLE, _NOSE),
)

_BIRD = Build(
    body=0.24 + 0.18j,
    head=0.17 + 0.16j,
    neck=0.15 + 0.22j,
    neck_width=0.11,
    hips=(0.0 - 0.12j,),
    leg=0.2,
    leg_width=0.024,
    sit=18,
    back=(
        (
            polygon(-0.14 + 0.1j, -0.46 + 0.2j, -0.43 + 0.09j, -0.47 + 0.0j, -0.38 - 0.06j, -0.14 - 0.08j),
            "body",
        ),
    ),
    side=(
        (ellipse(0.06 - 0.04j, 0.15 + 0.12j), "patch"),
        (polygon(0.06 + 0.09j, -0.2 + 0.12j, -0.34 - 0.02j, -0.2 - 0.08j, -0.02 - 0.07j), "trim"),
    ),
    crown=((polygon(-0.08 + 0.1j, -0.14 + 0.25j, -0.03 + 0.19j, 0.0 + 0.27j, 0.06 + 0.12j), "body"),),
    face=((polygon(0.14 - 0.005j, 0.33 - 0.07j, 0.1 - 0.12j), "beak"),),
)

_FISH = Build(
    body=0.32 + 0.2j,
    head=0j,
    neck=0.14 + 0.05j,
    neck_width=0.0,
    hips=(0.0 - 0.15j,),
    leg=0.15,
    leg_width=0.026,
    sit=7,
    back=(
        (polygon(-0.25 + 0.02j, -0.5 + 0.21j, -0.44 + 0.0j, -0.5 - 0.19j, -0.25 - 0.04j), "body"),
        (polygon(0.1 + 0.16j, -0.04 + 0.33j, -0.18 + 0.3j, -0.2 + 0.12j), "trim"),
    ),
    side=(
        (ellipse(-0.11 - 0.01j, 0.13 + 0.15j), "patch"),
        (polygon(-0.02 - 0.05j, -0.14 - 0.0j, -0.14 - 0.12j), "shade"),
    ),
    face=((tube((0.1 - 0.13j, 0.16 - 0.11j), 0.012, 0.012), "dark"),),
)

_ELEPHANT_EAR = ellipse(-0.2 + 0.03j, 0.12 + 0.17j, 12)
_TRUNK = tube((0.05 - 0.08j, 0.13 - 0.18j, 0.24 - 0.23j, 0.33 - 0.17j, 0.35 - 0.08j), 0.06, 0.035)

_ELEPHANT = Build(
    body=0.29 + 0.21j,
    head=0.17 + 0.17j,
    neck=0.25 + 0.17j,
    neck_width=0.12,
    hips=(-0.16 - 0.1j, 0.16 - 0.1j),
    leg=0.19,
    leg_width=0.062,
    sit=42,
    back=((tube((-0.26 + 0.05j, -0.34, -0.37 - 0.1j), 0.016, 0.022), "body"),),
    side=((ellipse(-0.08 + 0.0j, 0.16 + 0.15j), "patch"),),
    crown=(
        (_ELEPHANT_EAR, "body"),
        (mirrored(_ELEPHANT_EAR), "body"),
        (ellipse(-0.22 + 0.03j, 0.07 + 0.11j, 12), "patch"),
        (ellipse(0.22 + 0.03j, 0.07 + 0.11j, -12), "patch"),
    ),
    face=((_TRUNK, "body"),),
)

_GIRAFFE = Build(
    body=0.2 + 0.13j,
    head=0.16 + 0.135j,
    neck=0.23 + 0.44j,
    neck_width=0.065,
    hips=(-0.13 - 0.06j, 0.13 - 0.06j),
    leg=0.25,
    leg_width=0.032,
    sit=20,
    back=((tube((-0.17 + 0.03j, -0.27 + 0.0j, -0.29 - 0.1j), 0.014, 0.024), "trim"),),
    side=((ellipse(-0.03 + 0.0j, 0.14 + 0.095j), "patch"), (ellipse(0.175 + 0.19j, 0.05 + 0.07j), "patch")),
    crown=(
        (tube((-0.06 + 0.09j, -0.08 + 0.21j), 0.018, 0.03), "trim"),
        (tube((0.06 + 0.09j, 0.08 + 0.21j), 0.018, 0.03), "trim"),
        (ellipse(-0.19 + 0.07j, 0.08 + 0.035j, -20), "body"),
        (ellipse(0.19 + 0.07j, 0.08 + 0.035j, 20), "body"),
    ),
    face=(_MUZZLE, _NOSE),
)

_ARC = np.pi * np.linspace(0, 1, 16)
_DOME = 0.33 * np.cos(_ARC) + 1j * (0.31 * np.sin(_ARC) - 0.05)

_TURTLE = Build(
    body=0.3 + 0.1j,
    head=0.165 + 0.15j,
    neck=0.4 + 0.13j,
    neck_width=0.07,
    hips=(-0.18 - 0.04j, 0.18 - 0.04j),
    leg=0.13,
    leg_width=0.05,
    sit=28,
    back=((polygon(-0.26 - 0.0j, -0.42 - 0.07j, -0.26 - 0.08j), "body"),),
    side=(
        (_DOME, "shade"),
        (ellipse(-0.0 + 0.09j, 0.17 + 0.12j), "trim"),
        (polygon(-0.34 - 0.06j, -0.34 + 0.0j, 0.34 + 0.0j, 0.34 - 0.06j), "body"),
    ),
    face=((tube((0.02 - 0.09j, 0.1 - 0.08j), 0.01, 0.01), "dark"),),
)


def _spike(at: complex, turn: float) -> Part:
    shape = polygon(-0.07, 0.12j, 0.07)
    return np.asarray(at + shape * cmath.rect(1, math.radians(turn))), "trim"


_DINOSAUR = Build(
    body=0.19 + 0.23j,
    head=0.19 + 0.15j,
    neck=0.12 + 0.29j,
    neck_width=0.12,
    hips=(0.0 - 0.15j,),
    leg=0.17,
    leg_width=0.06,
    sit=10,
    back=(
        _spike(-0.12 + 0.2j, 45),
        _spike(-0.2 + 0.06j, 65),
        _spike(-0.31 - 0.08j, 40),
        (tube((-0.06 - 0.08j, -0.22 - 0.15j, -0.38 - 0.17j, -0.52 - 0.1j), 0.13, 0.02), "body"),
    ),
    side=(
        (ellipse(0.05 - 0.02j, 0.12 + 0.17j), "patch"),
        (tube((0.1 + 0.06j, 0.22 + 0.02j), 0.03, 0.03), "body"),
    ),
    crown=(_spike(-0.14 + 0.08j, 50),),
    face=(
        (ellipse(0.16 - 0.07j, 0.13 + 0.075j), "body"),
        (tube((0.09 - 0.11j, 0.24 - 0.09j), 0.01, 0.01), "dark"),
    ),
)

BUILDS: dict[str, Build] = {
    "cat": _CAT,
    "rabbit": _RABBIT,
    "bird": _BIRD,
    "fish": _FISH,
    "elephant": _ELEPHANT,
    "giraffe": _GIRAFFE,
    "turtle": _TURTLE,
    "dinosaur": _DINOSAUR,
}
