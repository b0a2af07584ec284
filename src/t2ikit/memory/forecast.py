"""How much memory one training step of a recipe takes at most, computed from shapes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from t2ikit.core.batch import Batch
from t2ikit.core.precision import choose_precision
from t2ikit.memory.beside import CONTEXT, captured, captures, sparse, text_table
from t2ikit.memory.blame import explained
from t2ikit.memory.gpu import GPURules
from t2ikit.memory.ledger import KINDS, PARAMETERS, Ledger
from t2ikit.memory.stand_ins import make_batch, movable_modules, without_data
from t2ikit.nn.averaging.power import WIDTHS, PowerAverages
from t2ikit.recipes.compose import Components, build_components
from t2ikit.recipes.recipe import Recipe
from t2ikit.registry.registry import Registry
from t2ikit.training.accelerator import in_precision, make_accelerator
from t2ikit.training.start import make_trainer
from t2ikit.training.trainer import PlayerState, Trainer
from t2ikit.utils.hub import nothing_downloaded

GPU_BLOCK = 512
"""Bytes that CUDA's caching allocator rounds up to."""


@dataclass(frozen=True)
class Forecast:
    """Bytes at the peak of a training, in a step at which every loss is due.

    Attributes:
        recipe: its name.
        precision: no, bf16 or fp16.
        batch, micro_batch: images an optimiser step, and at once, on one device.
        at_peak: bytes by kind when most memory is in use.
        at_most: the most of each kind in the step, at whatever time.
        moment: when the peak is.
        beside: bytes held beside the step, by what holds them: on a CUDA device its context, captured steps
            and the texts that lie with images on the device.
    """

    recipe: str
    precision: str
    batch: int
    micro_batch: int
    at_peak: dict[str, int]
    at_most: dict[str, int]
    moment: str
    beside: dict[str, int]

    @property
    def step(self) -> int:
        """Bytes in use at the peak of a step that Python launches."""
        return sum(self.at_peak.values())

    @property
    def total(self) -> int:
        """Bytes in use at the peak, with what is held beside the step."""
        return self.step + sum(self.beside.values())

    def table(self) -> dict[str, Any]:
        """As JSON can hold it, in bytes."""
        return {**vars(self), "step": self.step, "total": self.total}


def forecast(recipe: Recipe, registry: Registry, *, device: Literal["cuda", "cpu"] = "cuda") -> Forecast:
    """Predict the peak without allocating the tensors, opening the data or needing the device.

    The step is the trainer's own, on tensors that have a shape and no contents, taken twice: the optimiser's
    state exists from the second on. On CUDA what is held beside it is added, its context as 500 MiB. Not
    counted: libraries' workspaces, fragmentation, compiled kernels, validation, sampling, and images that
    stay on the device, which by default they do where they take at most a quarter of what is left free.

    Args:
        recipe: on one device. Where its precision is "auto", the GPU is one of compute capability 8 or more.
        registry: that it was read with.
        device: whose kernels and rounding are meant.

    Raises:
        UserError: the recipe cannot work, names a model that is not on this machine (nothing is downloaded),
            or a part of it looks at the contents of tensors.
    """
    gpu = device == "cuda"
    if recipe.train.precision == "auto":
        recipe = in_precision(recipe, "bf16" if gpu else choose_precision("auto", torch.device("cpu")))
    computed = without_data(_in_bf16(recipe))
    accelerator = make_accelerator(computed.train, "cpu", lazy_parameters=False)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, movable_modules():
        ledger = Ledger(mode, GPU_BLOCK if gpu else 1)
        with explained({}), nothing_downloaded():
            components = build_components(computed, registry, accelerator.device)
        trainer = make_trainer(computed, components, accelerator)
        model = components.model
        batch = make_batch(
            trainer.local_batch_size, model.context, recipe.train.prompts, model.generator.super_resolution
        )
        with explained(_parts(components)), GPURules() if gpu else nullcontext(), ledger:
            _run(trainer, components, batch, ledger)
            at_peak, at_most, moment = dict(ledger.at_peak), dict(ledger.at_most), ledger.peak_moment
            beside = _beside(recipe, trainer, batch, ledger) if gpu else {}
    return Forecast(
        recipe.name,
        recipe.train.precision,
        trainer.local_batch_size,
        trainer.micro_batch,
        {kind: at_peak.get(kind, 0) for kind in KINDS},
        {kind: at_most.get(kind, 0) for kind in KINDS},
        moment,
        beside,
    )


