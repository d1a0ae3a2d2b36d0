"""Opening an export from disk as its users will: with plain transformers and peft."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase
from typing_extensions import override

from studio.engine.export.rounded_base import load_base
from studio.engine.export.source import Source
from studio.engine.export.stored import opening_class
from studio.engine.methods.peft_files import read_adapter
from studio.engine.models.quiet import import_bitsandbytes, quiet_transformers
from studio.errors import ModelError


@dataclass(frozen=True)
class Reloaded:
    """An export as it came back from disk: the model in its stored format.

    `problems` names weights that the files lack, have too many, or have in another shape: transformers makes
    missing ones up at random and says so only in its log.
    """

    model: nn.Module
    problems: tuple[str, ...] = ()


def reload_model(folder: Path) -> Reloaded:
    """Open a complete model with plain transformers, in the format its config names."""
    local = {"local_files_only": True, "trust_remote_code": False}
    with quiet_transformers():
        opener = opening_class(AutoConfig.from_pretrained(folder, **local))
        loaded: Any = opener.from_pretrained(folder, dtype="auto", output_loading_info=True, **local)
    model, info = loaded
    return Reloaded(model.eval(), tuple(sorted(_names(info))))


def _names(info: dict[str, Any]) -> set[str]:
    found = (*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"])
    return {str(entry if isinstance(entry, str) else entry[0]) for entry in found}


def reload_adapter(source: Source, folder: Path) -> Reloaded:
    """Open an adapter with plain peft, on the base it belongs to, as the run saw that."""
    import_bitsandbytes()
    from peft import PeftModel

    base = load_base(source)
    try:
        read_adapter(folder, base)  # it may have been exchanged since it was written
    except ModelError as error:
        raise ValueError(str(error)) from error  # a `StudioError` is about the base
    return Reloaded(PeftModel.from_pretrained(base, str(folder)).eval())


def import_file(path: Path) -> Any:
    """Import a Python file that an export brings along."""
    name = "finetune_studio_export"
    spec = importlib.util.spec_from_loader(name, _Uncached(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Uncached(importlib.machinery.SourceFileLoader):
    """Neither runs a compiled copy that lies beside a file, nor leaves one there."""

    @override
    def path_stats(self, path: str) -> dict[str, Any]:
        raise OSError(path)  # without a date, no compiled copy belongs to the file


def reload_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Open the tokenizer of an export with plain transformers."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return tokenizer
