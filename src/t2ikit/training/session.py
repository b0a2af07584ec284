"""Training a run: the loop around the trainer that logs, validates, samples and saves."""

from __future__ import annotations

import math
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import torch

from t2ikit.core.out_of_memory import memory_mb
from t2ikit.core.stopwatch import StopWatch
from t2ikit.data.feed.batches import Feed
from t2ikit.errors import UserError, add_note, command
from t2ikit.recipes.compose import Components
from t2ikit.registry.registry import Registry
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs.averages import RunAverages, cut_averages
from t2ikit.runs.commands import resume_command
from t2ikit.runs.curves import plot_curves
from t2ikit.runs.history import amended, changed_since, describe_changes, write_run
from t2ikit.runs.log import append, cut_after
from t2ikit.runs.run import Run
from t2ikit.text.vocabulary import Vocabulary
from t2ikit.training import snapshots
from t2ikit.training.accelerator import training_batches
from t2ikit.training.display import Display, summary
from t2ikit.training.interrupts import Interrupts
from t2ikit.training.launching.choice import for_shapes
from t2ikit.training.sample_grids import SampleGrids
from t2ikit.training.schedule import scheduled_rate
from t2ikit.training.trainer import Trainer
from t2ikit.training.validation import Validation
from t2ikit.utils.console import detail
from t2ikit.utils.files import save_image
from t2ikit.utils.progress import timed

if TYPE_CHECKING:
    from t2ikit.training.trackers import Trackers


class Diverged(UserError):
    """Losses or weights are no longer finite."""


