"""A trainer to a checkpoint and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from t2ikit.errors import UserError
from t2ikit.nn.weights import check_finite
from t2ikit.runs.checkpoint import Snapshot
from t2ikit.training.trainer import Trainer
from t2ikit.utils.quoting import one_line

MUON, ADAMW = {"momentum"}, {"step", "exp_avg", "exp_avg_sq"}
"""What optimisers keep of a weight."""


def own_state(module: nn.Module) -> dict[str, Tensor]:
    """What training changes: parameters that are trained, and buffers.

    Frozen ones are left out, but for those of a part that is `saved_whole`.
    """
    whole = tuple(f"{name}." for name, part in module.named_modules() if getattr(part, "saved_whole", False))
    frozen = {
        name
        for name, parameter in module.named_parameters()
        if not parameter.requires_grad and not name.startswith(whole)
    }
    return {name: tensor for name, tensor in module.state_dict().items() if name not in frozen}


def _parts(trainer: Trainer) -> dict[str, tuple[nn.Module, dict[str, Tensor]]]:
    """Part name -> module and the tensors of it that a checkpoint holds."""
    parts = {}
    for player in trainer.players:
        whole = player.name == "generator"
        parts[player.name] = (
            player.trained,
            player.trained.state_dict() if whole else own_state(player.trained),
        )
        losses = own_state(player.losses)
        if losses:
            parts[f"losses.{player.name}"] = (player.losses, losses)
    return parts


def take(trainer: Trainer, step: int, validation: float | None) -> Snapshot:
    """Everything that going on needs."""
    tensors = {name: state for name, (_, state) in _parts(trainer).items()}
    state: dict[str, Any] = {
        "micro_batch": trainer.micro_batch,
        "sums": dict(trainer.running_means.sums),
        "validation": validation,
        **trainer.budget.state(),
    }
    if trainer.ema is not None:
        tensors["ema"] = trainer.ema.tensors()
        state["ema_steps"] = trainer.ema.steps
    for player_state in trainer.player_states:
        moments = player_state.optimizer.state_dict()["state"]
        tensors[f"optimizer.{player_state.player.name}"] = {
            f"{index}.{name}": tensor for index, entry in moments.items() for name, tensor in entry.items()
        }
    if trainer.accelerator.scaler is not None:
        state["scaler"] = trainer.accelerator.scaler.state_dict()
    return Snapshot(step, tensors, state)


def restore(trainer: Trainer, snapshot: Snapshot, *, own_micro_batch: bool = False) -> None:
    """Put a trainer where it was when the snapshot was taken.

    Args:
        trainer: built from the recipe the snapshot was made with.
        snapshot: what `take` gave.
        own_micro_batch: keep the trainer's micro-batch, not the snapshot's (which a lack of memory may
            have halved).

    Raises:
        UserError: the snapshot is of another recipe, or holds numbers that are not finite.
    """
    _check_finite(trainer, snapshot)
    try:
        for name, (module, own) in _parts(trainer).items():
            found = snapshot.tensors[name]
            if set(found) != set(own):
                raise KeyError(f"{name}: {sorted(set(found) ^ set(own))[:3]}")
            module.load_state_dict(found, strict=False)
        for player_state in trainer.player_states:
            player_state.optimizer.load_state_dict(_optimizer_state(player_state, snapshot))
        if trainer.ema is not None:
            trainer.ema.load(snapshot.tensors["ema"], snapshot.state["ema_steps"])
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"the checkpoint of step {snapshot.step} does not fit the recipe",
            expected="the parts that recipe.toml names, as they were when the run began",
            got=one_line(error),
            fix="restore recipe.toml, and use the plugin versions that run.json names",
        ) from error
    if not own_micro_batch:
        trainer.micro_batch = min(trainer.local_batch_size, int(snapshot.state["micro_batch"]))
    trainer.running_means.sums = snapshot.state["sums"]
    trainer.budget.load(snapshot.state)
    if trainer.accelerator.scaler is not None and "scaler" in snapshot.state:
        trainer.accelerator.scaler.load_state_dict(snapshot.state["scaler"])


def _check_finite(trainer: Trainer, snapshot: Snapshot) -> None:
    new = {name: dict(module.named_buffers()) for name, (module, _) in _parts(trainer).items()}
    new["ema"] = new.get("generator", {})
    fix = (
        "delete or rename its folder to go on from the checkpoint before, or start a new run; a training "
        "that diverged writes such numbers: a lower optimizer.*.lr may help"
    )
    for part, tensors in snapshot.tensors.items():
        where = f"the checkpoint of step {snapshot.step}: {part}.safetensors"
        check_finite(tensors, new.get(part, {}), where, fix)


def _optimizer_state(player_state: Any, snapshot: Snapshot) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in snapshot.tensors[f"optimizer.{player_state.player.name}"].items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    _check_moments(player_state, state)
    _lay_out(player_state, state)
    return {"state": state, "param_groups": player_state.optimizer.state_dict()["param_groups"]}


def _lay_out(player_state: Any, state: dict[int, dict[str, Tensor]]) -> None:
    """Lay moments out in memory as their weights are: fused optimisers go by memory, not by index."""
    owners = [own for group in player_state.optimizer.param_groups for own in group["params"]]
    for place, moments in state.items():
        for name, moment in moments.items():
            if moment.shape == owners[place].shape:
                moments[name] = torch.empty_like(owners[place], dtype=moment.dtype).copy_(moment)


def _check_moments(player_state: Any, state: dict[int, dict[str, Tensor]]) -> None:
    """Refuse moments that are not those of the parameters: they are told apart by their place alone."""
    owners = [(group, own) for group in player_state.optimizer.param_groups for own in group["params"]]
    for place, moments in state.items():
        if place >= len(owners):
            raise KeyError(
                f"optimizer.{player_state.player.name}: moments of more than {len(owners)} weights"
            )
        group, parameter = owners[place]
        expected = MUON if group.get("muon") else ADAMW
        if set(moments) != expected:
            wanted, found = (", ".join(sorted(names)) for names in (expected, moments))
            raise KeyError(f"optimizer.{player_state.player.name}: moments {found} in the place of {wanted}")
        if any(one.ndim and one.shape != parameter.shape for one in moments.values()):
            raise KeyError(
                f"optimizer.{player_state.player.name}: moments of another shape than their weights"
            )
