"""bundle: a bottleneck adapter with a loader of its own, and a note of the base it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio import files
from studio.engine.export.base import ModelTarget
from studio.engine.export.targets.adapter import BASE_NOTE, write_trained_part
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from torch import nn

    from studio.engine.export.reload import Reloaded
    from studio.engine.export.source import Source
    from studio.engine.methods import Method
    from studio.engine.models.files import FilePrint

USAGE = """\
```python
from transformers import AutoTokenizer

from load import load  # load.py of this folder: torch, transformers and safetensors are all that it needs

model = load("path/to/{base}")  # warns if the folder's files are not those in base_model.json
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
```"""
LOADER = "load.py"
_ADAPTER = ("bottleneck_adapter.json", "bottleneck_adapter.safetensors")


class Bundle(ModelTarget):
    """A bottleneck adapter with load.py, which puts it into its base."""

    name = "bundle"
    title = gettext_noop("Bundle with a loader")
    explanation = gettext_noop(
        "The adapter, a few megabytes, with a note of exactly which base it belongs to, and load.py, a short program "
        "that puts it into that base with transformers alone. Take it to keep several skills for one base. Whoever "
        "uses it needs the base too."
    )
    order = 40
    programs = frozenset({LOADER})
    library = "transformers"
    usage = USAGE

    def refuse(self, method: Method) -> str:
        if method.form == "bottleneck":
            return ""
        return tr("{method} leaves nothing that needs a loader of its own.").format(method=tr(method.title))

    def weight_bytes(self, source: Source, dtype: str) -> int:
        return sum((source.folder.adapter / name).stat().st_size for name in _ADAPTER)

    def copies(self, source: Source) -> dict[str, Path]:
        return {name: source.folder.adapter / name for name in _ADAPTER}

    def notes(self, source: Source) -> dict[str, dict[str, Any]]:
        return {BASE_NOTE: {"name": source.name, "files": _used_files(source)}}

    def write(self, model: nn.Module, source: Source, folder: Path) -> None:
        """Write adapter, loader, and the reference to the base, which names no path of this machine."""
        write_trained_part(self, source, folder)
        (folder / LOADER).write_text(loader_text(), encoding="utf-8")

    def reload(self, source: Source, folder: Path) -> Reloaded:
        return open_with_loader(source, folder, source.base)


def _used_files(source: Source) -> dict[str, FilePrint]:
    """The prints of what the model is loaded from; other weights that lie in its folder need not be there again."""
    from studio.engine.models.files import weight_files

    names = ("config.json", *(file.name for file in weight_files(source.base)))
    return {name: source.base_files[name] for name in names if name in source.base_files}


def loader_text() -> str:
    """Return the program that exports bring along as load.py."""
    from studio.engine.export import bottleneck_loader

    return Path(bottleneck_loader.__file__).read_text(encoding="utf-8")


def open_with_loader(source: Source, folder: Path, base: Path) -> Reloaded:
    """Open the export with the very load.py that lies in it, on `base`; a base that was rounded is rounded again."""
    import torch

    from studio.engine.export.reload import Reloaded, import_file
    from studio.engine.export.rounded_base import is_rounded, round_base
    from studio.engine.models.config import load_config
    from studio.engine.models.load import load_model
    from studio.engine.models.quiet import quiet_transformers

    if files.read_text(folder / LOADER) != loader_text():
        raise ValueError(tr("load.py is not the loader that this version of the app writes"))
    loader = import_file(folder / LOADER)
    if is_rounded(source):
        model = load_model(base, "fp32")
        round_base(model, source.config.precision.base_dtype)
        return Reloaded(loader.attach(model))
    safe: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    with quiet_transformers():
        return Reloaded(loader.load(base, dtype=torch.float32, config=load_config(base), **safe))


TARGET = Bundle()
