"""A generator as a model of diffusers: `config.json` and safetensors."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import FrozenDict, register_to_config
from typing_extensions import Self

from t2ikit.config.validation import validate
from t2ikit.core.interfaces import Generator
from t2ikit.core.out_of_memory import is_out_of_memory
from t2ikit.errors import UserError
from t2ikit.nn.weights import check_finite
from t2ikit.registry.registry import Registry
from t2ikit.registry.specs import Context
from t2ikit.utils.quoting import one_line

DIFFERENT = ("missing_keys", "unexpected_keys")
"""What diffusers would only warn of."""
Placed = TypeVar("Placed", bound=ConfigMixin)


def without_place(opened: Placed) -> Placed:
    """The same without the folder it was opened from, so that saving it anew writes the same files."""
    kept = {key: value for key, value in opened.config.items() if key != "_name_or_path"}
    opened._internal_dict = FrozenDict(kept)
    return opened


def _as_narrow_as_weights(module: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """What a norm is given, in the precision of weights that are no float32: a CPU does not autocast it."""
    if module.weight is None or module.weight.dtype == torch.float32:
        return None
    return tuple(one.to(module.weight.dtype) for one in given)


class GeneratorModel(ModelMixin, ConfigMixin):
    """A generator of any installed plugin as a diffusers model: `config.json` and safetensors.

    Args:
        use: the generator's name, as in a recipe.
        options: its options.
        image_size: pixels.
        text_width, text_length: D and L of the text encoder.
        image_channels: C of the images.

    Raises:
        UserError: the plugin is not installed, or an option is wrong.
    """

    __module__ = "t2ikit.pipeline"  # exported folders name it: never another

    @register_to_config
    def __init__(
        self,
        use: str,
        options: dict[str, Any],
        image_size: int,
        text_width: int,
        text_length: int,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        registry = Registry.load()
        entry = registry.find("generators", use)
        config = validate(entry.spec.config, options, where="config.json", key="options")
        sizes = (image_size, text_width, text_length, torch.device("cpu"), 0)
        context = Context(*sizes, registry=registry, image_channels=image_channels)
        if image_channels == 3:  # what configs without the key mean: earlier versions open it, too
            kept = {key: value for key, value in self.config.items() if key != "image_channels"}
            self._internal_dict = FrozenDict(kept)
        self.generator: Generator = entry.spec.build(config, context)
        for module in self.generator.modules():
            if isinstance(module, (torch.nn.LayerNorm, torch.nn.GroupNorm)):
                module.register_forward_pre_hook(_as_narrow_as_weights)
        # Buffers alone: diffusers may leave the weights of a new model unset.
        self._new = {name: own.clone() for name, own in self.named_buffers() if not own.isfinite().all()}

    def forward(self, *args: Any, **options: Any) -> Any:
        """What the generator predicts in training."""
        return self.generator(*args, **options)

    @classmethod
    def from_pretrained(
        cls,
        path: Any,
        *,
        dtype: torch.dtype | None = None,
        torch_dtype: torch.dtype | None = None,
        **options: Any,
    ) -> Self:
        """Open a folder that `save_pretrained` wrote; as diffusers does, but never built without memory.

        Buffers that are no weights (a noise schedule) are computed when a generator is built, and stay in
        float32. Pickled weights are not opened.

        Raises:
            UserError: the weights are not the generator's, or not finite in the precision asked for.
        """
        fixed = {
            "low_cpu_mem_usage": False,
            "use_safetensors": True,
            "output_loading_info": True,
            "ignore_mismatched_sizes": False,
        }
        try:
            opened, info = super().from_pretrained(path, **{**options, **fixed})
        except (RuntimeError, TypeError) as error:  # weights of other shapes; not what __init__ takes
            if is_out_of_memory(error):
                raise
            raise _other_weights(path, one_line(error)) from error
        wrong = [f"{kind}: {', '.join(sorted(info[kind])[:3])}" for kind in DIFFERENT if info[kind]]
        if wrong:
            raise _other_weights(path, "; ".join(wrong))
        opened = without_place(opened)
        wanted = dtype or torch_dtype
        if wanted is not None:
            for weight in opened.parameters():
                weight.data = weight.data.to(wanted)
        where = f"{path}: the generator in {opened.dtype}"
        check_finite(opened.state_dict(), opened._new, where, "export it again, or give another dtype")
        return opened


def _other_weights(path: Any, got: str) -> UserError:
    return UserError(
        f"{path}: the weights are not those of the generator that config.json names",
        expected="the weights of the installed plugin's generator, all of them and no others",
        got=got,
        fix="install the version of the plugin that the model was made with, or export it again",
    )
