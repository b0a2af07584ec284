"""The networks that FID, precision and recall were published with, by torch-fidelity."""

from __future__ import annotations

from typing import Any

from t2ikit.core.metric import Download
from t2ikit.metrics import hub_weights
from t2ikit.metrics.features import Features, Network
from t2ikit.metrics.identity import versions
from t2ikit.metrics.packages import check_installed, library


class FidelityNetwork(Network):
    """A feature extractor of torch-fidelity, whose weights are a file that torch.hub keeps.

    Args:
        extractor: its name there.
        layer: whose output is taken.
        url: of the weights.
    """

    def __init__(self, extractor: str, layer: str, url: str) -> None:
        self.extractor, self.layer, self.url = extractor, layer, url

    def dependencies(self) -> dict[str, str]:
        """The package's version and the weights."""
        return {**versions("torch-fidelity"), "weights": hub_weights.present(self.url)}

    def downloads(self) -> list[Download]:
        """The weights, unless they are here."""
        missing = hub_weights.downloads(self.url)
        check_installed("torch_fidelity", missing)
        return missing

    def fetch(self) -> None:
        """Fetch the weights."""
        hub_weights.need_weights(self.url)

    def open(self) -> Features:
        """The network, by the package."""
        utils = library("torch_fidelity.utils")
        hub_weights.need_weights(self.url)
        made: Any = utils.create_feature_extractor(self.extractor, [self.layer], cuda=False, verbose=False)
        version = versions("torch-fidelity")["torch-fidelity"]
        name = f"{self.extractor}/{self.layer} of torch-fidelity {version}"
        return Features(name, lambda images: made(images)[0])


def inception() -> FidelityNetwork:
    """Inception-v3 as the FID was published with, the 2048 features before its last layer."""
    return FidelityNetwork("inception-v3-compat", "2048", hub_weights.INCEPTION)


def vgg16() -> FidelityNetwork:
    """VGG-16 as precision and recall were published with, after the second linear layer."""
    return FidelityNetwork("vgg16", "fc2_relu", hub_weights.VGG16)
