"""Frozen pretrained text encoders through transformers: T5 and its kin, CLIP's text tower, any other.

The model is loaded only when a caption is not in the cache of embeddings, and let go when those are encoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2ikit.core.batch import TextEmbedding
from t2ikit.core.interfaces import TextEncoder
from t2ikit.nn.out_of_memory import is_out_of_memory
from t2ikit.text.configs import ClipTextConfig, PretrainedConfig
from t2ikit.text.embedding_cache import Embedded, EmbeddingCache
from t2ikit.text.model_files import ModelFiles, find_model
from t2ikit.text.tokenizing import kept_of, open_tokenizer, unknown_model
from t2ikit.utils.files import cache_folder
from t2ikit.utils.hub import without_bars
from t2ikit.utils.progress import progress_bar

VERSION = 1
"""Raise it whenever the same model would give other embeddings."""
PART = 4096
"""Captions a file of the cache holds at most: what an interruption can lose."""


class PretrainedEncoder(TextEncoder):
    """Captions to the last hidden states of a frozen model.

    `pooled` is the mean over real tokens; for CLIP the state at the end token, after the last norm.

    Args:
        config: which model, how long, where embeddings are kept.

    Raises:
        UserError: the model cannot be had.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        self.config = config
        self.files: ModelFiles = find_model(config.model, config.revision)
        self.width, self.length = self.files.width, config.length
        self._fingerprint = pretrained_fingerprint(self.files, config)
        self.cache = EmbeddingCache(cache_folder(config.cache) / "text", self._fingerprint)
        self._new: dict[str, Embedded] = {}
        self._model: Loaded | None = None
        self._tokenizer: Any = None

    @property
    def fingerprint(self) -> str:
        """Of the model's and the tokenizer's files, the length and the precision."""
        return self._fingerprint

    def prepare(self, captions: Iterable[str]) -> tuple[str, ...]:
        """Encode what is not in the cache yet, each caption once, and keep it there."""
        wanted = dict.fromkeys(captions)
        said = [f"warning: {self.cache.folder / name} was damaged: set aside" for name in self.cache.damaged]
        if not all(caption in self.cache for caption in wanted):
            with self.cache.writing():
                missing = [caption for caption in wanted if caption not in self.cache]
                said += self._encode_into_cache(missing)
        size = self.cache.bytes / 2**20
        said.append(f"text: {len(wanted):,} captions in {self.cache.folder} ({size:.1f} MiB)")
        return tuple(said)

    def _encode_into_cache(self, captions: list[str]) -> list[str]:
        if not captions:  # another process has done it meanwhile
            return []
        model = self._load()
        with progress_bar(f"encoding captions with {self.files.name}") as progress:
            for start in range(0, len(captions), PART):
                part = captions[start : start + PART]
                done = model.encode(part, lambda n, at=start: progress(at + n, len(captions)))
                self.cache.add(part, done)
        said = [f"text: {len(captions):,} captions encoded with {self.files.name}"]
        if model.cut:
            said.append(f"warning: {model.cut:,} captions are longer than text.length={self.length}: cut")
        return said

    def encode(self, captions: Sequence[str]) -> TextEmbedding:
        """Embed captions, from the cache if they are there: tokens (B, L, D), mask (B, L), pooled (B, D)."""
        missing = [
            caption
            for caption in dict.fromkeys(captions)
            if caption not in self.cache and caption not in self._new
        ]
        if missing:
            self._encode_as_they_come(missing)
        found = [self.cache[caption] if caption in self.cache else self._new[caption] for caption in captions]
        return joined(found, self.length, self.width)

    def cut(self, caption: str) -> str | None:
        """What the tokenizer keeps of a caption that is longer than `length`, without the model."""
        if len(caption.encode()) + 2 <= self.length:  # a token takes a byte at least, but for its ends
            return None
        self._tokenizer = self._tokenizer or open_tokenizer(self.files)
        return kept_of(caption, self._tokenizer, self.config)

    def components(self) -> tuple[Any, Any]:
        """The model and its tokenizer, as transformers has them, in the precision of the config."""
        self._model = self._model or self._load()
        return self._model.model, self._model.tokenizer

    def _encode_as_they_come(self, captions: list[str]) -> None:
        """Captions that nobody told of before, a stream's or prompts; if many, they are kept on disk, too."""
        self._model = self._model or self._load()
        if len(self._new) >= PART:
            with self.cache.writing():
                new = {c: one for c, one in self._new.items() if c not in self.cache}
                self.cache.add(list(new), list(new.values()))
            self._new.clear()
        self._new |= dict(zip(captions, self._model.encode(captions), strict=True))

    def _load(self) -> Loaded:
        return Loaded.open(self.files, self.config)


def pretrained_fingerprint(files: ModelFiles, config: PretrainedConfig) -> str:
    """Changes whenever an embedding of any caption would: the files, the length and the precision."""
    padded = "/padded/lower" if config.padded else ""
    return f"text-{VERSION}/{files.fingerprint()}/{config.length}/{config.precision}{padded}"


def joined(found: Sequence[Embedded], length: int, width: int) -> TextEmbedding:
    """Embeddings of B captions, each padded with 0 to `length` tokens of `width` numbers."""
    tokens = torch.zeros(len(found), length, width)
    mask = torch.zeros(len(found), length, dtype=torch.bool)
    pooled = torch.zeros(len(found), width)
    for row, one in enumerate(found):
        count = len(one.tokens)
        tokens[row, :count], mask[row, :count], pooled[row] = one.tokens, True, one.pooled
    return TextEmbedding(tokens, mask, pooled)


class Loaded:
    """A model and its tokenizer in memory.

    Args:
        model, tokenizer: of transformers.
        config: length, precision and how many captions at once.
        device: where it goes; None: to the GPU, if there is one.
        numbers: what it computes in; None: the precision of the config.

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
        numbers: torch.dtype | None = None,
    ) -> None:
        self.config, self.cut = config, 0
        self.clip = isinstance(config, ClipTextConfig)
        numbers = numbers or (torch.bfloat16 if config.precision == "bf16" else torch.float32)
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model: Any = model.eval().requires_grad_(False).to(self.device, numbers)
        self.tokenizer = tokenizer
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    @property
    def width(self) -> int:
        """Entries of a token."""
        return int(getattr(self.model.config, "d_model", None) or self.model.config.hidden_size)

    @classmethod
    def open(cls, files: ModelFiles, config: PretrainedConfig) -> Loaded:
        """Load them from their folder.

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
        """Embed captions, those of like length together.

        A padded encoder reads them in lower case, without space around them, as DeepFloyd IF's pipeline does.
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
        given = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
        output = self.model(**given)
        hidden, mask = output.last_hidden_state, tokens.attention_mask.bool()
        pooled = output.pooler_output if self.clip else _mean(hidden, mask)
        if self.config.padded:
            mask = torch.ones_like(mask)
        return [
            Embedded(states[real].cpu(), one.to(hidden.dtype).cpu())
            for states, real, one in zip(hidden, mask, pooled, strict=True)
        ]


def open_whole(kind: Any, folder: Path, dtype: torch.dtype | None = None, **options: Any) -> Any:
    """A model of transformers, none of whose weights is missing: those would be drawn at random.

    A pooler may be: it is no part of many text models, and nothing looks at it here.

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
    """The class that has an encoder alone, where there is one."""
    config = transformers.AutoConfig.for_model(files.config.get("model_type", "bert"))
    known = transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
    return transformers.AutoModelForTextEncoding if type(config) in known else transformers.AutoModel
