"""A text encoder of transformers with its tokenizer, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2ikit.core.batch import TextEmbedding
from t2ikit.core.out_of_memory import is_out_of_memory
from t2ikit.text.configs import ClipTextConfig, PretrainedConfig
from t2ikit.text.embedding_cache import Embedded
from t2ikit.text.model_files import ModelFiles
from t2ikit.text.tokenizing import open_tokenizer, unknown_model
from t2ikit.utils.hub import without_bars


class TextModel:
    """A text encoder and its tokenizer.

    Args:
        model, tokenizer: of transformers.
        config: length, precision and batch size.
        device: to move it to; None: the GPU if there is one.
        dtype: of its weights; None: the config's precision.

    Attributes:
        cut: captions that were longer than `length`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        config: PretrainedConfig,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.config, self.cut = config, 0
        self.clip = isinstance(config, ClipTextConfig)
        dtype = dtype or (torch.bfloat16 if config.precision == "bf16" else torch.float32)
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model: Any = model.eval().requires_grad_(False).to(self.device, dtype)
        self.tokenizer = tokenizer
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    @property
    def width(self) -> int:
        """Entries of a token."""
        return int(getattr(self.model.config, "d_model", None) or self.model.config.hidden_size)

    @classmethod
    def open(cls, files: ModelFiles, config: PretrainedConfig) -> TextModel:
        """Load both from their folder.

        Raises:
            UserError: transformers cannot open them as a text encoder.
        """
        import transformers

        transformers.utils.logging.disable_progress_bar()  # a bar of files tells nobody anything
        try:
            clip = isinstance(config, ClipTextConfig)
            kind = transformers.CLIPTextModel if clip else _kind(transformers, files)
            model: Any = open_whole(kind, files.folder)
        except Exception as error:  # a damaged file may end in any
            if is_out_of_memory(error):
                raise
            raise unknown_model(files, error) from error
        return cls(model, open_tokenizer(files), config)

    @torch.no_grad()
    def encode(self, captions: Sequence[str], progress: Any = None) -> list[Embedded]:
        """Embed captions, those of similar length together.

        A padded encoder reads them stripped and in lower case, as DeepFloyd IF's pipeline does.
        """
        if self.config.padded:
            captions = [caption.lower().strip() for caption in captions]
        lengths = [len(ids) for ids in self.tokenizer(list(captions)).input_ids]
        self.cut += sum(length > self.config.length for length in lengths)
        order = sorted(range(len(captions)), key=lambda i: lengths[i])
        found: dict[int, Embedded] = {}
        for start in range(0, len(order), self.config.batch):
            places = order[start : start + self.config.batch]
            found |= dict(zip(places, self._batch([captions[i] for i in places]), strict=True))
            if progress is not None:
                progress(len(found))
        return [found[i] for i in range(len(captions))]

    def _batch(self, captions: list[str]) -> list[Embedded]:
        tokens = self.tokenizer(
            captions,
            padding="max_length" if self.config.padded else True,
            truncation=True,
            max_length=self.config.length,
            padding_side="right",
            return_tensors="pt",
        ).to(self.device)
        output = self.model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        hidden, mask = output.last_hidden_state, tokens.attention_mask.bool()
        pooled = output.pooler_output if self.clip else _mean(hidden, mask)
        if self.config.padded:
            mask = torch.ones_like(mask)
        return [
            Embedded(states[real].cpu(), one.to(hidden.dtype).cpu())
            for states, real, one in zip(hidden, mask, pooled, strict=True)
        ]


def padded_embedding(found: Sequence[Embedded], length: int, width: int) -> TextEmbedding:
    """Embeddings of B captions, each padded with 0 to `length` tokens of `width` entries."""
    tokens = torch.zeros(len(found), length, width)
    mask = torch.zeros(len(found), length, dtype=torch.bool)
    pooled = torch.zeros(len(found), width)
    for row, one in enumerate(found):
        count = len(one.tokens)
        tokens[row, :count], mask[row, :count], pooled[row] = one.tokens, True, one.pooled
    return TextEmbedding(tokens, mask, pooled)


def open_whole(kind: Any, folder: Path, dtype: torch.dtype | None = None, **options: Any) -> Any:
    """A model of transformers without missing weights, which would be random.

    Only a pooler may be missing: many text models have none, and nothing uses it here.

    Args:
        kind: a class with `from_pretrained`.
        folder: with weights in safetensors.
        dtype: of the weights; None: as transformers chooses.
        **options: of `from_pretrained`.

    Raises:
        ValueError: weights are missing.
        OSError, RuntimeError: a file is missing or damaged, or weights are of other shapes.
    """
    import transformers

    if dtype is not None:
        options["torch_dtype" if transformers.__version__.startswith("4.") else "dtype"] = dtype
    fixed = {"use_safetensors": True, "trust_remote_code": False, "output_loading_info": True}
    with without_bars():
        model, found = kind.from_pretrained(folder, **options, **fixed)
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ValueError(f"weights are missing in {folder}: {', '.join(missing[:3])}")
    return model


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over real tokens of (B, L, D) by the mask (B, L), in float32: (B, D)."""
    weight = mask[..., None].float()
    return (hidden.float() * weight).sum(1) / weight.sum(1)


def _kind(transformers: Any, files: ModelFiles) -> Any:
    """The class for the encoder alone, if there is one."""
    config = transformers.AutoConfig.for_model(files.config.get("model_type", "bert"))
    known = transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
    return transformers.AutoModelForTextEncoding if type(config) in known else transformers.AutoModel
