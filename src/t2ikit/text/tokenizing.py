"""The tokenizers of pretrained text encoders, without their models."""

from __future__ import annotations

from typing import Any

from t2ikit.errors import UserError
from t2ikit.text.configs import PretrainedConfig
from t2ikit.text.model_files import ModelFiles
from t2ikit.utils.quoting import one_line


def open_tokenizer(files: ModelFiles) -> Any:
    """A model's tokenizer.

    Raises:
        UserError: transformers cannot open it.
    """
    import transformers

    try:
        return transformers.AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False)
    except Exception as error:  # a damaged file may end in any
        raise unknown_model(files, error) from error


def unknown_model(files: ModelFiles, error: Exception) -> UserError:
    """The error of a model or tokenizer that transformers cannot open."""
    return UserError(
        f"text.model: {files.name} cannot be opened as a text encoder",
        expected="a model and a tokenizer that transformers knows; no code of its own",
        got=one_line(error),
        fix="give another model; text.use=t5, clip or hf says of which kind it is",
    )


def truncated(caption: str, tokenizer: Any, config: PretrainedConfig) -> str | None:
    """What a tokenizer keeps of a caption with more tokens than the config's length; None: all of it."""
    if config.padded:
        caption = caption.lower().strip()
    kept = tokenizer(caption, truncation=True, max_length=config.length).input_ids
    if len(kept) < config.length or len(tokenizer(caption).input_ids) <= config.length:
        return None
    return str(tokenizer.decode(kept, skip_special_tokens=True))
