"""What an export target is: words that the window shows, and functions that the engine calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.i18n import gettext_noop

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from studio.engine.export.prefix import Prefix
    from studio.engine.export.reload import Reloaded
    from studio.engine.export.source import Source
    from studio.engine.methods import Method


class Target(ABC):
    """One form of export. A file in `targets/` ends with `TARGET = …`, its one instance.

    Those that transformers or peft open are a `ModelTarget`; the others are made of one.

    Attributes:
        name: what `export --to` says.
        title, explanation: what the window shows.
        order: targets are offered by ascending order.
        action: the words on the button.
        library: the library that opens the export, as model cards name it.
        usage: the code that opens the export, as Markdown; `{base}` stands for the base's name, `{home}` for its
            id on the hub, or a path where it has none, and `{model_class}` for the class of transformers that opens it.
        dtypes: the formats it can save in; the first one is taken where the base's own is not among them.
        plain_model: whether the export is one ordinary model, which `finish` makes; otherwise the trained part is
            written as it is.
        adds_tokens: whether the export has tokens that the base has not, in front of every row.
        by_parts: whether it can be made of a model that does not fit into memory (by_parts.py).
        programs: the files of the export that are run.
    """

    name: str
    title: str
    explanation: str
    order: int = 100
    action: str = gettext_noop("Export and check")
    library: str
    usage: str
    dtypes: tuple[str, ...] = ("fp32",)
    plain_model: bool = False
    adds_tokens: bool = False
    by_parts: bool = False
    programs: frozenset[str] = frozenset()

    @abstractmethod
    def refuse(self, method: Method) -> str:
        """Return why a run of this method cannot be exported so, in one sentence, or ""."""

    @abstractmethod
    def weight_bytes(self, source: Source, dtype: str) -> int:
        """Return about how many bytes of the disk the weights will take."""

    @abstractmethod
    def made_of(self, method: Method) -> ModelTarget:
        """Return the target whose model folder this one is made of: itself, where it is such a folder."""

    def prefix(self, source: Source, tokenizer: PreTrainedTokenizerBase) -> Prefix:
        """Return the tokens that the export puts in front of every row, with the tokenizer that does so.

        Raises:
            ExportError: they cannot be put there rightly.
        """
        from studio.engine.export.prefix import Prefix

        return Prefix(tokenizer=tokenizer)

    def choose_dtype(self, wanted: str, stored: str) -> str:
        """Return the save format: the wanted one; for `auto` the base's own, `stored`, where that can be saved."""
        if wanted != "auto":
            return wanted
        return stored if stored in self.dtypes else self.dtypes[0]


class ModelTarget(Target):
    """An export that is a model folder, written and opened with the libraries of its users."""

    def made_of(self, method: Method) -> ModelTarget:
        return self

    def finish(self, source: Source, loaded: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """Make of base + trained part the plain fp32 model that is to be written; `plain_model` targets only."""
        raise NotImplementedError(f"{self.name} writes the trained part as it is")

    def copies(self, source: Source) -> dict[str, Path]:
        """Return the files that the export has from the run, or from its base, byte for byte, by their names there."""
        return {}

    def notes(self, source: Source) -> dict[str, dict[str, Any]]:
        """Return the JSON files that say what the export's weights belong to, by their names."""
        return {}

    @abstractmethod
    def write(self, model: nn.Module, source: Source, folder: Path) -> None:
        """Write the weights of a finished model, in the format they have."""

    @abstractmethod
    def reload(self, source: Source, folder: Path) -> Reloaded:
        """Open the written folder from disk with the libraries its users will use, and nothing of ours.

        Raises whatever those raise on a damaged folder.
        """
