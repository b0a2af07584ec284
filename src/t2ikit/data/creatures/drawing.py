"""Draws one creature: a species' build, posed by its action, painted in its colours. Imports no torch."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from t2ikit.data.creatures.grammar import Attributes
from t2ikit.data.creatures.species import BUILDS, Build, Part, Points, capsule, ellipse

DRAWING_VERSION = 1
"""Raise it whenever any picture would change."""

Rgb = tuple[int, int, int]
BODY_RGB: dict[str, Rgb] = {
    "red": (218, 38, 38),
    "yellow": (250, 208, 40),
    "green": (60, 168, 72),
    "blue": (48, 104, 232),
    "purple": (146, 64, 196),
    "pink": (252, 146, 196),
    "brown": (132, 82, 42),
    "black": (40, 40, 46),
}
EYE_RGB: dict[str, Rgb] = {
    "red": (226, 20, 20),
    "yellow": (250, 184, 0),
    "green": (0, 160, 50),
    "blue": (20, 80, 245),
}
_PAPER, _SHADOW, _WIND = (247, 245, 241), (205, 203, 200), (176, 182, 190)
_BEAK, _DARK, _WHITE = (244, 150, 40), (30, 28, 30), (255, 255, 255)


@dataclass(frozen=True)
class _Pose:
    """How an action holds the body; angles in degrees, of legs from straight down, forward positive.

    Attributes:
        tilt: of the body, nose up; None takes the species' own way to sit.
        lift: height of the lowest point above the ground.
        rear, front, only: angles of the near and the far leg of the rear pair, the front pair, and of a
            biped's only pair.
        moves: whether lines behind tell of speed.
    """

    tilt: float | None
    lift: float
    rear: tuple[float, float]
    front: tuple[float, float]
    only: tuple[float, float]
    moves: bool = False


_POSES = {
    "standing": _Pose(0, 0.0, (0, 0), (0, 0), (0, 0)),
    "running": _Pose(-6, 0.03, (-62, -30), (58, 26), (-62, 52), moves=True),
    "jumping": _Pose(20, 0.18, (-42, -26), (48, 66), (-44, -8)),
    "sitting": _Pose(None, 0.0, (84, 84), (0, 0), (78, 92)),
}


@dataclass(frozen=True)
class _Paint:
    """The colours of one creature by tint; `patch` is None on creatures of one colour."""

    body: Rgb
    shade: Rgb
    patch: Rgb | None
    trim: Rgb
    line: Rgb
    beak: Rgb = _BEAK
    dark: Rgb = _DARK


@dataclass
class _Sketch:
    """Polygons in drawing order, each with its fill and its outline."""

    line: Rgb
    shapes: list[tuple[Points, Rgb, Rgb | None]] = field(default_factory=list)

    def add(self, points: Points, fill: Rgb, *, outline: bool = True) -> None:
        self.shapes.append((points, fill, self.line if outline else None))

    def parts(self, parts: tuple[Part, ...], paint: _Paint, origin: complex, turn: complex) -> None:
        for points, tint in parts:
            fill = getattr(paint, tint)
            if fill is not None:
                self.add(origin + points * turn, fill, outline=tint not in ("patch", "dark"))

    def points(self) -> Points:
        return np.concatenate([points for points, _, _ in self.shapes])


def draw(attributes: Attributes, size: int, rng: Random) -> NDArray[np.uint8]:
    """Draw a creature; place, scale, facing and shades vary with `rng`.

    Args:
        attributes: what to draw; with `eyes` None the creature has no eyes. The rest must be given.
        size: height and width, pixels.
        rng: only its `random()` is used, which is the same in every version of Python.

    Returns:
        (size, size, 3) uint8.
    """
    paint = _mix_paint(attributes, rng)
    sketch = _sketch(attributes, paint, rng)
    return _rasterise(sketch, size, _jitter(_PAPER, 5, rng), rng)


def _uniform(rng: Random, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _jitter(rgb: Rgb, reach: float, rng: Random) -> Rgb:
    r, g, b = (min(255, max(0, round(value + _uniform(rng, -reach, reach)))) for value in rgb)
    return r, g, b


def _shade(rgb: Rgb, factor: float) -> Rgb:
    r, g, b = (round(value * factor) for value in rgb)
    return r, g, b


def _mix_paint(attributes: Attributes, rng: Random) -> _Paint:
    names = attributes.colours or ()
    colours = [_jitter(BODY_RGB[name], 11, rng) for name in names]
    body = colours[0]
    patch = colours[1] if len(colours) == 2 else None
    # a darker line does not show on black
    line = (86, 86, 96) if names[0] == "black" else _shade(body, 0.55)
    return _Paint(body, _shade(body, 0.82), patch, patch or _shade(body, 0.82), line)


def _sketch(attributes: Attributes, paint: _Paint, rng: Random) -> _Sketch:
    """The creature with its body's middle at x = 0 and the ground at y = 0, facing right."""
    build, pose = BUILDS[attributes.species or ""], _POSES[attributes.action or ""]
    tilt = (build.sit if pose.tilt is None else pose.tilt) + _uniform(rng, -4, 4)
    turn = cmath.rect(1, math.radians(tilt))
    nod = cmath.rect(1, math.radians(_uniform(rng, -7, 7)))
    head = build.neck * turn
    sketch = _Sketch(paint.line)
    _legs(sketch, build, pose, paint.shade, turn, far=True)
    sketch.parts(build.back, paint, 0j, turn)
    sketch.add(ellipse(0j, build.body) * turn, paint.body)
    if build.neck_width:
        sketch.add(capsule(0.6 * build.body.real * turn, head, build.neck_width), paint.body)
    sketch.parts(build.side, paint, 0j, turn)
    _legs(sketch, build, pose, paint.body, turn, far=False)
    sketch.parts(build.crown, paint, head, nod)
    if build.head:
        sketch.add(head + ellipse(0j, build.head) * nod, paint.body)
    sketch.parts(build.face, paint, head, nod)
    if attributes.eyes is not None:
        _eyes(sketch, head, nod, EYE_RGB[attributes.eyes], rng)
    return _grounded(sketch, pose)


