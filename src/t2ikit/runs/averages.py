"""Averages of weights in a run folder: stored while it trains, put together to any length afterwards.

`averages/step-00000500/` holds the two power-function averages of that step, in the format of a checkpoint.
Half precision is enough: synthesis multiplies its rounding, up to 2 ** -11 of a weight, by the root of the
sum of the squared coefficients, 0.6 to 1.9 for widths from 0.04 to 0.25 and twelve stored steps.
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from t2ikit.errors import T2ikitWarning, UserError
from t2ikit.nn.averaging.power import WIDTHS, PowerAverages, exponent
from t2ikit.nn.averaging.synthesis import Profile, coefficients
from t2ikit.recipes.schema import TrainConfig
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs.files import checkpoints, step_of

FOLDER = "averages"
PART = "average-"
"""Before a width in the name of a part of a checkpoint."""
FOLLOWED = "average_steps"
"""In a checkpoint's state: the steps that its averages have followed."""
TIMED = 25
"""Steps between the first averages that a run stores which does not know its last step."""
SHORTEST, LONGEST = 0.01, 0.28
"""Relative widths that can be asked for; a flat average of the whole training is 0.2887 wide."""
FAR = 0.1
"""Distance of a synthesised profile from the wanted one that is warned of."""


class RunAverages(PowerAverages):
    """The power-function averages of a run that is trained, which it stores now and then.

    Args:
        module: whose parameters are averaged.
        run: the run folder.
        config: how many sets of averages are stored at most (0: none are kept at all), and the steps or
            minutes of the training.
    """

    def __init__(self, module: nn.Module, run: Path, config: TrainConfig) -> None:
        super().__init__(module, WIDTHS if config.ema_snapshots else ())
        self.run, self.limit = run, config.ema_snapshots
        self.every = TIMED if config.minutes else math.ceil(config.steps / max(1, self.limit))

    def due(self, step: int) -> bool:
        """Whether to store the averages after this step, a function of the step alone.

        Steps that are evenly spaced; where the last is not known, farther and farther apart.
        """
        if not self.limit:
            return False
        every = self.every
        while step > every * self.limit:
            every *= 2
        return step % every == 0

    def store(self, step: int) -> None:
        """Write the averages, and delete some where there are too many.

        Raises:
            UserError: they cannot be written.
        """
        halves = {
            part: {name: _half(tensor) for name, tensor in average.items()}
            for part, average in self.parts().items()
        }
        ckpt.save(self.run, ckpt.Snapshot(step, halves, {FOLLOWED: self.steps}), FOLDER)
        for path in _crowded(checkpoints(self.run, FOLDER), self.limit):
            shutil.rmtree(path, ignore_errors=True)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """The averages as parts of a checkpoint."""
        return {f"{PART}{width:g}": average for width, average in self.averages.items()}

    def keep_in(self, snapshot: ckpt.Snapshot) -> None:
        """Add the averages to what a checkpoint holds."""
        if self.averages:
            snapshot.tensors |= self.parts()
            snapshot.state[FOLLOWED] = self.steps

    def restore(self, snapshot: ckpt.Snapshot) -> None:
        """Go on from a checkpoint."""
        if self.averages:
            averages = {width: snapshot.tensors[f"{PART}{width:g}"] for width in self.averages}
            self.load(averages, snapshot.state[FOLLOWED])


def cut_averages(run: Path, after: int) -> None:
    """Delete what was stored after a step, or not to its end: training goes on from there."""
    late = [path for path in checkpoints(run, FOLDER) if step_of(path) > after]
    for path in [*late, *(run / FOLDER).glob(".writing-*")]:
        shutil.rmtree(path, ignore_errors=True)


def _half(tensor: Tensor) -> Tensor:
    """In half precision; in its own where a value is too large for that."""
    half = tensor.detach().cpu().half()
    return half if bool(half.isfinite().all()) else tensor


def _crowded(paths: list[Path], limit: int) -> Iterator[Path]:
    """Which stored averages to delete so that `limit` are left: those nearest to their neighbours."""
    left = list(paths)
    while len(left) > limit:
        steps = [0, *map(step_of, left)]
        gaps = [after - before for before, after in zip(steps, steps[2:])]
        yield left.pop(gaps.index(min(gaps)))


def check_average(run: Path, snapshot: ckpt.Snapshot, width: float) -> None:
    """Refuse a width that no average has, or a checkpoint of a run that kept none.

    Raises:
        UserError: so it is.
    """
    if FOLLOWED not in snapshot.state:
        raise _none_kept(run, width)
    if not SHORTEST <= width <= LONGEST:
        raise UserError(
            f"{run}: --ema {width:g}: there is no average of this length",
            expected=f"a share of the training from {SHORTEST} to {LONGEST}, such as 0.1",
            got=f"{width:g}",
            fix="--ema 0.1; lengths of 0.05 to 0.2 are usual",
        )


def synthesised(run: Path, snapshot: ckpt.Snapshot, width: float) -> dict[str, Tensor]:
    """The generator's weights at a checkpoint, its trained parameters averaged to a relative width.

    Buffers and frozen parameters are the checkpoint's.

    Args:
        run: the run folder.
        snapshot: of the checkpoint.
        width: relative standard deviation of the average's profile, in [SHORTEST, LONGEST].

    Warns:
        T2ikitWarning: the stored averages give no profile near to that.

    Raises:
        UserError: the run kept no averages, or one of them is damaged.
    """
    check_average(run, snapshot, width)
    earlier = [path for path in checkpoints(run, FOLDER) if step_of(path) < snapshot.step]
    stored = [snapshot, *map(_read, earlier)]
    held = [(one, part) for one in stored for part in one.tensors if part.startswith(PART)]
    profiles = [Profile(one.state[FOLLOWED], exponent(float(part.removeprefix(PART)))) for one, part in held]
    wanted = Profile(snapshot.state[FOLLOWED], exponent(width))
    shares, far = coefficients(profiles, wanted)
    if far > FAR:
        warnings.warn(
            f"{run}: --ema {width:g} is only approximate: its profile is {far:.0%} off, out of the averages "
            f"stored at {len(stored)} steps; more of them (train.ema_snapshots), or a width nearer to "
            f"{WIDTHS[0]:g} or {WIDTHS[1]:g}, would be nearer",
            T2ikitWarning,
            stacklevel=2,
        )
    found = dict(snapshot.tensors["generator"])
    for name in snapshot.tensors[f"{PART}{WIDTHS[0]:g}"]:
        summed = sum(share * one.tensors[part][name].double() for share, (one, part) in zip(shares, held))
        assert isinstance(summed, Tensor)
        found[name] = summed.to(found[name].dtype)
    return found


def _read(path: Path) -> ckpt.Snapshot:
    """Stored averages.

    Raises:
        UserError: a file is damaged.
    """
    try:
        return ckpt.load(path)
    except ckpt.Damaged as error:
        raise UserError(
            error.what,
            expected="averages as `t2ikit train` stored them",
            got=error.got,
            fix=f"restore the file, or delete the folder {path}: the other averages will do",
        ) from error


def _none_kept(run: Path, width: float) -> UserError:
    return UserError(
        f"{run}: --ema {width:g}: this run kept no averages to choose a length from",
        expected="a run trained with train.ema_snapshots above 0",
        got="a checkpoint without them",
        fix="leave --ema out for the average of train.ema_decay, or train with --set train.ema_snapshots=12",
    )
