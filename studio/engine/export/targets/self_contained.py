"""self-contained: the bundle, with the base model inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from studio.engine.export.targets.bundle import Bundle, open_with_loader
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from studio.engine.export.reload import Reloaded
    from studio.engine.export.source import Source

USAGE = """\
```python
from transformers import AutoTokenizer

from load import load  # load.py of this folder: torch, transformers and safetensors are all that it needs

model = load()
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
```"""
# As the loader names it.
BASE = "base"


class SelfContained(Bundle):
    """The bundle, with the base in a folder inside."""

    name = "self-contained"
    title = gettext_noop("Bundle with the base inside")
    explanation = gettext_noop(
        "One folder with everything: the base model as it is, the adapter, and load.py, a short program that puts one "
        "into the other with transformers alone. As large as the base. Take it to pass the result on, or to keep it."
    )
    order = 50
    usage = USAGE

    def weight_bytes(self, source: Source, dtype: str) -> int:
        return super().weight_bytes(source, dtype) + sum(file.stat().st_size for file in _files(source))

    def copies(self, source: Source) -> dict[str, Path]:
        return super().copies(source) | {f"{BASE}/{file.name}": file for file in _files(source)}

    def reload(self, source: Source, folder: Path) -> Reloaded:
        from studio.engine.models.files import fingerprint

        prints = fingerprint(folder / BASE)
        taken = (file.name for file in _files(source))
        wrong = sorted(name for name in taken if prints.get(name) != source.base_files.get(name))
        if wrong:
            raise ValueError(
                tr("the base in it is not the base of the run: {files}").format(files=tr(", ").join(wrong))
            )
        return open_with_loader(source, folder, folder / BASE)


def _files(source: Source) -> list[Path]:
    """The base's files to take along: none that could run code, and no weights that the model does not use."""
    from studio.engine.models.files import BELONGINGS, INDEX, member, terms_files, weight_files

    found = (member(source.base, name) for name in ("config.json", INDEX, *BELONGINGS))
    return [*weight_files(source.base), *(file for file in found if file), *terms_files(source.base)]


TARGET = SelfContained()