def _beside(recipe: Recipe, trainer: Trainer, batch: Batch, ledger: Ledger) -> dict[str, int]:
    """What a CUDA device holds beside the step just made."""
    found = {"CUDA context": CONTEXT}
    if captures(recipe):
        light, graphs = (_passing(trainer, batch, ledger), 2) if sparse(recipe) else (0, 1)
        found["captured steps"] = captured(batch, trainer.state(), light, graphs)
    texts = text_table(recipe, batch)
    return found | ({"texts on the device": texts} if texts else {})


def _passing(trainer: Trainer, batch: Batch, ledger: Ledger) -> int:
    """Bytes of gradients and activations at the peak of a step without the losses that are not always due."""
    held = ledger.total
    ledger.restart()
    trainer.step(batch[: 2 * trainer.micro_batch], 1)
    return sum(ledger.at_peak.values()) - held


def at_once(recipe: Recipe, images: int) -> Recipe:
    """The recipe at another micro-batch; its batch grows where it is smaller."""
    train = recipe.train
    sizes = {"micro_batch": images, "batch": max(images, train.batch)}
    return replace(recipe, train=train.model_copy(update=sizes))


def _in_bf16(recipe: Recipe) -> Recipe:
    """fp16 takes as much as bf16, which a CPU computes, too; critics refuse it in `build_components`."""
    if recipe.train.precision != "fp16" or recipe.critics:
        return recipe
    return in_precision(recipe, "bf16")


def _parts(components: Components) -> dict[str, Any]:
    """What a recipe names and a plugin wrote, by its table."""
    return {
        "generator": components.model.generator,
        **{f"critics.{name}": critic for name, critic in components.critics.items()},
        **{f"losses.{name}": term.loss for name, term in components.losses.items()},
    }


def _run(trainer: Trainer, components: Components, batch: Batch, ledger: Ledger) -> None:
    """Two steps, of which the second is measured; the third and later micro-batches add nothing."""
    ledger.tag("activations", _tensors(batch))
    for module in (*trainer.players, *components.critics.values()):
        ledger.tag(PARAMETERS, [*module.parameters(), *module.buffers()])
    if trainer.ema is not None:
        ledger.tag("averaged weights", list(trainer.ema.tensors().values()))
    later = PowerAverages(components.model.generator, WIDTHS if trainer.config.ema_snapshots else ())
    ledger.tag("averaged weights", [x for average in later.averages.values() for x in average.values()])
    part = batch[: 2 * trainer.micro_batch]
    with _watched(trainer, ledger):
        trainer.step(part, 0)
        for player_state in trainer.player_states:
            states = player_state.optimizer.state.values()
            ledger.tag("optimiser", [x for state in states for x in state.values() if isinstance(x, Tensor)])
        ledger.restart()
        trainer.step(part, 0)


def _tensors(batch: Batch) -> list[Tensor]:
    condition = batch.condition
    texts = (condition.text, condition.empty, batch.wrong)
    held = [x for text in texts for x in (text.tokens, text.mask, text.pooled)]
    return [batch.images, batch.mismatch_mask, batch.caption_index, *held]


@contextmanager
def _watched(trainer: Trainer, ledger: Ledger) -> Iterator[None]:
    """Tell the ledger what a step is doing, and which tensors are gradients."""
    handles = [handle for player_state in trainer.player_states for handle in _hooks(player_state, ledger)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hooks(player_state: PlayerState, ledger: Ledger) -> list[Any]:
    name = player_state.player.name

    def enter(what: str) -> Any:
        return lambda *_: setattr(ledger, "moment", f"{what} of the {name}")

    def keep(parameter: Tensor) -> None:
        if parameter.grad is not None:
            ledger.tag("gradients", [parameter.grad])

    return [
        player_state.player.register_forward_pre_hook(enter("forward pass")),
        player_state.player.register_forward_hook(enter("backward pass")),
        player_state.optimizer.optimizer.register_step_pre_hook(enter("update")),
        *(p.register_post_accumulate_grad_hook(keep) for p in player_state.player.trainable),
    ]
