"""How a run's steps are launched: what `train.compile` means on a device, and when compiling is repaid."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from t2ikit.nn.cuda_graphs import OnCuda, Recorder
from t2ikit.recipes.compose import Model
from t2ikit.recipes.schema import Compile

SKIPPED, TIMED = 20, 20
"""Steps that are left out, and steps that are timed, before compiling is decided on."""
LONG = 360.0
"""Seconds of training left above which compiling is repaid: by a gain of a third or more."""


@dataclass(frozen=True)
class Choice:
    """How steps are launched.

    Attributes:
        recorder: where they are captured as CUDA graphs; None: they are not.
        repaid: says when to compile; None: never.
        backend: of torch.compile.
        why_not: why they are not captured where `train.compile` would have it so; empty where they are.
    """

    recorder: Recorder | None = None
    repaid: Repaid | None = None
    backend: str = "inductor"
    why_not: str = ""


class Repaid:
    """Decides once whether the steps that are left repay compiling them.

    Args:
        synchronize: waits for the device, so that its time can be taken.
        at_once: compile at the first step, however few are left.
        log: told that it is time.
        agree: given this process's number, that of the main process.
        clock: seconds.
    """

    def __init__(
        self,
        synchronize: Callable[[], None],
        *,
        at_once: bool,
        log: Callable[[str], None],
        agree: Callable[[float], float] = float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.synchronize, self.at_once, self.log, self.agree, self.clock = (
            synchronize,
            at_once,
            log,
            agree,
            clock,
        )
        self._calls, self._began = 0, 0.0

    def compile_now(self, left: int) -> bool:
        """Whether to compile before the next step, of which `left` are to be made; asked before each."""
        self._calls += 1
        if self.at_once:
            self.log("compiling the training step: a minute or two")
            return self._calls == 1
        if self._calls == SKIPPED:
            self.synchronize()
            self._began = self.clock()
        if self._calls != SKIPPED + TIMED:
            return False
        self.synchronize()
        seconds = self.agree((self.clock() - self._began) / TIMED) * left
        if seconds < LONG:
            return False
        self.log(
            f"compiling the training step: a minute or two, repaid over the {seconds / 60:.0f} minutes that "
            "are left; --set train.compile=graphs leaves it out"
        )
        return True


def choose(
    kind: Compile,
    device: torch.device,
    *,
    processes: int,
    precision: str,
    log: Callable[[str], None],
    agree: Callable[[float], float] = float,
) -> Choice:
    """How to launch the steps of a run.

    Args:
        kind: the recipe's `train.compile`.
        device: that it trains on.
        processes: that train together.
        precision: no, bf16 or fp16.
        log: told what is done.
        agree: given this process's number, that of the main process.
    """
    cuda = device.type == "cuda"
    if kind == "off" or (kind == "auto" and not cuda):
        return Choice()
    repaid = None
    if kind != "graphs":
        wait = (lambda: torch.cuda.synchronize(device)) if cuda else (lambda: None)
        repaid = Repaid(wait, at_once=kind == "on", log=log, agree=agree)
    why_not = not_captured(cuda=cuda, processes=processes, precision=precision)
    return Choice(None if why_not else OnCuda(device), repaid, why_not=why_not)


def for_shapes(kind: Compile, model: Model, log: Callable[[str], None]) -> Compile:
    """`train.compile`, but "off" where images have several shapes, each of which would be compiled."""
    if (
        not model.context.image_shapes
        or kind == "off"
        or (kind == "auto" and model.context.device.type != "cuda")
    ):
        return kind
    log("images of several shapes: steps are launched one by one (train.compile=off)")
    return "off"


def not_captured(*, cuda: bool, processes: int, precision: str) -> str:
    """Why a step cannot be captured as a CUDA graph; empty where it can."""
    if not cuda:
        return "there is no CUDA device"
    if processes > 1:
        return "several processes wait for one another within a step"
    if precision == "fp16":
        return "fp16's gradient scaler reads a number from the device in each step"
    return ""
