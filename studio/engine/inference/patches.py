"""Several trained parts of one base, loaded once and switched without reloading.

Every method but full fine-tuning leaves the weights of the base as they are: it replaces some modules by others that
contain them, hangs something on a module's output, or stands in front of the whole. So a patch is a difference: for
each module of the base that looks otherwise with it, the children and hooks that it has then. Switching puts one
difference back and another in place, a matter of milliseconds whatever the size of the model. Nothing here knows a
method.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from studio.engine.export.source import Source
from studio.errors import ExportError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What a module is made of besides its parameters.
_PARTS = ("_modules", "_forward_hooks", "_forward_pre_hooks")


@dataclass(frozen=True)
class Patch:
    """One trained part, ready to be put in place.

    Attributes:
        model: what is called while the patch is in place: the base, or what stands in front of it.
        parts: for every module of the base that differs, its children and hooks.
        values: norms and biases that were trained, (…), by the parameter that holds them.
        attributes: of the base itself, which some libraries leave notes on.
    """

    model: nn.Module
    parts: Mapping[nn.Module, tuple[dict[Any, Any], ...]] = field(default_factory=dict)
    values: Mapping[nn.Parameter, Tensor] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Patches:
    """One base in evaluation, and the patches that were loaded onto it. To begin with none is in place."""

    def __init__(self, base: PreTrainedModel) -> None:
        self._base = base.eval()
        self._plain = _look_at(base)
        self._small = {p: p.detach().clone() for p in base.parameters() if p.dim() < 2}  # norms and biases
        self._attributes = _attributes(base)
        self._nothing = Patch(base)
        self._known: dict[str, Patch] = {}
        self._now = self._nothing

    @property
    def model(self) -> nn.Module:
        """The model as it is now: to be asked anew after a switch."""
        return self._now.model

    def add(self, name: str, source: Source) -> None:
        """Load the trained part of a run under a name, and leave the base without it.

        Raises:
            ExportError: the run trained the weights themselves, so that there is no patch.
        """
        if source.method.form == "model":
            raise ExportError(
                tr("{method} leaves no patch that could be switched: it changed the weights themselves.").format(
                    method=tr(source.method.title)
                )
            )
        self.switch(None)
        model = source.method.load(self._base, source.folder.adapter).eval()
        found = _look_at(self._base)
        self._known[name] = self._now = Patch(
            model=model,
            parts={module: found[module] for module, plain in self._plain.items() if not _same(found[module], plain)},
            values={p: p.detach().clone() for p, plain in self._small.items() if not torch.equal(p, plain)},
            attributes={key: v for key, v in _attributes(self._base).items() if self._attributes.get(key) is not v},
        )
        self.switch(None)

    def switch(self, name: str | None) -> float:
        """Put a patch in place of the present one; None leaves the base alone. Return the seconds that it took."""
        started = time.perf_counter()
        self._take_out(self._now)
        self._now = self._nothing if name is None else self._known[name]
        self._put_in(self._now)
        return time.perf_counter() - started

    @torch.no_grad()
    def _take_out(self, patch: Patch) -> None:
        for module in patch.parts:
            _set_parts(module, self._plain[module])
        for parameter in patch.values:
            parameter.copy_(self._small[parameter])
        for key in patch.attributes:
            if key in self._attributes:
                setattr(self._base, key, self._attributes[key])
            else:
                delattr(self._base, key)

    @torch.no_grad()
    def _put_in(self, patch: Patch) -> None:
        for module, parts in patch.parts.items():
            _set_parts(module, parts)
        for parameter, value in patch.values.items():
            parameter.copy_(value)
        for key, value in patch.attributes.items():
            setattr(self._base, key, value)


def _look_at(base: nn.Module) -> dict[nn.Module, tuple[dict[Any, Any], ...]]:
    """Return children and hooks of every module, as copies."""
    return {module: tuple(dict(getattr(module, part)) for part in _PARTS) for module in base.modules()} | {
        base: tuple(dict(getattr(base, part)) for part in _PARTS)
    }


def _same(found: tuple[dict[Any, Any], ...], plain: tuple[dict[Any, Any], ...]) -> bool:
    return all(
        left.keys() == right.keys() and all(left[key] is right[key] for key in left)
        for left, right in zip(found, plain, strict=True)
    )


def _set_parts(module: nn.Module, parts: tuple[dict[Any, Any], ...]) -> None:
    for name, content in zip(_PARTS, parts, strict=True):
        present = getattr(module, name)
        present.clear()
        present.update(content)


def _attributes(base: nn.Module) -> dict[str, Any]:
    """What stands on the base itself and belongs to no other part of it."""
    return {key: value for key, value in vars(base).items() if key not in _PARTS}
