"""Training a run: the loop around the trainer that logs, validates, samples and saves."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object

from t2ikit import checkpoint as ckpt
from t2ikit import snapshots
from t2ikit.batch import Batch
from t2ikit.compose import Cast
from t2ikit.curves import plot_curves
from t2ikit.data.loader import CACHE_BYTES, Share, Shares, stream
from t2ikit.data.streaming import StreamedShares
from t2ikit.display import Display
from t2ikit.errors import UserError
from t2ikit.files import save_picture
from t2ikit.given import real_pictures, small_pictures
from t2ikit.grids import labelled_grid, to_pil
from t2ikit.interfaces import StreamingDataset
from t2ikit.memory import memory_mb
from t2ikit.modes import evaluating
from t2ikit.registry import Registry
from t2ikit.run import Run
from t2ikit.runlog import append, cut_after
from t2ikit.sampling.draw import sample
from t2ikit.specs import Needs
from t2ikit.trainer import Trainer, learning_rate

if TYPE_CHECKING:
    from t2ikit.trackers import Trackers


class Clock:
    """Seconds of training since the last log line."""

    def __init__(self, step: int) -> None:
        self.step, self.busy, self.began = step, 0.0, time.monotonic()

    def rate(self, step: int) -> float:
        """Steps a second since the last call."""
        self.pause()
        rate = (step - self.step) / max(self.busy, 1e-9)
        self.step, self.busy = step, 0.0
        return rate

    def pause(self) -> None:
        """Count the time until now."""
        now = time.monotonic()
        self.busy, self.began = self.busy + now - self.began, now

    def go_on(self) -> None:
        """Leave out the time since the last pause."""
        self.began = time.monotonic()


def _gather(captions: list[tuple[str, ...]]) -> list[list[tuple[str, ...]]]:
    """Every process's captions, by rank."""
    return [list(one) for one in gather_object([captions])]