def _legs(sketch: _Sketch, build: Build, pose: _Pose, fill: Rgb, turn: complex, *, far: bool) -> None:
    pairs = (pose.only,) if len(build.hips) == 1 else (pose.rear, pose.front)
    spread = 0.07 if len(pairs) == 2 else 0.13
    floor = -abs(complex(build.body.real * turn.imag, build.body.imag * turn.real))
    for place, (hip, angles) in enumerate(zip(build.hips, pairs)):
        root = hip * turn + (spread if far else 0.0)
        length = build.leg
        if pose.tilt is None and place == 1:
            # the front legs of one who sits reach down to the ground it sits on
            length = max(build.leg, root.imag - floor)
        foot = root + length * cmath.rect(1, math.radians(angles[far] - 90))
        if pose.tilt is None and place == 0:
            drop = floor + build.leg_width - foot.imag
            root, foot = root + 1j * drop, foot + 1j * drop
        width = build.leg_width
        sketch.add(capsule(root, foot, width), fill)
        sketch.add(ellipse(foot + 0.45 * width, complex(max(0.06, 1.25 * width), 0.035)), fill)


def _eyes(sketch: _Sketch, head: complex, nod: complex, iris: Rgb, rng: Random) -> None:
    look = complex(_uniform(rng, -0.01, 0.016), _uniform(rng, -0.01, 0.01))
    for x in (-0.092, 0.102):
        middle = head + (x + 0.035j) * nod
        sketch.shapes.append((ellipse(middle, 0.099 + 0.104j), _WHITE, _DARK))
        sketch.add(ellipse(middle + look, 0.066 + 0.072j), iris, outline=False)
        sketch.add(ellipse(middle + look, 0.02 + 0.022j), _DARK, outline=False)
        sketch.add(ellipse(middle + look - 0.026 + 0.03j, 0.015 + 0.015j), _WHITE, outline=False)


def _grounded(sketch: _Sketch, pose: _Pose) -> _Sketch:
    """Put the creature `pose.lift` above the ground, with its shadow below and the wind of its speed."""
    points = sketch.points()
    rise = 1j * (pose.lift - points.imag.min())
    scene = _Sketch(sketch.line)
    scene.add(ellipse(0.03 + 0j, complex(0.34 - 0.4 * pose.lift, 0.035)), _SHADOW, outline=False)
    if pose.moves:
        left, height = points.real.min(), np.ptp(points.imag)
        for share, length in ((0.25, 0.1), (0.45, 0.16), (0.65, 0.1)):
            end = complex(left, share * height)
            scene.add(capsule(end - length, end, 0.014), _WIND, outline=False)
    scene.shapes += [(points + rise, fill, line) for points, fill, line in sketch.shapes]
    return scene


def _rasterise(sketch: _Sketch, size: int, paper: Rgb, rng: Random) -> NDArray[np.uint8]:
    """Fit the sketch into the picture at a random scale, place and facing, and paint it antialiased."""
    points = sketch.points()
    low = complex(points.real.min(), points.imag.min())
    extent = complex(np.ptp(points.real), np.ptp(points.imag))
    scale = min(1.05, 0.95 / extent.real, 0.95 / extent.imag) * _uniform(rng, 0.88, 1.0)
    room = complex(0.98 - scale * extent.real, 0.98 - scale * extent.imag)
    corner = complex(0.01 + room.real * rng.random(), 0.01 + room.imag * rng.random())
    left = rng.random() < 0.5
    factor = max(4 if size <= 128 else 2, 128 // size)
    pixels = size * factor
    canvas = Image.new("RGB", (pixels, pixels), paper)
    brush = ImageDraw.Draw(canvas)
    width = max(1, round(0.016 * scale * pixels))
    spots = (points - low) * scale + corner
    x, y = (1 - spots.real if left else spots.real), 1 - spots.imag
    flat = (np.stack([x, y], 1).ravel() * pixels).tolist()
    start = 0
    for shape, fill, line in sketch.shapes:
        outline = flat[start : start + 2 * len(shape)]
        start += 2 * len(shape)
        brush.polygon(outline, fill=fill)
        if line is not None:
            brush.line(outline + outline[:4], fill=line, width=width)
    return np.asarray(canvas.reduce(factor))
