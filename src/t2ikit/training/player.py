"""A player: one trained part and its losses, with a single forward.

The forward is the only thing that is wrapped, autocast, clipped and optimised, because a module wrapped
for several processes has no other method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from t2ikit.core.batch import Batch
from t2ikit.core.interfaces import Critic, Generator
from t2ikit.core.rng import Draws, Numbers
from t2ikit.core.step import Step, WeightedLoss
from t2ikit.core.tensors import without_strings
from t2ikit.errors import UserError
from t2ikit.nn.muon import MuonAdamW
from t2ikit.recipes.schema import OptimizerConfig
from t2ikit.registry.specs import GRADIENTS


class Player(nn.Module):
    """Trains `trained` and the parameters of its own losses; everything else is looked at only.

    Args:
        name: "generator" or "critic".
        trained: the generator, or the critics.
        losses: this player's losses by name.
        generator, critics: of all players, not registered as submodules.
        seed: of the run, for the draws.
        numbers: as `Draws` takes it.

    Attributes:
        trainable: the parameters that it trains.
        compiled: what computes its losses in training, where that is compiled.
        eager: leave it aside for now: every operation must be seen.
    """

    _cast: tuple[Generator, Mapping[str, Critic]]

    def __init__(
        self,
        name: str,
        trained: nn.Module,
        losses: Mapping[str, WeightedLoss],
        generator: Generator,
        critics: Mapping[str, Critic],
        seed: int,
        numbers: Numbers = "counter",
    ) -> None:
        super().__init__()
        self.name, self.weighted = name, dict(losses)
        self.seed, self.numbers = seed, numbers
        self.trained = trained
        modules = {key: loss.loss for key, loss in losses.items() if isinstance(loss.loss, nn.Module)}
        self.losses = nn.ModuleDict(modules)
        # Not a submodule: those parameters belong to another player.
        object.__setattr__(self, "_cast", (generator, critics))
        self.trainable = [p for p in self.parameters() if p.requires_grad]
        self.compiled: Callable[[Batch, Sequence[str]], dict[str, Tensor] | None] | None = None
        self.eager = False
        self.gradientless: set[str] = set()
        self.trains = False

    def due(self, step: int) -> list[str]:
        """Names of the losses computed at this step."""
        return [name for name, loss in self.weighted.items() if loss.due(step)]

    def forward(
        self, batch: Batch, step: int | None, names: Sequence[str], judged: bool = True
    ) -> dict[str, Tensor]:
        """The losses `names` on one micro-batch, each a scalar without its weight.

        Unless `judged`, the losses are shown no critics.
        """
        if self.compiled is not None and self.training and not self.eager and self.can_compile(names):
            losses = self.compiled(without_strings(batch), names)
            if losses is not None:
                return losses
        return self.compute(batch, step, names, judged)

    def newly_gradientless(self, losses: Mapping[str, Tensor]) -> list[str]:
        """Names of losses that have no gradient, each once.

        Raises:
            UserError: none of the player's losses has had one yet.
        """
        without = [name for name, value in losses.items() if not value.requires_grad]
        self.trains = self.trains or len(without) < len(losses)
        new = [name for name in without if name not in self.gradientless]
        self.gradientless.update(new)
        if not self.trains and self.gradientless >= set(self.weighted):
            raise UserError(
                f"the {self.name} cannot be trained: no loss has a gradient",
                expected="a loss computed from what it is shown, without detach, item or no_grad",
                got=", ".join(self.weighted),
                fix="add a loss that trains it, or mend this one; `t2ikit plugin check` says more",
            )
        return new

    def can_compile(self, names: Sequence[str]) -> bool:
        """Whether none of the losses differentiates twice, which compiled code cannot."""
        return not any(GRADIENTS & self.weighted[name].needs for name in names)

    def compute(
        self, batch: Batch, step: int | None, names: Sequence[str], judged: bool = True
    ) -> dict[str, Tensor]:
        """The same, as Python does it; `step` is None where it may not be read."""
        generator, critics = self._cast
        salt = f"{self.seed}/{self.name}"
        draws = Draws(batch.keys, salt, batch.images.device, numbers=self.numbers)
        with torch.set_grad_enabled(self.name == "generator" and torch.is_grad_enabled()):
            prediction = generator(batch, draws.named("generator"))
        needs = frozenset().union(*(self.weighted[name].needs for name in names))
        seen = Step(
            batch,
            prediction,
            critics if judged else {},
            self.name,
            draws.named("losses"),
            step,
            real_grad="real_grad" in needs,
            fake_grad="fake_grad" in needs,
        )
        return {name: self.weighted[name].loss(seen).float() for name in names}


@dataclass
class PlayerState:
    """A player, wrapped for its devices, with its optimiser."""

    player: Player
    wrapped: nn.Module
    optimizer: Any
    config: OptimizerConfig


def make_optimizer(parameters: Sequence[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser that the recipe asks for.

    On a GPU its learning rate is a tensor there, to be filled: a CUDA graph reads it anew at each step.
    """
    device = parameters[0].device if parameters else torch.device("cpu")
    options: dict[str, Any] = {
        "lr": torch.tensor(config.lr, device=device) if device.type == "cuda" else config.lr,
        "betas": config.betas,
        "eps": config.eps,
        "weight_decay": config.weight_decay,
    }
    optimizer: torch.optim.Optimizer
    if config.kind == "muon":
        optimizer = MuonAdamW(parameters, **options, momentum=config.momentum)
    else:
        capturable = device.type == "cuda"
        optimizer = torch.optim.AdamW(parameters, **options, fused=True, capturable=capturable)
    # The first steps are not captured, of which torch would warn.
    optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer


def set_rate(optimizer: Any, rate: float) -> None:
    """Set a learning rate, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def freeze_all_but(active: Player, players: Iterable[Player]) -> None:
    """Let gradients reach only the parameters of `active`."""
    for player in players:
        for parameter in player.trainable:
            parameter.requires_grad_(player is active)


def thaw(players: Iterable[Player]) -> None:
    """Undo `freeze_all_but`."""
    for player in players:
        for parameter in player.trainable:
            parameter.requires_grad_(True)


def cut(batch: Batch, size: int) -> Iterator[tuple[Batch, bool]]:
    """The micro-batches of a batch, each with whether it is the last."""
    for start in range(0, len(batch), size):
        yield batch[start : start + size], start + size >= len(batch)


def make_players(
    generator: Generator,
    critics: Mapping[str, Critic],
    losses: Mapping[str, WeightedLoss],
    seed: int,
    numbers: Numbers = "counter",
) -> list[Player]:
    """The players of a run, critic first; those without a loss are left out."""
    components: list[tuple[str, nn.Module]] = [
        ("critic", nn.ModuleDict(dict(critics))),
        ("generator", generator),
    ]
    players = []
    for name, trained in components:
        own = {key: loss for key, loss in losses.items() if loss.player == name}
        if own:
            players.append(Player(name, trained, own, generator, critics, seed, numbers))
    return players