class Session:
    """One process's part in training a run.

    Args:
        run: the run folder.
        cast: the built parts, on the accelerator's device.
        trainer: over the cast's players.
        registry: whose observers are told of scalars and pictures.
        display: what a person sees.
    """

    def __init__(self, run: Run, cast: Cast, trainer: Trainer, registry: Registry, display: Display) -> None:
        self.run, self.cast, self.trainer, self.registry, self.display = run, cast, trainer, registry, display
        self.config = trainer.config
        self.accelerator = trainer.accelerator
        self.main = self.accelerator.is_main_process
        seed = self.config.seed
        self.prompts = list(self.config.prompts or cast.dataset.prompts(4, seed))
        self.beside = real_pictures(cast.model.generator, cast.dataset, self.prompts, seed)
        self.left_out = self._left_out()
        self.validation = self._validation_batches()
        self.latest: dict[str, float] = {}
        self.score: tuple[int, float] | None = None
        self.interrupted = False
        self.trackers: Trackers | None = None

    def _left_out(self) -> Needs:
        """What losses of validation may not need.

        Validation is of whole pictures, critics are built for what the generator is trained on. Where that is
        pieces, losses that need a critic are left out, unless there is no other.
        """
        model = self.cast.model
        enlarges, size = model.generator.enlarges, model.context.image_size
        own = [term for term in self.cast.terms.values() if term.player == "generator"]
        without = any("critic" not in term.needs for term in own)
        return frozenset({"critic"} if enlarges and 0 < enlarges.crop < size and without else ())

    def _validation_batches(self) -> list[Batch]:
        """Held-out pictures with draws that stay the same: keys below 0 are never training's."""
        dataset, config = self.cast.dataset, self.config
        count = min(config.validation_pictures, dataset.size("validation"))
        enlarges = self.cast.model.generator.enlarges
        whole = not self.cast.critics or bool(self.left_out)
        shares = Shares(dataset, config.seed, count, split="validation", enlarges=enlarges, whole=whole)
        share = shares[0]
        batch = share.batch(self.cast.model.encoder, self.accelerator.device)
        return [replace(batch, keys=-1 - batch.keys)]

    def resume(self, *, own_micro_batch: bool = False) -> int:
        """Go back to the newest whole checkpoint; returns the steps done.

        Damaged checkpoints are set aside, and said to be.

        Args:
            own_micro_batch: keep the recipe's micro-batch, not the checkpoint's.
        """
        snapshot, damaged = ckpt.load_latest(self.run.path)
        snapshots.restore(self.trainer, snapshot, own_micro_batch=own_micro_batch)
        self.accelerator.wait_for_everyone()  # every process has read what may be renamed now
        if self.main:
            for error in damaged:
                self.display.say(f"warning: {error.what}: going on from step {snapshot.step} instead")
            ckpt.set_aside(self.run.path, after=snapshot.step)
            cut_after(self.run.path / "log.jsonl", snapshot.step)
        self.accelerator.wait_for_everyone()
        return snapshot.step

    def train(self, start: int = 0) -> bool:
        """Train to the last step; false when it was interrupted, with everything saved."""
        if self.main and self.config.trackers:
            from t2ikit.trackers import Trackers

            self.trackers = Trackers(self.config.trackers, self.run.path, "t2ikit", self.run.table)
        try:
            with self._catch_signals(), closing(self._shares(start)) as shares:
                return self._loop(start, shares)
        finally:
            self.display.close()
            if self.trackers is not None:
                self.trackers.close()

    def _shares(self, start: int) -> Generator[Share, None, None]:
        """This process's shares of step `start` and the later ones."""
        dataset, config, accelerator = self.cast.dataset, self.config, self.accelerator
        world = accelerator.num_processes
        whose = (config.seed, config.batch, accelerator.process_index, world)
        enlarges = self.cast.model.generator.enlarges
        if isinstance(dataset, StreamingDataset):
            gather = _gather if world > 1 else None
            return StreamedShares(dataset, *whose, gather, enlarges).steps(start, config.steps)
        room = CACHE_BYTES // (world * max(1, config.workers))
        shares = Shares(dataset, *whose, cache_bytes=room, enlarges=enlarges)
        return stream(shares, range(start, config.steps), config.workers)

    def _loop(self, start: int, shares: Iterable[Share]) -> bool:
        clock = Clock(start)
        for step, share in zip(range(start, self.config.steps), shares, strict=True):
            self.trainer.step(share.batch(self.cast.model.encoder, self.accelerator.device), step)
            done = step + 1
            record: dict[str, Any] = {}
            if self._due(done, self.config.log_every):
                record = self._means(step)  # waits for the device, so before the clock is read
                rate = clock.rate(done) * self.config.batch
                record |= {"images_per_second": rate, "memory_mb": memory_mb(self.accelerator.device)}
            clock.pause()  # validation, pictures and checkpoints are not training time
            saves = self._due(done, self.config.save_every)
            if self._due(done, self.config.validate_every) or saves:
                record |= self._validate(done)
            if record:
                self._log(done, record)
            self.display.update(done, self.config.steps, self.latest)
            if self._due(done, self.config.sample_every):
                self._sample(done)
            stops = self._stopping(done)
            if saves or stops:
                self._save(done)
            if stops and done < self.config.steps:
                return False
            clock.go_on()
        return True

    def _due(self, done: int, every: int) -> bool:
        return done % every == 0 or done == self.config.steps

    def _means(self, step: int) -> dict[str, float | None]:
        """Means of what the trainer tallied, and the learning rates."""
        means = self.trainer.means()
        for name, value in means.items():
            # Under fp16 the gradient scaler leaves out a step that overflows and goes on.
            if name.startswith("loss/") and not math.isfinite(value) and self.config.precision != "fp16":
                raise self._diverged(name, step)
        rates = {
            f"lr/{seat.player.name}": learning_rate(seat.config, step, self.config.steps)
            for seat in self.trainer.seats
        }
        return {**{name: value if math.isfinite(value) else None for name, value in means.items()}, **rates}

    def _diverged(self, what: str, step: int) -> UserError:
        found = ckpt.checkpoints(self.run.path)
        return UserError(
            f"training diverged: {what} is not finite at step {step + 1}",
            expected="finite losses and weights",
            got="nan or infinity",
            fix="train with a lower optimizer.*.lr or loss weight; the last good checkpoint is "
            + (str(found[-1]) if found else "none yet"),
        )

    def _validate(self, done: int) -> dict[str, Any]:
        losses = self.trainer.validate(self.validation, self.left_out)
        terms = self.cast.terms
        self.score = (done, sum(terms[name].weight * value for name, value in losses.items()))
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

    def _sample(self, done: int) -> None:
        """A grid of the validation prompts from the averaged weights, by the main process."""
        if self.main:
            model, average = self.cast.model, self.trainer.average
            numbers, batch = range(self.config.samples), max(4, self.trainer.micro_batch)
            with evaluating([model.generator]), average.applied() if average else nullcontext():
                try:
                    low_res = small_pictures(model.generator, self.beside, len(numbers))
                    images = sample(
                        model,
                        self.prompts,
                        samples=numbers,
                        seed=self.config.seed,
                        batch=batch,
                        low_res=low_res,
                    )
                except UserError as error:  # for want of memory: no reason to lose the run
                    self.display.say(f"warning: no pictures at step {done}: {error.what}")
                else:
                    self._show(done, images)
        self.accelerator.wait_for_everyone()

    def _show(self, done: int, images: torch.Tensor) -> None:
        count = self.config.samples
        pictures = to_pil(images)
        rows = [pictures[i : i + count] for i in range(0, len(pictures), count)]
        labels = [f"sample {number}" for number in range(count)]
        low_res = small_pictures(self.cast.model.generator, self.beside)
        if self.beside is not None and low_res is not None:
            ends = zip(to_pil(low_res), rows, to_pil(self.beside))
            rows, labels = [[a, *row, b] for a, row, b in ends], ["given", *labels, "real"]
        grid = labelled_grid(rows, self.prompts, labels)
        save_picture(grid, self.run.path / "samples" / f"step-{done:08d}.png")
        if self.trackers is not None:
            self.trackers.images(done, "samples", grid)
        self.registry.hook.t2ikit_images(
            run=self.run.path, step=done, prompts=self.prompts, images=pictures[::count]
        )

    def _save(self, done: int) -> None:
        self.trainer.share_sums()
        if self.main:
            weights = (p for player in self.trainer.players for p in player.trainable)
            if not all(bool(torch.isfinite(p).all()) for p in weights):
                raise self._diverged("a weight", done - 1)
            score = self.score[1] if self.score and self.score[0] == done else None
            ckpt.save(self.run.path, snapshots.take(self.trainer, done, score))
            ckpt.prune(self.run.path, keep=self.config.keep, keep_best=self.config.keep_best)
            plot_curves(self.run.path / "log.jsonl", self.run.path / "losses.png")
        self.accelerator.wait_for_everyone()

    def _stopping(self, done: int) -> bool:
        """Whether any process was asked to stop; several processes ask each other every ten steps."""
        if self.accelerator.num_processes == 1:
            return self.interrupted
        if done % 10:
            return False
        flag = torch.tensor(float(self.interrupted), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") > 0)

    @contextmanager
    def _catch_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM finish the step and save; a second one stops at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
            self.display.say("stopping after this step; press Ctrl-C again to stop at once without saving")

        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's
            return
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
