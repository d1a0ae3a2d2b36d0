"""What an export target is: a description that the window lists, and four functions for the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.i18n import gettext_noop
from studio.registry import Spec

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from studio.engine.export.prefix import Prefix
    from studio.engine.export.reload import Reloaded
    from studio.engine.export.source import Source
    from studio.engine.methods import Method


@dataclass(frozen=True, kw_only=True)
class Target(Spec):
    """One form of export.

    Attributes:
        action: the words on the button.
        library: the library that opens the export, as model cards name it.
        usage: the code that opens the export, as Markdown; `{base}` stands for the base's name.
        refuse: `(method)` returns why a run of that method cannot be exported so, in one sentence, or "".
        weight_bytes: `(source, dtype)`, about how much of the disk the weights will take.
        prefix: `(source, tokenizer)` returns the tokens of its own that the export puts in front of every row, with the
            tokenizer that does so; None where it has none. Raises `ExportError` where it cannot be right.
        finish: `(source, loaded, tokenizer)` makes of base + trained part the plain fp32 model that is to be written;
            None where the trained part is written as it is.
        dtypes: the formats it can save in; the first one is taken where the base's own is not among them.
        write: `(model, source, folder)` writes the weights of a finished model, in the format they have.
        reload: `(source, folder)` opens the written folder from disk with the libraries its users will use, and
            nothing of ours. Raises whatever those raise on a damaged folder.
    """

    library: str
    usage: str
    refuse: Callable[[Method], str]
    weight_bytes: Callable[[Source, str], int]
    dtypes: tuple[str, ...]
    write: Callable[[nn.Module, Source, Path], None]
    reload: Callable[[Source, Path], Reloaded]
    finish: Callable[[Source, nn.Module, PreTrainedTokenizerBase], nn.Module] | None = None
    prefix: Callable[[Source, PreTrainedTokenizerBase], Prefix] | None = None
    action: str = gettext_noop("Export and check")

    def choose_dtype(self, wanted: str, stored: str) -> str:
        """Return the save format: the wanted one; for `auto` the base's own, `stored`, where that can be saved."""
        if wanted != "auto":
            return wanted
        return stored if stored in self.dtypes else self.dtypes[0]
