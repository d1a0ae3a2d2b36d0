"""merged: one ordinary model, the trained part folded into the weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from studio.engine.export.base import Target
from studio.i18n import mark

if TYPE_CHECKING:
    from torch import nn

    from studio.engine.export.reload import Reloaded
    from studio.engine.export.source import Source

# Shards this large load in a few reads and still copy to any file system.
SHARD = "4GB"


def _write(model: nn.Module, source: Source, folder: Path) -> None:
    from transformers import GenerationConfig

    from studio.engine.models.quiet import quiet_transformers

    # An unusual but published generation config would be refused here; carry.py takes the base's own file over.
    model.generation_config = GenerationConfig()  # type: ignore[assignment]
    with quiet_transformers():
        model.save_pretrained(folder, max_shard_size=SHARD)  # type: ignore[operator]
    # safetensors makes files that only their owner can read; an export is for passing on.
    for file in folder.glob("*.safetensors"):
        shutil.copymode(folder / "config.json", file)


def _reload(source: Source, folder: Path) -> Reloaded:
    from studio.engine.export.reload import reload_model

    return reload_model(folder)


TARGET = Target(
    name="merged",
    title=mark("Merged model"),
    explanation=mark(
        "One ordinary Hugging Face model with the training folded in: it loads everywhere the base does, and costs "
        "no latency. As large as the base. Take it to use the result, or to convert it further."
    ),
    order=10,
    needs_mergeable=True,
    dtypes=("fp32", "fp16", "bf16"),
    write=_write,
    reload=_reload,
)
