"""The loop over players: the same for a GAN (two players) and a denoiser (one)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, set_seed
from torch import Tensor

from t2ikit.core.batch import Batch
from t2ikit.core.out_of_memory import halving, is_out_of_memory
from t2ikit.core.rng import derive_seed
from t2ikit.errors import UserError
from t2ikit.nn.ema import EMA
from t2ikit.nn.flops import ModelFlops, device_peak
from t2ikit.nn.modes import eval_mode
from t2ikit.nn.running_means import RunningMeans
from t2ikit.recipes.schema import Compile, OptimizerConfig, TrainConfig
from t2ikit.registry.specs import GRADIENTS, Needs
from t2ikit.training.launching.choice import choose
from t2ikit.training.launching.compiling import compile_player
from t2ikit.training.launching.launcher import Due, Launcher
from t2ikit.training.player import Player, PlayerState, cut, freeze_all_but, make_optimizer, set_rate, thaw
from t2ikit.training.schedule import Budget, make_budget, scheduled_rate
from t2ikit.utils.quoting import one_line


class Trainer:
    """Trains players together; knows nothing of files, displays or data sources.

    Args:
        players: critic first.
        config: the recipe's `[train]`.
        optimizers: the recipe's `[optimizer.NAME]` by player name.
        accelerator: device, precision and processes.
        ema: the generator's averaged weights, or None.
        log: told of what the user should know (a halved micro-batch).

    Attributes:
        budget: how much training there is; the learning rate follows it.
        running_means: of losses and gradient norms since the last line of the log.
        flops: of the losses and gradients, where the peak of the device is known.
    """

    def __init__(
        self,
        players: Sequence[Player],
        config: TrainConfig,
        optimizers: dict[str, OptimizerConfig],
        accelerator: Accelerator,
        ema: EMA | None = None,
        log: Callable[[str], None] = print,
    ) -> None:
        self.config, self.accelerator, self.ema, self.log = config, accelerator, ema, log
        self.player_states = [self._player_state(player, optimizers[player.name]) for player in players]
        self.local_batch_size = config.batch // accelerator.num_processes
        self.micro_batch = min(config.micro_batch or self.local_batch_size, self.local_batch_size)
        self.budget: Budget = make_budget(config, self.agreed)
        self.running_means = RunningMeans(accelerator)
        self.flops = ModelFlops(device_peak(accelerator.device, accelerator.mixed_precision))
        self.launcher = Launcher(self, lambda line: self.log(line))
        self._touched = self._captured = False
        self._buffers: list[tuple[int, int]] | None = None

    def agreed(self, value: float) -> float:
        """The main process's value of a number; every process calls it."""
        if self.accelerator.num_processes == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.accelerator.device)
        return float(broadcast(shared))

    def _player_state(self, player: Player, config: OptimizerConfig) -> PlayerState:
        optimizer = make_optimizer(player.trainable, config)
        wrapped = self.accelerator.prepare_model(player)
        return PlayerState(player, wrapped, self.accelerator.prepare_optimizer(optimizer), config)

    @property
    def players(self) -> list[Player]:
        """The players, critic first."""
        return [player_state.player for player_state in self.player_states]

    def choose_launching(self, kind: Compile) -> None:
        """Launch steps as `train.compile` would have it, from the next one on."""
        accelerator = self.accelerator
        choice = choose(
            kind,
            accelerator.device,
            processes=accelerator.num_processes,
            precision=accelerator.mixed_precision,
            log=self.log,
            agree=self.agreed,
        )
        if choice.why_not and kind == "graphs":
            self.log(f"no CUDA graphs: {choice.why_not}")
        self.launcher.choose(choice)

    def step(self, batch: Batch, step: int) -> None:
        """One optimiser step of every player on this process's part of the batch, critics first."""
        self._buffers = self._marks()
        for player_state in self.player_states:
            set_rate(player_state.optimizer, scheduled_rate(player_state.config, step, self.budget))
        if self.ema is not None:
            self.ema.begin_step()
        self.seed(step)
        due = tuple(tuple(player.due(step)) for player in self.players)
        self.running_means.add(*self.launcher(batch, step, due))
        for player, names in zip(self.players, due, strict=True):
            self.flops.add(player.name, names)
        if self.ema is not None:
            self.ema.steps += 1
        self._touched, self._buffers = False, None

    def whole_step(self, batch: Batch, step: int | None, due: Due) -> dict[str, Tensor]:
        """Every player's losses, gradients and update, and the average; losses and gradient norms by name.

        Nothing here waits for the device. `step` is None where Python will not run again for other steps.
        """
        values: dict[str, Tensor] = {}
        self._captured = step is None
        try:
            for player_state, names in zip(self.player_states, due, strict=True):
                if names:
                    freeze_all_but(player_state.player, self.players)
                    values |= self._accumulate(player_state, batch, step, names)
                    values |= self._update(player_state)
        finally:
            thaw(self.players)
        if self.ema is not None:
            self.ema.follow()
        return values

    def state(self) -> list[Tensor]:
        """Every tensor that a step changes: weights, buffers, moments, averages."""
        modules = [tensor for player in self.players for tensor in (*player.trainable, *player.buffers())]
        moments = [
            tensor
            for player_state in self.player_states
            for own in player_state.optimizer.state.values()
            for tensor in own.values()
            if isinstance(tensor, Tensor)
        ]
        averages = [] if self.ema is None else list(self.ema.tensors().values())
        return [*modules, *moments, *averages]

    def abandon(self) -> None:
        """Forget the gradients of a step that failed."""
        for player_state in self.player_states:
            player_state.optimizer.zero_grad(set_to_none=True)

    def left(self, step: int) -> int:
        """Steps that are still to be made, which a timed run can only estimate."""
        return self.budget.total(step) - step

    def compile_players(self, batch: Batch, step: int, backend: str) -> bool:
        """Compile each player's losses where that works; whether any is compiled now."""
        part, _ = next(cut(batch, self.micro_batch))
        compiled = [
            compile_player(
                player_state,
                self.players,
                part,
                self.accelerator,
                step=step,
                seed=self.seed,
                backend=backend,
                log=self.log,
            )
            for player_state in self.player_states
        ]
        return any(compiled)

    @property
    def whole(self) -> bool:
        """Whether everything is as the last whole step left it, though another may have failed since."""
        return not self._touched and self._buffers in (None, self._marks())

    def _marks(self) -> list[tuple[int, int]]:
        """What tells whether a forward pass has changed a buffer."""
        buffers = [one for player in self.players for one in player.buffers() if not one.is_inference()]
        return [(id(one), one._version) for one in buffers]

    def _accumulate(
        self, player_state: PlayerState, batch: Batch, step: int | None, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """Gradients of the local batch, at a smaller micro-batch when memory runs out; its losses."""

        def give_up(size: int, error: BaseException) -> BaseException | None:
            player_state.optimizer.zero_grad(set_to_none=True)
            return error if self._captured else self._shrink(size, error)

        totals = halving(
            lambda size: self._micro_batches(player_state, batch, step, names, size),
            self.micro_batch,
            give_up,
        )
        self._touched = True
        return {f"loss/{name}": value for name, value in totals.items()}

    def _micro_batches(
        self, player_state: PlayerState, batch: Batch, step: int | None, names: Sequence[str], size: int
    ) -> dict[str, Tensor]:
        totals: dict[str, Tensor] = {}
        player = player_state.player
        self.flops.begin(player.name, names)
        player.eager = self.flops.counting
        for part, last in cut(batch, size):
            weight = len(part) / len(batch)
            with nullcontext() if last else self.accelerator.no_sync(player_state.wrapped):
                losses = self.flops.forward(player_state.wrapped, part, step, names)
                for name in player.newly_gradientless(losses):
                    self.log(f"the loss {name} came without a gradient: it trains nothing here")
                loss = sum(player.weighted[name].strength * value for name, value in losses.items())
                if isinstance(loss, Tensor) and loss.requires_grad:
                    self.flops.backward(self.accelerator.backward, loss * weight)
            for name, value in losses.items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + value.detach() * weight
        self.flops.end()
        player.eager = False
        return totals

    def seed(self, step: int) -> None:
        """Seed what draws without `Draws`, such as dropout, so that a resumed run draws the same."""
        set_seed(derive_seed(self.config.seed, step, self.accelerator.process_index) % 2**32)

    def _update(self, player_state: PlayerState) -> dict[str, Tensor]:
        """Clip the gradients and step the optimiser; the norm before."""
        limit = player_state.config.max_grad_norm or math.inf
        norm = self.accelerator.clip_grad_norm_(player_state.player.trainable, limit)
        try:
            player_state.optimizer.step()
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):  # it may have moved some weights already: not to be tried again
                raise self._too_large(error) from error
            raise
        player_state.optimizer.zero_grad(set_to_none=True)
        return {f"grad_norm/{player_state.player.name}": norm}

    def _shrink(self, size: int, error: BaseException) -> UserError | None:
        """Halve the micro-batch, or say what would fit."""
        smaller = size // 2
        if not smaller or self.accelerator.num_processes > 1:
            return self._too_large(error)
        self.log(
            f"out of memory at micro-batch {self.micro_batch}: going on with {smaller}; gradients "
            f"accumulate, so the batch is the same. To start there: --set train.micro_batch={smaller:d}"
        )
        self.micro_batch = smaller
        self.launcher.forget()
        return None

    def _too_large(self, error: BaseException) -> UserError:
        smaller, processes = self.micro_batch // 2, self.accelerator.num_processes
        return UserError(
            f"out of memory at micro-batch {self.micro_batch} on {processes} process(es)",
            expected="weights, gradients, optimiser and one micro-batch to fit the device",
            got=one_line(error),
            fix=f"--set train.micro_batch={smaller:d}, beginning or resuming; the batch is the same"
            if smaller
            else "train with smaller images (data.size), a smaller generator or train.precision=bf16",
        )

    @torch.no_grad()
    def validate(self, batches: Sequence[Batch], left_out: Needs = frozenset()) -> dict[str, float]:
        """Mean of each generator loss over held-out batches, with the same draws every time.

        Losses with a need in `left_out` are left out, and the others are shown no critics where "critic" is
        in it. Where memory runs out, fewer images go at once.
        """
        generator = next((player for player in self.players if player.name == "generator"), None)
        if generator is None:
            return {}
        unwanted = left_out | GRADIENTS
        names = [name for name, loss in generator.weighted.items() if not loss.needs & unwanted]

        def means(size: int) -> dict[str, float]:
            sums = dict.fromkeys(names, 0.0)
            for part in (part for batch in batches for part, _ in cut(batch, size)):
                for name, value in generator(part, -1, names, "critic" not in left_out).items():
                    sums[name] += float(value) * len(part)
            return {name: total / sum(map(len, batches)) for name, total in sums.items()}

        with eval_mode(self.players), self.accelerator.autocast():
            return halving(means, self.micro_batch, _too_large_whole)


def _too_large_whole(size: int, error: BaseException) -> UserError | None:
    if size > 1:
        return None
    return UserError(
        "out of memory while validating a single held-out image",
        expected="the model and one whole image to fit the device; an upsampler trains on smaller crops",
        got=one_line(error),
        fix="train with smaller images (data.size), a smaller generator or train.precision=bf16",
    )
