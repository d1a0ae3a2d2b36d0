"""The whole configuration of a run, and the one way from text to it and back (DESIGN.md 3.2)."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Self, cast, get_args

import tomli_w
from pydantic import BaseModel, BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from studio.config.checkpoints import CheckpointsConfig
from studio.config.data import DataConfig
from studio.config.method import METHODS, MethodConfig, method_class, read_method
from studio.config.model import ModelConfig
from studio.config.numerics import NumericsConfig
from studio.config.option import Section
from studio.config.precision import PrecisionConfig, check_precision
from studio.config.retention import SHIPPED, RetentionConfig
from studio.config.training import TrainingConfig
from studio.errors import ConfigError
from studio.files import expand_user, read_text
from studio.i18n import tr


class RunConfig(Section):
    """Everything that decides a run. Equal configurations on one machine give equal runs."""

    model: ModelConfig
    data: DataConfig
    method: Annotated[SerializeAsAny[MethodConfig], BeforeValidator(read_method)] = Field(
        default_factory=lambda: read_method({})
    )
    precision: PrecisionConfig = PrecisionConfig()
    training: TrainingConfig = TrainingConfig()
    retention: RetentionConfig = RetentionConfig()
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    numerics: NumericsConfig = NumericsConfig()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        check_precision(self.precision, self.precision.name)
        base_dtype = self.precision.base_dtype
        if base_dtype in ("int8", "nf4") and not METHODS.get(self.method.name).quantised_base:
            words = tr(
                "precision.base_dtype = {base} is for frozen weights, and method {method} trains the weights "
                "themselves; take auto, or a method that leaves them frozen, such as lora."
            )
            raise ConfigError(words.format(base=base_dtype, method=self.method.name))
        self.method.check_storage(base_dtype)
        return self


def parse_config(values: Mapping[str, Any]) -> RunConfig:
    """Validate nested tables. Raises `ConfigError`, one sentence, naming the key and the mend."""
    tables = dict(values)
    # The method's table is read first: which class reads it depends on the name inside it.
    if isinstance(tables.get("method"), Mapping):
        tables["method"] = validated("method", read_method, tables["method"], method_class(tables["method"]))
    return cast(RunConfig, validated("", RunConfig.model_validate, tables, RunConfig))


def validated(prefix: str, read: Callable[[Any], Any], value: Any, section: type[BaseModel]) -> Any:
    """Return `read(value)`, which makes a `section`. Raises `ConfigError`, one sentence that begins with the prefix."""
    try:
        return read(value)
    except ValidationError as error:
        raise ConfigError(_sentence(error, section, prefix)) from error


def override_config(config: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Return a configuration with some settings, by dotted key, changed. Raises `ConfigError` for what cannot be."""
    return parse_config(with_options(config.model_dump(exclude_none=True), overrides))


