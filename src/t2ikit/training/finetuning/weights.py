"""Averaged weights of a run into the parts of a new one: what fits, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from t2ikit.errors import UserError, option
from t2ikit.nn.weights import check_finite
from t2ikit.recipes.compose import Components
from t2ikit.runs.checkpoint import Snapshot
from t2ikit.runs.run import Run
from t2ikit.text.vocabulary import KEY
from t2ikit.training.finetuning.recipe import describe, fading
from t2ikit.training.snapshots import own_state

SHOWN = 8
"""Tensors that a message names; the others are counted."""
INDENT = "\n" + 12 * " "


@dataclass(frozen=True)
class Beginning:
    """Gives the built parts of a new run the averaged weights of another.

    Args:
        run: whose newest whole checkpoint, or whose export, is taken.
        partial: take what fits, and leave the rest as it was built.
    """

    run: Run
    partial: bool = False

    def __call__(self, components: Components, log: Callable[[str], None]) -> dict[str, Any]:
        """Load the weights, and the words that they were trained on.

        Args:
            components: built for the new run.
            log: told in a line each of what is taken, and of what is not.

        Returns:
            What run.json is to say of the origin.

        Raises:
            UserError: weights that are not finite, or that do not fit.
        """
        run, snapshot = self.run, self.run.snapshot()
        for note in snapshot.notes:
            log(f"warning: {run.path}: {note}")
        log(describe(run, snapshot.step, components.model.recipe))
        if faded := fading(run, components.model.recipe):
            log(faded)
        taken = self._load(components, snapshot, log)
        if components.model.encoder.fingerprint != run.info.get("text_fingerprint"):
            log(f"text: not the encoder of {run.name}: what the model knows of words has to be learned anew")
        components.model = replace(components.model, words=snapshot.state.get(KEY))
        origin = {
            "kind": "fine-tuned",
            "run": run.name,
            "step": snapshot.step,
            "generator": run.table["generator"]["use"],
            "data": run.info["data_fingerprint"],
        }
        return {**origin, **taken, **({"origin": run.info["origin"]} if "origin" in run.info else {})}

    def _load(self, components: Components, snapshot: Snapshot, log: Callable[[str], None]) -> dict[str, Any]:
        """Load what fits; how much that was, where it is not all."""
        generator, critics = components.model.generator, nn.ModuleDict(dict(components.critics))
        known = self._known_critics(components, snapshot, log)
        averaged = self.run.weights(snapshot, ema=self.run.ema)
        trained = _of(known, snapshot.tensors.get("critic", {}))
        where = f"{self.run.path}: the model of step {snapshot.step}"
        for weights, module in ((averaged, generator), (trained, critics)):
            check_finite(weights, dict(module.named_buffers()), where, "begin with another run")
        fits = {
            "generator": fit(generator.state_dict(), averaged),
            "critics": fit(_of(known, own_state(critics)), trained),
        }
        misfits = [f"{part}.{line}" for part, found in fits.items() for line in found.misfits]
        nothing = not fits["generator"].tensors
        if nothing or (misfits and not self.partial):
            raise self._unfit(misfits, nothing=nothing)
        generator.load_state_dict(fits["generator"].tensors, strict=False)
        critics.load_state_dict(fits["critics"].tensors, strict=False)
        _load_losses(components, snapshot)
        if not misfits:
            return {}
        count, of = (
            sum(len(one.tensors) for one in fits.values()),
            sum(len(one.wanted) for one in fits.values()),
        )
        log(f"{option('init_partial')}: {count} of {of} tensors are {self.run.name}'s; the others begin anew")
        return {"tensors": [count, of]}

    def _known_critics(
        self, components: Components, snapshot: Snapshot, log: Callable[[str], None]
    ) -> tuple[str, ...]:
        """The critics that the checkpoint has weights of.

        Raises:
            UserError: it lacks those of a critic that cannot begin anew, as it holds a trained network.
        """
        held = {name.split(".", 1)[0] for name in snapshot.tensors.get("critic", {})}
        lacking = [name for name in components.critics if name not in held]
        trained = [name for name in lacking if getattr(components.critics[name], "saved_whole", False)]
        if trained:
            raise UserError(
                f"{option('init')} {self.run.name}: it lacks the trained network of critics.{trained[0]}",
                expected="a run folder, whose checkpoints hold it",
                got="an export" if self.run.exported else "a checkpoint without it",
                fix=f"begin with the run that was exported, or give another {option('recipe')}",
            )
        if lacking:
            log(f"critics that begin anew, as {self.run.name} has no weights of them: {', '.join(lacking)}")
        return tuple(name for name in components.critics if name in held)

    def _unfit(self, misfits: list[str], *, nothing: bool) -> UserError:
        shown = misfits[:SHOWN] + [f"and {len(misfits) - SHOWN} more"] * (len(misfits) > SHOWN)
        several = f"{len(misfits)} tensors do" if len(misfits) > 1 else "a tensor does"
        partial = f", or give {option('init_partial')} to take what fits"
        return UserError(
            f"{option('init')} {self.run.name}: {several} not fit the model that is to be trained",
            expected="the names and shapes of the model's own tensors",
            got=INDENT.join(shown),
            fix="leave the settings of generator, critics and text as that run has them"
            + ("" if nothing else partial),
        )


@dataclass(frozen=True)
class Fit:
    """How weights fit a module.

    Attributes:
        tensors: those that do.
        wanted: names of all that the module has.
        misfits: a clause for each of the others, of the module's or of the weights'.
    """

    tensors: dict[str, Tensor]
    wanted: list[str]
    misfits: list[str]


def fit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Fit:
    """Compare weights with a module's own state, by name and shape."""
    good = {name: own for name, own in found.items() if name in wanted and own.shape == wanted[name].shape}
    misfits = [
        f"{name}: expected {_shape(own)}, got {_shape(found[name]) if name in found else 'none'}"
        for name, own in wanted.items()
        if name not in good
    ]
    misfits += [f"{name}: left over, {_shape(own)}" for name, own in found.items() if name not in wanted]
    return Fit(good, list(wanted), misfits)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _of(parts: tuple[str, ...], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of some parts, by the first word of their names."""
    return {name: own for name, own in tensors.items() if name.split(".", 1)[0] in parts}


def _load_losses(components: Components, snapshot: Snapshot) -> None:
    """The parameters of losses that are as they were; a loss that is another begins anew."""
    for name, use in components.losses.items():
        if isinstance(use.loss, nn.Module):
            held = snapshot.tensors.get(f"losses.{use.player}", {})
            own = {key.split(".", 1)[1]: tensor for key, tensor in _of((name,), held).items()}
            found = fit(own_state(use.loss), own)
            if not found.misfits:
                use.loss.load_state_dict(found.tensors, strict=False)
