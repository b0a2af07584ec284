"""Players' losses through torch.compile, checked against Python's before they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from t2ikit.core.batch import Batch
from t2ikit.core.tensors import HostValueRead
from t2ikit.training.launching.comparing import (
    Values,
    copy,
    difference,
    distance,
    length,
    off,
    reason,
    stacked,
)
from t2ikit.training.player import Player, PlayerState, freeze_all_but, thaw

Gradients = tuple[Values, list[Tensor]]
"""A player's losses, and the gradients of its weights."""
WITHOUT = "going on without, as --set train.compile=off does from the start"
ROUNDING = {"no": 0.02, "bf16": 0.1, "fp16": 0.1}
"""By how much compiled losses and gradients may differ, as fused kernels round less often, by precision:
relative to the largest loss, and to the length of the gradients."""


class CompiledLosses:
    """A player's losses, compiled whole.

    Args:
        player: whose.
        backend: of torch.compile.
        log: told where it fails.
    """

    def __init__(self, player: Player, backend: str, log: Callable[[str], None]) -> None:
        self.player, self.log = player, log
        self.compute = torch.compile(player.compute, fullgraph=True, dynamic=False, backend=backend)

    def __call__(self, batch: Batch, names: Sequence[str]) -> dict[str, Tensor] | None:
        """The losses `names`; None where they cannot be compiled, and Python is to compute them for good."""
        try:
            return self.compute(batch, None, names)
        except (TorchDynamoException, HostValueRead) as error:
            self.player.compiled = None
            self.log(f"the {self.player.name}'s losses cannot be compiled: {reason(error)}; {WITHOUT}")
            return None


def compile_player(
    player_state: PlayerState,
    players: Sequence[Player],
    batch: Batch,
    accelerator: Accelerator,
    *,
    step: int,
    seed: Callable[[int], None],
    backend: str,
    log: Callable[[str], None],
) -> bool:
    """Compile a player's losses, unless they or their gradients then differ by more than rounding.

    Args:
        player_state: whose.
        players: all that train.
        batch: to try it on.
        accelerator: of the training.
        step: its number.
        seed: called with it before each computation.
        backend: of torch.compile.
        log: told what does not work.

    Returns:
        Whether they are compiled now.
    """
    player = player_state.player
    names = tuple(name for name in player.weighted if player.can_compile([name]))
    if not names:
        return False

    def gradients() -> Gradients:
        seed(step)
        with only_looking(player, players):
            return _gradients(player_state, batch, accelerator, step, names)

    try:
        expected = gradients()
        player.compiled = CompiledLosses(player, backend, log)
        problem = disagreement(expected, gradients(), ROUNDING[accelerator.mixed_precision])
    except Exception as error:  # noqa: BLE001 - compilers raise anything, and memory may run out
        player_state.optimizer.zero_grad(set_to_none=True)
        player.compiled = None
        log(f"the {player.name}'s losses cannot be compiled: {reason(error)}; {WITHOUT}")
        return False
    if player.compiled is not None and problem is not None:
        player.compiled = None
        log(f"the compiled {player.name} gives other numbers: {problem}; {WITHOUT}")
    return player.compiled is not None


def _gradients(
    player_state: PlayerState, batch: Batch, accelerator: Accelerator, step: int, names: Sequence[str]
) -> Gradients:
    with accelerator.no_sync(player_state.wrapped):
        losses = player_state.wrapped(batch, step, names)
        accelerator.backward(torch.stack(list(losses.values())).sum())
    found = [p.grad.clone() for p in player_state.player.trainable if p.grad is not None]
    player_state.optimizer.zero_grad(set_to_none=True)
    return stacked(losses), found


def disagreement(expected: Gradients, found: Gradients, tolerance: float) -> str | None:
    """What of losses and gradients differs by more than `tolerance`, in words."""
    if len(expected[1]) != len(found[1]):
        return "gradients of other weights"
    apart = off(distance(expected[1], found[1]), length(expected[1]))
    return difference(expected[0], found[0], tolerance) or (
        None if apart <= tolerance else f"gradients that are {apart:.0%} off"
    )


@contextmanager
def only_looking(player: Player, players: Sequence[Player]) -> Iterator[None]:
    """Let gradients reach one player alone; buffers are as before in the end."""
    buffers = [one for each in players for one in each.buffers()]
    before = [one.clone() for one in buffers]
    freeze_all_but(player, players)
    try:
        yield
    finally:
        thaw(players)
        copy(buffers, before)
