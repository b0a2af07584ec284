"""The files of a pretrained text model: its folder, width and fingerprint, without loading it.

Imports neither transformers nor torch: a run whose captions are all cached needs neither for its text.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from t2ikit.errors import UserError
from t2ikit.utils.extras import example
from t2ikit.utils.files import write_text
from t2ikit.utils.hub import download, has_weights, kept, reason, refusals

WIDTHS = ("d_model", "hidden_size", "n_embd", "dim")
"""Keys of the token width in configs, the most reliable first."""
TOKENIZERS = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
"""Files with a tokenizer's vocabulary; one of them is needed."""
FINGERPRINTED = ("config.json", "*token*.json", "vocab.*", "merges.txt", "*.model", "*.safetensors")
"""Files that embeddings depend on."""
BLOCKS, BLOCK = 64, 1 << 16
"""Large files are hashed by their header and by this many blocks of this many bytes."""
WHOLE = 1 << 22
"""Files up to this size are hashed completely."""


@dataclass(frozen=True)
class ModelFiles:
    """A text model's folder on this machine.

    Attributes:
        name: as the user gave it, for messages.
        folder: of its files.
        config: the contents of config.json.
    """

    name: str
    folder: Path
    config: dict[str, Any]

    @property
    def width(self) -> int:
        """Entries of a token.

        Raises:
            UserError: config.json does not say.
        """
        config = self.config.get("text_config", self.config)
        for key in WIDTHS:
            if isinstance(config.get(key), int):
                return int(config[key])
        raise UserError(
            f"{self.name}: config.json does not say how wide its tokens are",
            expected="one of " + ", ".join(WIDTHS),
            got=", ".join(sorted(config)[:12]),
            fix="give the folder of a text encoder",
        )

    def fingerprint(self) -> str:
        """Hash of the model's and tokenizer's files; of large ones, samples that any training changes."""
        total = hashlib.blake2b(digest_size=16)
        for path in sorted(self.folder.iterdir()):
            if path.is_file() and any(fnmatch(path.name, pattern) for pattern in FINGERPRINTED):
                total.update(path.name.encode() + _sample(path))
        return total.hexdigest()


def _sample(path: Path) -> bytes:
    size = path.stat().st_size
    found = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        if size <= WHOLE:
            found.update(file.read())
        else:
            found.update(file.read(WHOLE // 4))
            for i in range(BLOCKS):
                file.seek((size - BLOCK) * i // (BLOCKS - 1))
                found.update(file.read(BLOCK))
    return found.digest()


def name_tokenizers(folder: Path) -> None:
    """Rename fast tokenizers in a saved pipeline to the class that both transformers 4 and 5 have."""
    index = folder / "model_index.json"
    parts = json.loads(index.read_text(encoding="utf-8"))
    configs = (folder / part / "tokenizer_config.json" for part in parts)
    for path in filter(Path.is_file, (index, *configs)):
        text = path.read_text(encoding="utf-8")
        named = text.replace('"TokenizersBackend"', '"PreTrainedTokenizerFast"')
        if named != text:
            write_text(path, named)


def find_model(name: str, revision: str | None = None) -> ModelFiles:
    """Find a model: a folder, or a Hub id whose files are on this machine or can be downloaded.

    Raises:
        UserError: it cannot be found or downloaded, or is incomplete.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _download(name, revision)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _incomplete(name, folder, f"config.json: {error}") from error
    if not isinstance(config, dict) or not any(folder.glob("*.safetensors")):
        raise _incomplete(name, folder, "no *.safetensors: weights in other formats are never opened")
    if not any((folder / tokenizer).is_file() for tokenizer in TOKENIZERS):
        raise _incomplete(name, folder, "no tokenizer: transformers would make up one without words")
    return ModelFiles(name, folder, config)


def _download(name: str, revision: str | None) -> Path:
    folder = kept(name, revision)
    if folder is not None and _whole(folder):
        return folder
    try:
        return download(name, revision=revision)
    except refusals() as error:
        raise _unreachable(name, error) from error


def _whole(folder: Path) -> bool:
    return has_weights(folder) and any((folder / tokenizer).is_file() for tokenizer in TOKENIZERS)


def _unreachable(name: str, error: BaseException) -> UserError:
    fix = (
        "check the id; or download the model's files elsewhere and give their folder: --set text.model=FOLDER"
    )
    if "/" not in name:  # what imagen/imagen-if names, or another folder that is to be made
        fix = f"train a small T5 without a download: {example('train_t5.py', '--out', name)}; or {fix}"
    return UserError(
        f"text.model: {name} cannot be had",
        expected="a folder, or the Hub id of a model that is kept on this machine or can be reached",
        got=f"no folder of that name; {reason(error)}",
        fix=fix,
    )


def _incomplete(name: str, folder: Path, what: str) -> UserError:
    files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return UserError(
        f"text.model: {name} is no whole model",
        expected="config.json, a tokenizer and *.safetensors in one folder",
        got=f"{what} (it has {', '.join(files[:8]) or 'nothing'})",
        fix="give the folder that save_pretrained(..., safe_serialization=True) wrote",
    )