class Session:
    """One process's part in training a run.

    Args:
        run: the run folder.
        components: the built parts, on the accelerator's device.
        trainer: of their players.
        registry: whose observers are told of scalars and images.
        display: what a person sees.

    Attributes:
        done: steps done.
        saved: steps done when a checkpoint was last written, or begun to be.
    """

    def __init__(
        self, run: Run, components: Components, trainer: Trainer, registry: Registry, display: Display
    ) -> None:
        self.run, self.components, self.trainer = run, components, trainer
        self.registry, self.display = registry, display
        self.config = trainer.config
        self.accelerator = trainer.accelerator
        self.main = self.accelerator.is_main_process
        self.grids = SampleGrids(components, trainer)
        self.validation = Validation(components, trainer, display.log)
        self.latest: dict[str, float] = {}
        self.interrupts = Interrupts(display.log)
        self.trackers: Trackers | None = None
        self.vocabulary = Vocabulary(components.model.encoder, components.model.words)
        self.averages = RunAverages(components.model.generator, run.path, self.config)
        self.done = self.saved = 0

    def resume(self, *, own_micro_batch: bool = False) -> int:
        """Go back to the newest whole checkpoint; returns the steps done.

        Damaged checkpoints are set aside, and said to be.

        Args:
            own_micro_batch: keep the recipe's micro-batch, not the checkpoint's.
        """
        snapshot, damaged = ckpt.load_latest(self.run.path)
        own = own_micro_batch or changed_since(self.run, "train.micro_batch", snapshot.step)
        snapshots.restore(self.trainer, snapshot, own_micro_batch=own)
        self.vocabulary.restore(snapshot.state)
        self.averages.restore(snapshot)
        self.accelerator.wait_for_everyone()  # every process has read what may be renamed now
        if self.main:
            for error in damaged:
                self.display.log(f"warning: {error.what}: going on from step {snapshot.step} instead")
            ckpt.set_aside(self.run.path, after=snapshot.step)
            cut_after(self.run.path / "log.jsonl", snapshot.step)
            cut_averages(self.run.path, snapshot.step)
        self.accelerator.wait_for_everyone()
        return snapshot.step

    def train(self, start: int = 0) -> bool:
        """Train to the end; false when it was interrupted, with everything saved."""
        self.done = self.saved = start
        try:
            self._begin(start)
            whose = (self.components, self.trainer, start, self.trainer.budget.stop)
            with self.interrupts, closing(training_batches(*whose)) as batches:
                finished = self._loop(start, batches)
            if note := self.vocabulary.unknown(self.grids.prompts):
                self.display.log(f"prompts: {note}")
            if finished:
                self._record_length()
            return finished
        except Exception as error:
            self._rescue(error)
            raise
        finally:
            self.display.close()
            if self.trackers is not None:
                self.trackers.close()

    def _begin(self, start: int) -> None:
        """Open the trackers and record what goes on otherwise than before."""
        self.trainer.choose_launching(for_shapes(self.config.compile, self.grids.model, self.display.log))
        before, self.run = self.run, amended(self.run, self.config, start)
        if self.main and self.config.trackers:
            from t2ikit.training.trackers import Trackers

            self.trackers = Trackers(self.config.trackers, self.run.path, "t2ikit", self.run.table)
        if self.run is before:
            return
        decays = any(player_state.config.decay != "none" for player_state in self.trainer.player_states)
        for line in describe_changes(self.run.info["history"][-1]["changes"], decays=decays):
            self.display.log(line)
        if self.main:
            write_run(self.run)

    def _record_length(self) -> None:
        """A timed run's recipe names the steps that were made."""
        made = {"steps": self.done} if self.config.minutes else {}
        before, self.run = self.run, amended(self.run, self.config.model_copy(update=made), self.done)
        if self.main and self.run is not before:
            write_run(self.run)

    def _rescue(self, error: Exception) -> None:
        """Save what a failure has left whole, and add to the error how to go on."""
        if isinstance(error, Diverged) or self.accelerator.num_processes > 1:
            return  # several processes could not agree: the others wait in the step that failed here
        if self.trainer.whole and self.done > self.saved:
            with suppress(UserError, OSError):
                self._save(self.done)
        found = ckpt.checkpoints(self.run.path)
        note = f"nothing was saved yet: delete {command(self.run.path)}, or begin in another folder"
        if found:
            note = f"saved at step {ckpt.step_of(found[-1])}; to go on: {resume_command(self.run)}"
        add_note(error, note)

    def _loop(self, start: int, batches: Feed) -> bool:
        budget, clock = self.trainer.budget, StopWatch(start, self.accelerator.device)
        budget.begin(start)
        if budget.over:
            self.display.log(budget.already(start))
            self._end_again(start)
        else:
            made = clock.awaited(batches, batches.maker.batch)
            for step, (local_batch, batch) in enumerate(made, start):
                self.trainer.step(batch, step)
                self.averages.step()
                self.vocabulary.see(local_batch.all_captions, step)
                self.done = step + 1
                budget.end(self.done)
                if self._after_step(clock):
                    break
                clock.go_on()
                budget.begin(self.done)
            flops = self.trainer.flops
            detail(summary(clock.end(self.done), self.config.batch, flops.whole, flops.peak))
        return budget.over

    def _after_step(self, clock: StopWatch) -> bool:
        """Log, validate, sample and save where it is time for it; whether that was the last step for now."""
        done, budget, record = self.done, self.trainer.budget, {}
        if self._due(self.config.log_every):
            record = self._means(done - 1)  # waits for the device, so before the clock is read
            record |= clock.lap(done).record(self.config.batch, *self.trainer.flops.read())
            record["memory_mb"] = memory_mb(self.accelerator.device)
        clock.pause()  # validation, images and checkpoints are not training time
        saves = self._due(self.config.save_every) and not budget.late
        try:
            if saves or (self._due(self.config.validate_every) and not budget.late):
                record |= self._validate(done)
        finally:  # what was measured is not lost where validation fails
            if record:
                self._log(done, record | budget.scalars())
        self.display.update(done, budget.total(done), self.latest)
        if self._due(self.config.sample_every) and not budget.late:
            self._sample(done)
        if self.main and self.averages.due(done):  # before a checkpoint, from which the run may go on
            self.averages.store(done)
        stops = self._stopping(done)
        if saves or stops:
            self._save(done)
        return stops or budget.over

    def _due(self, every: int) -> bool:
        return self.done % every == 0 or self.trainer.budget.over

    def _end_again(self, done: int) -> None:
        """What the last step leaves, where a run is over that stopped before it was known to be its last."""
        grid = self.run.grid_at(done)
        if not self.trainer.agreed(float(grid.exists())):
            self._log(done, self._validate(done))
            self._sample(done)
            self._save(done)

    def _means(self, step: int) -> dict[str, float | None]:
        """Means of losses and gradient norms since the last line, and the learning rates."""
        means = self.trainer.running_means.read()
        for name, value in means.items():
            # Under fp16 the gradient scaler leaves out a step that overflows and goes on.
            if name.startswith("loss/") and not math.isfinite(value) and self.config.precision != "fp16":
                raise self._diverged(name, step)
        rates = {
            f"lr/{player_state.player.name}": scheduled_rate(player_state.config, step, self.trainer.budget)
            for player_state in self.trainer.player_states
        }
        return {**{name: value if math.isfinite(value) else None for name, value in means.items()}, **rates}

    def _diverged(self, what: str, step: int) -> Diverged:
        found = ckpt.checkpoints(self.run.path)
        return Diverged(
            f"training diverged: {what} is not finite at step {step + 1}",
            expected="finite losses and weights",
            got="nan or infinity",
            fix="train with a lower optimizer.*.lr or loss weight; the last good checkpoint is "
            + (str(found[-1]) if found else "none yet"),
        )

    @timed("validation")
    def _validate(self, done: int) -> dict[str, Any]:
        losses = self.validation.measure(done)
        return {f"validation/{name}": v if math.isfinite(v) else None for name, v in losses.items()}

    def _log(self, done: int, record: dict[str, Any]) -> None:
        if not self.main:
            return
        append(self.run.path / "log.jsonl", {"step": done, **record})
        scalars = {name: value for name, value in record.items() if value is not None}
        self.latest = scalars if "images_per_second" in scalars else {**self.latest, **scalars}
        if self.trackers is not None:
            self.trackers.log(done, scalars)
        self.registry.hook.t2ikit_step_end(run=self.run.path, step=done, scalars=scalars)

    @timed("grid")
    def _sample(self, done: int) -> None:
        """A grid of the validation prompts from the averaged weights, by the main process."""
        if self.main:
            try:
                images = self.grids.sample()
            except UserError as error:  # for want of memory: no reason to lose the run
                self.display.log(f"warning: no images at step {done}: {error.what}")
            else:
                self._show(done, images)
        self.accelerator.wait_for_everyone()

    def _show(self, done: int, images: list[torch.Tensor]) -> None:
        grid = self.grids.grid(images)
        save_image(grid, self.run.grid_at(done))
        if self.trackers is not None:
            self.trackers.images(done, "samples", grid)
        self.registry.hook.t2ikit_images(
            run=self.run.path, step=done, prompts=self.grids.prompts, images=self.grids.first(images)
        )

    @timed("checkpoint")
    def _save(self, done: int) -> None:
        self.saved = done
        self.trainer.running_means.average_over_processes()
        if self.main:
            weights = (p for player in self.trainer.players for p in player.trainable)
            if not all(bool(torch.isfinite(p).all()) for p in weights):
                raise self._diverged("a weight", done - 1)
            snapshot = snapshots.take(self.trainer, done, self.validation.score_at(done))
            self.vocabulary.keep_in(snapshot.state)
            self.averages.keep_in(snapshot)
            ckpt.save(self.run.path, snapshot)
            ckpt.prune(self.run.path, keep_last=self.config.keep_last, keep_best=self.config.keep_best)
            plot_curves(self.run.path / "log.jsonl", self.run.path / "losses.png")
        self.accelerator.wait_for_everyone()

    def _stopping(self, done: int) -> bool:
        """Whether any process was asked to stop; several processes ask each other every ten steps."""
        if self.accelerator.num_processes == 1:
            return self.interrupts.asked
        if done % 10:
            return False
        flag = torch.tensor(float(self.interrupts.asked), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") > 0)
