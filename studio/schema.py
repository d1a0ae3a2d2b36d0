"""JSON values that others wrote, read as the types that our own code declares.

A dataclass or a TypedDict says what a file holds; `read_as` gives a value of that type or refuses. So whoever uses the
value meets no other type, no number outside its range and no text of endless length.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from pydantic_core import SchemaValidator, ValidationError, core_schema

from studio.files import check_depth
from studio.i18n import tr

MAX_CHARACTERS = 1 << 20
_LARGEST = 2**63
_EXACT = 2**53  # up to here every integer is a float
_NON_FINITE = ("nan", "inf", "-inf")

Reader: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class Range:
    """The bounds of a number, both allowed; nan is outside."""

    least: float
    most: float


@dataclass(frozen=True)
class Keys:
    """What a dict holds at least: the type of each key. Other keys are kept as they are."""

    types: tuple[tuple[str, Any], ...]


Moment: TypeAlias = Annotated[float, Range(0, 253_402_300_799)]
"""Seconds since the epoch, up to the year 9999."""
Count: TypeAlias = Annotated[int, Range(0, 2**53)]
Seconds: TypeAlias = Annotated[float, Range(0, 1e10)]


def having(**keys: Any) -> Keys:
    """Return what stands in `Annotated[dict[str, Any], having(name=str)]`."""
    return Keys(tuple(keys.items()))


def read_as(kind: Any, value: Any) -> Any:
    """Return a JSON value as a type has it: a number written as "nan" becomes one where a float is expected.

    Args:
        kind: a type, such as `list[int]`, `float | None`, `Annotated[int, Range(0, 9)]`, a TypedDict or a dataclass.

    Raises:
        ValueError: the value is not of that type; the message is half a sentence.
    """
    return _reader(kind)(value)


def field_readers(cls: type) -> Mapping[str, Reader]:
    """Return for each field of a dataclass or a TypedDict what reads it. Each raises `ValueError`."""
    return _field_readers(cls)


def read_instance(cls: type, values: Mapping[str, Any]) -> Any:
    """Return the instance of a dataclass that a JSON object describes; keys that are no fields are left out.

    Raises:
        ValueError: a value is not of the type of its field; the message is half a sentence.
        TypeError: a field without a default is missing.
    """
    try:
        return _validator(cls).validate_python(values)
    except ValidationError:  # what only our own readers accept, such as "nan" and missing fields, or say what is wrong
        return cls(**{name: reader(values[name]) for name, reader in _field_readers(cls).items() if name in values})


@functools.cache
def _validator(cls: type) -> SchemaValidator:
    """What makes an instance, in a third of the time of our own readers; it refuses all that these refuse, and more."""
    hints = get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls)]
    fields = [core_schema.dataclass_field(name, _core(hints[name]), kw_only=True) for name in names]
    arguments = core_schema.dataclass_args_schema(cls.__name__, fields, extra_behavior="ignore")
    return SchemaValidator(core_schema.dataclass_schema(cls, arguments, names, slots=True))


def _core(kind: Any, least: float = -_EXACT, most: float = _EXACT) -> core_schema.CoreSchema:
    """The core schema of a type, numbers from `least` to `most`. What is no plain value our own reader reads."""
    parts = get_args(kind)
    if kind is float:
        return core_schema.float_schema(strict=True, ge=least, le=most)
    if kind is int:
        return core_schema.int_schema(strict=True, ge=math.ceil(least), le=math.floor(most))
    if kind is bool:
        return core_schema.bool_schema(strict=True)
    if kind is str:
        return core_schema.str_schema(strict=True, max_length=MAX_CHARACTERS)
    if get_origin(kind) is Annotated and parts[0] in (int, float) and isinstance(parts[1], Range):
        return _core(parts[0], max(least, parts[1].least), min(most, parts[1].most))
    if isinstance(kind, types.UnionType) and len(parts) == 2 and parts[0] in _PLAIN and parts[1] is type(None):
        return core_schema.nullable_schema(_core(parts[0]))
    return core_schema.no_info_plain_validator_function(_reader(kind))


@functools.cache
def _field_readers(cls: type) -> Mapping[str, Reader]:
    hints = get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else hints
    return {name: _reader(hints[name]) for name in names}


@functools.cache
def _reader(kind: Any) -> Reader:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return _any
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin is Annotated:
        return _annotated(_reader(parts[0]), parts[1:])
    if origin in (Union, types.UnionType):
        return _union([_reader(part) for part in parts])
    if origin is Literal:
        return lambda value: value if isinstance(value, str) and value in parts else _refuse(value)
    if origin is dict:
        return _dict(_reader(parts[1]))
    if origin is tuple:
        inner = _list(_reader(parts[0]))
        return lambda value: tuple(inner(value))
    if origin in (list, Sequence):
        return _list(_reader(parts[0]))
    if typing.is_typeddict(kind):
        return _typed_dict(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    raise TypeError(f"no JSON value is read as {kind}")


def _any(value: Any) -> Any:
    if isinstance(value, dict | list):
        check_depth(value)
    return value


def _str(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        _refuse(value)
    return value  # type: ignore[no-any-return]


def _bool(value: Any) -> bool:
    return value if isinstance(value, bool) else _refuse(value)


def _int(value: Any) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and -_LARGEST <= value < _LARGEST else _refuse(value)


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int and -_LARGEST <= value < _LARGEST:
        return float(value)
    return float(value) if isinstance(value, str) and value in _NON_FINITE else _refuse(value)


def _none(value: Any) -> None:
    if value is not None:
        _refuse(value)


_PLAIN: dict[Any, Reader] = {str: _str, bool: _bool, int: _int, float: _float, type(None): _none}


def _annotated(inner: Reader, rules: Sequence[Any]) -> Reader:
    ranges = [rule for rule in rules if isinstance(rule, Range)]
    keys = [(key, _reader(kind)) for rule in rules if isinstance(rule, Keys) for key, kind in rule.types]

    def read(value: Any) -> Any:
        value = inner(value)
        for bounds in ranges:
            if not bounds.least <= value <= bounds.most:
                _refuse(value)
        if keys:
            try:
                value = value | {key: reader(value[key]) for key, reader in keys}
            except KeyError as error:
                raise ValueError(tr("{key} is missing").format(key=error.args[0])) from error
        return value

    return read


def _union(readers: Sequence[Reader]) -> Reader:
    own = {kind: reader for kind, reader in _PLAIN.items() if reader in readers}

    def read(value: Any) -> Any:
        found = own.get(type(value))
        for reader in readers if found is None else (found,):
            try:
                return reader(value)
            except ValueError:
                continue  # another type of the union may fit
        return _refuse(value)

    return read


def _list(inner: Reader) -> Reader:
    return lambda value: [inner(one) for one in value] if isinstance(value, list) else _refuse(value)


def _dict(inner: Reader) -> Reader:
    return lambda value: {key: inner(one) for key, one in value.items()} if isinstance(value, dict) else _refuse(value)


def _typed_dict(kind: Any) -> Reader:
    required: frozenset[str] = kind.__required_keys__

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return _refuse(value)
        if missing := sorted(required - value.keys()):
            raise ValueError(tr("{key} is missing").format(key=missing[0]))
        return value | _read_fields(kind, value)

    return read


def _dataclass(kind: Any) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return _refuse(value)
        try:
            return kind(**_read_fields(kind, value))
        except TypeError as error:  # a field without a default is missing
            raise ValueError(str(error)) from error

    return read


def _read_fields(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, reader in _field_readers(kind).items():
        if name in values:
            try:
                found[name] = reader(values[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
    return found


def _refuse(value: Any) -> Any:
    shown = repr(value) if isinstance(value, bool | float) or value is None else type(value).__name__
    raise ValueError(tr("{value} is not expected here").format(value=shown))
