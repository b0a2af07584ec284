"""A frozen CLIP as a teacher: images and captions to unit embeddings.

Source: CLIP, arXiv 2103.00020; the models are transformers' `CLIPModel`, from a folder or from the Hub.

Letters: B images, N captions, E width of the embeddings.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer, CLIPModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from t2ikit.errors import UserError
from t2ikit.utils.extras import example
from t2ikit.utils.hub import download, has_weights, is_id, kept, reason, refusals, without_bars
from t2ikit.utils.images import as_rgb
from t2ikit.utils.quoting import one_line

Attention = Literal["sdpa", "eager"]
GREATEST_SCALE = 100.0
"""CLIP's own bound of the inverse temperature (section 2.5)."""
CACHED_CAPTIONS = 1 << 15
CAPTIONS_AT_ONCE = 256
FILES = {
    "config.json": ("config.json",),
    "model.safetensors": ("*.safetensors",),
    "tokenizer.json": ("tokenizer.json", "vocab.json"),
}
"""What a folder must hold, and the patterns that will do for each."""
EXPECTED = "a folder with " + ", ".join(FILES)


class FrozenModel:
    """A model that is only looked through: in evaluation mode, float32, without gradients of its own.

    No `nn.Module`, so that a module that holds one neither trains it nor saves it in checkpoints.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model.float().eval().requires_grad_(False)

    def on(self, device: torch.device) -> Any:
        """The model, moved to `device` if it is elsewhere."""
        if next(self.model.parameters()).device != device:
            self.model.to(device)
        return self.model


@dataclass(frozen=True)
class ClipPixels:
    """How a model wants its images.

    Attributes:
        size: height and width, pixels.
        mean, std: of red, green and blue in [0, 1].
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] to (B, 3, *size), normalised; bicubic, twice differentiable.

        Values outside the range are not clipped, for they would lose their gradient.
        """
        x = (as_rgb(images.float()) + 1) / 2
        if tuple(x.shape[-2:]) != self.size:
            x = F.interpolate(x, size=self.size, mode="bicubic", antialias=True, align_corners=False)
        channels = zip(x.unbind(1), self.mean, self.std, strict=True)
        return torch.stack([(channel - mean) / std for channel, mean, std in channels], 1)


class ClipTeacher(FrozenModel):
    """Both towers of a CLIP.

    Args:
        model: a `CLIPModel`.
        tokenizer: its tokenizer.
        pixels: how it wants its images.

    Attributes:
        length: tokens a caption is cut to.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, pixels: ClipPixels) -> None:
        super().__init__(model)
        self.tokenizer, self.pixels = tokenizer, pixels
        self.length = min(tokenizer.model_max_length, self.model.config.text_config.max_position_embeddings)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._texts: OrderedDict[str, Tensor] = OrderedDict()

    @property
    def scale(self) -> Tensor:
        """The inverse temperature, a scalar up to 100."""
        return self.model.logit_scale.exp().clamp(max=GREATEST_SCALE)

    def image_embeddings(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to (B, E), unit norm, with gradient to the images alone."""
        model = self.on(images.device)
        return F.normalize(pooled(model.get_image_features(self.pixels(images))).float(), dim=-1)

    def text_embeddings(self, captions: Sequence[str]) -> Tensor:
        """Captions to (N, E), unit norm, without gradient; what was seen lately is not computed again."""
        return self.known_texts(captions).to(self.model.device)

    def known_texts(self, captions: Sequence[str]) -> Tensor:
        """The same on the CPU, where they are kept; the model computes new ones where it is."""
        device = self.model.device
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._texts]
        # Alone, a caption's last bits cannot depend on its neighbours: a resumed CPU run stays identical.
        block = 1 if device.type == "cpu" else CAPTIONS_AT_ONCE
        for start in range(0, len(new), block):
            part = new[start : start + block]
            self._texts.update(zip(part, self.encode(part).cpu().unbind(), strict=True))
        for caption in captions:
            self._texts.move_to_end(caption)
        embeddings = torch.stack([self._texts[caption] for caption in captions])
        while len(self._texts) > CACHED_CAPTIONS:
            self._texts.popitem(last=False)
        return embeddings

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> Tensor:
        """Captions to (N, E), unit norm, all at once, padded to the longest."""
        device = self.model.device
        tokens = self.tokenizer(
            list(captions), padding=True, truncation=True, max_length=self.length, return_tensors="pt"
        ).to(device)
        with torch.autocast(device.type, enabled=False):
            features = self.model.get_text_features(tokens["input_ids"], tokens["attention_mask"])
            return F.normalize(pooled(features), dim=-1)


def pooled(output: Any) -> Tensor:
    """What `get_image_features` gives: a tensor in transformers 4, an object that holds it in 5."""
    return output if isinstance(output, Tensor) else output.pooler_output


def load_clip(name: str) -> ClipTeacher:
    """Open a CLIP with its tokenizer.

    Args:
        name: a folder with config.json, *.safetensors and tokenizer.json, or a model's id on the Hub.

    Raises:
        UserError: something is missing or is no CLIP.
    """
    place = find_folder(name)
    model, pixels = open_clip(str(place), called=name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(place), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _unusable(name, "its tokenizer cannot be opened", "tokenizer.json", one_line(error)) from error
    return ClipTeacher(model, tokenizer, pixels)


def open_clip(
    name: str, attention: Attention = "sdpa", *, called: str | None = None
) -> tuple[Any, ClipPixels]:
    """A `CLIPModel` and how it wants its images.

    Args:
        name: as for `load_clip`.
        attention: "eager" where gradients of gradients are needed: fused attention has none.
        called: what messages call it; None: `name`.

    Raises:
        UserError: something is missing or is no CLIP.
    """
    place, name = find_folder(name), called or name
    try:
        kind = AutoConfig.from_pretrained(place, trust_remote_code=False).model_type
        if kind != "clip":
            raise _unusable(name, f"it is of the kind {kind!r}", "a CLIPModel, model_type 'clip'")
        with without_bars():
            opened: Any = CLIPModel.from_pretrained(
                place, use_safetensors=True, attn_implementation=attention, output_loading_info=True
            )
        prepared = read_preprocessor(place)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unusable(
            name, "it cannot be opened", f"{EXPECTED}, there or on the Hub", one_line(error)
        ) from error
    model, found = opened
    missing = sorted(found["missing_keys"])
    if missing:
        raise _unusable(name, "weights are missing", "all weights of a CLIPModel", f"no {missing[0]}")
    side = model.config.vision_config.image_size
    size = (side, side) if isinstance(side, int) else (side[0], side[1])
    return model, ClipPixels(
        size,
        tuple(prepared.get("image_mean", OPENAI_CLIP_MEAN)),
        tuple(prepared.get("image_std", OPENAI_CLIP_STD)),
    )


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """How a model wants its images, as its file says; empty where it has none.

    Raises:
        OSError, ValueError: the file is damaged.
    """
    path = folder / "preprocessor_config.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def find_folder(name: str) -> Path:
    """The folder of a CLIP, with all it needs; of a Hub id it is fetched where it is not on this machine.

    Raises:
        UserError: there is none, it lacks something, or the Hub does not give it.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if not is_id(name):
            raise _unusable(name, "there is no such folder", EXPECTED)
        folder = _of_the_hub(name)
    missing = missing_files(folder)
    if missing:
        raise _unusable(name, "files are missing", EXPECTED, f"no {', no '.join(missing)}", folder)
    return folder


def _of_the_hub(name: str) -> Path:
    folder = kept(name)
    if folder is not None and not missing_files(folder):
        return folder
    try:
        return download(name)
    except refusals() as error:
        raise _unusable(
            name, "it cannot be had", f"{EXPECTED}, there or on the Hub", reason(error)
        ) from error


def missing_files(folder: Path) -> list[str]:
    """Which of `FILES` a folder lacks."""
    missing = [file for file, patterns in FILES.items() if not any(map(any, map(folder.glob, patterns)))]
    if "model.safetensors" not in missing and not has_weights(folder):
        missing.append("model.safetensors")
    return missing


def _unusable(
    name: str, why: str, expected: str, got: object = None, folder: Path | None = None
) -> UserError:
    made = "clip-creatures" if folder is not None or "/" in name else name
    fix = (
        f"make one: {example('train_clip.py', '--data', 'creatures', '--out', made)}; "
        "or give the folder of another, or a Hub id such as openai/clip-vit-large-patch14"
    )
    if folder is not None:
        fix = f"put what is missing into {folder}, or {fix}"
    return UserError(f"CLIP model {name}: {why}", expected=expected, got=got or name, fix=fix)