def change_config(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Return a configuration with `section.key=value` overrides applied, paths from the current folder.

    A number of epochs takes the place of a number of updates.

    Raises:
        ConfigError: a value or key is wrong.
    """
    values = config.model_dump(mode="json", exclude_none=True)
    keys = [override.partition("=")[0].strip() for override in overrides]
    if "training.epochs" in keys and "training.max_steps" not in keys:
        values["training"].pop("max_steps", None)
    for override in overrides:
        _apply(values, override)
    return _absolute(parse_config(values), Path.cwd())


def with_options(tables: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of a configuration with some options, by dotted key, changed."""
    changed = dict(tables)
    for key, value in overrides.items():
        section, _, option = key.partition(".")
        changed[section] = {**changed[section], option: value}
    return changed


def read_config(path: Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a TOML file, apply `section.key=value` overrides, and make its paths absolute.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or has a value or key that is wrong.
    """
    try:
        values = tomllib.loads(read_text(path))
    except OSError as error:
        words = tr("The configuration {path} cannot be read: {reason}.")
        raise ConfigError(words.format(path=path, reason=error.strerror)) from error
    except UnicodeDecodeError as error:
        words = tr("The configuration {path} is not UTF-8 text (byte {offset}); save it as UTF-8.")
        raise ConfigError(words.format(path=path, offset=error.start)) from error
    except (ValueError, RecursionError) as error:  # also a number of 5000 digits, and nesting without end
        words = tr("The configuration {path} is not valid TOML: {reason}.")
        raise ConfigError(words.format(path=path, reason=str(error)[:200])) from error
    for override in overrides:
        _apply(values, override)
    return _absolute(parse_config(values), path.parent)


def write_config(config: RunConfig) -> str:
    """Return the configuration as TOML; `read_config` gives back an equal one. Unset options are left out."""
    return tomli_w.dumps(config.model_dump(exclude_none=True))


def _absolute(config: RunConfig, folder: Path) -> RunConfig:
    sources = tuple(s.model_copy(update={"path": _resolve(s.path, folder)}) for s in config.data.sources)
    probes = config.retention.probes
    retention = {"probes": probes if probes == SHIPPED else _resolve(probes, folder)}
    start_from = config.training.start_from
    training = {"start_from": _resolve(start_from, folder) if start_from else ""}
    return config.model_copy(
        update={
            "training": config.training.model_copy(update=training),
            "retention": config.retention.model_copy(update=retention),
            "model": config.model.model_copy(update={"path": _resolve(config.model.path, folder)}),
            "data": config.data.model_copy(update={"sources": sources}),
        }
    )


def _resolve(path: str, folder: Path) -> str:
    """A path is meant from the file that names it, else from here; what exists in neither may be a hub id."""
    for candidate in (folder / expand_user(path), expand_user(path)):
        # A name that no file can have, such as one that is too long, does not exist.
        with suppress(OSError, ValueError):
            if candidate.exists():
                return str(candidate.absolute())
    return path


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(tr("{override} is not of the form section.key=value.").format(override=repr(override)))
    node: Any = values
    for part in parts[:-1]:
        if isinstance(node, dict):
            node = node.setdefault(part, {})
        elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        else:
            node = None
    if not isinstance(node, dict):
        raise ConfigError(tr("{override} names a key inside something that has none.").format(override=repr(override)))
    node[parts[-1]] = _value(text)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text  # a bare word, as people type it: method.name=lora


def _sentence(error: ValidationError, section: type[BaseModel], prefix: str) -> str:
    first = error.errors()[0]
    location = first["loc"]
    where = _dotted(prefix, *location)
    if first["type"] == "extra_forbidden":
        return _unknown_key(section, prefix, location)
    if first["type"] == "missing":
        return tr("{key} is required and not set.").format(key=where)
    reason = first["msg"].removeprefix("Value error, ")
    return tr("{key} = {value}: {reason}.").format(
        key=where, value=repr(first["input"])[:60], reason=reason[:1].lower() + reason[1:]
    )


def _unknown_key(section: type[BaseModel], prefix: str, location: tuple[int | str, ...]) -> str:
    *parents, key = location
    known = list(_fields_at(section, parents))
    where = _dotted(prefix, *location)
    nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    if nearest:
        suggestion = _dotted(prefix, *parents, nearest[0])
        return tr("{key} is not a setting; did you mean {nearest}?").format(key=where, nearest=suggestion)
    return tr("{key} is not a setting; there are: {known}.").format(key=where, known=tr(", ").join(known))


def _fields_at(section: type[BaseModel], parents: Iterable[int | str]) -> Iterable[str]:
    """The keys of the section that `parents` leads to; a number is a place in a list of sections."""
    for part in parents:
        if isinstance(part, str) and part in section.model_fields:
            annotation: Any = section.model_fields[part].annotation
            section = next((a for a in get_args(annotation) if a is not ...), annotation)
    return section.model_fields


def _dotted(*parts: int | str) -> str:
    return ".".join(str(part) for part in parts if part != "")
