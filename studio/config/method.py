"""Section `[method]`: the name picks the entry of the method registry whose config class reads the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from studio.config.option import Section
from studio.registry import Registry


class MethodConfig(Section):
    """Base of every method's own options; `name` is the entry of the method registry."""

    name: str = ""

    def check_storage(self, base_dtype: str) -> None:
        """Refuse a storage of frozen weights with which these options cannot work. Raises `ConfigError`."""


class MethodSpec(Protocol):
    """The part of a method that the configuration needs."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> type[MethodConfig]: ...
    @property
    def quantised_base(self) -> bool: ...


DEFAULT = "lora"
METHODS: Registry[MethodSpec] = Registry("method", "studio.engine.methods", "METHOD")


def method_class(table: Mapping[str, Any]) -> type[MethodConfig]:
    """Return the config class of the method that a table names. Raises `ConfigError` for an unknown name."""
    return METHODS.get(str(table.get("name", DEFAULT))).config


def read_method(value: Any) -> Any:
    """Turn a `[method]` table into the config of the method it names; leave a config as it is."""
    return method_class(value).model_validate(dict(value)) if isinstance(value, Mapping) else value
