"""The U-Nets of the packages `minimagen` and `imagen-pytorch`, in the reference configuration.

Install them beside t2ikit without what they would pull in:

    pip install --no-deps minimagen imagen-pytorch einops einops-exts resize-right beartype ema-pytorch

Where a package cannot be imported as it is, it is said how it fails, and its U-Net's module is loaded with
stand-ins for the modules that a U-Net does not use.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

from torch import nn

TEXT_WIDTH = 512
MODULES = {"minimagen": "minimagen.Unet", "imagen-pytorch": "imagen_pytorch.imagen_pytorch"}
REFERENCE: dict[str, Any] = {
    "dim": 128,
    "dim_mults": (1, 2, 4),
    "num_resnet_blocks": 1,
    "layer_attns": (False, True, True),
    "layer_cross_attns": (False, True, True),
    "attn_heads": 8,
    "text_embed_dim": TEXT_WIDTH,
}


class Missing(Exception):
    """The peer is not installed."""


def load_unet(peer: str) -> tuple[type[nn.Module], str]:
    """The peer's U-Net class, and how its import went.

    Raises:
        Missing: the package is not installed.
    """
    package = MODULES[peer].split(".")[0]
    if importlib.util.find_spec(package) is None:
        raise Missing(f"{peer} is not installed: pip install --no-deps {peer}")
    try:
        importlib.import_module(package)
        return importlib.import_module(MODULES[peer]).Unet, "imports"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
        said = f"`import {package}` fails: {type(error).__name__}: {str(error).splitlines()[0][:160]}"
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]
    with stand_ins(package):
        return importlib.import_module(MODULES[peer]).Unet, said


@contextlib.contextmanager
def stand_ins(package: str, **others: object) -> Iterator[None]:
    """Let a module of `package` load without the package's own __init__, its T5 and image transforms.

    Args:
        package: whose modules are to be loaded.
        **others: further modules, in place of those of the same names.
    """
    spec = importlib.util.find_spec(package)
    shell = ModuleType(package)
    shell.__path__ = list(spec.submodule_search_locations or []) if spec else []
    t5 = MagicMock(DEFAULT_T5_NAME="t5", get_encoded_dim=lambda name: TEXT_WIDTH)
    names = {
        package: shell,
        f"{package}.t5": t5,
        f"{package}.imagen_video": MagicMock(Unet3D=type("Unet3D", (), {})),
        "beartype": MagicMock(beartype=lambda function: function),
        "beartype.typing": typing,
        "beartype.door": MagicMock(),
        "kornia": MagicMock(),
        "kornia.augmentation": MagicMock(),
        "torchvision": MagicMock(),
        "torchvision.transforms": MagicMock(),
        **others,
    }
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update(names)
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def build(peer: str, width: int = 128) -> tuple[nn.Module, str]:
    """The peer's U-Net in the reference configuration, `width` wide at its finest; how its import went."""
    if peer == "diffusers":
        return diffusers_unet(width), "imports"
    unet, said = load_unet(peer)
    options = {**REFERENCE, "dim": width}
    if peer == "imagen-pytorch":
        options["attend_at_middle"] = False  # as MinImagen has it
    return unet(**options), said


def diffusers_unet(width: int) -> nn.Module:
    """The stock U-Net with cross-attention of diffusers, of the same widths: larger, as it comes."""
    from diffusers import UNet2DConditionModel

    unet: nn.Module = UNet2DConditionModel(
        in_channels=3,
        out_channels=3,
        block_out_channels=(width, 2 * width, 4 * width),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
    )
    return unet
