"""adapter: the trained part alone, in PEFT's format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from studio.engine.export.base import Target
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from torch import nn

    from studio.engine.export.reload import Reloaded
    from studio.engine.export.source import Source
    from studio.engine.methods import Method

USAGE = """\
```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

base = AutoModelForCausalLM.from_pretrained("path/to/{base}", dtype="auto")
base.generation_config = GenerationConfig.from_pretrained("path/to/this/folder")
model = PeftModel.from_pretrained(base, "path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
```"""


def _refuse(method: Method) -> str:
    if method.form == "peft":
        return ""
    return tr("{method} leaves no adapter in PEFT's format.").format(method=tr(method.title))


def _weight_bytes(source: Source, dtype: str) -> int:
    return sum(file.stat().st_size for file in source.folder.adapter.glob("*.safetensors"))


def _write(model: nn.Module, source: Source, folder: Path) -> None:
    for file in source.folder.adapter.iterdir():
        if file.suffix == ".safetensors":
            shutil.copyfile(file, folder / file.name)
    _write_config(source, folder)


def _write_config(source: Source, folder: Path) -> None:
    """Name the base as others know it; where it lies on this machine is nobody's business."""
    config = json.loads((source.folder.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = source.name
    text = json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")
    reference = {"name": source.name, "files": source.base_files}
    (folder / "base_model.json").write_text(
        json.dumps(reference, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
    )


def _reload(source: Source, folder: Path) -> Reloaded:
    from studio.engine.export.reload import reload_adapter

    return reload_adapter(source, folder)


TARGET = Target(
    name="adapter",
    title=gettext_noop("Adapter"),
    explanation=gettext_noop(
        "The trained part alone, a few megabytes in PEFT's format, with a note of exactly which base it belongs to. "
        "Take it to keep several skills for one base, or to go on training. Whoever uses it needs the base too."
    ),
    order=20,
    library="peft",
    usage=USAGE,
    refuse=_refuse,
    weight_bytes=_weight_bytes,
    dtypes=("fp32",),
    write=_write,
    reload=_reload,
)
