"""merged: one ordinary model, the trained part folded into the weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from studio.engine.dtypes import BYTES, DTYPES
from studio.engine.export.base import ModelTarget
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from studio.engine.export.reload import Reloaded
    from studio.engine.export.source import Source
    from studio.engine.methods import Method

USAGE = """\
```python
from transformers import {model_class}, AutoTokenizer

model = {model_class}.from_pretrained("path/to/this/folder", dtype="auto")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
```"""
# Shards this large load in a few reads and still copy to any file system.
SHARD = "4GB"


class PlainModel(ModelTarget):
    """An ordinary Hugging Face model in a folder of its own."""

    library = "transformers"
    usage = USAGE
    dtypes = DTYPES
    plain_model = True

    def write(self, model: nn.Module, source: Source, folder: Path) -> None:
        """Write a complete model as an ordinary folder, in the format that its weights have, with the base's terms."""
        from transformers import GenerationConfig

        from studio.engine.export.carry import carry_terms
        from studio.engine.models.quiet import quiet_transformers

        # An unusual but published generation config would be refused here; carry.py takes the base's own file over.
        model.generation_config = GenerationConfig()  # type: ignore[assignment]
        with quiet_transformers():
            model.save_pretrained(folder, max_shard_size=SHARD)  # type: ignore[operator]
        # safetensors makes files that only their owner can read; an export is for passing on.
        for file in folder.glob("*.safetensors"):
            shutil.copymode(folder / "config.json", file)
        carry_terms(source.base, folder)

    def reload(self, source: Source, folder: Path) -> Reloaded:
        from studio.engine.export.reload import reload_model

        return reload_model(folder)


class Merged(PlainModel):
    """The trained part folded into the weights."""

    name = "merged"
    title = gettext_noop("Merged model")
    explanation = gettext_noop(
        "One ordinary Hugging Face model with the training folded in: it loads everywhere the base does, and costs "
        "no latency. As large as the base. Take it to use the result, or to convert it further."
    )
    order = 10
    action = gettext_noop("Merge, export and check")
    by_parts = True

    def refuse(self, method: Method) -> str:
        if method.mergeable:
            return ""
        return tr("{method} cannot be folded into the base's weights.").format(method=tr(method.title))

    def weight_bytes(self, source: Source, dtype: str) -> int:
        return int(source.info.parameters * BYTES[dtype])

    def finish(self, source: Source, loaded: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        merged: nn.Module = source.method.merge(loaded)
        return merged


TARGET = Merged()
