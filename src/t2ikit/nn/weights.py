"""Trained weights into a module: those of a checkpoint or of an export, which must fit and be finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from t2ikit.errors import UserError
from t2ikit.utils.quoting import one_line

NAMED = 3
"""Tensors that a message names; the others are counted."""


def exported_weights(path: Path) -> dict[str, Tensor]:
    """Those of the generator in an exported folder.

    Raises:
        UserError: a file is missing or damaged.
    """
    files = sorted((path / "generator").glob("*.safetensors"))
    if not files:
        raise _damaged_export(path / "generator", "no *.safetensors")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= load_file(file)
        except (OSError, SafetensorError) as error:
            raise _damaged_export(file, error) from error
    return {key.removeprefix("generator."): tensor for key, tensor in tensors.items()}


def merge_lora(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with the LoRA adapters of peft added to the layers they are of: W + B A; others as they are.

    Source: arXiv 2106.09685, equation 3, with alpha = r.
    """
    merged = {}
    for name, own in tensors.items():
        if ".lora_" in name:
            continue
        layer, base, rest = name.rpartition(".base_layer.")
        down, up = (tensors.get(f"{layer}.lora_{which}.default.weight") for which in "AB")
        if base and rest == "weight" and down is not None and up is not None:
            own = (own.double() + up.double() @ down.double()).to(own.dtype)
        merged[f"{layer}.{rest}" if base else name] = own
    return merged


def _damaged_export(path: Path, got: object) -> UserError:
    return UserError(
        f"{path} is damaged",
        expected="the generator's weights, as `t2ikit export --format diffusers` wrote them",
        got=got,
        fix="restore it from a copy, or export the run again",
    )


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load weights that must fit exactly.

    Raises:
        UserError: they do not.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(
            f"{path}: the weights do not fit the recipe",
            expected="the model that recipe.toml describes",
            got=one_line(str(error).split("\n", 1)[-1]),
            fix="restore recipe.toml, and use the plugin versions that run.json names",
        ) from error


def check_finite(tensors: Mapping[str, Tensor], new: Mapping[str, Tensor], where: str, fix: str) -> None:
    """Refuse weights of which some are NaN or infinite.

    A buffer's value that is not finite in a new model either is none of training's, such as a mask of -inf.

    Args:
        tensors: the weights by name.
        new: the buffers of the same module before any was loaded.
        where: names the weights in the message.
        fix: what to do.

    Raises:
        UserError: naming the tensors, and how many of their values are not finite.
    """
    found = {name: count for name, tensor in tensors.items() if (count := _wrong(tensor, new.get(name)))}
    if not found:
        return
    named = [f"{name} ({count} of {tensors[name].numel()} values)" for name, count in found.items()][:NAMED]
    more = [f"and {len(found) - NAMED} more tensors"] if len(found) > NAMED else []
    count = sum(found.values())
    word = "value" if count == 1 else "values"
    raise UserError(
        f"{where} has values that are not finite: {', '.join(named + more)}",
        expected="numbers alone, neither NaN nor infinite",
        got=f"{count} NaN or infinite {word} in {len(found)} of {len(tensors)} tensors",
        fix=fix,
    )


def _wrong(tensor: Tensor, new: Tensor | None) -> int:
    """How many values are not finite, though they are in a new model."""
    wrong = ~tensor.isfinite()
    if bool(wrong.any()) and new is not None and new.shape == tensor.shape:
        wrong &= new.to(tensor.device).isfinite()
    return int(wrong.sum())


def another_checkpoint(steps: Sequence[int]) -> str:
    """What to do about weights that are not finite, where there are checkpoints of these other steps."""
    diverged = "a training that diverged writes such weights: a lower optimizer.*.lr may help"
    if not steps:
        return f"train a new run, as there is no other checkpoint; {diverged}"
    listed = ", ".join(map(str, steps))
    which = f"--checkpoint {steps[0]:d}" if len(steps) == 1 else f"--checkpoint N, one of {listed}"
    return f"choose another checkpoint with {which}; {diverged}"
