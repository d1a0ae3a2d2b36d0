"""What an export target is: a description that the window lists, and two functions for the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.registry import Spec

if TYPE_CHECKING:
    from torch import nn

    from studio.engine.export.reload import Reloaded
    from studio.engine.export.source import Source


@dataclass(frozen=True, kw_only=True)
class Target(Spec):
    """One form of export.

    Attributes:
        needs_mergeable: whether the trained part is folded into the base's weights, which not every method allows.
        dtypes: the formats it can save in; the first one is taken where the base's own is not among them.
        write: `(model, source, folder)` writes the weights of a finished model, in the format they have.
        reload: `(source, folder)` opens the written folder from disk with the libraries its users will use, and
            nothing of ours. Raises whatever those raise on a damaged folder.
    """

    needs_mergeable: bool
    dtypes: tuple[str, ...]
    write: Callable[[nn.Module, Source, Path], None]
    reload: Callable[[Source, Path], Reloaded]

    def choose_dtype(self, wanted: str, stored: str) -> str:
        """Return the save format: the wanted one; for `auto` the base's own, `stored`, where that can be saved."""
        if wanted != "auto":
            return wanted
        return stored if stored in self.dtypes else self.dtypes[0]
