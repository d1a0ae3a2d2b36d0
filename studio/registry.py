"""Registries of the things that come one file each: methods, precisions, data formats, export targets.

A registry names a package and an attribute. Every module of the package that has the attribute is one
entry, so adding an entry is adding one file. Discovery imports the package's modules, which therefore
import torch, transformers and peft only inside their functions.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from studio.errors import ConfigError
from studio.i18n import tr


class Named(Protocol):
    """What a registry entry must have: a name that is unique in its registry."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What the window shows of a registry entry: all of it is available without torch."""

    name: str
    title: str
    explanation: str
    order: int = 100


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """The entries found in one package, by name. Raises `ConfigError` for an unknown name.

    Any thread may ask: while the window opens, several do at once.
    """

    def __init__(self, kind: str, package: str, attribute: str) -> None:
        self.kind = kind
        self._package = package
        self._attribute = attribute
        self._entries: dict[str, T] = {}
        self._discovered = False
        self._publishing = threading.Lock()

    def add(self, entry: T) -> None:
        """Add an entry; a name that is taken is a defect and raises `ValueError`."""
        if entry.name in self._entries:
            raise ValueError(f"two entries of the {self.kind} registry are called {entry.name!r}")
        self._entries[entry.name] = entry

    def get(self, name: str) -> T:
        """Return the entry called `name`."""
        entries = self._all()
        if name in entries:
            return entries[name]
        nearest = difflib.get_close_matches(name, entries, n=1)
        words = (
            tr("{name} is not a known {kind}; did you mean {nearest}? There are: {known}.")
            if nearest
            else tr("{name} is not a known {kind}; there are: {known}.")
        )
        known = tr(", ").join(entries)
        raise ConfigError(words.format(name=repr(name), kind=self.kind, nearest="".join(nearest), known=known))

    def names(self) -> tuple[str, ...]:
        """Return all names, in the order in which they are offered."""
        return tuple(self._all())

    def __iter__(self) -> Iterator[T]:
        return iter(self._all().values())

    def _all(self) -> dict[str, T]:
        if not self._discovered:
            # Outside the lock, because imports have locks of their own; a second thread finds the same.
            found = sorted(self._discover(), key=lambda e: (getattr(e, "order", 100), e.name))
            with self._publishing:
                if not self._discovered:
                    for entry in found:
                        self.add(entry)
                    self._discovered = True  # only now: others see all entries or look for them as well
        return self._entries

    def _discover(self) -> Iterator[T]:
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            found = getattr(importlib.import_module(f"{self._package}.{module.name}"), self._attribute, None)
            if found is not None:
                yield found
