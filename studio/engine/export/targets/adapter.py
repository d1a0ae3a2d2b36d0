"""adapter: the trained part alone, in PEFT's format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.export.base import ModelTarget
from studio.files import read_json
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from torch import nn

    from studio.engine.export.reload import Reloaded
    from studio.engine.export.source import Source
    from studio.engine.methods import Method

CONFIG, BASE_NOTE = "adapter_config.json", "base_model.json"
USAGE = """\
```python
from peft import PeftModel
from transformers import {model_class}, AutoTokenizer, GenerationConfig

base = {model_class}.from_pretrained("{home}", dtype="auto")
base.generation_config = GenerationConfig.from_pretrained("path/to/this/folder")
model = PeftModel.from_pretrained(base, "path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
```"""


def write_trained_part(target: ModelTarget, source: Source, folder: Path) -> None:
    """Write an export that is what training saved, with a note of the base."""
    for name, file in target.copies(source).items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(file, folder / name)
    for name, values in target.notes(source).items():
        text = json.dumps(values, ensure_ascii=False, indent=2) + "\n"
        (folder / name).write_text(text, encoding="utf-8")


def base_for_peft(source: Source) -> dict[str, str | None]:
    """Return what adapter_config.json says of the base, from which `AutoPeftModelForCausalLM` loads it.

    A base without a home on the hub is sought beside whoever loads the adapter. Its bare name would be taken for an id
    of the hub, where anybody may have a model of that name; and a path of this machine is nobody else's concern.
    """
    if source.hub:
        return {"base_model_name_or_path": source.hub.repository, "revision": source.hub.revision}
    return {"base_model_name_or_path": f"./{source.name}", "revision": None}


class Adapter(ModelTarget):
    """The trained part of a PEFT method."""

    name = "adapter"
    title = gettext_noop("Adapter")
    explanation = gettext_noop(
        "The trained part alone, a few megabytes in PEFT's format, with a note of exactly which base it belongs to. "
        "Take it to keep several skills for one base, or to go on training. Whoever uses it needs the base too."
    )
    order = 20
    library = "peft"
    by_parts = True
    usage = USAGE

    def refuse(self, method: Method) -> str:
        if method.form == "peft":
            return ""
        return tr("{method} leaves no adapter in PEFT's format.").format(method=tr(method.title))

    def weight_bytes(self, source: Source, dtype: str) -> int:
        return sum(file.stat().st_size for file in source.folder.adapter.glob("*.safetensors"))

    def copies(self, source: Source) -> dict[str, Path]:
        return {file.name: file for file in source.folder.adapter.glob("*.safetensors")}

    def notes(self, source: Source) -> dict[str, dict[str, Any]]:
        config = read_json(source.folder.adapter / CONFIG) | base_for_peft(source)
        return {
            CONFIG: dict(sorted(config.items())),
            BASE_NOTE: {"name": source.name, "files": source.base_files},
        }

    def write(self, model: nn.Module, source: Source, folder: Path) -> None:
        write_trained_part(self, source, folder)

    def reload(self, source: Source, folder: Path) -> Reloaded:
        from studio.engine.export.reload import reload_adapter

        return reload_adapter(source, folder)


TARGET = Adapter()
