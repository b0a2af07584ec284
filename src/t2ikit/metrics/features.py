"""Frozen networks whose features compare sets of pictures, as torch-fidelity's feature extractors.

Letters: N pictures, D features.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from t2ikit.errors import UserError
from t2ikit.extras import import_extra
from t2ikit.interfaces import NotMeasured
from t2ikit.metrics.hub_weights import need_weights
from t2ikit.metrics.identity import versions

VGG16 = "https://download.pytorch.org/models/vgg16-397923af.pth"


@dataclass(frozen=True)
class Features:
    """A frozen network.

    Attributes:
        name: for provenance, with the version of its weights and how it resizes, as far as the name does
            not say.
        extract: pictures (N, 3, H, W) uint8 to features (N, D) float32.
    """

    name: str
    extract: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor, batch: int) -> Tensor:
        """Pictures (N, 3, H, W) in [-1, 1], `batch` at a time, to features (N, D) on the CPU."""
        with torch.no_grad():
            return torch.cat([self.extract(part).float().cpu() for part in to_bytes(images).split(batch)])


def to_bytes(images: Tensor) -> Tensor:
    """[-1, 1] to uint8, exact for what came from uint8."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def library(module: str) -> ModuleType:
    """Import a module of the extra `metrics`.

    Raises:
        NotMeasured: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_extra(module, "metrics", "this metric")
    except UserError as error:
        raise NotMeasured(f"needs {module.split('.')[0]}: pip install 't2ikit[metrics]'") from error
    except RuntimeError as error:  # torchvision of another torch
        raise NotMeasured(f"{module.split('.')[0]} cannot be imported: {error}") from error


def inception() -> Features:
    """Inception-v3 as the FID was published with, the 2048 features before its last layer."""
    address = library("torch_fidelity.feature_extractor_inceptionv3").URL_INCEPTION_V3
    need_weights(address)
    return registered("inception-v3-compat", "2048")


def vgg16() -> Features:
    """VGG-16 as precision and recall were published with, after the second linear layer."""
    library("torch_fidelity")
    need_weights(VGG16)
    return registered("vgg16", "fc2_relu")


def registered(name: str, layer: str) -> Features:
    """A feature extractor of torch-fidelity's registry."""
    utils = library("torch_fidelity.utils")
    extractor: Any = utils.create_feature_extractor(name, [layer], cuda=False, verbose=False)
    return Features(f"{name}/{layer}", lambda images: extractor(images)[0])


def creature_reader() -> Features:
    """What the reader of `prompt-accuracy` sees before it decides: 224 features, for `creatures` alone."""
    from t2ikit.metrics.creature_reader import READER_VERSION, SIDE, CreatureReader, to_reader

    net = CreatureReader().net
    return Features(
        f"creature reader v{READER_VERSION}, antialiased bilinear to {SIDE} px",
        lambda images: net.features(to_reader(images / 127.5 - 1)),
    )


def clip_tower(model: str) -> Features:
    """The projected picture embedding of a CLIP, not normalised.

    Raises:
        NotMeasured: it cannot be had.
    """
    from t2ikit.clip import open_model, pooled
    from t2ikit.metrics import clip_files

    clip_files.announce(model)
    try:
        clip, pixels = open_model(model)
    except UserError as error:
        raise clip_files.unopened(model, error) from error
    clip.eval()
    height, width = pixels.size
    return Features(
        f"CLIP {model}, antialiased bicubic to {height} x {width} px, "
        f"transformers {versions('transformers')['transformers']}",
        lambda images: pooled(clip.get_image_features(pixels(images / 127.5 - 1))),
    )


def reader_stands_on() -> dict[str, str]:
    """What the numbers of `creature_reader` depend on."""
    from t2ikit.metrics.creature_reader import READER_VERSION

    return {"creature reader": str(READER_VERSION)}


def clip_stands_on(model: str) -> dict[str, str]:
    """What the numbers of `clip_tower` depend on."""
    from t2ikit.metrics import clip_files

    return clip_files.stands_on(model)
