"""Opening and saving of pipelines: safetensors alone, and no code of a folder is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline
from typing_extensions import Self

from t2ikit.core.out_of_memory import is_out_of_memory
from t2ikit.errors import UserError
from t2ikit.exporters.generator_model import without_place
from t2ikit.exporters.pipeline_calls import CUSTOM, DEVICE_MAP, unsupported
from t2ikit.exporters.pipeline_checks import check_index, check_plugins, one_dtype, text_encoder_in
from t2ikit.text.model_files import name_tokenizers
from t2ikit.text.vocabulary import read_words, write_words
from t2ikit.utils.hub import folder_of
from t2ikit.utils.quoting import one_line


class PipelineFiles(DiffusionPipeline):
    """A pipeline that opens and writes folders as `t2ikit export --format diffusers` does."""

    _trained: tuple[int | None, tuple[str, ...], Mapping[str, int] | None] = (None, (), None)
    """The step of the weights, notes, and the words of the captions, where they are known."""

    @classmethod
    def from_pretrained(cls, path: Any, **options: Any) -> Self:
        """Open a folder that `save_pretrained` or `t2ikit export --format diffusers` wrote.

        Args:
            path: a folder, or OWNER/NAME on the Hub.
            **options: diffusers' own; `torch_dtype` may be bfloat16, on a GPU float16, too. Weights are
                safetensors, whatever `use_safetensors` says, and no code of a folder is run, whatever
                `trust_remote_code` says.

        Raises:
            UserError: a file is missing or damaged, the Hub does not give it, or the folder names code that
                is not installed.
            NotImplementedError: `device_map` is given.
        """
        one_dtype(options)
        if options.get("device_map") is not None:
            raise unsupported("device_map=", DEVICE_MAP)
        folder = folder_of(path, options)
        fixed = {"use_safetensors": True, "trust_remote_code": False, "custom_pipeline": None}
        try:
            index = cls.load_config(folder)  # with the class's name alone, whatever file it is in
            check_plugins(path, index)
            check_index(cls, folder, index, options)
            text = text_encoder_in(folder, index, options)
            opened = without_place(super().from_pretrained(folder, **{**options, **fixed, **text}))
            opened._trained = (None, (), read_words(folder))
            return opened
        except Exception as error:  # a damaged file of a library may end in any
            if isinstance(error, UserError) or is_out_of_memory(error):
                raise
            raise UserError(
                f"{path} cannot be opened as a pipeline",
                expected="what `t2ikit export --format diffusers` wrote, whole; weights in safetensors alone",
                got=one_line(error),
                fix="check the options that were given; if they are right, export the run again",
            ) from error

    @classmethod
    def load_config(cls, *given: Any, **options: Any) -> Any:
        """What model_index.json holds, as diffusers gives it.

        An export names its class as one of `pipeline.py`, for `DiffusionPipeline`; that file is not run here.
        """
        config = super().load_config(*given, **options)
        index = config[0] if isinstance(config, tuple) else config
        if isinstance(index, dict) and isinstance(named := index.get("_class_name"), list):
            index["_class_name"] = named[1] if named[:1] == [CUSTOM] and len(named) == 2 else named
        return config

    def save_pretrained(self, folder: str | Path, *given: Any, **options: Any) -> None:
        """Write a folder that `from_pretrained` opens, with transformers 4 as well as 5.

        Args:
            folder: to make.
            *given, **options: diffusers' own; `push_to_hub=True` uploads it to `repo_id`, or to a repository
                of the folder's name.
        """
        if options.get("push_to_hub"):
            options.setdefault("repo_id", Path(folder).resolve().name)
        super().save_pretrained(str(folder), *given, **options)
        self._complete(Path(folder))

    def _upload_folder(self, working_dir: Any, *given: Any, **options: Any) -> Any:
        """What diffusers calls at the end of `save_pretrained(..., push_to_hub=True)`."""
        self._complete(Path(working_dir))
        return super()._upload_folder(working_dir, *given, **options)

    def _complete(self, folder: Path) -> None:
        """Add to a saved folder what diffusers does not know of."""
        name_tokenizers(folder)
        write_words(folder, self._trained[2])
